//! `GET /v1/admin/status`: how the network is, for people. Everything in it is bounded, and it is answered while the database
//! is away. Whether the database answers, what it holds in a few rows, and what has to be counted are asked apart, so that what is
//! slow hides nothing else; the last two are remembered for some seconds, so that many may ask.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State, http::HeaderMap};
use protocol::{
    placement::Candidate,
    reputation::Standing,
    status::{MONITORS_AWAY_MAX, NetworkStatus, RecordedStatus, RegionStatus, StatusEvent},
    time::UnixMillis,
};
use service::{clock::Clock, http::error::ApiError};
use store::{Db, Event, Held, MonitorSign, StoreError, Tallies};
use tokio::time::timeout;

use super::{readiness, time_text::rfc3339};
use crate::{
    app::Gateway,
    remembered::{NotKnown, Remembered},
};

/// Nothing is counted further than this.
const COUNTED_MAX: u32 = 100_000;
/// Events that are shown.
const EVENTS_MAX: u32 = 10;
/// Monitors that are asked about, those first that were seen last.
const MONITORS_MAX: u32 = 100;
/// How long the database may take to say that it is there.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(2);
/// How long what it says is waited for.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// What the database said a moment ago.
pub(crate) struct StatusMemory {
    pub(crate) notes: Remembered<Notes>,
    pub(crate) tallies: Remembered<Tallies>,
}

/// What stands in a few rows.
#[derive(Clone)]
pub(crate) struct Notes {
    held: Option<Held>,
    monitor_seen: Option<UnixMillis>,
    monitors: Vec<MonitorSign>,
    events: Vec<Event>,
}

impl StatusMemory {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { notes: Remembered::new(clock.clone()), tallies: Remembered::new(clock.clone()) }
    }
}

/// Answers with what is known.
pub(super) async fn show(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Json<NetworkStatus>, ApiError> {
    gateway.live.get().admin.check(&headers)?;
    Ok(Json(told(&gateway, WAIT_MAX).await))
}

/// What is known; what has to be counted only if that takes no longer than `within`.
pub(crate) async fn told(gateway: &Gateway, within: Duration) -> NetworkStatus {
    let db = &gateway.db;
    let (ping, notes, tallies) = tokio::join!(
        timeout(SIGN_OF_LIFE_MAX, db.ping()),
        gateway.status.notes.get(WAIT_MAX, notes(db.clone())),
        gateway.status.tallies.get(within, tallies(db.clone())),
    );
    let answers = matches!(ping, Ok(Ok(())));
    // As uploads choose them, for a segment that is full.
    let needed = u64::from(gateway.config.redundancy.needed.max(1));
    let piece_bytes = (gateway.config.uploads.segment_bytes as u64).div_ceil(needed);
    let can_take = |node: &&Candidate| node.score > 0.0 && node.free_bytes >= piece_bytes;
    let usable = gateway.nodes.candidates().iter().filter(can_take).count();
    NetworkStatus {
        version: env!("CARGO_PKG_VERSION").to_string(),
        not_ready: readiness(gateway, answers).err().map(|error| error.details),
        database: if answers { "up" } else { "away" }.into(),
        redis: gateway.redis.as_ref().map_or("off", |link| if link.is_up() { "up" } else { "away" }).into(),
        nodes_needed: gateway.config.redundancy.total_min.into(),
        nodes_usable: usable as u64,
        regions: regions(gateway),
        recorded: notes.ok().map(|notes| recorded(gateway, notes, tallies)),
    }
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

async fn notes(db: Db) -> Result<Notes, StoreError> {
    Ok(Notes {
        held: db.held().await?,
        monitor_seen: db.monitor_seen().await?,
        monitors: db.monitors(MONITORS_MAX).await?,
        events: db.recent_events(EVENTS_MAX).await?,
    })
}

async fn tallies(db: Db) -> Result<Tallies, StoreError> {
    db.tallies(COUNTED_MAX).await
}

fn recorded(gateway: &Gateway, notes: Notes, tallies: Result<Tallies, NotKnown>) -> RecordedStatus {
    let Notes { held, monitor_seen, monitors, events } = notes;
    let counted = tallies.as_ref().ok();
    let segments = counted.map(|tallies| {
        [
            ("pending", tallies.pending),
            ("live", tallies.live),
            ("orphaned", tallies.orphaned),
            ("lost", tallies.lost),
        ]
        .map(|(state, count)| (state.to_string(), count))
    });
    let now = gateway.clock.now();
    let away = monitor_seen.map(|seen| now.since(seen).as_millis());
    // What a monitor held back that is gone holds nothing back any more.
    let at_work = monitors.into_iter().filter(|monitor| now.since(monitor.seen) <= MONITORS_AWAY_MAX);
    RecordedStatus {
        counted_max: COUNTED_MAX.into(),
        segments: segments.into_iter().flatten().collect(),
        repairs_waiting: counted.map(|tallies| tallies.repairs),
        unpins_waiting: counted.map(|tallies| tallies.unpins),
        not_counted: tallies.err().map(|why| why.to_string()),
        monitor_seen_ms_ago: away.map(|away| u64::try_from(away).unwrap_or(u64::MAX)),
        breakers: at_work.filter_map(|monitor| Some((monitor.id, monitor.breaker?))).collect(),
        held: held.map(|held| held.why),
        events: events.into_iter().map(event).collect(),
    }
}

fn event(event: Event) -> StatusEvent {
    StatusEvent {
        at: rfc3339(event.at),
        kind: event.kind,
        node: event.node.map(|node| node.to_string()),
        segment: event.segment.map(|segment| segment.to_string()),
        details: event.details,
    }
}
