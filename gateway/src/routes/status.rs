//! `GET /v1/admin/status`: how the network is, for people. Everything in it is bounded and cheap, and it is answered while
//! the database is away.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State, http::HeaderMap};
use protocol::{
    placement::Candidate,
    reputation::Standing,
    status::{NetworkStatus, RecordedStatus, RegionStatus, StatusEvent},
};
use service::http::error::ApiError;
use store::StoreError;

use super::{readiness, time_text::rfc3339};
use crate::app::Gateway;

/// Nothing is counted further than this.
const COUNTED_MAX: u32 = 100_000;
/// Events that are shown.
const EVENTS_MAX: u32 = 10;
/// How long the database is waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Answers with what is known.
pub(super) async fn show(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Json<NetworkStatus>, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    let asked = async { (readiness(&gateway).await, recorded(&gateway).await) };
    let (ready, recorded) = match tokio::time::timeout(WAIT_MAX, asked).await {
        Ok((ready, recorded)) => (ready, recorded.ok()),
        Err(_) => (Err(ApiError::unavailable("store_unavailable", "the metadata store hangs", 5)), None),
    };
    // As uploads choose them, for a segment that is full.
    let needed = u64::from(gateway.config.redundancy.needed.max(1));
    let piece_bytes = (gateway.config.uploads.segment_bytes as u64).div_ceil(needed);
    let can_take = |node: &&Candidate| node.score > 0.0 && node.free_bytes >= piece_bytes;
    let usable = gateway.nodes.candidates().iter().filter(can_take).count();
    Ok(Json(NetworkStatus {
        version: env!("CARGO_PKG_VERSION").to_string(),
        not_ready: ready.err().map(|error| error.details),
        redis: gateway.redis.as_ref().map_or("off", |link| if link.is_up() { "up" } else { "away" }).into(),
        nodes_needed: gateway.config.redundancy.total_min.into(),
        nodes_usable: usable as u64,
        regions: regions(&gateway),
        recorded,
    }))
}

fn regions(gateway: &Gateway) -> BTreeMap<String, RegionStatus> {
    let mut regions: BTreeMap<String, RegionStatus> = BTreeMap::new();
    for entry in gateway.nodes.entries().values() {
        let row = &entry.row;
        let region = regions.entry(row.region.clone()).or_default();
        region.capacity_bytes = region.capacity_bytes.saturating_add(row.capacity_bytes);
        region.used_bytes = region.used_bytes.saturating_add(row.used_bytes);
        let is_online = row.offline.is_none() && gateway.nodes.is_reachable(row.id);
        match entry.standing() {
            Standing::Disqualified => region.disqualified += 1,
            _ if !is_online => region.offline += 1,
            Standing::Suspended { .. } => region.suspended += 1,
            Standing::Vetting | Standing::Good => {
                region.healthy += 1;
                region.free_bytes = region.free_bytes.saturating_add(row.free_bytes);
            }
        }
    }
    regions
}

async fn recorded(gateway: &Gateway) -> Result<RecordedStatus, StoreError> {
    let db = &gateway.db;
    let tallies = db.tallies(COUNTED_MAX).await?;
    let watch = db.last_watch().await?;
    let events = db.recent_events(EVENTS_MAX).await?;
    let segments = [
        ("pending", tallies.pending),
        ("live", tallies.live),
        ("orphaned", tallies.orphaned),
        ("lost", tallies.lost),
    ];
    let now = gateway.clock.now();
    let away = watch.as_ref().map(|watch| now.since(watch.beat).as_millis());
    Ok(RecordedStatus {
        counted_max: COUNTED_MAX.into(),
        segments: segments.map(|(state, count)| (state.to_string(), count)).into(),
        repairs_waiting: tallies.repairs,
        unpins_waiting: tallies.unpins,
        monitor_seen_ms_ago: away.map(|away| u64::try_from(away).unwrap_or(u64::MAX)),
        held: watch.and_then(|watch| watch.held).map(|held| held.why),
        events: events
            .into_iter()
            .map(|event| StatusEvent {
                at: rfc3339(event.at),
                kind: event.kind,
                node: event.node.map(|node| node.to_string()),
                segment: event.segment.map(|segment| segment.to_string()),
                details: event.details,
            })
            .collect(),
    })
}
