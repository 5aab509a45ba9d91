//! `GET /v1/files/{cid}/health`: how many losses a file still stands.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use content::Cid;
use protocol::{
    api::{FileHealth, PieceHealthInfo, SegmentHealthInfo},
    reputation::Standing,
};
use service::http::error::ApiError;
use store::{SegmentInfo, SegmentPiece};

use super::files::parse_cid;
use crate::{app::Gateway, auth::Scope, database::store_failed};

pub(super) async fn show(
    State(gateway): State<Gateway>,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Result<Json<FileHealth>, ApiError> {
    let account = gateway.keys.account(&headers, Scope::Read).await?;
    let cid = parse_cid(&cid)?;
    if gateway.db.pin(&account, &cid).await.map_err(store_failed)?.is_none() {
        return Err(ApiError::not_found("unknown_file", format!("this account has no file {cid}")));
    }
    Ok(Json(health_of(&gateway, &cid).await?))
}

/// How many losses a pinned root still stands.
pub(super) async fn health_of(gateway: &Gateway, cid: &Cid) -> Result<FileHealth, ApiError> {
    let ids = gateway.db.root_segments(cid).await.map_err(store_failed)?;
    let mut infos = gateway.db.segments_info(&ids).await.map_err(store_failed)?;
    infos.sort_by_key(|info| info.id);
    let segments: Vec<SegmentHealthInfo> = infos.iter().map(|info| segment_health(gateway, info)).collect();
    // A segment that is recorded nowhere any more is as lost as one without pieces.
    let lost = segments.len() < ids.len() || segments.iter().any(|segment| segment.healthy < segment.needed);
    let degraded = segments.iter().any(|segment| segment.healthy < segment.total);
    let status = if lost {
        "lost"
    } else if degraded {
        "degraded"
    } else {
        "healthy"
    };
    Ok(FileHealth { cid: cid.to_string(), status: status.to_string(), segments })
}

fn segment_health(gateway: &Gateway, info: &SegmentInfo) -> SegmentHealthInfo {
    let pieces: Vec<PieceHealthInfo> = info.pieces.iter().map(|piece| piece_health(gateway, piece)).collect();
    let count = |states: &[&str]| {
        let count = pieces.iter().filter(|piece| states.contains(&piece.state.as_str())).count();
        u8::try_from(count).unwrap_or(u8::MAX)
    };
    SegmentHealthInfo {
        id: info.id,
        needed: info.scheme.needed(),
        total: info.scheme.total(),
        healthy: count(&["healthy"]),
        // What a suspended node holds can still be read.
        losses_tolerated: count(&["healthy", "suspended"]).saturating_sub(info.scheme.needed()),
        pieces,
    }
}

/// What can be read right now counts: a node that does not answer is offline here, long before a repair is due.
fn piece_health(gateway: &Gateway, piece: &SegmentPiece) -> PieceHealthInfo {
    let entry = piece.node.and_then(|node| gateway.nodes.entry(node));
    let state = match &entry {
        None => "missing",
        Some(entry) if entry.standing() == Standing::Disqualified => "missing",
        Some(entry) if entry.row.offline.is_some() || !gateway.nodes.is_reachable(entry.row.id) => "offline",
        Some(entry) if entry.standing().is_suspended() => "suspended",
        Some(_) => "healthy",
    };
    PieceHealthInfo {
        index: piece.index,
        node: piece.node,
        region: entry.map(|entry| entry.row.region.clone()),
        state: state.to_string(),
    }
}
