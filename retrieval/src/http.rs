//! `GET|HEAD /ipfs/{cid}[/path]`: the same answers on gateways and on nodes. What a request asks for is `request` and
//! `format`; each form of the content has a file of its own.

mod ahead;
mod answer;
mod body;
mod car;
mod conditions;
mod content_type;
mod data;
mod descent;
mod encode;
mod failure;
mod format;
mod headers;
mod listing;
mod preview;
mod redirects;
mod request;
mod rules;
mod tar;
mod unixfs;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use content::Cid;
use service::rate_limit::TooMany;

pub use self::{
    body::stream_body,
    car::stream_car,
    encode::html_text,
    headers::add_cors,
    request::{ContentRequest, Mount, RequestError},
    rules::{ActiveContent, AnswerRules, host_name},
    tar::stream_tar,
};
use self::{
    failure::Failure,
    format::{Format, Negotiated, negotiate},
    headers::{set, set_path, set_roots},
};
use crate::{
    blocks::Blocks,
    error::ReadError,
    resolve::{Resolved, resolve},
};

/// A request with all that is needed to answer it.
struct Ask<'a> {
    blocks: &'a Blocks,
    rules: &'a AnswerRules,
    request: &'a ContentRequest,
}

/// Answers a request for content. Never fails: errors are answers too.
pub async fn respond(blocks: &Blocks, rules: &AnswerRules, request: &ContentRequest) -> Response {
    let blocks = &blocks.under(&request.root);
    let ask = Ask { blocks, rules, request };
    let outcome = match agree(&ask) {
        Ok(negotiated) => tokio::time::timeout(rules.first_byte_timeout, answer(&ask, &negotiated))
            .await
            .unwrap_or_else(|_| Err(ReadError::TooSlow.into())),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(response) => finish(response, request),
        Err(failure) => refuse(&failure, request),
    }
}

/// What a request is refused for before anything is looked for, by whoever it comes to first.
pub fn refusal(blocks: &Blocks, rules: &AnswerRules, request: &ContentRequest) -> Option<Response> {
    let failure = agree(&Ask { blocks, rules, request }).err()?;
    Some(refuse(&failure, request))
}

/// 410 or 451, when what is asked for is denied by its name alone: before it is said where it is.
pub fn denied(blocks: &Blocks, request: &ContentRequest) -> Option<Response> {
    let error = permit(blocks, request).err()?;
    Some(refuse(&error.into(), request))
}

/// Whether nothing may be fetched for this request.
pub fn is_only_if_cached(request: &ContentRequest) -> bool {
    conditions::is_only_if_cached(&request.headers)
}

/// Whether a block can be given without asking anybody: it is in memory or on this machine's disk.
pub async fn is_cached(blocks: &Blocks, cid: &Cid) -> bool {
    if blocks.at_hand(cid).is_some() {
        return true;
    }
    match blocks.disk() {
        Some(disk) => disk.get(cid).await.is_some(),
        None => false,
    }
}

/// 412: the request must not fetch what is not at hand.
pub fn not_cached(request: &ContentRequest) -> Response {
    refuse(&Failure::NotCached, request)
}

/// 429: the client has had its share for now. What was asked for is named when it can be.
pub fn too_many_requests(too_many: TooMany, request: Option<&ContentRequest>) -> Response {
    let failure = Failure::from(too_many);
    if let Some(request) = request {
        return refuse(&failure, request);
    }
    let mut response = failure.response();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    add_cors(headers);
    response
}

fn permit(blocks: &Blocks, request: &ContentRequest) -> Result<(), ReadError> {
    blocks.permit(&request.root, [""; 0])?;
    blocks.permit(&request.root, &request.path)
}

fn agree(ask: &Ask<'_>) -> Result<Negotiated, Failure> {
    let Ask { blocks, rules, request } = *ask;
    // Before all else: whoever asks for something that is denied hears nothing of how it could be had.
    permit(blocks, request)?;
    // A script for the whole of a content root would be one for all of /ipfs/.
    let is_service_worker =
        request.header(&HeaderName::from_static("service-worker")).is_some_and(|value| value == "script");
    if is_service_worker && request.mount == Mount::Path && request.path.is_empty() && !request.trailing_slash
    {
        return Err(Failure::ServiceWorker);
    }
    Ok(negotiate(request, rules.is_trustless(request.host()))?)
}

async fn answer(ask: &Ask<'_>, negotiated: &Negotiated) -> Result<Response, Failure> {
    let Ask { blocks, request, .. } = *ask;
    if is_only_if_cached(request) && !is_cached(blocks, &request.root).await {
        return Err(Failure::NotCached);
    }
    let resolved = match resolve(blocks, &request.root, &request.path).await {
        Ok(resolved) => resolved,
        Err(error) => return absent(ask, &negotiated.format, error.into()).await,
    };
    let mut response = in_format(ask, &negotiated.format, &resolved).await?;
    let headers = response.headers_mut();
    // A file is the same file as JSON: there is no other URL for it.
    let is_plain =
        matches!(negotiated.format, Format::Json | Format::Cbor) && unixfs::is_unixfs(&resolved.block);
    if let Some(location) = negotiated.location.as_deref().filter(|_| !is_plain) {
        set(headers, header::CONTENT_LOCATION, location);
    }
    if negotiated.varies {
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    set_roots(&mut response, &resolved.way.roots);
    Ok(response)
}

async fn in_format(ask: &Ask<'_>, format: &Format, resolved: &Resolved) -> Result<Response, Failure> {
    let block = &resolved.block;
    match format {
        Format::Default { html } => unixfs::answer(ask, resolved, *html).await,
        Format::Json | Format::Cbor if unixfs::is_unixfs(block) => unixfs::answer(ask, resolved, false).await,
        Format::Raw => data::raw(ask, block),
        Format::Car(params) => car::answer(ask, resolved, params),
        Format::Tar => tar::answer(ask, resolved).await,
        Format::DagJson => data::dag_json(ask, block),
        Format::DagCbor => data::dag_cbor(ask, block),
        Format::Json => data::json(ask, block),
        Format::Cbor => data::cbor(ask, block),
    }
}

/// What becomes of a path that leads to nothing: on a host of its own a site may have rules for it.
async fn absent(ask: &Ask<'_>, format: &Format, failure: Failure) -> Result<Response, Failure> {
    let has_rules = matches!(ask.request.mount, Mount::Origin { .. });
    if has_rules
        && failure.is_absent()
        && matches!(format, Format::Default { .. })
        && let Some(response) = redirects::answer(ask).await?
    {
        return Ok(response);
    }
    Err(failure)
}

fn refuse(failure: &Failure, request: &ContentRequest) -> Response {
    if let Failure::Read(error) = failure {
        failure::count_denied(error);
    }
    finish(failure.response(), request)
}

/// What every answer has.
fn finish(mut response: Response, request: &ContentRequest) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set_path(headers, request);
    add_cors(headers);
    if request.head {
        *response.body_mut() = Body::empty();
    }
    response
}
