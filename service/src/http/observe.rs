//! What is seen of every request: how long it took, by route, and its span if there are traces. Of a path only the template
//! is kept: what stands in its place may be a secret, and there is no end of it.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Extensions, Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use ipnet::IpNet;

use super::client_limit::customer_of;
use crate::traces::Span;

/// Paths without a route, and methods that nobody knows.
const OTHER: &str = "other";

/// The same routes, watched. `listener` is their name in metrics. [`crate::http::server::Server`] does this with what it
/// serves.
pub fn observed(router: Router, listener: &'static str) -> Router {
    observed_behind(router, listener, &[])
}

/// The same behind proxies, which are believed about who their clients are.
pub(crate) fn observed_behind(router: Router, listener: &'static str, trusted_proxies: &[IpNet]) -> Router {
    let place = Place { listener, trusted_proxies: trusted_proxies.into() };
    router.layer(from_fn_with_state(place, observe))
}

/// Where requests come in.
#[derive(Clone)]
struct Place {
    listener: &'static str,
    trusted_proxies: Arc<[IpNet]>,
}

/// What a request is, when its path does not say it: paths were looked at before the host.
#[derive(Clone, Debug, Default)]
struct OtherRoute(Arc<OnceLock<&'static str>>);

/// Has a request with these extensions seen as one of `route` and not of its path's. Only the first word counts.
pub fn seen_as(extensions: &Extensions, route: &'static str) {
    if let Some(OtherRoute(other)) = extensions.get() {
        // It fails only when something was said before.
        let _ = other.set(route);
    }
}

async fn observe(State(place): State<Place>, mut request: Request, next: Next) -> Response {
    let Place { listener, trusted_proxies } = place;
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(OTHER, MatchedPath::as_str).to_string();
    let other_route = OtherRoute::default();
    request.extensions_mut().insert(other_route.clone());
    let method = known(request.method());
    let client = || customer_of(request.extensions(), request.headers(), &trusted_proxies);
    let span = Span::server(listener, request.headers(), client);
    let mut seen = Seen { started, listener, route, other_route, method, status: GONE, span };
    let response = seen.span.within(next.run(request)).await;
    seen.status = class(response.status());
    seen.span.answered(response.status());
    let span = seen.end();
    if span.is_off() { response } else { response.map(|body| Body::new(Watched { body, span })) }
}

/// Of requests that their clients gave up before there was an answer.
const GONE: &str = "gone";

/// What is measured of a request, when this is dropped.
struct Seen {
    started: Instant,
    listener: &'static str,
    route: String,
    other_route: OtherRoute,
    method: &'static str,
    status: &'static str,
    span: Span,
}

impl Seen {
    /// Gives the span, which goes on.
    fn end(mut self) -> Span {
        self.name_span();
        mem::take(&mut self.span)
    }

    fn name_span(&self) {
        let route = self.other_route.0.get().copied().unwrap_or(&self.route);
        self.span.request(self.method, route);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.name_span();
        let path_route = mem::take(&mut self.route);
        let route = self.other_route.0.get().map_or(path_route, |route| (*route).to_string());
        metrics::histogram!(
            "pinstripe_http_request_duration_seconds", "listener" => self.listener, "route" => route,
            "method" => self.method, "status" => self.status
        )
        .record(self.started.elapsed());
    }
}

/// The names of methods that there are, so that nobody makes up more of them.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// The body of an answer, whose span goes on until it is sent or given up.
struct Watched {
    body: Body,
    span: Span,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span } = self.get_mut();
        let polled = span.enter(|| Pin::new(body).poll_frame(cx));
        if let Poll::Ready(Some(Err(_))) = &polled {
            span.failed("answer broken off");
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests;
