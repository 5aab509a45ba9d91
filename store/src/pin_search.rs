//! Looking for pins by what is said of them: name, state, time, metadata. Stored or not, but never those that are only held.

use std::collections::{BTreeMap, HashMap};

use content::Cid;
use protocol::time::UnixMicros;
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, Pin, PinState, StoreError,
    db::{read, write},
    pins::{PinRow, pin, pin_columns},
    rows::{ROWS_PER_STATEMENT, folded, push_list, size, text},
};

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// The whole name.
    #[default]
    Exact,
    /// The whole name, whatever case.
    ExactAnyCase,
    /// Part of the name.
    Partial,
    /// Part of the name, whatever case.
    PartialAnyCase,
}

/// What an entry of a pin's metadata must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaTest {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Which pins are looked for: those that pass every test. Tests that are empty or `None` are passed by all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinFilter {
    /// One of these ids.
    pub ids: Vec<String>,
    /// One of these roots.
    pub cids: Vec<Cid>,
    /// This name.
    pub name: Option<(String, NameMatch)>,
    /// One of these states.
    pub states: Vec<PinState>,
    /// Made before.
    pub before: Option<UnixMicros>,
    /// Made after.
    pub after: Option<UnixMicros>,
    /// All of these.
    pub meta: Vec<MetaTest>,
}

/// A pin with what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinDetails {
    /// The pin.
    pub pin: Pin,
    /// Where its bytes may be had.
    pub origins: Vec<String>,
    /// Why it failed, or how far it is.
    pub info: Option<String>,
    /// Its metadata.
    pub meta: BTreeMap<String, String>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinsFound {
    /// How many pins there are.
    pub count: u64,
    /// The first of them, newest first.
    pub pins: Vec<PinDetails>,
}

type DetailsRow = (Option<String>, Option<String>);

/// The pins of an account that pass, behind what `start` selects.
pub(crate) fn matching<DB: Database>(start: &str, account: &str, filter: &PinFilter) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new(start);
    query.push(" WHERE p.account_id = ").push_bind(account.to_string());
    if filter.states.is_empty() {
        query.push(" AND p.state <> 'held'");
    } else {
        // Written out, so that SQLite sees that its partial index serves.
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        query.push(format!(" AND p.state IN ('{}')", states.join("', '")));
        if !filter.states.contains(&PinState::Pinned) {
            query.push(" AND p.state <> 'pinned'");
        }
    }
    if !filter.ids.is_empty() {
        query.push(" AND p.id IN ");
        push_list(&mut query, &filter.ids);
    }
    if !filter.cids.is_empty() {
        query.push(" AND p.cid IN ");
        push_list(&mut query, &filter.cids);
    }
    if let Some((name, how)) = &filter.name {
        let name = text(name).into_owned();
        let (column, name) = match how {
            NameMatch::Exact | NameMatch::Partial => ("p.name", name),
            NameMatch::ExactAnyCase | NameMatch::PartialAnyCase => {
                ("COALESCE(p.name_folded, p.name)", folded(&name).unwrap_or(name))
            }
        };
        match how {
            NameMatch::Exact | NameMatch::ExactAnyCase => {
                query.push(format!(" AND {column} = ")).push_bind(name);
            }
            // Not LIKE, whose idea of case is another one on each engine, and which has wildcards.
            NameMatch::Partial | NameMatch::PartialAnyCase if !name.is_empty() => {
                query.push(format!(" AND replace({column}, ")).push_bind(name);
                query.push(format!(", '') <> {column}"));
            }
            NameMatch::Partial | NameMatch::PartialAnyCase => {}
        }
    }
    if let Some(before) = filter.before {
        query.push(" AND p.created_us < ").push_bind(before.0);
    }
    if let Some(after) = filter.after {
        query.push(" AND p.created_us > ").push_bind(after.0);
    }
    for MetaTest { key, value } in &filter.meta {
        query.push(" AND EXISTS (SELECT 1 FROM pin_meta m WHERE m.pin_id = p.id AND m.key = ");
        query.push_bind(text(key).into_owned()).push(" AND m.value = ");
        query.push_bind(text(value).into_owned()).push(")");
    }
    query
}

