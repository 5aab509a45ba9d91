//! `/ipfs/...`: content for readers, as on gateways. A ticket in the URL says that the bytes are paid for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use protocol::api::TICKET_PARAMETER;
use retrieval::{ContentRequest, add_cors, refusal, respond, too_many_requests};

use crate::{
    load::{Kind, Pass},
    node::App,
    orders::LeaveError,
    usage::Charge,
};

/// `GET|HEAD /ipfs/{cid}[/path]`.
pub(super) async fn content(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if let Some(limit) = &**app.client_limit.load()
        && let Err(too_many) = limit.take(&parts.extensions, &parts.headers)
    {
        let wanted = ContentRequest::parse(&parts.method, &parts.uri, parts.headers).ok();
        return too_many_requests(too_many, wanted.as_ref());
    }
    let request = match ContentRequest::parse(&parts.method, &parts.uri, parts.headers) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    if let Some(refusal) = refusal(&app.blocks, &app.config.reads, &request) {
        return refusal;
    }
    let charge = match charge(&app, &request) {
        Ok(charge) => charge,
        Err(error @ LeaveError::NotEnrolled) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &error),
        Err(error) => return refuse(StatusCode::FORBIDDEN, &error),
    };
    let pass = match app.load.enter(Kind::Content) {
        Ok(pass) => pass,
        Err(busy) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &busy),
    };
    let paid = if charge.is_some() { "ticket" } else { "none" };
    let response = respond(&app.blocks, &app.config.reads, &request).await;
    metrics::counter!("pinstripe_content_requests_total", "paid" => paid, "status" => response.status().as_str().to_string())
        .increment(1);
    response.map(|inner| Body::new(Counted { inner, charge, _pass: pass }))
}

/// Who pays for this; `None`: nobody.
fn charge(app: &App, request: &ContentRequest) -> Result<Option<Charge>, LeaveError> {
    let free = app.config.serve_without_ticket;
    let Some(token) = request.parameter(TICKET_PARAMETER) else {
        return if free { Ok(None) } else { Err(LeaveError::NoTicket) };
    };
    let leave = app.orders.ticket(&token, &request.root)?;
    if app.usage.is_exhausted(&leave) && !free {
        return Err(LeaveError::Exhausted { left: 0, wanted: 1 });
    }
    Ok(Some(app.usage.meter(&leave)))
}

/// `OPTIONS /ipfs/...`: any web page may read.
pub(super) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    add_cors(response.headers_mut());
    response
}

/// Content is read and nothing else.
pub(super) async fn not_this_method() -> Response {
    let mut response = (StatusCode::METHOD_NOT_ALLOWED, "content is read with GET or HEAD\n").into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_cors(headers);
    response
}

fn refuse(status: StatusCode, error: &dyn std::error::Error) -> Response {
    let mut response = (status, format!("{error}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    add_cors(headers);
    response
}

/// A body that is counted while it is sent, and holds the reader's place until then.
struct Counted {
    inner: Body,
    charge: Option<Charge>,
    _pass: Pass,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
        {
            metrics::counter!("pinstripe_content_bytes_sent_total").increment(bytes.len() as u64);
            if let Some(charge) = &mut self.charge {
                charge.served(bytes.len() as u64);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
