//! Accounts, their API keys, and invitations for node operators.

use protocol::time::UnixMillis;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{millis, size, sql},
};

/// Who pays for pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Random name.
    pub id: String,
    /// For people.
    pub name: String,
    /// How many bytes its pins may add up to.
    pub quota_bytes: u64,
    /// How many they add up to.
    pub used_bytes: u64,
}

/// An API key as it is stored: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Public half, by which it is found.
    pub id: String,
    /// Whose key it is.
    pub account: String,
    /// For people.
    pub name: String,
    /// BLAKE3 of the secret half, hex.
    pub secret_hash: String,
    /// Comma-separated scopes.
    pub scopes: String,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
    /// Since when it is refused.
    pub revoked: Option<UnixMillis>,
}

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Public half.
    pub id: String,
    /// Whose key it is.
    pub account: String,
    /// For people.
    pub name: String,
    /// BLAKE3 of the secret half, hex.
    pub secret_hash: String,
    /// Comma-separated scopes.
    pub scopes: String,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
}

/// Why an invitation does not admit a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Unknown, expired or used up.
    #[error("invitation is unknown, expired or used up")]
    Refused,
}

type KeyRow = (String, String, String, String, String, Option<i64>, Option<i64>);

fn key(row: KeyRow) -> ApiKey {
    let (id, account, name, secret_hash, scopes, expires, revoked) = row;
    ApiKey { id, account, name, secret_hash, scopes, expires: millis(expires), revoked: millis(revoked) }
}

impl Db {
    /// Creates an account.
    pub async fn create_account(
        &self,
        id: &str,
        name: &str,
        quota_bytes: u64,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO accounts (id, name, quota_bytes, created_ms) VALUES ($1, $2, $3, $4)";
        write!(self, tx => {
            sqlx::query(SQL).bind(id).bind(name).bind(sql(quota_bytes)).bind(now.0).execute(&mut *tx).await?;
        })
    }

    /// Changes an account's quota; `false` when there is no such account.
    pub async fn set_quota(&self, id: &str, quota_bytes: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE accounts SET quota_bytes = $2 WHERE id = $1";
        write!(self, tx => {
            sqlx::query(SQL).bind(id).bind(sql(quota_bytes)).execute(&mut *tx).await?.rows_affected() > 0
        })
    }

    /// One account.
    pub async fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        const SQL: &str = "SELECT id, name, quota_bytes, used_bytes FROM accounts WHERE id = $1";
        let row: Option<(String, String, i64, i64)> =
            read!(self, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        row.map(account).transpose()
    }

    /// All accounts by name, at most `limit`, after the account with id `after`.
    pub async fn accounts(&self, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        const SQL: &str =
            "SELECT id, name, quota_bytes, used_bytes FROM accounts WHERE id > $1 ORDER BY id LIMIT $2";
        let rows: Vec<(String, String, i64, i64)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(after).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(account).collect()
    }

    /// Stores an API key.
    pub async fn create_key(&self, key: &NewApiKey, now: UnixMillis) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO api_keys (id, account_id, name, secret_hash, scopes, created_ms, expires_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(&key.id)
                .bind(&key.account)
                .bind(&key.name)
                .bind(&key.secret_hash)
                .bind(&key.scopes)
                .bind(now.0)
                .bind(key.expires.map(|at| at.0))
                .execute(&mut *tx)
                .await?;
        })
    }

    /// One API key.
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        const SQL: &str = "SELECT id, account_id, name, secret_hash, scopes, expires_ms, revoked_ms \
             FROM api_keys WHERE id = $1";
        let row: Option<KeyRow> =
            read!(self, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(key))
    }

    /// The keys of an account.
    pub async fn account_keys(&self, account: &str, limit: u32) -> Result<Vec<ApiKey>, StoreError> {
        const SQL: &str = "SELECT id, account_id, name, secret_hash, scopes, expires_ms, revoked_ms \
             FROM api_keys WHERE account_id = $1 ORDER BY created_ms, id LIMIT $2";
        let rows: Vec<KeyRow> = read!(self, pool => {
            sqlx::query_as(SQL).bind(account).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(key).collect())
    }

    /// Revokes a key; `false` when it is unknown or revoked already.
    pub async fn revoke_key(&self, id: &str, now: UnixMillis) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE api_keys SET revoked_ms = $2 WHERE id = $1 AND revoked_ms IS NULL";
        write!(self, tx => {
            sqlx::query(SQL).bind(id).bind(now.0).execute(&mut *tx).await?.rows_affected() > 0
        })
    }

    /// Stores an invitation for `nodes` nodes of one operator.
    pub async fn create_invite(
        &self,
        token_hash: &str,
        operator: &str,
        nodes: u32,
        now: UnixMillis,
        expires: UnixMillis,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO invites (token_hash, operator, created_ms, expires_ms, nodes_left) \
             VALUES ($1, $2, $3, $4, $5)";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(token_hash)
                .bind(operator)
                .bind(now.0)
                .bind(expires.0)
                .bind(i64::from(nodes))
                .execute(&mut *tx)
                .await?;
        })
    }
}

fn account((id, name, quota, used): (String, String, i64, i64)) -> Result<Account, StoreError> {
    Ok(Account { id, name, quota_bytes: size("quota", quota)?, used_bytes: size("used bytes", used.max(0))? })
}
