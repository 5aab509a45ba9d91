//! Secrets in files: the network's key and the admin token. Those that `pinstripe dev` makes bear a mark, and are refused
//! wherever a process listens on more than this machine. Nothing of a secret is ever in an error or in the log.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;

/// What secrets begin with that were made for a network on one machine.
pub const DEV_MARK: &str = "dev_";
/// Letters of an admin token, at least.
pub const TOKEN_LEN_MIN: usize = 16;
/// Bytes of a file with a secret, at most.
const FILE_BYTES_MAX: u64 = 4096;
/// The permission of everybody to read (POSIX, `S_IROTH`).
const OTHERS_READ: u32 = 0o004;

/// What was read from a file.
#[derive(Clone)]
pub struct Secret<T> {
    /// The secret.
    pub value: T,
    /// Whether it bears the mark of `pinstripe dev`.
    pub is_dev: bool,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is longer than any secret.
    #[error("{0} is too long to hold a secret")]
    TooLong(PathBuf),
    /// The file holds no key.
    #[error("{0} must hold 64 hex digits")]
    NoKey(PathBuf),
    /// The token is empty, or so short that it could be guessed.
    #[error("{0} must hold a token of at least {TOKEN_LEN_MIN} letters, and of nothing but visible ones")]
    NoToken(PathBuf),
}

/// The network's secret key: 64 hex digits.
pub fn read_network_key(path: &Path) -> Result<Secret<SigningKey>, SecretError> {
    let Secret { value: text, is_dev } = read(path)?;
    let digits = text.strip_prefix(DEV_MARK).unwrap_or(&text);
    let bytes = decode_hex(digits).ok_or_else(|| SecretError::NoKey(path.to_owned()))?;
    Ok(Secret { value: SigningKey::from_bytes(&bytes), is_dev })
}

/// The admin API's token, mark and all.
pub fn read_admin_token(path: &Path) -> Result<Secret<String>, SecretError> {
    let token = read(path)?;
    let is_usable =
        token.value.len() >= TOKEN_LEN_MIN && token.value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usable { Ok(token) } else { Err(SecretError::NoToken(path.to_owned())) }
}

fn read(path: &Path) -> Result<Secret<String>, SecretError> {
    let unreadable = |cause| SecretError::Unreadable { path: path.to_owned(), cause };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    if metadata.mode() & OTHERS_READ != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine can read this secret: chmod 600");
    }
    let text = fs::read_to_string(path).map_err(unreadable)?.trim().to_string();
    Ok(Secret { is_dev: text.starts_with(DEV_MARK), value: text })
}

fn decode_hex(digits: &str) -> Option<[u8; 32]> {
    let digits = <&[u8; 64]>::try_from(digits.as_bytes()).ok()?;
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(digit(2 * at)? << 4 | digit(2 * at + 1)?).ok()?;
    }
    Some(bytes)
}

/// Whether an address is reached from this machine only.
pub fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
    }
}

/// A secret that everybody with the sources of an example, or a copied directory, could have, where others could use it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key}: this secret was made by `pinstripe dev` for one machine, but {listen} is reached by others: make a new one (openssl rand -hex 32)"
)]
pub struct DevSecretExposed {
    /// The key of the configuration that names its file.
    pub key: &'static str,
    /// The listener.
    pub listen: SocketAddr,
}

/// Refuses secrets of `pinstripe dev` (named by their keys) when any of `listeners` is more than loopback.
pub fn refuse_dev_secrets(
    dev_secrets: impl IntoIterator<Item = &'static str>,
    listeners: &[SocketAddr],
) -> Result<(), DevSecretExposed> {
    let exposed = listeners.iter().copied().find(|address| !is_loopback(*address));
    match (exposed, dev_secrets.into_iter().next()) {
        (Some(listen), Some(key)) => Err(DevSecretExposed { key, listen }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_key_is_64_hex_digits_and_perhaps_a_mark() {
        let digits = "0A".repeat(32);
        for (text, is_dev) in [(format!("{digits}\n"), false), (format!("dev_{digits}"), true)] {
            let key = read_network_key(file(&text).path()).ok().unwrap();
            assert_eq!((key.value.to_bytes(), key.is_dev), ([10; 32], is_dev));
        }
        for wrong in
            ["", "c0ffee", &"g0".repeat(32), &"é".repeat(32), &format!("DEV_{digits}"), &format!("{digits}0")]
        {
            let error = read_network_key(file(wrong).path()).err().unwrap().to_string();
            assert!(error.contains("64 hex digits") && !error.contains("c0ffee"), "{error}");
        }
        assert!(matches!(read_network_key(file(&"0".repeat(5000)).path()), Err(SecretError::TooLong(_))));
        assert!(matches!(read_network_key(Path::new("/nowhere/key")), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        for wrong in ["", "\n", "short", "fifteen_letters", "with spaces in between it all"] {
            assert!(matches!(read_admin_token(file(wrong).path()), Err(SecretError::NoToken(_))), "{wrong}");
        }
        let token = read_admin_token(file(" sixteen_letters!\n").path()).ok().unwrap();
        assert_eq!((token.value.as_str(), token.is_dev), ("sixteen_letters!", false));
        assert!(read_admin_token(file("dev_0123456789ab").path()).ok().unwrap().is_dev);
    }

    #[test]
    fn marked_secrets_stay_on_one_machine() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let inside = [at("127.0.0.1:1"), at("127.3.0.1:1"), at("[::1]:1"), at("[::ffff:127.0.0.1]:1")];
        assert_eq!(refuse_dev_secrets(["network_key_file"], &inside), Ok(()));
        for outside in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "10.0.0.1:80"] {
            let listeners = [inside[0], at(outside)];
            let refused = refuse_dev_secrets(["network_key_file"], &listeners).unwrap_err();
            assert_eq!(refused, DevSecretExposed { key: "network_key_file", listen: at(outside) });
            assert_eq!(refuse_dev_secrets([], &listeners), Ok(()), "others may");
        }
    }
}
