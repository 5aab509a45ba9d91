//! Version 1: what an account has.

use axum::{
    Json,
    extract::{Query, State},
    http::HeaderMap,
};
use protocol::time::UnixMicros;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service::http::error::ApiError;
use store::{GroupTest, MetaCompare, MetaTest, NameMatch, PinDetails, PinFilter, PinState};

use super::{bad, parse, shown};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    routes::time_text::{parse_rfc3339, rfc3339_micros},
};

/// Pins on one page, at most.
pub(super) const PAGE_MAX: u32 = 1_000;
/// Pins on one page when nothing is asked for.
pub(super) const PAGE_DEFAULT: u32 = 10;
/// Tests of metadata in one question, at most.
const TESTS_MAX: usize = 10;

/// A query; a name may come several times, and then the first counts.
pub(super) type Asked = Query<Vec<(String, String)>>;

/// `GET /data/testAuthentication`.
pub(super) async fn test(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    gateway.keys.account(&headers, Scope::Read).await?;
    Ok(Json(json!({ "message": "The key is good: this is Pinstripe, which speaks Pinata's API." })))
}

/// `GET /data/userPinnedDataTotal`. Nothing is said of how often pieces are stored.
pub(super) async fn total(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let pinned = PinFilter { states: vec![PinState::Pinned], ..PinFilter::default() };
    let count = gateway.db.find_pins(&account, &pinned, 0).await.map_err(store_failed)?.count;
    let known = gateway.db.account(&account).await.map_err(store_failed)?;
    let used = known.map_or(0, |account| account.used_bytes);
    Ok(Json(json!({
        "pin_count": count, "pin_size_total": used, "pin_size_with_replications_total": used
    })))
}

/// `GET /data/pinList`: stored pins, newest first.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let filter = filter(&asked)?;
    let limit = page_size(get(&asked, "pageLimit"))?;
    // What was unpinned is not remembered.
    let found = match get(&asked, "status") {
        None | Some("all" | "pinned") => gateway.db.find_pins(&account, &filter, limit).await,
        Some("unpinned") => Ok(store::PinsFound::default()),
        Some(other) => return Err(bad("status", other)),
    };
    let found = found.map_err(store_failed)?;
    let mut answer = json!({ "rows": found.pins.iter().map(row).collect::<Vec<_>>() });
    if get(&asked, "includeCount") != Some("false") {
        answer["count"] = found.count.into();
    }
    Ok(Json(answer))
}

fn row(found: &PinDetails) -> Value {
    let PinDetails { pin, meta, .. } = found;
    json!({
        "id": pin.id,
        "ipfs_pin_hash": pin.cid.as_written().to_string(),
        "size": pin.size_bytes,
        "user_id": pin.account,
        "date_pinned": rfc3339_micros(pin.created),
        "date_unpinned": null,
        "metadata": {
            "name": shown::name(&pin.name),
            "keyvalues": if meta.is_empty() { Value::Null } else { json!(meta) },
        },
        "regions": [],
        "mime_type": shown::mime_type(found),
        "number_of_files": shown::number_of_files(found),
    })
}

/// The value of a parameter that is not empty.
pub(super) fn get<'a>(asked: &'a [(String, String)], name: &str) -> Option<&'a str> {
    asked.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// How many are asked for.
pub(super) fn page_size(text: Option<&str>) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(PAGE_DEFAULT) };
    let size = text.parse().ok().filter(|size| (1..=PAGE_MAX).contains(size));
    size.ok_or_else(|| {
        ApiError::bad_request("bad_limit", format!("the limit must be between 1 and {PAGE_MAX}"))
    })
}

/// A number.
pub(super) fn number<T: std::str::FromStr>(
    asked: &[(String, String)],
    name: &str,
) -> Result<Option<T>, ApiError> {
    get(asked, name).map(|text| text.parse().map_err(|_| bad(name, text))).transpose()
}

fn filter(asked: &[(String, String)]) -> Result<PinFilter, ApiError> {
    let time = |name: &str| {
        let parsed = |text: &str| parse_rfc3339(text).ok_or_else(|| bad(name, text));
        get(asked, name).map(parsed).transpose()
    };
    let mut filter = PinFilter { states: vec![PinState::Pinned], ..PinFilter::default() };
    if let Some(part) = get(asked, "hashContains") {
        match part.parse() {
            // However it is written.
            Ok(cid) => filter.cids.push(cid),
            Err(_) => filter.cid_part = Some(part.to_string()),
        }
    }
    // Both ends belong to it, to the millisecond.
    filter.after = time("pinStart")?.map(|start| UnixMicros(start.micros().0.saturating_sub(1)));
    filter.before = time("pinEnd")?.map(|end| UnixMicros(end.micros().0.saturating_add(1_000)));
    filter.size_bytes = (number(asked, "pinSizeMin")?, number(asked, "pinSizeMax")?);
    filter.offset = number(asked, "pageOffset")?.unwrap_or(0);
    filter.name = get(asked, "metadata[name]").map(|name| (name.to_string(), NameMatch::PartialAnyCase));
    filter.group = get(asked, "groupId").map(|group| GroupTest::In(group.to_string()));
    if let Some(text) = get(asked, "metadata[keyvalues]") {
        let tests: Map<String, Value> = parse("metadata[keyvalues]", text.as_bytes())?;
        if tests.len() > TESTS_MAX {
            return Err(bad("metadata[keyvalues]", format!("a list of {} tests", tests.len())));
        }
        filter.meta = tests.into_iter().map(|(key, test)| meta_test(key, test)).collect::<Result<_, _>>()?;
    }
    Ok(filter)
}

/// One test of metadata.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    value: Value,
    second_value: Option<Value>,
    #[serde(default = "equal")]
    op: String,
}

fn equal() -> String {
    "eq".into()
}

fn meta_test(key: String, test: Value) -> Result<MetaTest, ApiError> {
    let test: Test = serde_json::from_value(test).map_err(|error| bad(&key, error))?;
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(bad(&key, value)),
    };
    let second = || text(test.second_value.as_ref().unwrap_or(&Value::Null));
    let like = |any_case, not| MetaCompare::Like { any_case, not };
    let compare = match test.op.as_str() {
        "eq" => MetaCompare::Equal,
        "ne" => MetaCompare::NotEqual,
        "lt" => MetaCompare::Less(false),
        "lte" => MetaCompare::Less(true),
        "gt" => MetaCompare::Greater(false),
        "gte" => MetaCompare::Greater(true),
        "between" => MetaCompare::Between(second()?),
        "notBetween" => MetaCompare::NotBetween(second()?),
        "like" => like(false, false),
        "notLike" => like(false, true),
        "iLike" => like(true, false),
        "notILike" => like(true, true),
        "regexp" | "iRegexp" => return Err(super::unsupported(&format!("the operator {:?}", test.op))),
        other => return Err(bad(&key, format!("operator {other:?}"))),
    };
    let value = text(&test.value)?;
    Ok(MetaTest { key, value, compare })
}
