//! Looking for pins by what is said of them: name, state, time, metadata. Stored or not, but never those that are only held.

use std::collections::{BTreeMap, HashMap};

use content::Cid;
use protocol::time::UnixMicros;
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    Db, Pin, PinState, StoreError,
    db::read,
    pins::{PinCursor, PinRow, pin, pin_columns},
    rows::{ROWS_PER_STATEMENT, folded, number, push_list, size, sql, text},
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
    /// What its value is compared with.
    pub value: String,
    /// How.
    pub compare: MetaCompare,
}

/// How an entry of metadata is compared. A pin without the entry passes none of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MetaCompare {
    /// The same text.
    #[default]
    Equal,
    /// Another text.
    NotEqual,
    /// Before or behind it, or the same if the flag is set: as numbers where what it is compared with is one, otherwise
    /// byte by byte.
    Less(bool),
    /// See [`MetaCompare::Less`].
    Greater(bool),
    /// From the value up to this one, both within.
    Between(String),
    /// Before the value or behind this one.
    NotBetween(String),
    /// Like a pattern in which `%` stands for any text, `_` for any character, and a backslash takes that from the next.
    Like {
        /// Whether case does not matter. On SQLite it always does beyond ASCII.
        any_case: bool,
        /// Whether it must not be like it.
        not: bool,
    },
}

/// Whether pins are in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupTest {
    /// In this one.
    In(String),
    /// In none.
    Without,
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
    /// This is part of their CID as version 1 in base32.
    pub cid_part: Option<String>,
    /// This many bytes, at least and at most.
    pub size_bytes: (Option<u64>, Option<u64>),
    /// In this group.
    pub group: Option<GroupTest>,
    /// Of this media type.
    pub mime_type: Option<String>,
    /// Listed behind this one.
    pub cursor: Option<PinCursor>,
    /// The oldest come first, instead of the newest.
    pub oldest_first: bool,
    /// So many of the first are left out, and counted nevertheless.
    pub offset: u32,
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
    /// The group in which it is.
    pub group: Option<String>,
    /// Its media type, if whoever uploaded it said it; of directories `directory`.
    pub mime_type: Option<String>,
    /// How many files are in it, if whoever took it in said it.
    pub files: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinsFound {
    /// How many pins there are.
    pub count: u64,
    /// The first of them, in the order that was asked for.
    pub pins: Vec<PinDetails>,
}

type MoreRow = (String, Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>);
/// Origins, info, group, media type, files.
type DetailsRow = (Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>);

/// The pins of an account that pass, behind what `start` selects.
pub(crate) fn matching<DB: Database>(start: &str, account: &str, filter: &PinFilter) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    f64: for<'q> Encode<'q, DB> + Type<DB>,
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
    push_places(&mut query, filter);
    for MetaTest { key, value, compare } in &filter.meta {
        query.push(" AND EXISTS (SELECT 1 FROM pin_meta m WHERE m.pin_id = p.id AND m.key = ");
        query.push_bind(text(key).into_owned()).push(" AND ");
        push_compare(&mut query, &text(value), compare);
        query.push(")");
    }
    query
}

/// Tests of what is neither a name nor metadata.
fn push_places<DB: Database>(query: &mut QueryBuilder<DB>, filter: &PinFilter)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(part) = filter.cid_part.as_deref().map(text).filter(|part| !part.is_empty()) {
        query.push(" AND replace(p.cid, ").push_bind(part.into_owned()).push(", '') <> p.cid");
    }
    if let Some(least) = filter.size_bytes.0 {
        query.push(" AND p.size_bytes >= ").push_bind(sql(least));
    }
    if let Some(most) = filter.size_bytes.1 {
        query.push(" AND p.size_bytes <= ").push_bind(sql(most));
    }
    match &filter.group {
        None => {}
        Some(GroupTest::Without) => {
            query.push(" AND p.group_id IS NULL");
        }
        Some(GroupTest::In(group)) => {
            query.push(" AND p.group_id = ").push_bind(text(group).into_owned());
        }
    }
    if let Some(mime_type) = &filter.mime_type {
        query.push(" AND p.mime_type = ").push_bind(text(mime_type).into_owned());
    }
    if let Some((created, id)) = &filter.cursor {
        query.push(if filter.oldest_first {
            " AND (p.created_us, p.id) > ("
        } else {
            " AND (p.created_us, p.id) < ("
        });
        query.push_bind(created.0).push(", ").push_bind(text(id).into_owned()).push(")");
    }
}

