//! The published CIDs of IPIP-0499 (`unixfs-v1-2025`).
//!
//! Its data are `ChaCha20` keystreams: key = SHA-256 of a seed, nonce and counter zero.

use bytes::Bytes;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use sha2::Digest as _;

use super::store::Store;
use crate::cid::{Cid, Codec, HashFn};
use crate::unixfs::Target;
use crate::unixfs::directory::{DirectoryBuilder, FinishedDirectory};
use crate::unixfs::file::{FileBuilder, import_bytes};
use crate::unixfs::profile::Profile;

const MIB: usize = 1024 * 1024;
const PROFILE: Profile = Profile::UNIXFS_V1_2025;

/// Bytes of the keystream from `offset` on.
fn keystream(seed: &str, offset: u64, len: usize) -> Vec<u8> {
    let key: [u8; 32] = sha2::Sha256::digest(seed).into();
    let mut cipher = chacha20::ChaCha20::new(&key.into(), &[0; 12].into());
    cipher.seek(offset);
    let mut out = vec![0; len];
    cipher.apply_keystream(&mut out);
    out
}

fn import(bytes: Vec<u8>) -> String {
    import_bytes(PROFILE, &Bytes::from(bytes)).root.to_string()
}

#[test]
fn small_files() {
    assert_eq!(
        import(b"hello world".to_vec()),
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    );
    let data = keystream("chunk-v1-seed", 0, MIB + 1);
    let one_leaf = data[..MIB].to_vec();
    assert_eq!(import(one_leaf), "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta");
    assert_eq!(import(data), "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64");
}

/// CIDs of the leaves `from..to` of the gigabyte, one leaf in memory at a time.
fn leaves(from: u64, to: u64) -> Vec<Cid> {
    (from..to)
        .map(|i| {
            let leaf = keystream("v1-2025-seed", i * MIB as u64, MIB);
            Cid::of(Codec::Raw, HashFn::Sha2_256, &leaf)
        })
        .collect()
}

#[test]
fn a_gigabyte_and_more() {
    let (mut all, upper) = std::thread::scope(|scope| {
        let lower = scope.spawn(|| leaves(0, 512));
        let upper = leaves(512, 1025);
        (lower.join().unwrap(), upper)
    });
    all.extend(upper);
    let last_byte = keystream("v1-2025-seed", 1 << 30, 1);
    let last_byte = Cid::of(Codec::Raw, HashFn::Sha2_256, &last_byte);

    let root = |tail: Option<(Cid, u64)>| {
        let mut builder = FileBuilder::new(PROFILE);
        let full = all[..1024].iter().map(|cid| (cid.clone(), MIB as u64));
        for (cid, len) in full.chain(tail) {
            drop(builder.push_leaf(cid, len));
        }
        builder.finish().root.to_string()
    };
    // The fullest tree of one level, then the two smallest of two levels.
    assert_eq!(root(None), "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm");
    assert_eq!(root(Some((last_byte, 1))), "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe");
    assert_eq!(
        root(Some((all[1024].clone(), MIB as u64))),
        "bafybeihmzokxxjqwxjcryerhp5ezpcog2wcawfryb2xm64xiakgm4a5jue"
    );
}

/// The directory of 4766 files holding "x", each with a name of 11 characters but the last.
fn directory(last_name_len: usize) -> FinishedDirectory {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    assert_eq!(ALPHABET.len(), 39);
    let names = keystream("hamt-unixfs-v1-2025", 0, 4765 * 11 + last_name_len);
    let file = Target { cid: Cid::of(Codec::Raw, HashFn::Sha2_256, b"x"), dag_size_bytes: 1 };
    let mut builder = DirectoryBuilder::new(PROFILE);
    let (short, last) = names.split_at(4765 * 11);
    for name in short.chunks(11).chain([last]) {
        let name: String = name.iter().map(|&b| char::from(ALPHABET[usize::from(b) % 39])).collect();
        builder.insert(&name, file.clone()).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn directories_at_and_over_the_threshold() {
    let basic = directory(21);
    assert_eq!(basic.root.cid.to_string(), "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4");
    assert_eq!(basic.blocks[0].bytes.len(), 262_144);
    assert_eq!(basic.root.dag_size_bytes, 262_144 + 4766);

    let sharded = directory(22);
    assert_eq!(sharded.root.cid.to_string(), "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu");
    let blocks: u64 = sharded.blocks.iter().map(|block| block.bytes.len() as u64).sum();
    assert_eq!(sharded.root.dag_size_bytes, blocks + 4766);

    // The same entries by either layout, but for the last.
    let (basic, sharded) = (
        Store::new(basic.blocks).entries(&basic.root.cid),
        Store::new(sharded.blocks).entries(&sharded.root.cid),
    );
    assert_eq!((basic.len(), sharded.len()), (4766, 4766));
    assert_eq!(basic.keys().filter(|name| !sharded.contains_key(*name)).count(), 1);
}

#[test]
fn empty_things() {
    let directory = DirectoryBuilder::new(PROFILE).finish().unwrap();
    assert_eq!(directory.root.cid.to_string(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    assert_eq!(directory.root.dag_size_bytes, 4);
    assert_eq!(import(Vec::new()), Cid::of(Codec::Raw, HashFn::Sha2_256, b"").to_string());
}
