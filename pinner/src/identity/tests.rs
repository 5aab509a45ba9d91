//! The node's identity survives restarts, and what does not belong together is refused.

use super::*;

struct Dirs {
    _root: tempfile::TempDir,
    data: PathBuf,
    pieces: PathBuf,
}

fn dirs() -> Dirs {
    let root = tempfile::tempdir().unwrap();
    let (data, pieces) = (root.path().join("data"), root.path().join("disk"));
    Dirs { _root: root, data, pieces }
}

fn open_again(dirs: &Dirs, seed: u64) -> Result<SigningKey, IdentityError> {
    open(&dirs.data, &dirs.pieces, &Dice::seeded(seed))
}

#[test]
fn the_key_is_made_once_and_is_private() {
    let dirs = dirs();
    let key = open_again(&dirs, 1).unwrap();
    let again = open_again(&dirs, 2).unwrap();
    assert_eq!(key, again);
    let mode = fs::metadata(dirs.data.join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs::read_to_string(dirs.data.join(KEY_FILE)).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn a_key_in_hex_is_read_and_nonsense_is_refused() {
    let dirs = dirs();
    fs::create_dir_all(&dirs.data).unwrap();
    fs::write(dirs.data.join(KEY_FILE), format!("{}\n", "07".repeat(32))).unwrap();
    assert_eq!(open_again(&dirs, 1).unwrap(), SigningKey::from_bytes(&[7; 32]));
    for nonsense in ["", "0707", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(dirs.data.join(KEY_FILE), nonsense).unwrap();
        assert!(matches!(open_again(&dirs, 1), Err(IdentityError::Malformed { .. })), "{nonsense:?}");
    }
}

#[test]
fn a_lost_mount_and_a_swapped_disk_are_noticed() {
    let dirs = dirs();
    let key = open_again(&dirs, 1).unwrap();
    let aside = dirs.pieces.with_extension("aside");
    fs::rename(&dirs.pieces, &aside).unwrap();
    assert!(matches!(open_again(&dirs, 2), Err(IdentityError::StoreGone { .. })), "its own store is gone");
    fs::write(dirs.pieces.join(MARK_FILE), format!("{}\n", NodeId([9; 32]))).unwrap();
    assert!(matches!(open_again(&dirs, 2), Err(IdentityError::OtherNode { .. })), "another node's store");
    fs::remove_dir_all(&dirs.pieces).unwrap();
    fs::rename(&aside, &dirs.pieces).unwrap();
    assert_eq!(open_again(&dirs, 2).unwrap(), key);

    fs::remove_file(dirs.data.join(KEY_FILE)).unwrap();
    assert!(
        matches!(open_again(&dirs, 2), Err(IdentityError::KeyGone { .. })),
        "no new key for an old store"
    );
}

#[test]
fn a_first_start_that_was_cut_off_is_repeated() {
    let dirs = dirs();
    let key = open_again(&dirs, 1).unwrap();
    fs::remove_file(dirs.data.join(MARKED_FILE)).unwrap();
    fs::remove_file(dirs.pieces.join(MARK_FILE)).unwrap();
    assert_eq!(open_again(&dirs, 2).unwrap(), key);
    assert!(dirs.pieces.join(MARK_FILE).exists() && dirs.data.join(MARKED_FILE).exists());
}

#[test]
fn the_network_key_is_trusted_once_for_good() {
    let dirs = dirs();
    fs::create_dir_all(&dirs.data).unwrap();
    let [ours, other] = [3, 4].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
    let network = NetworkKey::open(&dirs.data).unwrap();
    assert_eq!(network.get(), None);
    network.learn(ours).unwrap();
    network.learn(ours).unwrap();
    assert!(network.learn(other).unwrap_err().is::<OtherNetwork>());

    let reopened = NetworkKey::open(&dirs.data).unwrap();
    assert_eq!(reopened.get(), Some(&ours));
    assert!(reopened.learn(other).unwrap_err().is::<OtherNetwork>());
    assert_eq!(NetworkKey::open(&dirs.data).unwrap().get(), Some(&ours), "the file is left alone");
}
