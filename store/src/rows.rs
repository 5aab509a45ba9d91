//! Turning columns into the network's types and back.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use erasure::{Codec, Scheme};
use protocol::time::UnixMillis;
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::StoreError;

/// Rows of one multi-row statement: below every engine's limit of bound values (SQLite: 32,766) for our widest table.
pub(crate) const ROWS_PER_STATEMENT: usize = 1_024;

/// Cuts rows into runs whose lengths are powers of two. Statements of all row counts are then a few texts, which
/// connections keep prepared: a tenth less CPU a commit on SQLite when every batch has another size.
pub(crate) fn runs<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let longest = 1 << rest.len().checked_ilog2()?;
        let (run, tail) = rest.split_at(longest.min(ROWS_PER_STATEMENT));
        rest = tail;
        Some(run)
    })
}

/// Parses a text column.
pub(crate) fn parse<T: FromStr>(what: &'static str, value: &str) -> Result<T, StoreError> {
    value.parse().map_err(|_| StoreError::Malformed { what, value: value.to_string() })
}

/// A count or length as SQL has it. Nothing we store comes near the limit; what does is cut off there.
pub(crate) fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or length from SQL.
pub(crate) fn size(what: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Malformed { what, value: value.to_string() })
}

/// A small number from SQL: piece index, needed, total.
pub(crate) fn small(what: &'static str, value: i64) -> Result<u8, StoreError> {
    u8::try_from(value).map_err(|_| StoreError::Malformed { what, value: value.to_string() })
}

/// The coding of a segment from its three columns.
pub(crate) fn scheme(codec: &str, needed: i64, total: i64) -> Result<Scheme, StoreError> {
    let codec: Codec = parse("codec", codec)?;
    Scheme::new(codec, small("needed", needed)?, small("total", total)?)
        .map_err(|_| StoreError::Malformed { what: "scheme", value: format!("{needed}/{total}") })
}

/// An optional time.
pub(crate) fn millis(value: Option<i64>) -> Option<UnixMillis> {
    value.map(UnixMillis)
}

/// Free text as both engines take it: PostgreSQL refuses a NUL, and one upload's name must not fail the commit it shares.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { Cow::Owned(value.replace('\0', "")) } else { Cow::Borrowed(value) }
}

/// A name in lower case, if that is not the name itself: what searches that ignore case look at.
pub(crate) fn folded(name: &str) -> Option<String> {
    let folded = name.to_lowercase();
    (folded != name).then_some(folded)
}

/// A value of metadata as a number, if it is one that can be compared.
pub(crate) fn number(value: &str) -> Option<f64> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Appends `(value, value, ...)`, which must not be empty. The last value is repeated up to a power of two, so that lists
/// of all lengths are a few statements, which connections keep prepared.
pub(crate) fn push_list<DB>(query: &mut QueryBuilder<DB>, values: &[impl Display])
where
    DB: Database,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    query.push("(");
    let mut list = query.separated(", ");
    let padding = values.len().next_power_of_two() - values.len();
    for value in values.iter().chain(std::iter::repeat_n(&values[values.len() - 1], padding)) {
        list.push_bind(value.to_string());
    }
    query.push(")");
}
