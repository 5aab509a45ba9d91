//! Short signed messages: a payload, a domain that says what kind of message it is, an ed25519 signature.
//!
//! The domain is signed but not sent, so that a signature made for one kind of message is never valid for another.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// Length of the signature that ends every token.
pub const SIGNATURE_LEN: usize = 64;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not base64, too short, or with fields out of range.
    #[error("malformed token")]
    Malformed,
    /// The signature is not by the expected key over this payload.
    #[error("bad signature")]
    BadSignature,
}

fn message(domain: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(domain.len() + 1 + payload.len());
    message.extend_from_slice(domain.as_bytes());
    message.push(0);
    message.extend_from_slice(payload);
    message
}

/// Signs `payload` under `domain`; the token is base64url of payload and signature.
pub fn sign(key: &SigningKey, domain: &str, payload: &[u8]) -> String {
    let mut token = payload.to_vec();
    token.extend_from_slice(&key.sign(&message(domain, payload)).to_bytes());
    data_encoding::BASE64URL_NOPAD.encode(&token)
}

/// Checks a token of [`sign`] and returns its payload.
pub fn verify(key: &VerifyingKey, domain: &str, token: &str) -> Result<Vec<u8>, TokenError> {
    let mut bytes =
        data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| TokenError::Malformed)?;
    let at = bytes.len().checked_sub(SIGNATURE_LEN).ok_or(TokenError::Malformed)?;
    let signature = Signature::from_slice(&bytes[at..]).map_err(|_| TokenError::Malformed)?;
    bytes.truncate(at);
    key.verify_strict(&message(domain, &bytes), &signature).map_err(|_| TokenError::BadSignature)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_key_domain_and_payload() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let token = sign(&key, "order", b"payload");
        assert_eq!(verify(&key.verifying_key(), "order", &token).as_deref(), Ok(&b"payload"[..]));
        assert_eq!(verify(&key.verifying_key(), "ticket", &token), Err(TokenError::BadSignature));
        let other = SigningKey::from_bytes(&[8; 32]);
        assert_eq!(verify(&other.verifying_key(), "order", &token), Err(TokenError::BadSignature));
        let mut flipped = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        flipped[0] ^= 1;
        let flipped = data_encoding::BASE64URL_NOPAD.encode(&flipped);
        assert_eq!(verify(&key.verifying_key(), "order", &flipped), Err(TokenError::BadSignature));
        assert_eq!(verify(&key.verifying_key(), "order", "AAAA"), Err(TokenError::Malformed));
        assert_eq!(verify(&key.verifying_key(), "order", "!"), Err(TokenError::Malformed));
    }
}
