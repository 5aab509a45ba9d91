//! Spans, and how they follow the work: a span is current while the future that it is around is polled, and a task that
//! is spawned takes the current one along when it is told to.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    task::{self, Poll},
};

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _},
};
use pin_project_lite::pin_project;

use super::{TRACING, Tracing, headers};

/// Longest name of what a call asks for: that of paths such as `/v1/nodes/heartbeat`.
const WORD_MAX: usize = 16;

/// A span in progress; nothing when there are no traces. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

/// The place in a trace at which something happens, to be taken to where it goes on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Here(Option<Context>);

/// Where the current task is.
pub fn here() -> Here {
    Here(TRACING.get().map(|_| Context::current()))
}

/// The trace that a line of the log is written for, if it is kept. A step that logs is kept, so that whoever reads the line
/// finds its trace.
pub(crate) fn logged_trace() -> Option<TraceId> {
    let tracing = TRACING.get()?;
    Context::map_current(|cx| {
        let span = cx.span();
        let said = span.span_context();
        (said.is_valid() && said.is_sampled()).then(|| {
            tracing.steps.busy(said.span_id());
            said.trace_id()
        })
    })
}

impl Here {
    /// Does the work as part of what happens here.
    pub fn carry<F: Future>(self, work: F) -> Carried<F> {
        Carried { cx: self.0, work }
    }

    /// A span of work that was begun for several at once: part of the trace of the first of them that is kept, linked with
    /// the others.
    pub fn joined(name: &'static str, places: impl IntoIterator<Item = Self>) -> Span {
        let Some(tracing) = TRACING.get() else { return Span(None) };
        let mut places = places.into_iter().filter_map(|here| here.0);
        let mut parent = places.next().unwrap_or_default();
        let mut links = Vec::new();
        for other in places {
            let kept = other.span().span_context().is_sampled();
            let other = if kept && !parent.span().span_context().is_sampled() {
                std::mem::replace(&mut parent, other)
            } else {
                other
            };
            let (of_parent, said) =
                (parent.span().span_context().clone(), other.span().span_context().clone());
            if said.is_sampled() && !headers::is_same(&said, &of_parent) {
                links.push(Link::with_context(said));
            }
        }
        tracing.span(SpanBuilder::from_name(name).with_links(links), &parent)
    }
}

impl Tracing {
    fn span(&self, builder: SpanBuilder, parent: &Context) -> Span {
        let span = self.tracer.build_with_context(builder, parent);
        Span(Some(parent.with_span(span)))
    }
}

impl Span {
    /// The answering of a request: part of its caller's trace, if the caller is a process of the network. What request it is
    /// is said later ([`Span::request`]). `client`: whom it counts for.
    pub(crate) fn server(
        listener: &'static str,
        headers: &HeaderMap,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let caller = tracing.followed.caller(headers, client);
        let builder = SpanBuilder::from_name("request")
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("listener", listener)])
            .with_links(caller.link.into_iter().collect());
        tracing.span(builder, &caller.parent.unwrap_or_default())
    }

    /// Says which request it is that is answered; once, since attributes are added up. `route` is the template of its path.
    pub(crate) fn request(&self, method: &'static str, route: &str) {
        if let Some(cx) = &self.0 {
            cx.span().update_name(format!("{method} {route}"));
            self.note("http.request.method", method);
            self.note("http.route", route.to_string());
        }
    }

    /// A call to another process.
    pub fn client(method: &Method, uri: &Uri) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let asked = asked_for(uri.path());
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("server.address", uri.host().unwrap_or_default().to_string()),
            KeyValue::new("url.template", asked.clone()),
        ];
        attributes.extend(uri.port_u16().map(|port| KeyValue::new("server.port", i64::from(port))));
        let builder = SpanBuilder::from_name(format!("{method} {asked}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        tracing.span(builder, &Context::current())
    }

    /// A step of background work. It begins a trace, which is kept only if the step did something.
    pub fn step(task: &'static str) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let builder = SpanBuilder::from_name(task).with_attributes([KeyValue::new("task", task)]);
        let span = tracing.span(builder, &Context::new());
        if let Some(cx) = &span.0
            && cx.span().is_recording()
        {
            tracing.steps.begin(cx.span().span_context().span_id());
        }
        span
    }

    /// Ends a step; `idle`: it found nothing to do. Calls that it made and lines that it logged are something nevertheless.
    pub fn end_step(self, idle: bool) {
        if let (Some(cx), Some(tracing)) = (&self.0, TRACING.get())
            && idle
        {
            tracing.steps.idle(cx.span().span_context().span_id());
        }
    }

    /// Whether there are no traces.
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// Does the work within this span.
    pub fn within<F: Future>(&self, work: F) -> Carried<F> {
        Carried { cx: self.0.clone(), work }
    }

    /// Does something within this span.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _within = self.0.clone().map(Context::attach);
        work()
    }

    /// Tells the other side of a call about it.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Some(cx) = &self.0 {
            headers::inject(cx, headers);
        }
    }

    /// Notes something about it.
    pub fn note(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(cx) = &self.0 {
            cx.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Notes the answer.
    pub fn answered(&self, status: StatusCode) {
        self.note("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            self.failed("answered with an error");
        }
    }

    /// Notes that it came to nothing. `why` is one of a few words, and nothing that somebody sent.
    pub fn failed(&self, why: &'static str) {
        if let Some(cx) = &self.0 {
            cx.span().set_status(Status::error(why));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(cx) = &self.0 {
            // Tasks that were begun within it may still hold it.
            cx.span().end();
        }
    }
}

/// The part of a path that says what is asked for, without names and hashes.
fn asked_for(path: &str) -> String {
    let is_word = |part: &&str| {
        let letters = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        *part == "v1" || (letters && !part.is_empty() && part.len() <= WORD_MAX)
    };
    let words = path.split('/').skip(1).take(3).take_while(is_word);
    words.fold(String::new(), |text, word| text + "/" + word)
}

pin_project! {
    /// Work that is done as part of a span.
    #[derive(Debug)]
    pub struct Carried<F> {
        cx: Option<Context>,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _within = this.cx.clone().map(Context::attach);
        this.work.poll(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_calls_hold_no_names_of_things() {
        for (path, asked) in [
            ("/v1/pieces/4bf92f3577b34da6a3ce929d0e0e4736", "/v1/pieces"),
            ("/v1/pieces/delete", "/v1/pieces/delete"),
            ("/v1/nodes/heartbeat", "/v1/nodes/heartbeat"),
            ("/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy/secret", "/ipfs"),
            ("/v1/nodes/abcdefghijklmnopqrstuvwxyz/earnings", "/v1/nodes"),
            ("/v1/status?token=x", "/v1"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(asked_for(path), asked, "{path}");
        }
    }

    #[tokio::test]
    async fn without_a_collector_there_is_nothing() {
        let span = Span::server("public", &HeaderMap::new(), || None);
        assert!(span.0.is_none() && span.within(async { here().0.is_none() }).await);
        let mut headers = HeaderMap::new();
        Span::client(&Method::GET, &Uri::from_static("http://a/b")).inject(&mut headers);
        assert!(headers.is_empty() && logged_trace().is_none());
    }
}
