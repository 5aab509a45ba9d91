//! Version 3: large files, whose bytes clients send in several requests. It is tus without its version: a `POST` with
//! `Upload-Length` on the path of forms begins one, and the bytes go to the URL that it is answered, below `/tus`.

use axum::{extract::Request, response::Response};
use service::http::error::ApiError;
use store::TusKind;

use super::files::EXPECTED;
use crate::{
    app::Gateway,
    intake::Fields,
    notes::{Notes, check_group, mime_type},
    routes::tus::{announced, begun, dress, start},
    tus::{Beginning, Import, Metadata, Said, TusError, right},
};

/// Whether a request begins an upload in several requests.
pub(super) fn is_meant(request: &Request) -> bool {
    request.headers().contains_key("upload-length")
}

/// What is said of a file before its bytes come.
pub(super) struct Announced {
    metadata: Metadata,
    /// The metadata by the names that forms have.
    pub(super) fields: Fields,
    pub(super) mime_type: String,
    pub(super) length: u64,
}

impl Announced {
    /// Reads the headers.
    pub(super) fn of(gateway: &Gateway, request: &Request) -> Result<Self, ApiError> {
        let (metadata, length) = announced(gateway, request.headers())?;
        let length = length.ok_or_else(|| TusError::BadLength("Upload-Length is needed".into()))?;
        let name = metadata.name().to_string();
        let mime_type = mime_type(metadata.get("filetype"), &name);
        let mut fields = Fields::from([("name".to_string(), name)]);
        for (key, value) in metadata.pairs() {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(Self { metadata, fields, mime_type, length })
    }
}

/// Begins an upload that becomes what a form with the same file would. With the API key behind a signed URL, the answer's URL
/// carries the right to go on.
pub(super) async fn begin(
    gateway: &Gateway,
    account: &str,
    announced: Announced,
    notes: Notes,
    key: Option<&str>,
    request: Request,
) -> Result<Response, ApiError> {
    let Announced { metadata, fields, mime_type, length } = announced;
    if let Some(group) = &notes.group {
        check_group(gateway, account, group).await?;
    }
    let version = (EXPECTED.said)(&fields)?.version.unwrap_or(EXPECTED.default);
    let name = notes.name.or_else(|| fields.get("name").cloned());
    let beginning = Beginning {
        kind: TusKind::Plain,
        parts: String::new(),
        metadata,
        length: Some(length),
        import: Import::Kubo(version),
        said: Some(Said { notes: Notes { name, ..notes }, mime_type }),
        whole_pieces: true,
    };
    let upload = start(gateway, account, beginning, request).await?;
    let query = key.map(|key| right::query(gateway, &upload.id, key));
    Ok(dress(begun(gateway, &upload, query.as_deref())).await)
}
