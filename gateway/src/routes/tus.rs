//! `/tus`: uploads in several requests, as tus 1.0.0 has them: core, creation, creation-with-upload,
//! creation-defer-length, expiration, checksum, termination, concatenation. Clients that leave `Tus-Resumable` out, as
//! Pinata's do, are understood too.

mod answer;
mod headers;

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse as _, Response},
    routing::any,
};
use service::http::error::ApiError;
use store::TusKind;

use self::{
    answer::{begun, described, dress, stands, written},
    headers::{Concat, Headers},
};
use crate::{
    app::Gateway,
    auth::Scope,
    tus::{self, Beginning, Metadata, Piece, TusError},
};

/// All paths.
pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/tus", any(all))
        .route("/tus/", any(all))
        .route("/tus/{id}", any(one))
        // The limit of uploads is in the configuration and checked while they stream.
        .layer(DefaultBodyLimit::disable())
        .layer(map_response(dress))
}

/// `/tus`: what the server can do, and new uploads.
async fn all(State(gateway): State<Gateway>, request: Request) -> Result<Response, ApiError> {
    match headers::method(&request)? {
        Method::OPTIONS => Ok(answer::options(&gateway)),
        Method::POST => create(&gateway, request).await,
        _ => Err(not_this_method()),
    }
}

/// `/tus/{id}`: one upload.
async fn one(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let method = headers::method(&request)?;
    if method == Method::OPTIONS {
        return Ok(answer::options(&gateway));
    }
    let account = authorize(&gateway, request.headers()).await?;
    match method {
        Method::HEAD => Ok(stands(&tus::look(&gateway, &account, &id).await?)),
        Method::GET => {
            let upload = tus::look(&gateway, &account, &id).await?;
            Ok(([(header::CACHE_CONTROL, "no-store")], Json(described(&gateway, &upload)?)).into_response())
        }
        Method::PATCH => patch(&gateway, &account, &id, request).await,
        Method::DELETE => {
            tus::remove(&gateway, &account, &id).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(not_this_method()),
    }
}

/// The account of a request whose version of the protocol is ours.
async fn authorize(gateway: &Gateway, headers: &HeaderMap) -> Result<String, ApiError> {
    headers::check_version(headers)?;
    Ok(gateway.keys.account(headers, Scope::Write).await?)
}

/// `POST /tus`: begins an upload, perhaps with its first bytes, or puts finished ones together.
async fn create(gateway: &Gateway, request: Request) -> Result<Response, ApiError> {
    let account = authorize(gateway, request.headers()).await?;
    let said = Headers(request.headers());
    let metadata = said.metadata(gateway.config.tus.metadata_max)?;
    let concat = said.concat()?;
    if let Concat::Final { said, ids } = &concat {
        let upload = tus::join(gateway, &account, metadata, said.clone(), ids).await?;
        return Ok(begun(gateway, &upload));
    }
    let kind = if matches!(concat, Concat::Partial) { TusKind::Partial } else { TusKind::Plain };
    let length = said.new_length()?;
    let first = said.is_bytes().then(|| said.piece(0)).transpose()?;
    let upload = begin(gateway, &account, kind, metadata, length).await?;
    let (piece, body) = match first {
        Some(piece) => (piece, request.into_body()),
        // Complete already.
        None if length == Some(0) => (Piece::empty(), Body::empty()),
        None => return Ok(begun(gateway, &upload)),
    };
    let id = upload.id.clone();
    match tus::write(gateway, upload, piece, body).await {
        Ok(upload) => Ok(begun(gateway, &upload)),
        Err(error) => {
            // The client was never told where the upload is.
            if let Err(error) = tus::remove(gateway, &account, &id).await {
                tracing::warn!(%error, "could not forget an upload whose first bytes were refused");
            }
            Err(error.into())
        }
    }
}

async fn begin(
    gateway: &Gateway,
    account: &str,
    kind: TusKind,
    metadata: Metadata,
    length: Option<u64>,
) -> Result<store::TusUpload, TusError> {
    tus::begin(gateway, account, Beginning { kind, parts: String::new(), metadata, length }).await
}

/// `PATCH /tus/{id}`: the next bytes.
async fn patch(gateway: &Gateway, account: &str, id: &str, request: Request) -> Result<Response, ApiError> {
    let upload = tus::find(gateway, account, id).await?;
    let said = Headers(request.headers());
    if !said.is_bytes() {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the bytes of an upload are application/offset+octet-stream",
        ));
    }
    let piece = said.piece(said.offset()?)?;
    Ok(written(&tus::write(gateway, upload, piece, request.into_body()).await?))
}

fn not_this_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}
