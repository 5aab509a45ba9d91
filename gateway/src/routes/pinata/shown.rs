//! Files as the newer clients are told of them.

use serde_json::{Value, json};
use store::{PinCursor, PinDetails, PinState};

use crate::{notes, routes::time_text::rfc3339_micros};

/// A file.
pub(super) fn file(found: &PinDetails) -> Value {
    let PinDetails { pin, meta, group, .. } = found;
    json!({
        "id": pin.id,
        "user_id": pin.account,
        "name": name(&pin.name),
        "cid": pin.cid.as_written().to_string(),
        "size": pin.size_bytes,
        "number_of_files": number_of_files(found),
        "mime_type": mime_type(found),
        "group_id": group,
        "keyvalues": meta,
        "network": "public",
        "vectorized": false,
        "created_at": rfc3339_micros(pin.created),
    })
}

/// A file whose bytes are to be fetched. Of one that failed nobody says why, but that its time is over.
pub(super) fn job(found: &PinDetails) -> Value {
    let PinDetails { pin, meta, group, origins, info, .. } = found;
    let cid = pin.cid.as_written().to_string();
    json!({
        "id": pin.id,
        "cid": cid,
        "ipfs_pin_hash": cid,
        "date_queued": rfc3339_micros(pin.created),
        "name": name(&pin.name),
        "status": job_status(pin.state),
        "details": info,
        "keyvalues": if meta.is_empty() { Value::Null } else { json!(meta) },
        "host_nodes": if origins.is_empty() { Value::Null } else { json!(origins) },
        "group_id": group,
        "pin_policy": null,
    })
}

/// States of jobs by Pinata's names.
pub(super) const JOB_STATES: [(&str, PinState); 3] =
    [("prechecking", PinState::Queued), ("retrieving", PinState::Pinning), ("expired", PinState::Failed)];

fn job_status(state: PinState) -> &'static str {
    JOB_STATES.iter().find(|(_, known)| *known == state).map_or("backfilled", |(name, _)| name)
}

/// A name, which may be none.
pub(super) fn name(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

/// One for whatever is no directory; of directories that came another way nobody counted them.
pub(super) fn number_of_files(found: &PinDetails) -> Option<u64> {
    found.files.or((found.pin.cid.codec() == content::Codec::Raw).then_some(1))
}

/// What whoever uploaded it said, or by its name.
pub(super) fn mime_type(found: &PinDetails) -> String {
    found.mime_type.clone().unwrap_or_else(|| notes::mime_type(None, &found.pin.name))
}

/// Where the next page starts.
pub(super) fn token((created, id): &PinCursor) -> String {
    format!("{}.{id}", created.0)
}
