//! Who is calling: API keys of accounts, and the operator's admin token.
//!
//! Whoever has a good key is also counted here, so that every API that takes keys keeps the limit of its account.
//!
//! A key is `pk_ID.SECRET`, both halves random hex. Only the BLAKE3 hash of the secret is stored: the secret has 256 random
//! bits, so nothing slower than a hash is needed.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use service::{clock::Clock, dice::Dice, http::error::ApiError, rate_limit::TooMany};
use store::{ApiKey, Db};
use subtle::ConstantTimeEq as _;

use crate::{
    database::{DatabaseWatch, NoAnswer},
    live::Live,
};

/// How long a key is believed without asking the database: a revoked key is refused within this time, and sooner when its
/// revocation is heard of.
const KEY_TTL: Duration = Duration::from_millis(500);
/// Keys remembered, at most.
const KEYS_MAX: u64 = 10_000;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// List and look at files.
    Read,
    /// Upload.
    Write,
    /// Unpin.
    Delete,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// Names of all scopes.
pub const ALL_SCOPES: [&str; 3] = ["read", "write", "delete"];

/// Why a caller is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("an API key is needed: send it as 'Authorization: Bearer KEY'")]
    Missing,
    #[error("the API key is not valid")]
    Invalid,
    #[error("the API key has expired")]
    Expired,
    #[error("the API key has been revoked")]
    Revoked,
    #[error("the API key does not allow this: scope '{0}' is missing")]
    Scope(&'static str),
    #[error("the account has made {0}")]
    TooMany(TooMany),
    #[error("keys cannot be checked right now")]
    Unavailable,
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let reason = match error {
            AuthError::Missing => "unauthorized",
            AuthError::Invalid => "invalid_key",
            AuthError::Expired => "expired_key",
            AuthError::Revoked => "revoked_key",
            AuthError::Scope(_) => return Self::new(StatusCode::FORBIDDEN, "missing_scope", error),
            AuthError::TooMany(too_many) => return Self::rate_limited(too_many),
            AuthError::Unavailable => return Self::unavailable("store_unavailable", error, 5),
        };
        Self::new(StatusCode::UNAUTHORIZED, reason, error)
    }
}

/// A new key: what the caller keeps, and what is stored.
pub struct MintedKey {
    /// What the caller sends as bearer token. It is stored nowhere.
    pub key: String,
    /// Its public half.
    pub id: String,
    /// What is stored of its secret half.
    pub secret_hash: String,
}

/// Makes a key.
pub fn mint_key(dice: &Dice) -> MintedKey {
    let id = data_encoding::HEXLOWER.encode(&dice.bytes::<8>());
    let secret = data_encoding::HEXLOWER.encode(&dice.bytes::<32>());
    let secret_hash = hash(&secret);
    MintedKey { key: format!("pk_{id}.{secret}"), id, secret_hash }
}

/// What is stored of a secret.
pub(crate) fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A key as a request carries it: its id and its secret.
struct GivenKey {
    id: String,
    secret: String,
}

impl GivenKey {
    /// The bearer token, or what HTTP Basic calls user and password (RFC 7617), as tools that know nothing else send it:
    /// any user with the key as password, or the two halves of the key. Older clients of Pinata send these in headers of
    /// their own.
    fn of(headers: &HeaderMap) -> Result<Self, AuthError> {
        if let Some(token) = bearer(headers) {
            return Self::parse(token).ok_or(AuthError::Invalid);
        }
        let (user, password) = basic(headers).or_else(|| pinata(headers)).ok_or(AuthError::Missing)?;
        let halves =
            || Self { id: user.strip_prefix("pk_").unwrap_or(&user).to_string(), secret: password.clone() };
        Ok(Self::parse(&password).unwrap_or_else(halves))
    }

    fn parse(key: &str) -> Option<Self> {
        let (id, secret) = key.strip_prefix("pk_")?.split_once('.')?;
        Some(Self { id: id.to_string(), secret: secret.to_string() })
    }
}

/// User and password of HTTP Basic.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = value.split_once(' ')?;
    let coded = Some(coded.trim().as_bytes()).filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(data_encoding::BASE64.decode(coded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_string(), password.to_string()))
}

