//! What is asked for: parameters of a list, and the body of a wish.

use std::collections::BTreeMap;

use content::Cid;
use serde::Deserialize;
use service::http::error::ApiError;
use store::{MetaCompare, MetaTest, NameMatch, PinFilter, PinState};

use crate::{pinning::Wanted, routes::time_text::parse_rfc3339_micros};

/// Pins in one answer, at most, and when nothing is asked for.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 10;
/// CIDs that one list may ask for.
const CIDS_MAX: usize = 10;
/// Tests of metadata in one list.
const META_TESTS_MAX: usize = 10;

/// Which pins, and how many.
pub(super) struct Listed {
    pub(super) filter: PinFilter,
    pub(super) limit: u32,
}

/// A wish for a pin.
#[derive(Debug, Deserialize)]
pub(super) struct PinBody {
    cid: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    origins: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

impl PinBody {
    pub(super) fn wanted(self) -> Result<Wanted, ApiError> {
        Ok(Wanted {
            cid: cid(&self.cid)?,
            name: self.name.unwrap_or_default(),
            origins: self.origins.unwrap_or_default(),
            meta: self.meta.unwrap_or_default(),
        })
    }
}

fn bad(key: &str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request("bad_parameter", format!("{key}: {problem}"))
}

fn cid(text: &str) -> Result<Cid, ApiError> {
    text.parse().map_err(|error| bad("cid", format!("{text:?} is not a CID: {error}")))
}

/// The parameters of a list. Lists in them have commas, or come as parameters of the same name.
pub(super) fn listed(query: &[(String, String)]) -> Result<Listed, ApiError> {
    let one = |key: &str| query.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let many = |key: &'static str| {
        let values = query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str());
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
    };
    let time = |key| {
        let parse = |text: &str| parse_rfc3339_micros(text).ok_or_else(|| bad(key, "not an RFC 3339 time"));
        one(key).map(parse).transpose()
    };
    let cids: Vec<Cid> = many("cid").map(cid).collect::<Result<_, _>>()?;
    if cids.len() > CIDS_MAX {
        return Err(bad("cid", format!("more than {CIDS_MAX}")));
    }
    let how = match one("match").unwrap_or("exact") {
        "exact" => NameMatch::Exact,
        "iexact" => NameMatch::ExactAnyCase,
        "partial" => NameMatch::Partial,
        "ipartial" => NameMatch::PartialAnyCase,
        other => return Err(bad("match", format!("{other:?} is not exact, iexact, partial or ipartial"))),
    };
    let mut states = Vec::new();
    for text in many("status") {
        let state = text.parse().ok().filter(|state| *state != PinState::Held);
        let state = state.ok_or_else(|| bad("status", format!("{text:?} is not a status")))?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    if states.is_empty() {
        states.push(PinState::Pinned);
    }
    let limit = match one("limit") {
        None => LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| bad("limit", format!("must be between 1 and {LIMIT_MAX}")))?,
    };
    let filter = PinFilter {
        cids,
        name: one("name").filter(|name| !name.is_empty()).map(|name| (name.to_string(), how)),
        states,
        before: time("before")?,
        after: time("after")?,
        meta: meta_tests(query)?,
        ..PinFilter::default()
    };
    Ok(Listed { filter, limit })
}

/// Metadata that pins must have: `meta` as a JSON object, as the specification says, or a parameter `meta[key]` for each
/// entry, as ipfs-shipyard's client writes it.
fn meta_tests(query: &[(String, String)]) -> Result<Vec<MetaTest>, ApiError> {
    let mut meta = BTreeMap::new();
    for (name, value) in query {
        let Some(rest) = name.strip_prefix("meta") else { continue };
        if rest.is_empty() {
            let object: BTreeMap<String, String> = serde_json::from_str(value)
                .map_err(|error| bad("meta", format!("not a JSON object of texts: {error}")))?;
            meta.extend(object);
        } else if let Some(key) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            meta.insert(key.to_string(), value.clone());
        }
    }
    if meta.len() > META_TESTS_MAX {
        return Err(bad("meta", format!("more than {META_TESTS_MAX} entries")));
    }
    Ok(meta.into_iter().map(|(key, value)| MetaTest { key, value, compare: MetaCompare::Equal }).collect())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const NAMES: [&str; 10] =
        ["cid", "name", "match", "status", "before", "after", "limit", "meta", "meta[key]", "meta["];
    const VALUES: [&str; 10] = [
        "bafkqaaa,bafkqaaa",
        "iexact",
        "queued,pinned",
        "held",
        "2026-01-31T12:00:00.123456Z",
        "1000",
        "0",
        r#"{"a":"b"}"#,
        r#"{"a":1}"#,
        ",",
    ];

    proptest! {
        #[test]
        fn any_query_is_within_bounds_or_refused(
            query in vec((
                prop_oneof![select(&NAMES[..]).prop_map(str::to_string), any::<String>()],
                prop_oneof![select(&VALUES[..]).prop_map(str::to_string), any::<String>()],
            ), 0..8),
        ) {
            match listed(&query) {
                Ok(Listed { filter, limit }) => {
                    prop_assert!((1..=LIMIT_MAX).contains(&limit));
                    prop_assert!(filter.cids.len() <= CIDS_MAX && filter.meta.len() <= META_TESTS_MAX);
                    prop_assert!(!filter.states.is_empty() && !filter.states.contains(&PinState::Held));
                }
                Err(error) => prop_assert_eq!(error.status.as_u16(), 400),
            }
        }
    }
}