/// Compares `m.value`, or `m.number`.
fn push_compare<DB: Database>(query: &mut QueryBuilder<DB>, value: &str, compare: &MetaCompare)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    f64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut push = |sign: &str, value: &str| {
        if let Some(value) = number(value) {
            query.push(format!("m.number {sign} ")).push_bind(value);
            return;
        }
        // SQLite compares bytes; PostgreSQL as its locale says, unless it is told to do the same.
        let column = if DB::NAME == "SQLite" { "m.value" } else { "m.value COLLATE \"C\"" };
        query.push(format!("{column} {sign} ")).push_bind(value.to_string());
    };
    match compare {
        MetaCompare::Equal | MetaCompare::NotEqual => {
            let sign = if *compare == MetaCompare::Equal { "=" } else { "<>" };
            query.push(format!("m.value {sign} ")).push_bind(value.to_string());
        }
        MetaCompare::Less(or_equal) => push(if *or_equal { "<=" } else { "<" }, value),
        MetaCompare::Greater(or_equal) => push(if *or_equal { ">=" } else { ">" }, value),
        MetaCompare::Between(to) => {
            push(">=", value);
            query.push(" AND ");
            push_compare(query, &text(to), &MetaCompare::Less(true));
        }
        MetaCompare::NotBetween(to) => {
            query.push("(");
            push_compare(query, value, &MetaCompare::Less(false));
            query.push(" OR ");
            push_compare(query, &text(to), &MetaCompare::Greater(false));
            query.push(")");
        }
        MetaCompare::Like { any_case, not } => {
            // Each engine has both ways under another name.
            let (operator, pattern, escape) = match (DB::NAME == "SQLite", any_case) {
                (true, false) => ("GLOB", glob(value), ""),
                (false, true) => ("ILIKE", whole_escapes(value), " ESCAPE '\\'"),
                (true, true) | (false, false) => ("LIKE", whole_escapes(value), " ESCAPE '\\'"),
            };
            query.push(format!("m.value {}{operator} ", if *not { "NOT " } else { "" }));
            query.push_bind(pattern).push(escape);
        }
    }
}

/// The pattern without a backslash at its end that takes nothing back: PostgreSQL refuses it.
fn whole_escapes(pattern: &str) -> String {
    let backslashes = pattern.len() - pattern.trim_end_matches('\\').len();
    if backslashes % 2 == 1 { pattern[..pattern.len() - 1].to_string() } else { pattern.to_string() }
}

/// A pattern of `LIKE` as SQLite's `GLOB` has it, which heeds case.
fn glob(pattern: &str) -> String {
    let mut glob = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '%' => {
                glob.push('*');
                continue;
            }
            '_' => {
                glob.push('?');
                continue;
            }
            '\\' => match characters.next() {
                Some(next) => next,
                None => break,
            },
            other => other,
        };
        if matches!(plain, '*' | '?' | '[') {
            glob.extend(['[', plain, ']']);
        } else {
            glob.push(plain);
        }
    }
    glob
}

impl Db {
    /// The newest `limit` of the account's pins that pass, or the oldest, and how many there are.
    pub async fn find_pins(
        &self,
        account: &str,
        filter: &PinFilter,
        limit: u32,
    ) -> Result<PinsFound, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM pins p";
        const SELECT: &str = concat!("SELECT ", pin_columns!());
        const MORE: &str = "SELECT id, origins, info, group_id, mime_type, file_count FROM pins WHERE id IN ";
        let rows: Vec<PinRow> = read!(self, pool => {
            let mut query = matching(SELECT, account, filter);
            query.push(if filter.oldest_first {
                " ORDER BY p.created_us, p.id LIMIT "
            } else {
                " ORDER BY p.created_us DESC, p.id DESC LIMIT "
            });
            query.push_bind(i64::from(limit)).push(" OFFSET ").push_bind(i64::from(filter.offset));
            query.build_query_as().fetch_all(pool).await
        })?;
        let pins: Vec<Pin> = rows.into_iter().map(pin).collect::<Result<_, _>>()?;
        // Where they all are here, they need not be counted.
        let is_end = pins.len() < limit as usize && (filter.offset == 0 || !pins.is_empty());
        let count = if is_end {
            u64::from(filter.offset) + pins.len() as u64
        } else {
            let (count,): (i64,) = read!(self, pool => {
                matching(COUNT, account, filter).build_query_as().fetch_one(pool).await
            })?;
            size("pin count", count)?
        };
        let ids: Vec<&String> = pins.iter().map(|pin| &pin.id).collect();
        let mut said: HashMap<String, DetailsRow> = HashMap::new();
        for part in ids.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<MoreRow> = read!(self, pool => {
                let mut query = QueryBuilder::new(MORE);
                push_list(&mut query, part);
                query.build_query_as().fetch_all(pool).await
            })?;
            said.extend(rows.into_iter().map(|(id, a, b, c, d, e)| (id, (a, b, c, d, e))));
        }
        let mut meta = self.meta_of(&ids).await?;
        let pins = pins.into_iter().map(|pin| {
            let (origins, info, group, mime_type, files) = said.remove(&pin.id).unwrap_or_default();
            let files = files.map(|files| size("file count", files)).transpose()?;
            let origins = match origins {
                None => Vec::new(),
                Some(json) => serde_json::from_str(&json)
                    .map_err(|_| StoreError::Malformed { what: "pin origins", value: json })?,
            };
            let meta = meta.remove(&pin.id).unwrap_or_default();
            Ok(PinDetails { pin, origins, info, meta, group, mime_type, files })
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
}