/// What Pinata calls API key and API secret.
fn pinata(headers: &HeaderMap) -> Option<(String, String)> {
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim().to_string());
    header("pinata_api_key").zip(header("pinata_secret_api_key"))
}

/// Checks API keys; cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys {
    db: Db,
    database: DatabaseWatch,
    clock: Clock,
    known: moka::sync::Cache<String, ApiKey>,
    live: Live,
}

impl Keys {
    /// How many requests an account may have says `live`.
    pub(crate) fn new(db: Db, database: DatabaseWatch, clock: Clock, live: Live) -> Self {
        let known = moka::sync::Cache::builder().max_capacity(KEYS_MAX).time_to_live(KEY_TTL).build();
        Self { db, database, clock, known, live }
    }

    /// The account whose key this request carries, if the key allows `scope` and the account may have one more request.
    /// To be asked once in a request.
    pub(crate) async fn account(&self, headers: &HeaderMap, scope: Scope) -> Result<String, AuthError> {
        Ok(self.api_key(headers, scope).await?.account)
    }

    /// The key that this request carries, likewise.
    pub(crate) async fn api_key(&self, headers: &HeaderMap, scope: Scope) -> Result<ApiKey, AuthError> {
        let GivenKey { id, secret } = GivenKey::of(headers)?;
        let key = self.key(&id).await?;
        let given = hash(&secret);
        if !bool::from(given.as_bytes().ct_eq(key.secret_hash.as_bytes())) {
            return Err(AuthError::Invalid);
        }
        self.allowed(key, scope).await
    }

    /// The key of this id, likewise: for what its owner signed off before.
    pub(crate) async fn key_by_id(&self, id: &str, scope: Scope) -> Result<ApiKey, AuthError> {
        self.allowed(self.key(id).await?, scope).await
    }

    async fn allowed(&self, key: ApiKey, scope: Scope) -> Result<ApiKey, AuthError> {
        if key.revoked.is_some() {
            return Err(AuthError::Revoked);
        }
        if key.expires.is_some_and(|expires| expires <= self.clock.now()) {
            return Err(AuthError::Expired);
        }
        // Only now: whoever does not have a good key cannot use up what the account has.
        let limit = self.live.get().account_limit.clone();
        if let Some(limit) = limit
            && let Err(too_many) = limit.take(key.account.clone()).await
        {
            return Err(AuthError::TooMany(too_many));
        }
        permits(&key, scope)?;
        Ok(key)
    }

    async fn key(&self, id: &str) -> Result<ApiKey, AuthError> {
        if let Some(key) = self.known.get(id) {
            return Ok(key);
        }
        let found = self.database.wait_for(self.db.api_key(id)).await.map_err(|none| {
            if let NoAnswer::Failed(error) = none {
                tracing::error!(%error, "could not read an API key");
            }
            AuthError::Unavailable
        })?;
        let key = found.ok_or(AuthError::Invalid)?;
        self.known.insert(id.to_string(), key.clone());
        Ok(key)
    }

    /// Forgets a key at once, so that its revocation holds here.
    pub(crate) fn forget(&self, id: &str) {
        self.known.invalidate(id);
    }

    /// Forgets all keys.
    pub(crate) fn forget_all(&self) {
        self.known.invalidate_all();
    }
}

/// Whether a key allows `scope` too.
pub(crate) fn permits(key: &ApiKey, scope: Scope) -> Result<(), AuthError> {
    let is_allowed = key.scopes.split(',').any(|allowed| allowed == scope.name());
    if is_allowed { Ok(()) } else { Err(AuthError::Scope(scope.name())) }
}

/// The token of the admin API; without one there is no admin API.
#[derive(Clone)]
pub(crate) struct AdminToken(pub(crate) Option<std::sync::Arc<str>>);

impl AdminToken {
    /// Whether the request carries the token.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(token) = &self.0 else {
            return Err(ApiError::not_found("admin_off", "the admin API is not enabled here"));
        };
        let given = bearer(headers).ok_or(AuthError::Missing)?;
        // Hashes are compared, so that neither the time nor the length says anything.
        let same = blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes());
        if same {
            Ok(())
        } else {
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_token", "not the admin token"))
        }
    }
}
