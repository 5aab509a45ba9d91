//! Whose key a request carries: as bearer token, or in the two headers of the older clients.

use axum::http::HeaderMap;
use store::ApiKey;

use crate::{
    app::Gateway,
    auth::{AuthError, Scope, bearer},
};

/// The account whose key this is, if it allows `scope`.
pub(super) async fn account(
    gateway: &Gateway,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<String, AuthError> {
    Ok(key(gateway, headers, scope).await?.account)
}

/// The key. In the headers the first is its public half, with or without `pk_`, and the second its secret half, or all
/// of it.
pub(super) async fn key(gateway: &Gateway, headers: &HeaderMap, scope: Scope) -> Result<ApiKey, AuthError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let pair = header("pinata_api_key").zip(header("pinata_secret_api_key"));
    match (bearer(headers).filter(|token| !token.is_empty()), pair) {
        (Some(token), _) => gateway.keys.key_of(token, scope).await,
        (None, Some((_, whole))) if whole.starts_with("pk_") => gateway.keys.key_of(whole, scope).await,
        (None, Some((id, secret))) => {
            let id = id.strip_prefix("pk_").unwrap_or(id);
            gateway.keys.key_of(&format!("pk_{id}.{secret}"), scope).await
        }
        (None, None) => Err(AuthError::Missing),
    }
}
