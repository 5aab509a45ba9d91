//! Version 1: files, JSON, and what becomes of them by their CIDs.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use content::{Cid, unixfs::profile::CidVersion};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service::http::error::ApiError;
use store::{PinChange, PinKind};

use super::{
    json_text, parse, shown,
    take_in::{Pinned, form, pin, pin_form, version},
};
use crate::{
    app::Gateway,
    auth::Scope,
    database::store_failed,
    intake::{Expected, Fields, Intake, Said, kubo_profile, pin_name},
    notes::{Notes, NotesError, describe, keyvalues},
    routes::{files::parse_cid, time_text::rfc3339_micros},
    upload::UploadError,
};

/// `pinataMetadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) keyvalues: Option<Map<String, Value>>,
}

/// `pinataOptions`. What else may stand there is about Pinata's own machines.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Options {
    pub(super) cid_version: Option<Value>,
    pub(super) wrap_with_directory: Option<bool>,
    pub(super) group_id: Option<String>,
    pub(super) host_nodes: Option<Vec<String>>,
}

impl Options {
    fn version(&self) -> Result<Option<CidVersion>, UploadError> {
        self.cid_version.as_ref().map(|value| version(&value.to_string())).transpose()
    }
}

/// What the fields of a form say about how it is to be imported.
fn said(fields: &Fields) -> Result<Said, UploadError> {
    let options = options(fields).map_err(|error| UploadError::BadParameter(error.details))?;
    Ok(Said { version: options.version()?, wrap: options.wrap_with_directory.unwrap_or(false) })
}

fn options(fields: &Fields) -> Result<Options, ApiError> {
    let given = fields.get("pinataOptions").map(String::as_str).filter(|text| !text.trim().is_empty());
    let given = given.map(|text| parse::<Option<Options>>("pinataOptions", text.as_bytes())).transpose()?;
    Ok(given.flatten().unwrap_or_default())
}

/// What is said of a file.
fn notes(gateway: &Gateway, metadata: Metadata, options: Options) -> Result<Notes, NotesError> {
    let name = metadata.name.filter(|name| !name.is_empty());
    let notes = Notes { name, group: options.group_id, ..Notes::default() };
    notes.keyvalues(gateway, &metadata.keyvalues.unwrap_or_default())
}

/// `POST /pinning/pinFileToIPFS`.
pub(super) async fn pin_file(
    State(gateway): State<Gateway>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    // The newer client takes this way for folders, and always asks for version 1.
    let is_newer = request.headers().get("source").is_some_and(|value| value.as_bytes().starts_with(b"sdk/"));
    let before = gateway.cid_versions.get(&account);
    let guess = before.unwrap_or(if is_newer { CidVersion::V1 } else { CidVersion::V0 });
    let expected = Expected { guess, default: CidVersion::V0, size_max: None, said };
    let late = form(&gateway, &account, request, expected).await?;
    gateway.cid_versions.insert(account.clone(), late.version);
    let metadata = match late.fields.get("pinataMetadata").filter(|text| !text.trim().is_empty()) {
        None => Metadata::default(),
        Some(text) => parse::<Option<Metadata>>("pinataMetadata", text.as_bytes())?.unwrap_or_default(),
    };
    let notes = notes(&gateway, metadata, options(&late.fields)?)?;
    Ok(answer(pin_form(&gateway, &account, late, notes).await?))
}

/// `POST /pinning/pinJSONToIPFS`: the JSON itself, or as `pinataContent` beside what is said of it.
pub(super) async fn pin_json(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    let _: serde::de::IgnoredAny = parse("the body", &body)?;
    let text =
        String::from_utf8(body.to_vec()).map_err(|_| ApiError::bad_request("bad_json", "not UTF-8"))?;
    let text = json_text::compact(&text);
    let (mut metadata, mut options) = (Metadata::default(), Options::default());
    let content = json_text::member(&text, "pinataContent");
    if content.is_some() {
        if let Some(text) = json_text::member(&text, "pinataMetadata") {
            metadata = parse::<Option<Metadata>>("pinataMetadata", text.as_bytes())?.unwrap_or_default();
        }
        if let Some(text) = json_text::member(&text, "pinataOptions") {
            options = parse::<Option<Options>>("pinataOptions", text.as_bytes())?.unwrap_or_default();
        }
    }
    let profile = kubo_profile(options.version()?.unwrap_or(CidVersion::V0));
    let notes = notes(&gateway, metadata, options)?;
    let mut intake = Intake::begin(&gateway, &account, profile).await?;
    let bytes = Bytes::copy_from_slice(content.unwrap_or(&text).as_bytes());
    let root = intake.whole(bytes).await?;
    let kind = PinKind { mime_type: "application/json".into(), files: 1 };
    Ok(answer(pin(&gateway, &account, intake, root, notes, kind).await?))
}

/// What both say. The names of the second half are for the newer client.
fn answer(Pinned { details, cid, duplicate }: Pinned) -> Json<Value> {
    let mut answer = json!({
        "IpfsHash": cid,
        "PinSize": details.pin.size_bytes,
        "Timestamp": rfc3339_micros(details.pin.created),
        "ID": details.pin.id,
        "Name": shown::name(&details.pin.name),
        "NumberOfFiles": shown::number_of_files(&details),
        "MimeType": shown::mime_type(&details),
        "GroupId": details.group,
        "Keyvalues": if details.meta.is_empty() { Value::Null } else { json!(details.meta) },
    });
    if duplicate {
        answer["isDuplicate"] = true.into();
    }
    Json(answer)
}

/// `DELETE /pinning/unpin/{cid}`.
pub(super) async fn unpin(
    State(gateway): State<Gateway>,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Result<&'static str, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Delete).await?;
    let cid = parse_cid(&cid)?;
    let removed = gateway.unpin(&account, &cid).await.map_err(store_failed)?;
    if removed { Ok("OK") } else { Err(not_pinned(&cid)) }
}

/// Reason and status as Pinata has them.
fn not_pinned(cid: &Cid) -> ApiError {
    let details = format!("this account has not pinned {}", cid.as_written());
    ApiError::new(StatusCode::BAD_REQUEST, "CURRENT_USER_HAS_NOT_PINNED_CID", details)
}

/// Body of [`hash_metadata`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewMetadata {
    ipfs_pin_hash: String,
    name: Option<String>,
    #[serde(default)]
    keyvalues: Option<Map<String, Value>>,
}

/// `PUT /pinning/hashMetadata`: of the newest pin of a CID.
pub(super) async fn hash_metadata(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<&'static str, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Write).await?;
    let new: NewMetadata = parse("the body", &body)?;
    let cid = parse_cid(&new.ipfs_pin_hash)?;
    let found = gateway.db.pin(&account, &cid).await.map_err(store_failed)?;
    let found = found.ok_or_else(|| not_pinned(&cid))?;
    let change = PinChange {
        name: new.name.map(|name| pin_name(&name)),
        meta: keyvalues(&gateway, &new.keyvalues.unwrap_or_default())?,
        ..PinChange::default()
    };
    describe(&gateway, &account, &found.id, &change).await?;
    Ok("OK")
}
