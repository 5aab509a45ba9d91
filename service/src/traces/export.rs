//! The way of spans to the collector: a queue that is never waited for, and one task that sends what is in it. A collector
//! that is away or slow costs spans, which are counted, and nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opentelemetry::{
    Context,
    trace::{SpanId, TraceContextExt as _},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::TracesConfig;

/// Steps of jobs in progress, and whether anything came of each.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<HashMap<SpanId, Step>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is known of it yet.
    Begun,
    /// It called somebody, or a line of the log names its trace.
    Busy,
    /// It ends, and nothing came of it.
    Idle,
}

impl Steps {
    pub(super) fn begin(&self, step: SpanId) {
        self.0.lock().insert(step, Step::Begun);
    }

    /// The step found nothing to do.
    pub(super) fn idle(&self, step: SpanId) {
        if let Some(state) = self.0.lock().get_mut(&step)
            && *state == Step::Begun
        {
            *state = Step::Idle;
        }
    }

    /// Something came of the step, whatever it says at its end. Of other spans nothing is noted.
    pub(super) fn busy(&self, step: SpanId) {
        if let Some(state) = self.0.lock().get_mut(&step) {
            *state = Step::Busy;
        }
    }

    /// Whether an ended span is not worth keeping.
    fn is_empty_step(&self, span: SpanId) -> bool {
        self.0.lock().remove(&span) == Some(Step::Idle)
    }
}

/// Where ended spans go.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<SpanData>,
    steps: Arc<Steps>,
}

/// The task that sends them.
#[derive(Debug)]
pub(super) struct Export {
    task: JoinHandle<()>,
    stop: CancellationToken,
    timeout: Duration,
}

impl Outbox {
    pub(super) fn open(
        config: &TracesConfig,
        resource: &Resource,
        steps: Arc<Steps>,
    ) -> anyhow::Result<(Self, Export)> {
        // The second installation of the same provider fails harmlessly: several parts of one process do this.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .no_proxy()
            .build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&config.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(config.timeout)
            .build()?;
        exporter.set_resource(resource);
        let (queue, inbox) = mpsc::channel(config.queue_max);
        let stop = CancellationToken::new();
        let sender = Sender { exporter, inbox, config: config.clone(), stop: stop.clone(), is_away: false };
        let task = tokio::spawn(sender.run());
        Ok((Self { queue, steps }, Export { task, stop, timeout: config.timeout }))
    }
}

impl SpanProcessor for Outbox {
    fn on_start(&self, _span: &mut Span, parent: &Context) {
        let span = parent.span();
        let said = span.span_context();
        if said.is_valid() && !said.is_remote() {
            self.steps.busy(said.span_id());
        }
    }

    fn on_end(&self, span: SpanData) {
        let is_empty = self.steps.is_empty_step(span.span_context.span_id());
        if !is_empty && self.queue.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Export {
    pub(super) async fn finish(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(self.timeout, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Sender {
    exporter: SpanExporter,
    inbox: mpsc::Receiver<SpanData>,
    config: TracesConfig,
    stop: CancellationToken,
    /// The last sending failed.
    is_away: bool,
}

impl Sender {
    async fn run(mut self) {
        loop {
            let batch = self.batch().await;
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    /// Waits for spans, and a moment for more of them; none at the end.
    async fn batch(&mut self) -> Vec<SpanData> {
        let Self { inbox, config, stop, .. } = self;
        let mut batch = Vec::new();
        let mut until = None;
        while batch.len() < config.batch_max {
            if stop.is_cancelled() {
                inbox.close();
            }
            let room = config.batch_max - batch.len();
            let full = until.unwrap_or_else(Instant::now);
            let received = tokio::select! {
                received = inbox.recv_many(&mut batch, room) => received,
                () = stop.cancelled(), if !stop.is_cancelled() => continue,
                () = tokio::time::sleep_until(full), if until.is_some() => break,
            };
            if received == 0 {
                break;
            }
            until.get_or_insert_with(|| Instant::now() + config.every);
        }
        batch
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let sent = tokio::time::timeout(self.config.timeout, self.exporter.export(batch)).await;
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("timed out".to_string()),
        };
        count(if error.is_none() { "sent" } else { "failed" }, spans);
        match (&error, self.is_away) {
            (Some(error), false) => tracing::warn!(error, "the collector does not take traces"),
            (None, true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        self.is_away = error.is_some();
    }
}

fn count(outcome: &'static str, spans: u64) {
    metrics::counter!("pinstripe_trace_spans_total", "outcome" => outcome).increment(spans);
}
