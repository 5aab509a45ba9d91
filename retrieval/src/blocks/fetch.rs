//! Fetching blocks that are not in memory: from disk, else from the pieces of the segments they lie in.
//!
//! Where blocks are said to lie is not believed: what does not fit is an error before anything is allocated for it, and
//! every block is checked against its CID.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use content::{BLOCK_MAX, Block, Cid};
use futures_util::future::join_all;

use super::{Inner, budget::Batch};
use crate::{error::ReadError, locate::Found};

/// Bytes between two blocks that are fetched together nevertheless: a CAR frame's head, or a small block in between.
const GAP_MAX: u64 = 4096;
/// Up to this many bytes are hashed on the async thread.
const INLINE_HASH_BYTES: usize = 64 << 10;
/// Orders that end sooner than this are not used any more: a node's clock may be ahead, and reading takes time.
const ORDER_MARGIN: Duration = Duration::from_secs(5);

type Outcomes = HashMap<Cid, Result<Bytes, ReadError>>;

/// Fetches blocks below `root`, each named once. `soon` will be wanted next: where they are is asked in the same question.
pub(super) async fn fetch(inner: &Inner, cids: &[Cid], soon: &[Cid], root: Option<&Cid>) -> Arc<Batch> {
    let mut outcomes = from_disk(inner, cids).await;
    let missing: Vec<Cid> = cids.iter().filter(|cid| !outcomes.contains_key(*cid)).cloned().collect();
    let places = locate(inner, &missing, soon, root).await.unwrap_or_else(|error| {
        outcomes.extend(missing.iter().map(|cid| (cid.clone(), Err(error.clone()))));
        Vec::new()
    });
    let on_disk: u64 = outcomes.values().flatten().map(|bytes| bytes.len() as u64).sum();
    let in_pieces: u64 = places.iter().map(|place| place.len.min(BLOCK_MAX as u64)).sum();
    let room = inner.budget.take(on_disk + in_pieces).await;

    let mut read = read_places(inner, &places).await;
    let has_failed = |cid: &&Cid| read.get(*cid).is_none_or(Result::is_err);
    let failed: Vec<Cid> = places.iter().map(|place| &place.cid).filter(has_failed).cloned().collect();
    if !failed.is_empty() {
        read.extend(read_afresh(inner, failed, root).await);
    }
    for (cid, bytes) in read.iter().filter_map(|(cid, bytes)| Some((cid, bytes.as_ref().ok()?))) {
        inner.memory.insert(cid.clone(), bytes.clone());
        if let Some(disk) = &inner.disk {
            disk.offer(Block { cid: cid.clone(), bytes: bytes.clone() });
        }
    }
    outcomes.extend(read);
    for cid in cids {
        outcomes.entry(cid.clone()).or_insert_with(|| Err(ReadError::NotFound(cid.clone())));
    }
    inner.budget.load(outcomes, room)
}

/// What of it is on disk; the cache verifies what it gives.
async fn from_disk(inner: &Inner, cids: &[Cid]) -> Outcomes {
    let Some(disk) = &inner.disk else { return Outcomes::new() };
    let found = join_all(cids.iter().map(async |cid| Some((cid.clone(), disk.get(cid).await?)))).await;
    let found: Vec<(Cid, Bytes)> = found.into_iter().flatten().collect();
    metrics::counter!("pinstripe_block_reads_total", "from" => "disk").increment(found.len() as u64);
    for (cid, bytes) in &found {
        inner.memory.insert(cid.clone(), bytes.clone());
    }
    found.into_iter().map(|(cid, bytes)| (cid, Ok(bytes))).collect()
}

/// Places of blocks, remembered ones first; those that nobody stores are missing.
async fn locate(
    inner: &Inner,
    cids: &[Cid],
    soon: &[Cid],
    root: Option<&Cid>,
) -> Result<Vec<Found>, ReadError> {
    let latest = inner.clock.now() + ORDER_MARGIN;
    let remembered = |cid: &Cid| inner.places.get(cid).filter(|place| place.expires > latest);
    let mut places: Vec<Found> = cids.iter().filter_map(remembered).collect();
    if places.len() == cids.len() {
        return Ok(places);
    }
    let known: Vec<Cid> = places.iter().map(|place| place.cid.clone()).collect();
    let unknown = cids.iter().filter(|cid| !known.contains(cid));
    let wanted: Vec<Cid> =
        unknown.chain(soon.iter().filter(|cid| remembered(cid).is_none())).cloned().collect();
    let mut found = inner.locator.locate(&wanted, root).await;
    let needed: Vec<Cid> = cids.iter().filter(|cid| !known.contains(cid)).cloned().collect();
    if found.is_err() && needed.len() < wanted.len() {
        // Nobody may know where one of those is that can wait, and all there is to know of the others.
        found = inner.locator.locate(&needed, root).await;
    }
    for place in found.map_err(|error| ReadError::Unlocated(error.to_string()))? {
        inner.places.insert(place.cid.clone(), place.clone());
        if cids.contains(&place.cid) {
            places.push(place);
        }
    }
    Ok(places)
}

