//! What a monitor shows to operators: health, metrics, status, events. Nothing here changes anything. The address it
//! listens on is not meant for the public.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::{
    ids::{NodeId, SegmentId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use service::http::{error::ApiError, health_routes, metrics_routes};
use store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::monitor::{Inner, Monitor};

/// Events in one answer, at most.
const EVENTS_MAX: u32 = 1_000;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The monitor's name.
    id: String,
    nodes: NodeCounts,
    segments: SegmentCounts,
    repairs_waiting: u64,
    unpins_waiting: u64,
    /// Pieces that await a whole check by this monitor.
    contained: usize,
    /// Why consequences are held back, if they are.
    breaker: Option<String>,
    /// Why nothing is collected, if that is so.
    held: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NodeCounts {
    total: usize,
    online: usize,
    offline: usize,
    /// Nodes by standing.
    standings: std::collections::BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SegmentCounts {
    pending: u64,
    live: u64,
    orphaned: u64,
    lost: u64,
}

/// One of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventInfo {
    /// Milliseconds since 1970.
    at: UnixMillis,
    kind: String,
    node: Option<NodeId>,
    segment: Option<SegmentId>,
    details: String,
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    limit: Option<u32>,
}

impl Monitor {
    /// Everything that is served. `draining` is cancelled when the process is about to end.
    pub fn router(&self, metrics: Option<PrometheusHandle>, draining: CancellationToken) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/events", get(events))
            .merge(health_routes(get(readyz), draining))
            .merge(metrics_routes(metrics))
            .with_state(self.inner().clone())
    }
}

async fn readyz(State(inner): State<Arc<Inner>>) -> Result<&'static str, ApiError> {
    match inner.db.ping().await {
        Ok(()) => Ok("ok\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(away())
        }
    }
}

fn away() -> ApiError {
    ApiError::unavailable("database_unavailable", "the database does not answer", 5)
}

/// 503 while the database cannot be reached.
fn failed(error: impl Into<anyhow::Error>) -> ApiError {
    let error = error.into();
    let of_database = error.downcast_ref::<StoreError>();
    if of_database.is_some_and(|error| error.is_unreachable() || error.is_crowded()) {
        return away();
    }
    ApiError::internal(&error)
}

async fn status(State(inner): State<Arc<Inner>>) -> Result<Json<Status>, ApiError> {
    Ok(Json(inner.status().await.map_err(failed)?))
}

async fn events(
    State(inner): State<Arc<Inner>>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Vec<EventInfo>>, ApiError> {
    let limit = query.limit.unwrap_or(100).min(EVENTS_MAX);
    let events = inner.db.recent_events(limit).await.map_err(failed)?;
    let info = |event: store::Event| EventInfo {
        at: event.at,
        kind: event.kind,
        node: event.node,
        segment: event.segment,
        details: event.details,
    };
    Ok(Json(events.into_iter().map(info).collect()))
}

impl Inner {
    async fn status(&self) -> anyhow::Result<Status> {
        let mut nodes = NodeCounts::default();
        for node in self.network().await?.iter() {
            nodes.total += 1;
            *if node.offline.is_some() { &mut nodes.offline } else { &mut nodes.online } += 1;
            *nodes.standings.entry(node.standing.name().to_string()).or_default() += 1;
        }
        let [pending, live, orphaned, lost] = self.db.segment_counts().await?;
        Ok(Status {
            id: self.id.clone(),
            nodes,
            segments: SegmentCounts { pending, live, orphaned, lost },
            repairs_waiting: self.db.repairs_waiting().await?,
            unpins_waiting: self.db.unpins_waiting().await?,
            contained: self.contained.count(),
            held: self.db.held().await?.map(|held| held.why),
            breaker: self.rounds.open().map(|hold| hold.to_string()),
        })
    }
}
