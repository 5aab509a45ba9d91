//! What accounts say of their pins: names, metadata, groups, kinds, ends. Changes no claim on any root and charges nobody.

use std::collections::{BTreeMap, BTreeSet};

use protocol::time::UnixMillis;
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::write,
    pin_log::{Change, note_changes},
    rows::{folded, number, sql, text},
};

/// What is to be said of a pin from now on. What is `None` or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinChange {
    /// Its name.
    pub name: Option<String>,
    /// Entries of its metadata; `None` takes one away.
    pub meta: BTreeMap<String, Option<String>>,
    /// Its group, of the same account; `Some(None)` takes it out of the one in which it is.
    pub group: Option<Option<String>>,
    /// What it is.
    pub kind: Option<PinKind>,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
}

/// What a pin is, as whoever uploaded it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinKind {
    /// Its media type; of a directory `directory`.
    pub mime_type: String,
    /// How many files are in it.
    pub files: u64,
}

/// What became of a [`PinChange`]. But for the first nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    /// It is said now.
    Done,
    /// The account has no such pin.
    NoPin,
    /// The account has no such group.
    NoGroup,
    /// It would have more entries of metadata than allowed.
    TooMany,
}

impl Db {
    /// Changes what is said of a pin of an account, which may have `meta_max` entries of metadata then.
    pub async fn describe_pin(
        &self,
        account: &str,
        id: &str,
        change: &PinChange,
        meta_max: usize,
    ) -> Result<Described, StoreError> {
        self.describe(account, id, change, meta_max, None).await
    }

    /// The same for the pin that an upload in several requests has become, with what was noted down for that: it is said
    /// once, and an upload of which it was said before changes nothing any more.
    pub async fn describe_tus_pin(
        &self,
        upload: &str,
        account: &str,
        id: &str,
        change: &PinChange,
        meta_max: usize,
    ) -> Result<Described, StoreError> {
        self.describe(account, id, change, meta_max, Some(upload)).await
    }

    async fn describe(
        &self,
        account: &str,
        id: &str,
        change: &PinChange,
        meta_max: usize,
        upload: Option<&str>,
    ) -> Result<Described, StoreError> {
        const GROUP: &str = "SELECT id FROM pin_groups WHERE account_id = $1 AND id = $2";
        const KNOWN: &str = "SELECT id FROM pins WHERE account_id = $1 AND id = $2 AND state <> 'held'";
        const SAID: &str = "UPDATE tus_uploads SET notes = '' WHERE id = $1 AND notes <> ''";
        const KEYS: &str = "SELECT key FROM pin_meta WHERE pin_id = $1";
        let meta: BTreeMap<String, Option<String>> = change
            .meta
            .iter()
            .map(|(key, value)| {
                (text(key).into_owned(), value.as_deref().map(|value| text(value).into_owned()))
            })
            .collect();
        write!(self, tx => {
            // The group first, as whoever removes one takes it before its pins.
            let has_group = match &change.group {
                Some(Some(group)) => {
                    let mut query = QueryBuilder::new(GROUP);
                    query.push(self.for_update());
                    let found: Option<(String,)> =
                        query.build_query_as().bind(account).bind(group).fetch_optional(&mut *tx).await?;
                    found.is_some()
                }
                Some(None) | None => true,
            };
            let known: Option<(String,)> = {
                let mut query = QueryBuilder::new(KNOWN);
                query.push(self.for_update());
                query.build_query_as().bind(account).bind(id).fetch_optional(&mut *tx).await?
            };
            let keys: Vec<(String,)> = sqlx::query_as(KEYS).bind(id).fetch_all(&mut *tx).await?;
            let mut keys: BTreeSet<&str> = keys.iter().map(|(key,)| key.as_str()).collect();
            for (key, value) in &meta {
                if value.is_some() { keys.insert(key) } else { keys.remove(key.as_str()) };
            }
            let brings = meta.values().any(Option::is_some);
            let described = match (known, has_group) {
                (None, _) => Described::NoPin,
                (_, false) => Described::NoGroup,
                _ if brings && keys.len() > meta_max => Described::TooMany,
                _ => Described::Done,
            };
            if described == Described::Done {
                // Behind the lock on the pin, so that of two requests that say it one does.
                let is_new = match upload {
                    None => true,
                    Some(upload) => sqlx::query(SAID).bind(upload).execute(&mut *tx).await?.rows_affected() > 0,
                };
                if is_new {
                    describe!(tx, id, change, meta);
                }
            }
            described
        })
    }
}

/// Writes a change down.
macro_rules! describe {
    ($tx:ident, $id:expr, $change:expr, $meta:expr) => {
        const RENAME: &str = "UPDATE pins SET name = $2, name_folded = $3 WHERE id = $1";
        const KIND: &str = "UPDATE pins SET mime_type = $2, file_count = $3 WHERE id = $1";
        const MOVE: &str = "UPDATE pins SET group_id = $2 WHERE id = $1";
        const END: &str = "UPDATE pins SET expires_ms = $2 WHERE id = $1";
        const SET: &str = "INSERT INTO pin_meta (pin_id, key, value, number) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (pin_id, key) DO UPDATE SET value = excluded.value, number = excluded.number";
        const UNSET: &str = "DELETE FROM pin_meta WHERE pin_id = $1 AND key = $2";
        if let Some(name) = $change.name.as_deref().map(text) {
            sqlx::query(RENAME).bind($id).bind(&*name).bind(folded(&name)).execute(&mut *$tx).await?;
        }
        if let Some(PinKind { mime_type, files }) = &$change.kind {
            sqlx::query(KIND).bind($id).bind(text(mime_type)).bind(sql(*files)).execute(&mut *$tx).await?;
        }
        if let Some(group) = &$change.group {
            sqlx::query(MOVE).bind($id).bind(group.as_deref()).execute(&mut *$tx).await?;
        }
        if let Some(expires) = $change.expires {
            sqlx::query(END).bind($id).bind(expires.0).execute(&mut *$tx).await?;
            // Told apart by what it says: the same said twice is one change. It has no root, for the pin is there.
            let changes = [(Change::Is(Some(expires.0)), $id, "", "")];
            note_changes!($tx, changes, expires.micros());
        }
        for (key, value) in &$meta {
            let change = match value {
                Some(value) => sqlx::query(SET).bind($id).bind(key).bind(value).bind(number(value)),
                None => sqlx::query(UNSET).bind($id).bind(key),
            };
            change.execute(&mut *$tx).await?;
        }
    };
}
use describe;
