//! The published CIDs of IPIP-0499, `unixfs-v1-2025` and `unixfs-v0-2015`.
//!
//! Its data are `ChaCha20` keystreams: key = SHA-256 of a seed, nonce and counter zero. The values of `unixfs-v0-2015` are
//! those of Kubo's own tests (`test/cli/cid_profiles_test.go`), where some that the IPIP abbreviates stand in full.

use bytes::Bytes;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use sha2::Digest as _;

use super::store::Store;
use crate::cid::{Cid, Codec, HashFn};
use crate::unixfs::directory::{DirectoryBuilder, FinishedDirectory};
use crate::unixfs::file::{FileBuilder, Part, import_bytes};
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
            drop(builder.push_leaf(Part { cid, size_bytes: len, dag_size_bytes: len }));
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

/// A directory of files holding "x", with names of `name_len` characters but for the last.
fn directory_of(
    profile: Profile,
    seed: &str,
    count: usize,
    name_len: usize,
    last_len: usize,
) -> FinishedDirectory {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    assert_eq!(ALPHABET.len(), 39);
    let names = keystream(seed, 0, (count - 1) * name_len + last_len);
    let file = import_bytes(profile, &Bytes::from_static(b"x")).target();
    let mut builder = DirectoryBuilder::new(profile);
    let (short, last) = names.split_at((count - 1) * name_len);
    for name in short.chunks(name_len).chain([last]) {
        let name: String = name.iter().map(|&b| char::from(ALPHABET[usize::from(b) % 39])).collect();
        builder.insert(&name, file.clone()).unwrap();
    }
    builder.finish().unwrap()
}

fn directory(last_name_len: usize) -> FinishedDirectory {
    directory_of(PROFILE, "hamt-unixfs-v1-2025", 4766, 11, last_name_len)
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

/// The CID as Kubo prints it, and whether every link is written in its version.
fn import_v0(bytes: Vec<u8>) -> String {
    import_bytes(Profile::UNIXFS_V0_2015, &Bytes::from(bytes)).root.as_written().to_string()
}

#[test]
fn files_of_version_0() {
    assert_eq!(import_v0(b"hello world".to_vec()), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
    let data = keystream("chunk-v0-seed", 0, MIB / 4 + 1);
    let one_leaf = data[..MIB / 4].to_vec();
    assert_eq!(import_v0(one_leaf), "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE");
    assert_eq!(import_v0(data), "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ");
    let data = keystream("v0-seed", 0, 174 * MIB / 4 + 1);
    let one_node = data[..174 * MIB / 4].to_vec();
    assert_eq!(import_v0(one_node), "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2");
    assert_eq!(import_v0(data), "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW");
    // What Kubo makes of an empty file and an empty directory, known to everybody who has run it.
    assert_eq!(import_v0(Vec::new()), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    let empty = DirectoryBuilder::new(Profile::UNIXFS_V0_2015).finish().unwrap();
    let empty = empty.root.cid.as_written().to_string();
    assert_eq!(empty, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
}

#[test]
fn directories_of_version_0_are_measured_by_their_links() {
    let seed = "hamt-unixfs-v0-2015";
    let written = |directory: FinishedDirectory| directory.root.cid.as_written().to_string();
    // 4096 entries of 30 + 34 bytes are the threshold, 4033 of 31 + 34 are one byte over it.
    let basic = directory_of(Profile::UNIXFS_V0_2015, seed, 4096, 30, 30);
    assert_eq!(basic.blocks.len(), 1);
    assert_eq!(written(basic), "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN");
    let sharded = directory_of(Profile::UNIXFS_V0_2015, seed, 4033, 31, 31);
    assert_eq!(written(sharded), "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP");
}
