//! Pins: an account's claim on a root CID. Files live while one pin does.

use content::Cid;
use protocol::time::UnixMillis;

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{millis, parse, size},
};

/// One pin, with what is known of its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Whose it is.
    pub account: String,
    /// Root CID.
    pub cid: Cid,
    /// Name given by the account; may be empty.
    pub name: String,
    /// Bytes of the files in it.
    pub size_bytes: u64,
    /// Bytes of all its blocks.
    pub dag_size_bytes: u64,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
}

/// A page of pins, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinPage {
    /// The pins.
    pub pins: Vec<Pin>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<(UnixMillis, String)>,
}

type PinRow = (String, String, String, i64, i64, i64, Option<i64>);

fn pin(row: PinRow) -> Result<Pin, StoreError> {
    let (account, cid, name, size_bytes, dag_size_bytes, created, expires) = row;
    Ok(Pin {
        account,
        cid: parse("pin cid", &cid)?,
        name,
        size_bytes: size("pin size", size_bytes)?,
        dag_size_bytes: size("dag size", dag_size_bytes)?,
        created: UnixMillis(created),
        expires: millis(expires),
    })
}

/// Pins of account `$1` before (`$2`, `$3`).
pub(crate) const PAGE: &str = "SELECT p.account_id, p.cid, p.name, p.size_bytes, r.dag_size_bytes, p.created_ms, \
     p.expires_ms FROM pins p JOIN roots r ON r.cid = p.cid \
     WHERE p.account_id = $1 AND (p.created_ms, p.cid) < ($2, $3) \
     ORDER BY p.created_ms DESC, p.cid DESC LIMIT $4";

/// Pins whose time is over by `$1`.
pub(crate) const EXPIRED: &str =
    "SELECT account_id, cid FROM pins WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2";

impl Db {
    /// One pin of an account.
    pub async fn pin(&self, account: &str, cid: &Cid) -> Result<Option<Pin>, StoreError> {
        const SQL: &str = "SELECT p.account_id, p.cid, p.name, p.size_bytes, r.dag_size_bytes, p.created_ms, \
             p.expires_ms FROM pins p JOIN roots r ON r.cid = p.cid WHERE p.account_id = $1 AND p.cid = $2";
        let row: Option<PinRow> = read!(self, pool => {
            sqlx::query_as(SQL).bind(account).bind(cid.to_string()).fetch_optional(pool).await
        })?;
        row.map(pin).transpose()
    }

    /// An account's pins, newest first, from behind `cursor`.
    pub async fn pins(
        &self,
        account: &str,
        cursor: Option<&(UnixMillis, String)>,
        limit: u32,
    ) -> Result<PinPage, StoreError> {
        let (created, cid) = cursor.map_or((i64::MAX, ""), |(created, cid)| (created.0, cid.as_str()));
        let rows: Vec<PinRow> = read!(self, pool => {
            sqlx::query_as(PAGE)
                .bind(account)
                .bind(created)
                .bind(cid)
                .bind(i64::from(limit) + 1)
                .fetch_all(pool)
                .await
        })?;
        let mut pins: Vec<Pin> = rows.into_iter().map(pin).collect::<Result<_, _>>()?;
        let more = pins.len() > limit as usize;
        pins.truncate(limit as usize);
        let next = pins.last().filter(|_| more).map(|last| (last.created, last.cid.to_string()));
        Ok(PinPage { pins, next })
    }

    /// Removes a pin; segments that no other pinned root needs become collectable after `due`. `false`: no such pin.
    pub async fn unpin(&self, account: &str, cid: &Cid, due: UnixMillis) -> Result<bool, StoreError> {
        self.remove_pin(account, cid, None, due).await
    }

    /// Removes a pin as [`Db::unpin`] does if its time is over by `now`. An upload that made it stay meanwhile wins.
    pub async fn expire_pin(
        &self,
        account: &str,
        cid: &Cid,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.remove_pin(account, cid, Some(now), due).await
    }

    async fn remove_pin(
        &self,
        account: &str,
        cid: &Cid,
        expired_by: Option<UnixMillis>,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        let cid = cid.to_string();
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK_ACCOUNT).bind(account).execute(&mut *tx).await?;
            }
            let removed: Option<(i64,)> = sqlx::query_as(DELETE_PIN)
                .bind(account)
                .bind(&cid)
                .bind(expired_by.map(|now| now.0))
                .fetch_optional(&mut *tx)
                .await?;
            if let Some((bytes,)) = removed {
                sqlx::query(CREDIT).bind(account).bind(bytes).execute(&mut *tx).await?;
                let (pins,): (i64,) = sqlx::query_as(DISCOUNT).bind(&cid).fetch_one(&mut *tx).await?;
                if pins == 0 {
                    sqlx::query(DELETE_ROOT).bind(&cid).execute(&mut *tx).await?;
                    if self.locks_rows() {
                        sqlx::query(LOCK_SEGMENTS).bind(&cid).execute(&mut *tx).await?;
                    }
                    sqlx::query(ORPHAN).bind(&cid).bind(due.0).execute(&mut *tx).await?;
                    sqlx::query(UNLINK).bind(&cid).execute(&mut *tx).await?;
                }
            }
            removed.is_some()
        })
    }

    /// Pins whose time is over, at most `limit`: (account, cid), for [`Db::expire_pin`].
    pub async fn expired_pins(&self, now: UnixMillis, limit: u32) -> Result<Vec<(String, Cid)>, StoreError> {
        let rows: Vec<(String, String)> = read!(self, pool => {
            sqlx::query_as(EXPIRED).bind(now.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(|(account, cid)| Ok((account, parse("pin cid", &cid)?))).collect()
    }

    /// Size of a pinned root; `None` when no pin holds it.
    pub async fn root_size(&self, cid: &Cid) -> Result<Option<u64>, StoreError> {
        const SQL: &str = "SELECT size_bytes FROM roots WHERE cid = $1";
        let row: Option<(i64,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(cid.to_string()).fetch_optional(pool).await)?;
        row.map(|(bytes,)| size("root size", bytes)).transpose()
    }
}

pub(crate) const DELETE_PIN: &str = "DELETE FROM pins WHERE account_id = $1 AND cid = $2 \
     AND ($3 IS NULL OR expires_ms <= $3) RETURNING size_bytes";
const CREDIT: &str = "UPDATE accounts SET used_bytes = used_bytes - $2 WHERE id = $1";
const LOCK_ACCOUNT: &str = "SELECT id FROM accounts WHERE id = $1 FOR UPDATE";
const LOCK_SEGMENTS: &str = "SELECT id FROM segments WHERE id IN \
     (SELECT segment_id FROM root_segments WHERE cid = $1) ORDER BY id FOR UPDATE";
/// Also takes the root's lock, so that what is asked next sees every commit that needs it.
pub(crate) const DISCOUNT: &str = "UPDATE roots SET pins = pins - 1 WHERE cid = $1 RETURNING pins";
const DELETE_ROOT: &str = "DELETE FROM roots WHERE cid = $1";
/// A lost segment stays lost until it is collected: an upload that found its blocks before must not rely on it now.
pub(crate) const ORPHAN: &str = "UPDATE segments SET due_ms = $2, \
     state = CASE WHEN state = 'lost' THEN 'lost' ELSE 'orphaned' END \
     WHERE state IN ('live', 'lost') AND id IN (SELECT segment_id FROM root_segments WHERE cid = $1) \
     AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id AND o.cid <> $1)";
pub(crate) const UNLINK: &str = "DELETE FROM root_segments WHERE cid = $1";