/// Forgets where blocks were, asks again and reads them there: pieces move, and what was remembered may be stale.
async fn read_afresh(inner: &Inner, cids: Vec<Cid>, root: Option<&Cid>) -> Outcomes {
    for cid in &cids {
        inner.places.invalidate(cid);
    }
    inner.locator.forget(&cids);
    match locate(inner, &cids, &[], root).await {
        Ok(places) => {
            let gone = cids.into_iter().map(|cid| (cid.clone(), Err(ReadError::NotFound(cid))));
            let mut outcomes: Outcomes = gone.collect();
            outcomes.extend(read_places(inner, &places).await);
            outcomes
        }
        Err(error) => cids.into_iter().map(|cid| (cid, Err(error.clone()))).collect(),
    }
}

/// Gathers and verifies blocks; what lies together is read together.
async fn read_places(inner: &Inner, places: &[Found]) -> Outcomes {
    let (mut fitting, wrong): (Vec<&Found>, Vec<&Found>) = places.iter().partition(|place| fits(place));
    let mut outcomes: Outcomes =
        wrong.into_iter().map(|place| (place.cid.clone(), Err(misplaced(place)))).collect();
    fitting.sort_by_key(|place| (place.segment.id, place.offset));
    let runs = runs(&fitting, inner.config.window_bytes);
    for read in join_all(runs.into_iter().map(|run| read_run(inner, run))).await {
        outcomes.extend(read);
    }
    outcomes
}

/// Whether a place can be where a block is.
fn fits(place: &Found) -> bool {
    let end = place.offset.checked_add(place.len);
    place.len <= BLOCK_MAX as u64 && end.is_some_and(|end| end <= place.segment.segment_len)
}

fn misplaced(place: &Found) -> ReadError {
    let Found { cid, segment, offset, len, .. } = place;
    tracing::error!(segment = %segment.id, %cid, offset, bytes = len, "a block cannot lie where it is said to be");
    ReadError::Unavailable(format!("block {cid} is not where it is said to be"))
}

/// Cuts places, sorted, into runs that lie together in one segment and span at most `span_max` bytes.
fn runs<'p>(places: &'p [&'p Found], span_max: u64) -> Vec<&'p [&'p Found]> {
    let mut runs = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (at, place) in places.iter().enumerate() {
        let first = places[start];
        let joins = place.segment.id == first.segment.id
            && place.offset.saturating_sub(end) <= GAP_MAX
            && place.offset + place.len - first.offset <= span_max;
        if at > start && !joins {
            runs.push(&places[start..at]);
            start = at;
            end = 0;
        }
        end = end.max(place.offset + place.len);
    }
    if start < places.len() {
        runs.push(&places[start..]);
    }
    runs
}

/// Gathers and verifies blocks of one segment.
async fn read_run(inner: &Inner, run: &[&Found]) -> Outcomes {
    let segment = &run[0].segment;
    let ranges: Vec<Range<u64>> = run.iter().map(|place| place.offset..place.offset + place.len).collect();
    let parts = match inner.gather.read(segment, &ranges).await {
        Ok(parts) => parts,
        Err(error) => {
            let error = ReadError::Unavailable(error.to_string());
            return run.iter().map(|place| (place.cid.clone(), Err(error.clone()))).collect();
        }
    };
    let named: Vec<(Cid, Bytes)> = run.iter().map(|place| place.cid.clone()).zip(parts).collect();
    let bytes: usize = named.iter().map(|(_, bytes)| bytes.len()).sum();
    metrics::counter!("pinstripe_block_reads_total", "from" => "pieces").increment(named.len() as u64);
    metrics::counter!("pinstripe_gathered_bytes_total").increment(bytes as u64);
    if bytes < INLINE_HASH_BYTES {
        return verify(named);
    }
    // A mebibyte takes most of a millisecond to hash: long enough to hold up everybody else on this thread.
    let cids: Vec<Cid> = named.iter().map(|(cid, _)| cid.clone()).collect();
    let verified = tokio::task::spawn_blocking(move || verify(named)).await;
    verified.unwrap_or_else(|error| {
        let error = ReadError::Unavailable(format!("verification ended: {error}"));
        cids.into_iter().map(|cid| (cid, Err(error.clone()))).collect()
    })
}

/// Checks every block against its CID. A mismatch here means wrong metadata, for the pieces were verified before.
fn verify(named: Vec<(Cid, Bytes)>) -> Outcomes {
    let check = |(cid, bytes): (Cid, Bytes)| match Block::verified(cid.clone(), bytes) {
        Ok(block) => (cid, Ok(block.bytes)),
        Err(error) => {
            tracing::error!(%cid, %error, "block does not match its cid");
            metrics::counter!("pinstripe_block_mismatches_total").increment(1);
            let error = ReadError::Unavailable(format!("block {cid} does not verify"));
            (cid, Err(error))
        }
    };
    named.into_iter().map(check).collect()
}
