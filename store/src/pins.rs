//! Pins: an account's claims on root CIDs. Files live while one pin does.
//!
//! An account pays for a root once, however many pins of it it has. An upload of a root that is pinned already makes no
//! other pin; who asks for one by name gets one. What is held without having been asked for is no pin in any list, and
//! paid until a pin of the same root takes its place.

use std::str::FromStr;

use content::Cid;
use protocol::time::{UnixMicros, UnixMillis};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    pin_log::{Change, note_changes},
    rows::{ROWS_PER_STATEMENT, millis, parse, push_list, size, sql},
};

/// How far a pin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinState {
    /// To be fetched.
    Queued,
    /// Being fetched.
    Pinning,
    /// Stored.
    Pinned,
    /// It could not be fetched.
    Failed,
    /// Stored until it expires, without having been asked for by name. Not among an account's pins.
    Held,
}

impl PinState {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

impl FromStr for PinState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed, Self::Held]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

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
    /// How far it is.
    pub state: PinState,
    /// Bytes of the files in it; 0 when it is not stored.
    pub size_bytes: u64,
    /// Bytes of all its blocks; 0 when nobody has it stored.
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

/// Columns of [`pin`].
macro_rules! pin_columns {
    () => {
        "p.id, p.account_id, p.cid, p.is_v0, p.name, p.state, p.size_bytes, COALESCE(r.dag_size_bytes, 0), \
         p.created_us, p.expires_ms FROM pins p LEFT JOIN roots r ON r.cid = p.cid"
    };
}
pub(crate) use pin_columns;

pub(crate) type PinRow = (String, String, String, bool, String, String, i64, i64, i64, Option<i64>);

pub(crate) fn pin(row: PinRow) -> Result<Pin, StoreError> {
    let (id, account, cid, is_v0, name, state, size_bytes, dag_size_bytes, created, expires) = row;
    Ok(Pin {
        id,
        account,
        cid: cid_of(&cid, is_v0)?,
        name,
        state: parse("pin state", &state)?,
        size_bytes: size("pin size", size_bytes)?,
        dag_size_bytes: size("dag size", dag_size_bytes)?,
        created: UnixMicros(created),
        expires: millis(expires),
    })
}

/// A CID in the version in which it was given.
pub(crate) fn cid_of(text: &str, is_v0: bool) -> Result<Cid, StoreError> {
    let cid: Cid = parse("pin cid", text)?;
    if is_v0 { parse("pin cid", &cid.multihash_base58()) } else { Ok(cid) }
}

/// Pins of account `$1` before (`$2`, `$3`).
pub(crate) const PAGE: &str = concat!(
    "SELECT ",
    pin_columns!(),
    " WHERE p.account_id = $1 AND p.state = 'pinned' AND (p.created_us, p.id) < ($2, $3) \
     ORDER BY p.created_us DESC, p.id DESC LIMIT $4"
);

/// The newest pin of root `$2` of account `$1`.
pub(crate) const NEWEST: &str = concat!(
    "SELECT ",
    pin_columns!(),
    " WHERE p.account_id = $1 AND p.cid = $2 AND p.state = 'pinned' ORDER BY p.created_us DESC, p.id DESC LIMIT 1"
);

/// Pins whose time is over by `$1`.
pub(crate) const EXPIRED: &str =
    "SELECT id, account_id FROM pins WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2";

