//! Traces: what one request, or one step of a job, made happen in all processes of the network, with times. They go to a
//! collector over OTLP, when the configuration names one; otherwise nothing is made, sent or told to anybody.
//!
//! Spans are OpenTelemetry's, and made here and nowhere else: at the edge of a request (`http/observe.rs`), around a call to
//! another process (`client`), around a step (`job.rs`) and a segment being stored. They hold methods, routes, statuses and
//! addresses, and never a query, a key, a ticket or a name that a user gave.

mod config;
mod export;
mod headers;
mod span;

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

pub(crate) use self::span::logged_trace;
pub use self::{
    config::TracesConfig,
    span::{Carried, Here, Span, here},
};
use self::{
    export::{Export, Outbox, Steps},
    headers::Followed,
};
use crate::clock::Clock;

/// The process's tracer, once there is one.
static TRACING: OnceLock<Tracing> = OnceLock::new();

/// What spans are made with.
#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    steps: Arc<Steps>,
    followed: Followed,
}

/// The process's traces, on their way to the collector. Dropping it loses those that were not sent yet.
#[derive(Debug)]
#[must_use = "what was not sent is lost without `shut_down`"]
pub struct Traces(Option<Export>);

/// Starts traces, if the configuration names a collector. Call once in a process, within its runtime; `process` is its
/// name for the collector.
pub fn start(config: &TracesConfig, process: &'static str) -> anyhow::Result<Traces> {
    if config.endpoint.is_empty() {
        return Ok(Traces(None));
    }
    let resource = Resource::builder_empty()
        .with_service_name(process)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build();
    let steps = Arc::<Steps>::default();
    let (outbox, export) = Outbox::open(config, &resource, steps.clone()).context("traces")?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(outbox)
        // Whoever is called for a trace that is kept keeps its part too, and of others nobody keeps parts.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sampled))))
        .with_resource(resource)
        .build();
    let tracing = Tracing {
        tracer: provider.tracer("pinstripe"),
        steps,
        followed: Followed::new(config.parents_rate, &Clock::System)?,
    };
    TRACING.set(tracing).map_err(|_| anyhow::anyhow!("traces were started before"))?;
    Ok(Traces(Some(export)))
}

impl Traces {
    /// Sends what waits, for at most the time that one sending may take. Later spans are dropped.
    pub async fn shut_down(self) {
        if let Some(export) = self.0 {
            export.finish().await;
        }
    }
}

#[cfg(test)]
mod tests;