impl Db {
    /// The newest `limit` of the account's pins that pass, and how many there are.
    pub async fn find_pins(
        &self,
        account: &str,
        filter: &PinFilter,
        limit: u32,
    ) -> Result<PinsFound, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM pins p";
        const SELECT: &str = concat!("SELECT ", pin_columns!());
        const MORE: &str = "SELECT id, origins, info FROM pins WHERE id IN ";
        let rows: Vec<PinRow> = read!(self, pool => {
            let mut query = matching(SELECT, account, filter);
            query.push(" ORDER BY p.created_us DESC, p.id DESC LIMIT ").push_bind(i64::from(limit));
            query.build_query_as().fetch_all(pool).await
        })?;
        let pins: Vec<Pin> = rows.into_iter().map(pin).collect::<Result<_, _>>()?;
        // Where they all are here, they need not be counted.
        let count = if pins.len() < limit as usize {
            pins.len() as u64
        } else {
            let (count,): (i64,) = read!(self, pool => {
                matching(COUNT, account, filter).build_query_as().fetch_one(pool).await
            })?;
            size("pin count", count)?
        };
        let ids: Vec<&String> = pins.iter().map(|pin| &pin.id).collect();
        let mut said: HashMap<String, DetailsRow> = HashMap::new();
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(String, Option<String>, Option<String>)> = read!(self, pool => {
                let mut query = QueryBuilder::new(MORE);
                push_list(&mut query, part);
                query.build_query_as().fetch_all(pool).await
            })?;
            said.extend(rows.into_iter().map(|(id, origins, info)| (id, (origins, info))));
        }
        let mut meta = self.meta_of(&ids).await?;
        let pins = pins.into_iter().map(|pin| {
            let (origins, info) = said.remove(&pin.id).unwrap_or_default();
            let origins = match origins {
                None => Vec::new(),
                Some(json) => serde_json::from_str(&json)
                    .map_err(|_| StoreError::Malformed { what: "pin origins", value: json })?,
            };
            Ok(PinDetails { origins, info, meta: meta.remove(&pin.id).unwrap_or_default(), pin })
        });
        Ok(PinsFound { count, pins: pins.collect::<Result<_, StoreError>>()? })
    }

    async fn meta_of(
        &self,
        ids: &[&String],
    ) -> Result<HashMap<String, BTreeMap<String, String>>, StoreError> {
        const META: &str = "SELECT pin_id, key, value FROM pin_meta WHERE pin_id IN ";
        let mut meta: HashMap<String, BTreeMap<String, String>> = HashMap::new();
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(String, String, String)> = read!(self, pool => {
                let mut query = QueryBuilder::new(META);
                push_list(&mut query, part);
                query.build_query_as().fetch_all(pool).await
            })?;
            for (pin, key, value) in rows {
                meta.entry(pin).or_default().insert(key, value);
            }
        }
        Ok(meta)
    }

    /// Changes what is said of a pin of an account: its name when one is given, and entries of its metadata, where `None`
    /// takes one away. `false`: there is no such pin.
    pub async fn describe_pin(
        &self,
        account: &str,
        id: &str,
        name: Option<&str>,
        meta: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, StoreError> {
        const KNOWN: &str = "SELECT id FROM pins WHERE account_id = $1 AND id = $2 AND state <> 'held'";
        const RENAME: &str = "UPDATE pins SET name = $2, name_folded = $3 WHERE id = $1";
        const SET: &str = "INSERT INTO pin_meta (pin_id, key, value) VALUES ($1, $2, $3) \
             ON CONFLICT (pin_id, key) DO UPDATE SET value = excluded.value";
        const UNSET: &str = "DELETE FROM pin_meta WHERE pin_id = $1 AND key = $2";
        write!(self, tx => {
            let known: Option<(String,)> = {
                let mut query = QueryBuilder::new(KNOWN);
                query.push(self.for_update());
                query.build_query_as().bind(account).bind(id).fetch_optional(&mut *tx).await?
            };
            if known.is_some() {
                if let Some(name) = name {
                    let name = text(name);
                    sqlx::query(RENAME).bind(id).bind(&*name).bind(folded(&name)).execute(&mut *tx).await?;
                }
                for (key, value) in meta {
                    let change = match value {
                        Some(value) => sqlx::query(SET).bind(id).bind(text(key)).bind(text(value)),
                        None => sqlx::query(UNSET).bind(id).bind(text(key)),
                    };
                    change.execute(&mut *tx).await?;
                }
            }
            known.is_some()
        })
    }
}
