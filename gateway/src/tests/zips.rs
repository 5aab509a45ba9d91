//! Zip archives as uploads.

use std::io::{Cursor, Write as _};

use axum::http::Method;
use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    archives::tree,
    world::{ACCOUNT, World, patterned, until},
};

/// An archive in the making.
struct Zip(ZipWriter<Cursor<Vec<u8>>>);

impl Zip {
    fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.0.start_file(path, SimpleFileOptions::default()).unwrap();
        self.0.write_all(bytes).unwrap();
        self
    }

    fn stored(mut self, path: &str, bytes: &[u8]) -> Self {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        self.0.start_file(path, options).unwrap();
        self.0.write_all(bytes).unwrap();
        self
    }

    fn directory(mut self, path: &str) -> Self {
        self.0.add_directory(path, SimpleFileOptions::default()).unwrap();
        self
    }

    fn link(mut self, path: &str, to: &str) -> Self {
        self.0.add_symlink(path, to, SimpleFileOptions::default()).unwrap();
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_becomes_its_tree() {
    let world = World::new().await;
    let big = patterned(1, 2_300_000);
    let zeros = vec![0; 3_000_000];
    let zip = Zip::new().directory("site/").file("site/a.txt", b"first").stored("site/big.bin", &big);
    let zip = zip.file("site/zeros", &zeros).directory("site/empty/").link("site/link", "../a.txt");
    let zip = zip.file("site/nothing", b"").file("site/.git/config", b"g");
    let zip = zip.directory("__MACOSX/").file("__MACOSX/site/._a.txt", b"m").finish();

    let files: [(&str, &[u8]); 4] =
        [("a.txt", b"first"), ("big.bin", &big), ("zeros", &zeros), ("nothing", b"")];
    let links = [("link", "../a.txt")];
    let file = world.upload("?unpack=zip", zip.clone()).await.file();
    assert_eq!((file.cid.as_str(), file.name.as_str()), (tree(&files, &["empty"], &links).as_str(), "site"));
    assert_eq!((file.left_out, file.size_bytes), (Some(3), 5 + 2_300_000 + 3_000_000));
    world.assert_reads(&format!("{}/big.bin", file.cid), &big).await;

    let again = world.upload("?unpack=zip", zip.clone()).await.file();
    assert!(again.duplicate);
    let with_all = world.upload("?unpack=zip&hidden=true", zip).await.file();
    assert_eq!((with_all.left_out, with_all.name.as_str()), (None, ""));
    world.assert_reads(&format!("{}/site/.git/config", with_all.cid), b"g").await;
    // An archive is a directory even with one file in it, and with nothing.
    let one = Zip::new().file("a", b"1").finish();
    assert_eq!(world.upload("?unpack=zip", one).await.file().cid, tree(&[("a", b"1")], &[], &[]));
    let none = Zip::new().finish();
    assert_eq!(world.upload("?unpack=zip", none).await.file().cid, tree(&[], &[], &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn zips_that_make_no_sense() {
    let world = World::with(20, |config| {
        config.uploads.files_max = 3;
        config.uploads.size_max = 5_000_000;
    })
    .await;
    let refuse = async |zip: Vec<u8>| world.upload("?unpack=zip", zip).await.error();
    let bad_archive = (400, "bad_archive".to_string());
    let bad_path = (400, "bad_path".to_string());
    assert_eq!(refuse(Vec::new()).await, bad_archive);
    assert_eq!(refuse(patterned(1, 5_000)).await, bad_archive);
    for path in ["../a", "a/../b", "/etc/passwd", "a//b", "a/./b"] {
        assert_eq!(refuse(Zip::new().file(path, b"1").finish()).await, bad_path, "{path}");
    }
    assert_eq!(refuse(Zip::new().file("a", b"1").file("a/b", b"2").finish()).await, bad_path);
    let whole = Zip::new().stored("a", &patterned(1, 3_000)).finish();
    for cut in [10, 2_000, whole.len() - 60, whole.len() - 1] {
        assert_eq!(refuse(whole[..cut].to_vec()).await, bad_archive, "cut at {cut}");
    }
    let mut damaged = whole.clone();
    damaged[1_000] ^= 1;
    assert_eq!(refuse(damaged).await, bad_archive);
    let many = ["a", "b", "c", "d"].iter().fold(Zip::new(), |zip, name| zip.file(name, b"1"));
    assert_eq!(refuse(many.finish()).await, (400, "too_many_files".into()));
    // It comes in 5 kB, and is refused for what it would become.
    let bomb = Zip::new().file("a", &vec![0; 5_000_001]).finish();
    assert!(bomb.len() < 10_000);
    assert_eq!(refuse(bomb).await, (413, "body_too_large".into()));
    let form = world.form("?unpack=zip", &[("file", Some("a"), b"1")]);
    assert_eq!(world.send(form).await.error(), (400, "bad_parameter".into()));
    assert_eq!(world.used_bytes().await, 0);
    world.upload("?unpack=zip", whole).await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_over_the_quota_is_refused_before_it_is_unpacked() {
    let world = World::new().await;
    let path = format!("/v1/admin/accounts/{ACCOUNT}/quota");
    assert!(world.admin(Method::PUT, &path, json!({ "quota_bytes": 3_000_000 })).await.status.is_success());
    // What comes first would be stored already if it had been unpacked.
    let zip = Zip::new().stored("a", &patterned(1, 2_900_000)).file("b", &vec![0; 2_000_000]).finish();
    assert_eq!(world.upload("?unpack=zip", zip).await.error(), (403, "quota_exceeded".into()));
    let zip = Zip::new().stored("a", &patterned(1, 2_900_000)).file("b", &vec![0; 100_000]).finish();
    world.upload("?unpack=zip", zip).await.file();
    assert_eq!(world.used_bytes().await, 3_000_000);
    let again = Zip::new().stored("a", &patterned(1, 2_900_000)).file("b", &vec![0; 100_000]).finish();
    assert!(
        world.upload("?unpack=zip", again).await.file().duplicate,
        "what fills the quota costs nothing more"
    );
    let small = Zip::new().stored("a", b"small").finish();
    assert_eq!(
        world.upload("?unpack=zip", small).await.error(),
        (403, "quota_exceeded".into()),
        "at its end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_has_an_end_and_is_given_back() {
    let world = World::with(20, |config| config.uploads.spool_bytes = 2 << 20).await;
    let zip = Zip::new().stored("a", &patterned(1, 3 << 20)).finish();
    assert_eq!(world.upload("?unpack=zip", zip).await.error(), (413, "body_too_large".into()));
    for round in 0..3 {
        let zip = Zip::new().stored("a", &patterned(round, 1_500_000)).finish();
        world.upload("?unpack=zip", zip).await.file();
    }
    // A client that goes away in the middle.
    let parts = vec![Ok(vec![7; 900_000]), Err(std::io::Error::other("gone"))];
    let half = axum::body::Body::from_stream(futures_util::stream::iter(parts));
    assert_eq!(world.upload("?unpack=zip", half).await.error(), (400, "body_incomplete".into()));
    until(async || world.gateway.spool.is_empty()).await;
    let held = world.gateway.spool.fill();
    let small = Zip::new().stored("a", b"1").finish();
    let refused = world.upload("?unpack=zip", small.clone()).await;
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.error(), (503, "spool_full".into()));
    drop(held);
    world.upload("?unpack=zip", small).await.file();

    let gone = World::with(20, |config| config.uploads.spool_dir = Some("/nowhere/at/all".into())).await;
    let zip = Zip::new().stored("a", b"1").finish();
    assert_eq!(gone.upload("?unpack=zip", zip).await.error(), (503, "spool_failed".into()));
}
