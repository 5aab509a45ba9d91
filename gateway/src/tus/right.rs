//! The right to go on with an upload that its URL carries: for clients who began it under a signed URL and have no key.

use super::ID_LEN;
use crate::{
    app::Gateway,
    grants::{self, GrantError},
};

/// What the MAC's key is derived for.
const CONTEXT: &str = "pinstripe 2026-11 urls of uploads in several requests";
const KEY: &str = "X-Key";
const SIGNATURE: &str = "X-Signature";

/// What stands behind an upload's URL so that whoever has it goes on with it under this API key.
pub(crate) fn query(gateway: &Gateway, upload: &str, key: &str) -> String {
    let signature = grants::sign(gateway, CONTEXT, &text(upload, key));
    format!("{KEY}={key}&{SIGNATURE}={signature}")
}

/// The id of the API key under which a URL with this query goes on; `None` when it claims nothing.
pub(crate) fn key(gateway: &Gateway, upload: &str, query: &str) -> Result<Option<String>, GrantError> {
    let part = |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    let Some((_, signature)) = part(SIGNATURE) else { return Ok(None) };
    let (_, key) = part(KEY).ok_or(GrantError::BadSignature)?;
    // Ids are of one length: an id and a key cannot be read as others.
    if upload.len() != ID_LEN {
        return Err(GrantError::BadSignature);
    }
    grants::check(gateway, CONTEXT, &text(upload, &key), &signature)?;
    Ok(Some(key.into_owned()))
}

fn text(upload: &str, key: &str) -> Vec<u8> {
    [upload.as_bytes(), key.as_bytes()].concat()
}
