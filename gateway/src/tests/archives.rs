//! Archives that are unpacked, and forms with more in them than files.

use axum::http::{Method, header};
use bytes::Bytes;
use content::unixfs::{file::import_bytes, profile::Profile, tree::TreeBuilder};
use tokio_tar::{Builder, EntryType, Header};

use super::world::{World, patterned};

const PROFILE: Profile = Profile::UNIXFS_V1_2025;

/// An archive in the making.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    async fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes).await.unwrap();
        self
    }

    async fn special(mut self, path: &str, kind: EntryType, to: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(kind);
        if !to.is_empty() {
            header.set_link_name(to).unwrap();
        }
        self.0.append_data(&mut header, path, &b""[..]).await.unwrap();
        self
    }

    /// An entry whose name the builder would refuse.
    async fn odd(mut self, path: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, bytes).await.unwrap();
        self
    }

    async fn finish(self) -> Vec<u8> {
        self.0.into_inner().await.unwrap()
    }
}

/// Root of a tree of files, empty directories (no bytes) and links.
pub(super) fn tree(files: &[(&str, &[u8])], directories: &[&str], links: &[(&str, &str)]) -> String {
    let mut tree = TreeBuilder::new(PROFILE);
    for (path, bytes) in files {
        tree.add(path, import_bytes(PROFILE, &Bytes::copy_from_slice(bytes)).target()).unwrap();
    }
    for path in directories {
        tree.add_directory(path).unwrap();
    }
    for (path, target) in links {
        tree.add_symlink(path, target).unwrap();
    }
    tree.finish().unwrap().root.cid.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_becomes_its_tree() {
    let world = World::new().await;
    let long = format!("deep/{}/{}.txt", "d".repeat(90), "n".repeat(200));
    let big = patterned(1, 2_300_000);
    let tar = Tar::new().special("./", EntryType::Directory, "").await;
    let tar = tar.file("./a.txt", b"first").await.file(&long, b"long").await.file("big.bin", &big).await;
    let tar = tar.special("empty/", EntryType::Directory, "").await;
    let tar = tar.special("link", EntryType::Symlink, "../a.txt").await;
    let tar = tar.special("again", EntryType::Link, "a.txt").await.file("nothing", b"").await;
    let tar = tar.file(".hidden", b"h").await.file(".git/config", b"g").await.finish().await;

    let files: [(&str, &[u8]); 5] =
        [("a.txt", b"first"), (&long, b"long"), ("big.bin", &big), ("again", b"first"), ("nothing", b"")];
    let links = [("link", "../a.txt")];
    let file = world.upload("?unpack=tar", tar.clone()).await.file();
    assert_eq!(file.cid, tree(&files, &["empty"], &links));
    assert_eq!((file.left_out, file.size_bytes), (Some(2), 5 + 4 + 2_300_000 + 5));
    world.assert_reads(&format!("{}/big.bin", file.cid), &big).await;

    let with_hidden: Vec<_> =
        files.into_iter().chain([(".hidden", &b"h"[..]), (".git/config", b"g")]).collect();
    let file = world.upload("?unpack=tar&hidden=true", tar).await.file();
    assert_eq!((file.cid, file.left_out), (tree(&with_hidden, &["empty"], &links), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_around_everything_gives_the_name_unless_it_is_kept() {
    let world = World::new().await;
    let tar = Tar::new().special("site/", EntryType::Directory, "").await;
    let tar = tar.file("site/index.html", b"<p>").await.file("site/img/a.png", b"png").await.finish().await;
    let inner = tree(&[("index.html", b"<p>"), ("img/a.png", b"png")], &[], &[]);
    let outer = tree(&[("site/index.html", b"<p>"), ("site/img/a.png", b"png")], &[], &[]);
    let file = world.upload("?unpack=tar", tar.clone()).await.file();
    assert_eq!((file.cid.as_str(), file.name.as_str()), (inner.as_str(), "site"));
    let file = world.upload("?unpack=tar&wrap=true", tar).await.file();
    assert_eq!((file.cid.as_str(), file.name.as_str()), (outer.as_str(), ""));
    // The same of forms.
    let files: [(&str, &[u8]); 2] = [("site/index.html", b"<p>"), ("site/img/a.png", b"png")];
    assert_eq!(world.upload_form("?wrap=true", &files).await.file().cid, outer);
    assert_eq!(
        world.upload_form("?wrap=true", &[("a", b"1")]).await.file().cid,
        tree(&[("a", b"1")], &[], &[])
    );
    // An archive is a directory even with one file in it, and with nothing.
    let one = Tar::new().file("a", b"1").await.finish().await;
    assert_eq!(world.upload("?unpack=tar", one).await.file().cid, tree(&[("a", b"1")], &[], &[]));
    let only = Tar::new().special("site/", EntryType::Directory, "").await.finish().await;
    let file = world.upload("?unpack=tar", only).await.file();
    assert_eq!((file.cid, file.name.as_str()), (tree(&[], &[], &[]), "site"));
    let none = Tar::new().finish().await;
    assert_eq!(world.upload("?unpack=tar", none).await.file().cid, tree(&[], &[], &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_cut_off_is_not_taken_for_a_whole_one() {
    let world = World::new().await;
    let tar =
        Tar::new().file("a", &patterned(1, 3_000)).await.file("b", &patterned(2, 700)).await.finish().await;
    // In the first header, in a file, in its padding, between entries, in the second file, right before the end.
    for at in [100, 512, 700, 512 + 3_010, 512 + 3_072, 512 + 3_072 + 600, 512 + 3_072 + 512 + 1_024] {
        let (status, reason) = world.upload("?unpack=tar", tar[..at].to_vec()).await.error();
        assert_eq!(status, 400, "cut at {at}");
        assert!(["body_incomplete", "bad_archive"].contains(&reason.as_str()), "cut at {at}: {reason}");
    }
    assert_eq!(world.upload("?unpack=tar", "").await.error().0, 400);
    assert_eq!(world.used_bytes().await, 0);
    world.upload("?unpack=tar", tar).await.file();
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_make_no_sense() {
    let world = World::with(20, |config| {
        config.uploads.files_max = 3;
        config.uploads.size_max = 5_000_000;
    })
    .await;
    let refuse = async |tar: Vec<u8>| world.upload("?unpack=tar", tar).await.error();
    let bad_archive = (400, "bad_archive".to_string());
    let bad_path = (400, "bad_path".to_string());
    assert_eq!(refuse(patterned(1, 5_000)).await, bad_archive);
    for path in ["../a", "a/../b", "/etc/passwd", "a//b", "a/./b"] {
        assert_eq!(refuse(Tar::new().odd(path, b"1").await.finish().await).await, bad_path, "{path}");
    }
    let twice = Tar::new().file("a", b"1").await.file("a", b"2").await.finish().await;
    assert_eq!(refuse(twice).await, bad_path);
    let device = Tar::new().special("a", EntryType::Char, "").await.finish().await;
    assert_eq!(refuse(device).await, bad_archive);
    let dangling = Tar::new().special("a", EntryType::Link, "b").await.finish().await;
    assert_eq!(refuse(dangling).await, bad_archive);
    let mut many = Tar::new();
    for name in ["a", "b", "c", "d"] {
        many = many.file(name, b"1").await;
    }
    assert_eq!(refuse(many.finish().await).await, (400, "too_many_files".into()));
    let large = Tar::new().file("a", &patterned(1, 5_000_001)).await.finish().await;
    assert_eq!(refuse(large).await, (413, "body_too_large".into()));
    // A name that would have to be kept in memory whole.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(3 << 20);
    header.set_cksum();
    let mut bomb = header.as_bytes().to_vec();
    bomb.resize(4 << 20, b'n');
    assert_eq!(refuse(bomb).await, bad_archive);
    let form = world.form("?unpack=tar", &[("file", Some("a"), b"1")]);
    assert_eq!(world.send(form).await.error(), (400, "bad_parameter".into()));
    assert_eq!(world.upload("?unpack=rar", "x").await.error(), (400, "bad_parameter".into()));
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_may_have_directories_links_and_hidden_files() {
    let world = World::new().await;
    let part = |name: &str, kind: &str, body: &str| {
        format!(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{body}\r\n"
        )
    };
    let body = [
        part("d/empty", "application/x-directory", ""),
        part("d/link", "application/symlink", "a/b"),
        part("d/.env", "text/plain", "secret"),
        part("d/a", "text/plain", "1"),
        "--X--\r\n".to_string(),
    ]
    .concat();
    let send = async |query: &str| {
        let mut request = world.request(Method::POST, &format!("/v1/files{query}"), body.clone());
        let value = "multipart/form-data; boundary=X".parse().unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, value);
        world.send(request).await.file()
    };
    let links = [("link", "a/b")];
    let file = send("").await;
    assert_eq!(file.cid, tree(&[(".env", b"secret"), ("a", b"1")], &["empty"], &links));
    assert_eq!(file.left_out, None);
    let file = send("?hidden=false").await;
    assert_eq!((file.cid, file.left_out), (tree(&[("a", b"1")], &["empty"], &links), Some(1)));
}
