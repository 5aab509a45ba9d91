//! Small things with names made of numbers, so that a case reads as what it does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use content::{Cid, HashFn};
use erasure::{Codec, Scheme};
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};

use crate::{
    BlockAt, Claim, Committed, Db, NewNode, NewPiece, NewSegment, PieceSlot, SegmentState, UploadMetadata,
};

pub(super) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// What a node may drop, by name.
pub(super) async fn queued(db: &Db, node: u8) -> Vec<PieceHash> {
    let unpins = db.queued_unpins(node_id(node), 99).await.expect("unpins");
    unpins.into_iter().map(|unpin| unpin.hash).collect()
}

pub(super) fn later(seconds: u64) -> UnixMillis {
    NOW + Duration::from_secs(seconds)
}

pub(super) fn cid(number: u32) -> Cid {
    Cid::of(content::Codec::Raw, HashFn::Sha2_256, &number.to_be_bytes())
}

pub(super) fn segment_id(number: u32) -> SegmentId {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    SegmentId(id)
}

pub(super) fn node_id(number: u8) -> NodeId {
    NodeId([number; 32])
}

pub(super) fn piece_hash(segment: u32, index: u8) -> PieceHash {
    PieceHash::of(&[&segment.to_be_bytes()[..], &[index]].concat())
}

pub(super) fn slot(segment: u32, index: u8) -> PieceSlot {
    PieceSlot { segment: segment_id(segment), index }
}

/// A segment of 2 + 2 pieces of 1 MiB each: piece `i` is on node `i`.
pub(super) fn segment(number: u32) -> NewSegment {
    NewSegment {
        id: segment_id(number),
        scheme: Scheme::new(Codec::Gf8, 2, 4).expect("a valid scheme"),
        length_bytes: 2 << 20,
        pieces: (0..4)
            .map(|index| NewPiece { hash: piece_hash(number, index), node: Some(node_id(index)) })
            .collect(),
    }
}

/// A name that no other pin has.
fn pin_id() -> String {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    format!("pin-{:06}", DRAWN.fetch_add(1, Ordering::Relaxed))
}

/// A file that is one block, in the first of its segments.
pub(super) fn upload(account: &str, root: u32, size_bytes: u64, segments: &[u32]) -> UploadMetadata {
    let segments: Vec<SegmentId> = segments.iter().map(|number| segment_id(*number)).collect();
    UploadMetadata {
        pin: pin_id(),
        account: account.to_string(),
        name: format!("file {root}"),
        root: cid(root),
        size_bytes,
        dag_size_bytes: size_bytes.saturating_add(10),
        expires: None,
        claim: Claim::Pin,
        beside: None,
        blocks: Arc::new([BlockAt {
            cid: cid(root),
            segment: segments[0],
            offset_bytes: 100,
            length_bytes: size_bytes,
        }]),
        recorded: None,
        segments,
    }
}

/// An upload whose blocks were all stored before.
pub(super) fn repeated(account: &str, root: u32, size_bytes: u64, segments: &[u32]) -> UploadMetadata {
    UploadMetadata { blocks: Arc::new([]), ..upload(account, root, size_bytes, segments) }
}

pub(super) async fn account(db: &Db, id: &str, quota_bytes: u64) {
    db.create_account(id, id, quota_bytes, NOW).await.expect("create account");
}

/// Commits at `NOW` with a lease of an hour.
pub(super) async fn commit(db: &Db, segments: &[NewSegment], uploads: &[UploadMetadata]) -> Vec<Committed> {
    commit_at(db, segments, uploads, NOW).await
}

pub(super) async fn commit_at(
    db: &Db,
    segments: &[NewSegment],
    uploads: &[UploadMetadata],
    now: UnixMillis,
) -> Vec<Committed> {
    let outcomes =
        db.commit(segments, &[], uploads, now, now + Duration::from_secs(3600)).await.expect("commit");
    outcomes.into_iter().map(|outcome| outcome.committed).collect()
}

/// Commits one upload into a segment of its own, which must go well.
pub(super) async fn store_file(db: &Db, account: &str, root: u32, size_bytes: u64, in_segment: u32) {
    let upload = upload(account, root, size_bytes, &[in_segment]);
    assert_eq!(commit(db, &[segment(in_segment)], &[upload]).await, [Committed::Created]);
}

pub(super) async fn used(db: &Db, account: &str) -> u64 {
    db.account(account).await.expect("account").expect("known").used_bytes
}

pub(super) async fn state(db: &Db, segment: u32) -> Option<SegmentState> {
    let all = db.segments_after(None, 1000).await.expect("segments");
    all.into_iter().find(|(id, _)| *id == segment_id(segment)).map(|(_, state)| state)
}

pub(super) fn new_node(number: u8) -> NewNode {
    NewNode {
        id: node_id(number),
        url: format!("http://node-{number}"),
        address: format!("10.0.0.{number}"),
        region: "eu".to_string(),
        country: Some("DE".to_string()),
        latitude: Some(52.5),
        longitude: None,
        version: "1".to_string(),
        capacity_bytes: 1000,
        reputation: "{}".to_string(),
        standing: "vetting".to_string(),
    }
}

/// Enrols nodes 0..`count` with one invitation.
pub(super) async fn enrol_nodes(db: &Db, count: u8) {
    db.create_invite("fixture", "operator", u32::from(count), NOW, later(60)).await.expect("invite");
    for number in 0..count {
        db.enrol(&new_node(number), Some("fixture"), NOW).await.expect("enrol").expect("admitted");
    }
}
