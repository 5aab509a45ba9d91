//! What URLs allow to whoever has them: texts under a MAC whose key every gateway derives from the network's, and the API
//! keys behind them. Nothing of it is stored.

use axum::http::StatusCode;
use data_encoding::BASE64URL_NOPAD;
use service::http::error::ApiError;

use crate::{
    app::Gateway,
    auth::{AuthError, Scope},
};

/// Why a URL does not allow anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// Not ours, or changed.
    #[error("this is no URL that was signed here")]
    BadSignature,
    /// The API key was revoked, expired, or may not upload any more.
    #[error("the key behind this URL: {0}")]
    KeyGone(AuthError),
    /// Whether there is one is not known, or it may not be used at the moment.
    #[error(transparent)]
    NotNow(AuthError),
}

impl From<GrantError> for ApiError {
    fn from(error: GrantError) -> Self {
        let reason = match error {
            GrantError::BadSignature => "bad_signature",
            GrantError::KeyGone(_) => "key_gone",
            GrantError::NotNow(error) => return error.into(),
        };
        Self::new(StatusCode::FORBIDDEN, reason, error)
    }
}

/// The signature of a text that is for one purpose, which its context names.
pub(crate) fn sign(gateway: &Gateway, context: &str, text: &[u8]) -> String {
    BASE64URL_NOPAD.encode(mac(gateway, context, text).as_bytes())
}

/// Whether a text was signed for this purpose.
pub(crate) fn check(
    gateway: &Gateway,
    context: &str,
    text: &[u8],
    signature: &str,
) -> Result<(), GrantError> {
    let given = BASE64URL_NOPAD.decode(signature.as_bytes()).ok();
    let given = given.and_then(|given| blake3::Hash::from_slice(&given).ok());
    // Hashes are compared in constant time.
    let holds = given.is_some_and(|given| mac(gateway, context, text) == given);
    if holds { Ok(()) } else { Err(GrantError::BadSignature) }
}

/// The account of the API key behind a URL, if that key may still upload.
pub(crate) async fn account(gateway: &Gateway, key: &str) -> Result<String, GrantError> {
    match gateway.keys.key_by_id(key, Scope::Write).await {
        Ok(key) => Ok(key.account),
        Err(gone @ (AuthError::Invalid | AuthError::Expired | AuthError::Revoked | AuthError::Scope(_))) => {
            Err(GrantError::KeyGone(gone))
        }
        Err(error) => Err(GrantError::NotNow(error)),
    }
}

fn mac(gateway: &Gateway, context: &str, text: &[u8]) -> blake3::Hash {
    let key = blake3::derive_key(context, &gateway.signer.key().to_bytes());
    blake3::keyed_hash(&key, text)
}
