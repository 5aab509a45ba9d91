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
use store::{TusKind, TusUpload};

pub(super) use self::answer::{begun, dress};
use self::{
    answer::{described, stands, written},
    headers::{Concat, Headers},
};
use crate::{
    app::Gateway,
    auth::Scope,
    grants,
    tus::{self, Beginning, Metadata, Piece},
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
    headers::check_version(request.headers())?;
    // Whoever has a URL with a right of its own sends whatever key there is, or none.
    let account = match tus::right::key(&gateway, &id, request.uri().query().unwrap_or_default())? {
        Some(key) => grants::account(&gateway, &key).await?,
        None => gateway.keys.account(request.headers(), Scope::Write).await?,
    };
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

/// What a request says that begins an upload: its metadata, and the length if that is known.
pub(super) fn announced(gateway: &Gateway, headers: &HeaderMap) -> Result<(Metadata, Option<u64>), ApiError> {
    headers::check_version(headers)?;
    let said = Headers(headers);
    let metadata = said.metadata(gateway.config.tus.metadata_max)?;
    Ok((metadata, said.new_length()?))
}

/// `POST /tus`: begins an upload, perhaps with its first bytes, or puts finished ones together.
async fn create(gateway: &Gateway, request: Request) -> Result<Response, ApiError> {
    headers::check_version(request.headers())?;
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    let said = Headers(request.headers());
    let kind = match said.concat()? {
        Concat::None => TusKind::Plain,
        Concat::Partial => TusKind::Partial,
        Concat::Final { said: parts, ids } => {
            let metadata = said.metadata(gateway.config.tus.metadata_max)?;
            let upload = tus::join(gateway, &account, metadata, parts, &ids).await?;
            return Ok(begun(gateway, &upload, None));
        }
    };
    let (metadata, length) = announced(gateway, request.headers())?;
    let upload = start(gateway, &account, Beginning::of(kind, metadata, length)?, request).await?;
    Ok(begun(gateway, &upload, None))
}

/// Begins an upload, and takes the first bytes if the request brings any.
pub(super) async fn start(
    gateway: &Gateway,
    account: &str,
    beginning: Beginning,
    request: Request,
) -> Result<TusUpload, ApiError> {
    let length = beginning.length;
    let said = Headers(request.headers());
    let first = said.is_bytes().then(|| said.piece(0)).transpose()?;
    let upload = tus::begin(gateway, account, beginning).await?;
    let (piece, body) = match first {
        Some(piece) => (piece, request.into_body()),
        // Complete already.
        None if length == Some(0) => (Piece::empty(), Body::empty()),
        None => return Ok(upload),
    };
    let id = upload.id.clone();
    match tus::write(gateway, upload, piece, body).await {
        Ok(upload) => Ok(upload),
        Err(error) => {
            // The client was never told where the upload is.
            if let Err(error) = tus::remove(gateway, account, &id).await {
                tracing::warn!(%error, "could not forget an upload whose first bytes were refused");
            }
            Err(error.into())
        }
    }
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
    // Clients that speak tus ask how far the upload is, and go on there.
    let is_whole = upload.whole_pieces && !said.says_tus();
    let piece = Piece { is_whole, ..said.piece(said.offset()?)? };
    Ok(written(&tus::write(gateway, upload, piece, request.into_body()).await?))
}

fn not_this_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}