/// Which pins go.
enum Which<'a> {
    /// All that the account has of a root.
    OfRoot(&'a Cid),
    /// One, unless it is only held.
    One(&'a str),
    /// One, whatever it is.
    Found(&'a str),
    /// One, if its time is over by then.
    Expired(&'a str, UnixMillis),
}

impl Db {
    /// The account's pin of this root that is stored, the newest if it has several.
    pub async fn pin(&self, account: &str, cid: &Cid) -> Result<Option<Pin>, StoreError> {
        let row: Option<PinRow> = read!(self, pool => {
            sqlx::query_as(NEWEST).bind(account).bind(cid.to_string()).fetch_optional(pool).await
        })?;
        row.map(pin).transpose()
    }

    /// An account's stored pins, newest first, from behind `cursor`.
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

    /// Removes one pin of an account as [`Db::unpin`] does, stored or not; `None`: there was none, or it is only held.
    pub async fn unpin_one(
        &self,
        account: &str,
        id: &str,
        due: UnixMillis,
    ) -> Result<Option<Cid>, StoreError> {
        let cid = self.remove_pins(account, &Which::One(id), due).await?;
        cid.map(|cid| parse("pin cid", &cid)).transpose()
    }

    /// Takes a stored pin out of the account's pins and keeps its blocks, still charged, until `until`. `false`: there is no
    /// such pin, or another pin of the account keeps the root anyway.
    pub async fn hold_pin(&self, account: &str, id: &str, until: UnixMillis) -> Result<bool, StoreError> {
        const OTHERS: &str = "SELECT p.cid, (SELECT COUNT(*) FROM pins o WHERE o.account_id = p.account_id \
             AND o.cid = p.cid AND o.state = 'pinned') FROM pins p \
             WHERE p.account_id = $1 AND p.id = $2 AND p.state = 'pinned'";
        const HOLD: &str =
            "UPDATE pins SET state = 'held', expires_ms = $3 WHERE account_id = $1 AND id = $2 RETURNING id";
        const BESIDE: &str = "UPDATE pins SET expires_ms = $3 WHERE account_id = $1 AND cid = $2 \
             AND state = 'held' AND expires_ms IS NULL RETURNING id";
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK_ACCOUNT).bind(account).execute(&mut *tx).await?;
            }
            let known: Option<(String, i64)> =
                sqlx::query_as(OTHERS).bind(account).bind(id).fetch_optional(&mut *tx).await?;
            let only = known.filter(|(_, pins)| *pins == 1);
            if let Some((cid, _)) = &only {
                let mut held: Vec<(String,)> =
                    sqlx::query_as(HOLD).bind(account).bind(id).bind(until.0).fetch_all(&mut *tx).await?;
                let beside: Vec<(String,)> =
                    sqlx::query_as(BESIDE).bind(account).bind(cid).bind(until.0).fetch_all(&mut *tx).await?;
                held.extend(beside);
                let is = Change::Is(Some(until.0));
                let changes: Vec<_> = held.iter().map(|(pin,)| (is, pin.as_str(), account, cid.as_str())).collect();
                note_changes!(tx, changes, until.micros());
            }
            only.is_some()
        })
    }

    /// Removes whatever an account has of a root: pins, pins that wait, holds. Segments that no other pinned root needs become collectable after `due`.
    /// `false`: there was none.
    pub async fn unpin(&self, account: &str, cid: &Cid, due: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.remove_pins(account, &Which::OfRoot(cid), due).await?.is_some())
    }

    /// Removes one pin as [`Db::unpin`] does if its time is over by `now`. An upload that made it stay meanwhile wins.
    pub async fn expire_pin(
        &self,
        account: &str,
        id: &str,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<bool, StoreError> {
        Ok(self.remove_pins(account, &Which::Expired(id, now), due).await?.is_some())
    }

    /// Removes one pin as [`Db::unpin`] does, be it one that is only held: a recovery has found that it went.
    pub async fn drop_pin(&self, account: &str, id: &str, due: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.remove_pins(account, &Which::Found(id), due).await?.is_some())
    }

    /// Gives the root of what went.
    async fn remove_pins(
        &self,
        account: &str,
        which: &Which<'_>,
        due: UnixMillis,
    ) -> Result<Option<String>, StoreError> {
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK_ACCOUNT).bind(account).execute(&mut *tx).await?;
            }
            let delete = match which {
                Which::OfRoot(cid) => sqlx::query_as(DELETE_OF_ROOT).bind(account).bind(cid.to_string()),
                Which::One(id) => sqlx::query_as(DELETE_ONE).bind(account).bind(*id),
                Which::Found(id) => sqlx::query_as(DELETE_FOUND).bind(account).bind(*id),
                Which::Expired(id, now) => sqlx::query_as(DELETE_EXPIRED).bind(account).bind(*id).bind(now.0),
            };
            let removed: Vec<(String, String, i64, String)> = delete.fetch_all(&mut *tx).await?;
            for ids in removed.chunks(ROWS_PER_STATEMENT) {
                let ids: Vec<&String> = ids.iter().map(|(id, ..)| id).collect();
                for table in ["DELETE FROM pin_meta WHERE pin_id IN ", "DELETE FROM pin_jobs WHERE pin_id IN "] {
                    let mut query = QueryBuilder::new(table);
                    push_list(&mut query, &ids);
                    query.build().execute(&mut *tx).await?;
                }
            }
            let stored = |wanted: PinState| {
                let is = move |row: &&(String, String, i64, String)| row.3 == wanted.as_str();
                removed.iter().filter(is).map(|(_, _, bytes, _)| *bytes)
            };
            let cid = removed.first().map(|(_, cid, ..)| cid.clone());
            let is_stored = |row: &&(String, String, i64, String)| row.3 == "pinned" || row.3 == "held";
            let mut changes: Vec<(Change, String, &str, String)> = removed
                .iter()
                .filter(is_stored)
                .map(|(pin, cid, ..)| (Change::Gone, pin.clone(), account, cid.clone()))
                .collect();
            let mut gone: Vec<i64> = stored(PinState::Held).collect();
            let mut rows = gone.len();
            if let Some(cid) = &cid
                && let Some(bytes) = stored(PinState::Pinned).next()
            {
                rows += stored(PinState::Pinned).count();
                let other: Option<(String,)> =
                    sqlx::query_as(STILL_PINNED).bind(account).bind(cid).fetch_optional(&mut *tx).await?;
                if other.is_none() {
                    // All pins of a root count the same bytes, and are charged once.
                    gone.push(bytes);
                    let beside: Vec<(String, i64)> =
                        sqlx::query_as(DELETE_BESIDE).bind(account).bind(cid).fetch_all(&mut *tx).await?;
                    rows += beside.len();
                    gone.extend(beside.iter().map(|(_, bytes)| *bytes));
                    changes.extend(beside.into_iter().map(|(pin, _)| (Change::Gone, pin, account, cid.clone())));
                }
            }
            note_changes!(tx, changes, due.micros());
            if let Some(cid) = cid.as_ref().filter(|_| rows > 0) {
                sqlx::query(CREDIT).bind(account).bind(gone.iter().sum::<i64>()).execute(&mut *tx).await?;
                let (left,): (i64,) =
                    sqlx::query_as(DISCOUNT).bind(cid).bind(sql(rows as u64)).fetch_one(&mut *tx).await?;
                if left == 0 {
                    sqlx::query(DELETE_ROOT).bind(cid).execute(&mut *tx).await?;
                    if self.locks_rows() {
                        sqlx::query(LOCK_SEGMENTS).bind(cid).execute(&mut *tx).await?;
                    }
                    sqlx::query(ORPHAN).bind(cid).bind(due.0).execute(&mut *tx).await?;
                    sqlx::query(UNLINK).bind(cid).execute(&mut *tx).await?;
                }
            }
            cid
        })
    }

    /// Bytes that an account is charged for a root without having it pinned.
    pub async fn held_bytes(&self, account: &str, cid: &Cid) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT size_bytes FROM pins WHERE account_id = $1 AND cid = $2 AND state = 'held'";
        let rows: Vec<(i64,)> = read!(self, pool => {
            sqlx::query_as(SQL).bind(account).bind(cid.to_string()).fetch_all(pool).await
        })?;
        rows.into_iter().map(|(bytes,)| size("pin size", bytes)).sum()
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
    "DELETE FROM pins WHERE account_id = $1 AND cid = $2 RETURNING id, cid, size_bytes, state";
pub(crate) const DELETE_ONE: &str = "DELETE FROM pins WHERE account_id = $1 AND id = $2 AND state <> 'held' RETURNING id, cid, size_bytes, state";
const DELETE_FOUND: &str =
    "DELETE FROM pins WHERE account_id = $1 AND id = $2 RETURNING id, cid, size_bytes, state";
pub(crate) const DELETE_EXPIRED: &str = "DELETE FROM pins WHERE account_id = $1 AND id = $2 AND expires_ms <= $3 \
     RETURNING id, cid, size_bytes, state";
pub(crate) const STILL_PINNED: &str =
    "SELECT id FROM pins WHERE account_id = $1 AND cid = $2 AND state = 'pinned' LIMIT 1";
/// What is kept beside a root without an end of its own.
pub(crate) const DELETE_BESIDE: &str = "DELETE FROM pins WHERE account_id = $1 AND cid = $2 AND state = 'held' \
     AND expires_ms IS NULL RETURNING id, size_bytes";
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
