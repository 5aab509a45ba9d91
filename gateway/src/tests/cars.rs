//! CARs that are uploaded.

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use content::{
    Block, Cid, Codec, HashFn, car,
    dagpb::{Link, Node},
    unixfs::{Data, DataType, file::Finished, file::leaf, profile::Profile},
};

use super::world::{World, patterned};

const PROFILE: Profile = Profile::UNIXFS_V1_2025;
const MIB: usize = 1 << 20;

/// A file's blocks, its leaves first.
fn file(seed: u32, len: usize) -> (Vec<u8>, Vec<Block>) {
    let bytes = patterned(seed, len);
    let mut builder = content::unixfs::file::FileBuilder::new(PROFILE);
    let mut blocks = Vec::new();
    for chunk in bytes.chunks(MIB) {
        let (block, part) = leaf(&PROFILE, Bytes::copy_from_slice(chunk));
        blocks.push(block);
        blocks.extend(builder.push_leaf(part));
    }
    let Finished { blocks: last, .. } = builder.finish();
    blocks.extend(last);
    (bytes, blocks)
}

fn root(blocks: &[Block]) -> Cid {
    blocks.last().unwrap().cid.clone()
}

fn car(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    let mut car = car::header(roots);
    for block in blocks {
        car.extend(car::frame_prefix(&block.cid, block.bytes.len()));
        car.extend_from_slice(&block.bytes);
    }
    car
}

fn one(root: &Cid, blocks: &[Block]) -> Vec<u8> {
    car(std::slice::from_ref(root), blocks)
}

/// The same as a CAR of version 2 without an index.
fn version_2(car: &[u8]) -> Vec<u8> {
    let mut out = vec![0x0a, 0xa1, 0x67];
    out.extend_from_slice(b"version\x02");
    out.extend_from_slice(&[0; 16]);
    // Padding in front of the data.
    for number in [11 + 40 + 9, car.len() as u64, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[0; 9]);
    out.extend_from_slice(car);
    out
}

fn raw(bytes: &'static [u8]) -> Block {
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from_static(bytes))
}

