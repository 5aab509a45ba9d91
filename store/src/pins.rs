//! Pins: an account's claims on root CIDs. Files live while one pin does.
//!
//! An account pays for a root once, however many pins of it it has. An upload of a root that is pinned already makes no
//! other pin; who asks for one by name gets one.

use content::Cid;
use protocol::time::{UnixMicros, UnixMillis};

use crate::{
    Db, StoreError,
    db::{read, write},
    rows::{millis, parse, size, sql},
};

/// One pin, with what is known of its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name in the network.
    pub id: String,
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
    /// When it was made; no two pins that one call makes have the same.
    pub created: UnixMicros,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
}

/// Where a page of pins begins: behind the pin that was made then and has this id.
pub type PinCursor = (UnixMicros, String);

/// A page of pins, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinPage {
    /// The pins.
    pub pins: Vec<Pin>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<PinCursor>,
}

type PinRow = (String, String, String, String, i64, i64, i64, Option<i64>);

fn pin(row: PinRow) -> Result<Pin, StoreError> {
    let (id, account, cid, name, size_bytes, dag_size_bytes, created, expires) = row;
    Ok(Pin {
        id,
        account,
        cid: parse("pin cid", &cid)?,
        name,
        size_bytes: size("pin size", size_bytes)?,
        dag_size_bytes: size("dag size", dag_size_bytes)?,
        created: UnixMicros(created),
        expires: millis(expires),
    })
}

/// Pins of account `$1` before (`$2`, `$3`).
pub(crate) const PAGE: &str = "SELECT p.id, p.account_id, p.cid, p.name, p.size_bytes, r.dag_size_bytes, p.created_us, \
     p.expires_ms FROM pins p JOIN roots r ON r.cid = p.cid \
     WHERE p.account_id = $1 AND (p.created_us, p.id) < ($2, $3) \
     ORDER BY p.created_us DESC, p.id DESC LIMIT $4";

/// The newest pin of root `$2` of account `$1`.
pub(crate) const NEWEST: &str = "SELECT p.id, p.account_id, p.cid, p.name, p.size_bytes, r.dag_size_bytes, \
     p.created_us, p.expires_ms FROM pins p JOIN roots r ON r.cid = p.cid \
     WHERE p.account_id = $1 AND p.cid = $2 ORDER BY p.created_us DESC, p.id DESC LIMIT 1";

/// Pins whose time is over by `$1`.
pub(crate) const EXPIRED: &str =
    "SELECT id, account_id FROM pins WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2";

