//! Uploads of every shape: the CID that everybody computes, and the bytes back.

use axum::body::Body;
use bytes::Bytes;
use content::{
    HashFn,
    unixfs::{
        Target,
        file::import_bytes,
        profile::{Parameters, Profile},
        tree::TreeBuilder,
    },
};
use futures_util::stream;

use super::world::{World, patterned, until};

const MIB: usize = 1 << 20;

fn cid_of(profile: Profile, bytes: &[u8]) -> Target {
    import_bytes(profile, &Bytes::copy_from_slice(bytes)).target()
}

/// The root that a tree of files has.
fn cid_of_tree(files: &[(&str, &[u8])]) -> Target {
    let profile = Profile::UNIXFS_V1_2025;
    let mut tree = TreeBuilder::new(profile);
    for (path, bytes) in files {
        tree.add(path, cid_of(profile, bytes)).unwrap();
    }
    tree.finish().unwrap().root
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bodies_of_every_length() {
    let world = World::new().await;
    for len in [0, 1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 7] {
        let bytes = patterned(u32::try_from(len).unwrap(), len);
        let file = world.upload("?name=some%20file.bin", bytes.clone()).await.file();
        let expected = cid_of(Profile::UNIXFS_V1_2025, &bytes);
        assert_eq!(file.cid, expected.cid.to_string(), "{len}");
        assert_eq!((file.name.as_str(), file.size_bytes), ("some file.bin", len as u64));
        assert_eq!(file.dag_size_bytes, expected.dag_size_bytes);
        assert_eq!(file.url, format!("https://gateway.example/ipfs/{}", file.cid));
        assert!(!file.duplicate);
        world.assert_reads(&file.cid, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_odd_parts() {
    let world = World::new().await;
    let bytes = Bytes::from(patterned(1, 2 * MIB + 333));
    for part in [77_777, MIB - 1, MIB + 1, 3 * MIB] {
        let parts: Vec<Result<Bytes, std::io::Error>> = (0..bytes.len())
            .step_by(part)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + part))))
            .collect();
        let file = world.upload("", Body::from_stream(stream::iter(parts))).await.file();
        assert_eq!(file.cid, cid_of(Profile::UNIXFS_V1_2025, &bytes).cid.to_string());
    }
    assert_eq!(world.segments().await, [0, 1, 0, 0], "the same file four times is stored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hash_functions() {
    let world = World::new().await;
    for (name, hash_fn) in [("blake3", HashFn::Blake3), ("sha2-512", HashFn::Sha2_512)] {
        let bytes = patterned(2, MIB + 5);
        let file = world.upload(&format!("?hash={name}"), bytes.clone()).await.file();
        let parameters = Parameters { hash_fn, ..Profile::UNIXFS_V1_2025.parameters() };
        let profile = Profile::new(parameters).unwrap();
        assert_eq!(file.cid, cid_of(profile, &bytes).cid.to_string());
        world.assert_reads(&file.cid, &bytes).await;
    }
    let refused = world.upload("?hash=md5", "x").await;
    assert_eq!(refused.error(), (400, "bad_parameter".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_one_file_is_that_file() {
    let world = World::new().await;
    let bytes = patterned(3, MIB + 1);
    let fields: [(&str, Option<&str>, &[u8]); 3] =
        [("comment", None, b"not stored"), ("file", Some("photo.jpg"), &bytes), ("after", None, b"")];
    let file = world.send(world.form("", &fields)).await.file();
    assert_eq!(file.cid, cid_of(Profile::UNIXFS_V1_2025, &bytes).cid.to_string());
    assert_eq!((file.name.as_str(), file.size_bytes), ("photo.jpg", bytes.len() as u64));
    let renamed = world.upload_form("?name=other.jpg", &[("photo.jpg", &bytes)]).await.file();
    assert_eq!((renamed.cid, renamed.name.as_str()), (file.cid, "other.jpg"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_are_a_directory() {
    let world = World::new().await;
    let big = patterned(4, MIB + 9);
    let files: [(&str, &[u8]); 4] = [("a.txt", b"a"), ("b/c.txt", b"c"), ("b/empty", b""), ("big", &big)];
    let expected = cid_of_tree(&files);
    let flat = world.upload_form("", &files).await.file();
    assert_eq!((flat.cid.clone(), flat.name.as_str()), (expected.cid.to_string(), ""));
    assert_eq!(flat.size_bytes, 2 + big.len() as u64);
    assert_eq!(flat.dag_size_bytes, expected.dag_size_bytes);
    for (path, bytes) in files {
        world.assert_reads(&format!("{}/{path}", flat.cid), bytes).await;
    }
    // A folder around everything is the upload itself, and names it.
    let inside: Vec<(String, &[u8])> =
        files.iter().map(|(path, bytes)| (format!("site/{path}"), *bytes)).collect();
    let inside: Vec<(&str, &[u8])> = inside.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();
    let wrapped = world.upload_form("", &inside).await.file();
    assert_eq!((wrapped.cid, wrapped.name.as_str()), (flat.cid, "site"));
    let one = world.upload_form("", &[("folder/only.txt", b"only")]).await.file();
    assert_eq!(one.cid, cid_of_tree(&[("only.txt", b"only")]).cid.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_that_browsers_mean() {
    let world = World::new().await;
    let one = world.upload_form("", &[("say %22hi%22 50%25%0D%0A.txt", b"x")]).await.file();
    assert_eq!(one.name, "say \"hi\" 50%25\r\n.txt");
    let sent: [(&str, &[u8]); 2] = [("a %22b%22/c%20d", b"1"), ("a %22b%22/%22", b"2")];
    let folder = world.upload_form("", &sent).await.file();
    assert_eq!(folder.name, "a \"b\"");
    assert_eq!(folder.cid, cid_of_tree(&[("c%20d", b"1"), ("\"", b"2")]).cid.to_string());
    world.assert_reads(&format!("{}/%22", folder.cid), b"2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_sharded_at_the_threshold() {
    let world = World::new().await;
    // Each entry takes the same bytes: a link of name, CID and size in front of 256 KiB.
    let names: Vec<String> = (0..3000).map(|number| format!("{number:0>60}")).collect();
    let cid_of_first = |count: usize| {
        let files: Vec<(&str, &[u8])> =
            names[..count].iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        (cid_of_tree(&files).cid, files)
    };
    let is_sharded = |count: usize| {
        let mut tree = TreeBuilder::new(Profile::UNIXFS_V1_2025);
        for (path, bytes) in cid_of_first(count).1 {
            tree.add(path, cid_of(Profile::UNIXFS_V1_2025, bytes)).unwrap();
        }
        tree.finish().unwrap().blocks.len() > 1
    };
    let counts: Vec<usize> = (1..3000).collect();
    let limit = counts[counts.partition_point(|count| !is_sharded(*count))];
    for count in [limit - 1, limit] {
        let (expected, files) = cid_of_first(count);
        let file = world.upload_form("", &files).await.file();
        assert_eq!(file.cid, expected.to_string(), "{count} entries");
        world.assert_reads(&format!("{}/{}", file.cid, names[count / 2]), b"x").await;
        let listing = world.read(&format!("{}/", file.cid)).await;
        assert_eq!(listing.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_cars_that_explain_themselves() {
    let world = World::new().await;
    let bytes = patterned(5, 2 * MIB + 1);
    let file = world.upload("", bytes.clone()).await.file();
    let root: content::Cid = file.cid.parse().unwrap();
    let ids = world.db.root_segments(&root).await.unwrap();
    // The last pieces may arrive after the acknowledgement.
    let all_stored = async || {
        world.db.segments_info(&ids).await.unwrap()[0].pieces.iter().all(|piece| piece.node.is_some())
    };
    until(all_stored).await;
    let info = world.db.segments_info(&ids).await.unwrap().remove(0);
    let holder = |index: usize| world.network.node(info.pieces[index].node.unwrap()).unwrap();
    let pieces: Vec<Bytes> =
        (0..20).map(|index| holder(index).piece(info.pieces[index].hash).unwrap()).collect();
    let present: Vec<(u8, &[u8])> =
        (4_u8..12).map(|index| (index, &pieces[usize::from(index)][..])).collect();
    let segment = erasure::Decoder::new(info.scheme).decode(info.length_bytes, &present).unwrap();
    let segment = Bytes::from(segment);
    let car = content::car::CarReader::new(&segment).unwrap();
    let record = car.roots()[0].clone();
    let blocks: Vec<content::Block> = car.blocks().map(Result::unwrap).collect();
    assert_eq!(blocks.len(), 5, "three leaves, their node, the record");
    assert!(blocks.iter().all(|block| block.cid.verify(&block.bytes).is_ok()));
    assert!(blocks.iter().any(|block| block.cid == root));
    let record = blocks.iter().find(|block| block.cid == record).unwrap();
    let network = world.gateway.signer.public_key();
    let pins = protocol::record::decode(&record.bytes, info.id, &network).unwrap().pins;
    assert_eq!((pins.len(), &pins[0].root, pins[0].account.as_str()), (1, &root, super::world::ACCOUNT));
    // Every node knows which part of which segment it holds.
    for (index, piece) in (0_u8..).zip(&info.pieces) {
        let metas = holder(usize::from(index)).metas();
        assert!(
            metas.iter().any(|meta| (meta.segment, meta.index, meta.hash) == (info.id, index, piece.hash))
        );
    }
}