/// A file node over two equal parts that says how long it is.
fn node(part: &Cid, part_bytes: u64, says: u64) -> Block {
    let data =
        Data { filesize: Some(says), blocksizes: vec![part_bytes, part_bytes], ..Data::new(DataType::File) };
    let data = data.encode();
    let link = || Link { cid: part.clone(), name: None, tsize: None };
    let node = Node { links: vec![link(), link()], data: Some(&data) };
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(node.encode()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_is_the_same_upload_as_the_file_in_it() {
    let world = World::new().await;
    let (bytes, blocks) = file(1, 3 * MIB + 5);
    let car = car(&[root(&blocks)], &blocks);
    for (seed, body) in [car.clone(), version_2(&car)].into_iter().enumerate() {
        let uploaded = world.upload("?unpack=car&name=mine", body).await.file();
        assert_eq!(uploaded.cid, root(&blocks).to_string());
        assert_eq!((uploaded.size_bytes, uploaded.name.as_str()), (bytes.len() as u64, "mine"));
        assert_eq!(uploaded.duplicate, seed == 1, "the second time");
        world.assert_reads(&uploaded.cid, &bytes).await;
    }
    let again = world.upload("", bytes.clone()).await.file();
    assert!(again.duplicate);
    assert_eq!(world.used_bytes().await, bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_of_a_car_is_pinned() {
    let world = World::new().await;
    let ((first, a), (second, b)) = (file(1, MIB + 5), file(2, 100));
    let blocks = [&a[..], &b].concat();
    let uploaded = world.upload("?unpack=car", car(&[root(&a), root(&b), root(&a)], &blocks)).await.file();
    let mut pinned = vec![uploaded.clone()];
    pinned.extend(uploaded.also);
    pinned.sort_by_key(|file| std::cmp::Reverse(file.size_bytes));
    let sizes = pinned.iter().map(|file| (file.cid.clone(), file.size_bytes));
    let expected = [(root(&a).to_string(), first.len() as u64), (root(&b).to_string(), second.len() as u64)];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
    assert_eq!(world.used_bytes().await, (first.len() + second.len()) as u64);
    // Each is a pin of its own.
    assert_eq!(world.delete(&format!("/v1/files/{}", root(&a))).await.status, StatusCode::NO_CONTENT);
    world.assert_reads(&root(&b).to_string(), &second).await;
    assert_eq!(world.used_bytes().await, second.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_already_need_not_come() {
    let world = World::new().await;
    let (bytes, blocks) = file(1, 3 * MIB + 5);
    world.upload("", bytes.clone()).await.file();
    // Another root over the stored leaves and over the whole stored file.
    let (stored, leaf_cid) = (root(&blocks), blocks[0].cid.clone());
    let over_leaf = node(&leaf_cid, MIB as u64, 2 * MIB as u64);
    let over_file = node(&stored, bytes.len() as u64, 2 * bytes.len() as u64);
    for top in [&over_leaf, &over_file] {
        let car = one(&top.cid, std::slice::from_ref(top));
        world.upload("?unpack=car", car).await.file();
    }
    // They are kept when the file is not.
    let removed = world.delete(&format!("/v1/files/{stored}")).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(world.segments().await[2], 0, "no segment is orphaned");
    world.assert_reads(&over_file.cid.to_string(), &[&bytes[..], &bytes].concat()).await;
    world.assert_reads(&over_leaf.cid.to_string(), &[&bytes[..MIB], &bytes[..MIB]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_without_all_its_blocks_is_not_pinned() {
    let world = World::new().await;
    let (_, blocks) = file(1, 3 * MIB + 5);
    for left_out in 0..blocks.len() {
        let mut some = blocks.clone();
        let missing = some.remove(left_out);
        let answer = world.upload("?unpack=car", car(&[root(&blocks)], &some)).await;
        assert_eq!(answer.error(), (422, "incomplete_dag".into()));
        assert!(answer.json()["error"]["details"].as_str().unwrap().contains(&missing.cid.to_string()));
    }
    assert_eq!(world.get("/v1/files").await.json()["files"], serde_json::json!([]));
    assert_eq!((world.used_bytes().await, world.segments().await[1]), (0, 0));
    assert_eq!(world.read(&blocks[0].cid.to_string()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn cars_that_lie_or_end_early() {
    let world = World::new().await;
    let (_, blocks) = file(1, MIB + 5);
    let good = car(&[root(&blocks)], &blocks);
    let bad = (400, "bad_archive".to_string());
    let refuse = async |car: Vec<u8>| world.upload("?unpack=car", car).await.error();
    for at in [0, 1, 30, 58, 60, 1_000, good.len() - 1] {
        assert_eq!(refuse(good[..at].to_vec()).await, bad, "cut at {at}");
    }
    for at in [2, 70, 100, 5_000, good.len() - 3] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert_eq!(refuse(flipped).await.0, 400, "flipped at {at}");
    }
    assert_eq!(refuse(car(&[], &blocks)).await, bad);
    let many: Vec<Cid> = (0..65).map(|seed| file(seed, 10).1.remove(0).cid).collect();
    assert_eq!(refuse(car(&many, &blocks)).await, bad, "more roots than one CAR may have");
    assert_eq!(refuse(patterned(1, 5_000)).await, bad);
    // A section of three million bytes and some, as a CAR begins it.
    let name = root(&blocks);
    let large =
        [&car::header(&[root(&blocks)])[..], &[0xc0, 0x8d, 0xb7, 0x01], name.as_bytes(), &vec![0; 99_999]];
    assert_eq!(refuse(large.concat()).await, bad, "a block of more than 2 MiB");
    assert_eq!(world.used_bytes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stores_for_less_than_it_takes() {
    let world = World::new().await;
    let (small, big) = (raw(b"small"), file(1, MIB).1.remove(0));
    // Blocks that the root does not need are kept with it, and paid for: also when the root was pinned before.
    let other = file(2, MIB).1.remove(0);
    let beside = |blocks: &[Block]| one(&small.cid, blocks);
    for (blocks, used) in [
        (vec![small.clone()], 5),
        (vec![big.clone(), small.clone()], MIB + 5),
        (vec![big.clone(), small.clone()], MIB + 5),
        (vec![small.clone(), other.clone(), big.clone()], 3 * MIB + 5),
    ] {
        let uploaded = world.upload("?unpack=car", beside(&blocks)).await.file();
        assert_eq!(uploaded.size_bytes, 5);
        assert_eq!(world.used_bytes().await, used as u64);
    }
    world.assert_reads(&big.cid.to_string(), &big.bytes).await;
    // It goes with the root.
    assert_eq!(world.delete(&format!("/v1/files/{}", small.cid)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.used_bytes().await, 0);
    // A middle node says that its parts are shorter than they are.
    let honest = node(&big.cid, MIB as u64, 2 * MIB as u64);
    let lying = node(&honest.cid, 1, 2);
    let blocks = [big.clone(), honest.clone(), lying.clone()];
    let uploaded = world.upload("?unpack=car", one(&lying.cid, &blocks)).await.file();
    assert!(uploaded.size_bytes > MIB as u64, "{uploaded:?}");
    let uploaded = world.upload("?unpack=car", one(&honest.cid, &blocks[..2])).await.file();
    assert_eq!(uploaded.size_bytes, 2 * MIB as u64, "as the same file by another way");
    // A directory of what is no file.
    let value = [&[0x5a, 0, 0xf, 0x42, 0x40][..], &vec![7; 1_000_000]].concat();
    let value = Block::of(Codec::DagCbor, HashFn::Sha2_256, value.into());
    let data = Data::new(DataType::Directory).encode();
    let link = Link { cid: value.cid.clone(), name: Some("a"), tsize: None };
    let folder = Node { links: vec![link], data: Some(&data) }.encode();
    let folder = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(folder));
    let uploaded = world.upload("?unpack=car", one(&folder.cid, &[folder.clone(), value])).await.file();
    assert_eq!(uploaded.size_bytes, 1_000_005);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_wide_ones_are_bounded() {
    let world = World::with(20, |config| config.uploads.dag_nodes_max = 2_048).await;
    // Sixty levels that each link the next one twice: 2^60 leaves.
    let mut blocks = vec![raw(b"leaf")];
    for _ in 0..60 {
        let below = root(&blocks);
        blocks.push(node(&below, 0, 0));
    }
    let uploaded = world.upload("?unpack=car", car(&[root(&blocks)], &blocks)).await.file();
    assert_eq!(uploaded.cid, root(&blocks).to_string());
    let many: Vec<Block> =
        (0..3_000).map(|seed| Block::of(Codec::Raw, HashFn::Sha2_256, patterned(seed, 20).into())).collect();
    let refused = world.upload("?unpack=car", car(&[root(&many)], &many)).await;
    assert_eq!(refused.error(), (503, "too_many_blocks".into()));
    // The room is given back.
    world.upload("?unpack=car", car(&[root(&many[..1_000])], &many[..1_000])).await.file();
    let listed = world.send(world.request(Method::GET, "/v1/files", "")).await.json();
    assert_eq!(listed["files"].as_array().unwrap().len(), 2);
}