/// Which pins go.
enum Which<'a> {
    /// All that the account has of a root.
    OfRoot(&'a Cid),
    /// One, if its time is over by then.
    Expired(&'a str, UnixMillis),
}

impl Db {
    /// The account's pin of this root, the newest if it has several.
    pub async fn pin(&self, account: &str, cid: &Cid) -> Result<Option<Pin>, StoreError> {
        let row: Option<PinRow> = read!(self, pool => {
            sqlx::query_as(NEWEST).bind(account).bind(cid.to_string()).fetch_optional(pool).await
        })?;
        row.map(pin).transpose()
    }

    /// An account's pins, newest first, from behind `cursor`.
    pub async fn pins(
        &self,
        account: &str,
        cursor: Option<&PinCursor>,
        limit: u32,
    ) -> Result<PinPage, StoreError> {
        let (created, id) = cursor.map_or((i64::MAX, ""), |(created, id)| (created.0, id.as_str()));
        let rows: Vec<PinRow> = read!(self, pool => {
            sqlx::query_as(PAGE)
                .bind(account)
                .bind(created)
                .bind(id)
                .bind(i64::from(limit) + 1)
                .fetch_all(pool)
                .await
        })?;
        let mut pins: Vec<Pin> = rows.into_iter().map(pin).collect::<Result<_, _>>()?;
        let more = pins.len() > limit as usize;
        pins.truncate(limit as usize);
        let next = pins.last().filter(|_| more).map(|last| (last.created, last.id.clone()));
        Ok(PinPage { pins, next })
    }

    /// Removes an account's pins of a root; segments that no other pinned root needs become collectable after `due`.
    /// `false`: there was none.
    pub async fn unpin(&self, account: &str, cid: &Cid, due: UnixMillis) -> Result<bool, StoreError> {
        self.remove_pins(account, &Which::OfRoot(cid), due).await
    }

    /// Removes one pin as [`Db::unpin`] does if its time is over by `now`. An upload that made it stay meanwhile wins.
    pub async fn expire_pin(
        &self,
        account: &str,
        id: &str,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.remove_pins(account, &Which::Expired(id, now), due).await
    }

    async fn remove_pins(
        &self,
        account: &str,
        which: &Which<'_>,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK_ACCOUNT).bind(account).execute(&mut *tx).await?;
            }
            let delete = match which {
                Which::OfRoot(cid) => sqlx::query_as(DELETE_OF_ROOT).bind(account).bind(cid.to_string()),
                Which::Expired(id, now) => sqlx::query_as(DELETE_EXPIRED).bind(account).bind(*id).bind(now.0),
            };
            let removed: Vec<(String, i64)> = delete.fetch_all(&mut *tx).await?;
            if let [(cid, bytes), ..] = &removed[..] {
                let other: Option<(String,)> =
                    sqlx::query_as(STILL_PINNED).bind(account).bind(cid).fetch_optional(&mut *tx).await?;
                if other.is_none() {
                    sqlx::query(CREDIT).bind(account).bind(bytes).execute(&mut *tx).await?;
                }
                let (pins,): (i64,) =
                    sqlx::query_as(DISCOUNT).bind(cid).bind(sql(removed.len() as u64)).fetch_one(&mut *tx).await?;
                if pins == 0 {
                    sqlx::query(DELETE_ROOT).bind(cid).execute(&mut *tx).await?;
                    if self.locks_rows() {
                        sqlx::query(LOCK_SEGMENTS).bind(cid).execute(&mut *tx).await?;
                    }
                    sqlx::query(ORPHAN).bind(cid).bind(due.0).execute(&mut *tx).await?;
                    sqlx::query(UNLINK).bind(cid).execute(&mut *tx).await?;
                }
            }
            !removed.is_empty()
        })
    }

    /// Pins whose time is over, at most `limit`: (account, id), for [`Db::expire_pin`].
    pub async fn expired_pins(
        &self,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let rows: Vec<(String, String)> = read!(self, pool => {
            sqlx::query_as(EXPIRED).bind(now.0).bind(i64::from(limit)).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(id, account)| (account, id)).collect())
    }

    /// Size of a pinned root; `None` when no pin holds it.
    pub async fn root_size(&self, cid: &Cid) -> Result<Option<u64>, StoreError> {
        const SQL: &str = "SELECT size_bytes FROM roots WHERE cid = $1";
        let row: Option<(i64,)> =
            read!(self, pool => sqlx::query_as(SQL).bind(cid.to_string()).fetch_optional(pool).await)?;
        row.map(|(bytes,)| size("root size", bytes)).transpose()
    }
}

pub(crate) const DELETE_OF_ROOT: &str =
    "DELETE FROM pins WHERE account_id = $1 AND cid = $2 RETURNING cid, size_bytes";
pub(crate) const DELETE_EXPIRED: &str = "DELETE FROM pins WHERE account_id = $1 AND id = $2 AND expires_ms <= $3 \
     RETURNING cid, size_bytes";
pub(crate) const STILL_PINNED: &str = "SELECT id FROM pins WHERE account_id = $1 AND cid = $2 LIMIT 1";
const CREDIT: &str = "UPDATE accounts SET used_bytes = used_bytes - $2 WHERE id = $1";
const LOCK_ACCOUNT: &str = "SELECT id FROM accounts WHERE id = $1 FOR UPDATE";
const LOCK_SEGMENTS: &str = "SELECT id FROM segments WHERE id IN \
     (SELECT segment_id FROM root_segments WHERE cid = $1) ORDER BY id FOR UPDATE";
/// Also takes the root's lock, so that what is asked next sees every commit that needs it.
pub(crate) const DISCOUNT: &str = "UPDATE roots SET pins = pins - $2 WHERE cid = $1 RETURNING pins";
const DELETE_ROOT: &str = "DELETE FROM roots WHERE cid = $1";
/// A lost segment stays lost until it is collected: an upload that found its blocks before must not rely on it now.
pub(crate) const ORPHAN: &str = "UPDATE segments SET due_ms = $2, \
     state = CASE WHEN state = 'lost' THEN 'lost' ELSE 'orphaned' END \
     WHERE state IN ('live', 'lost') AND id IN (SELECT segment_id FROM root_segments WHERE cid = $1) \
     AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id AND o.cid <> $1)";
pub(crate) const UNLINK: &str = "DELETE FROM root_segments WHERE cid = $1";
