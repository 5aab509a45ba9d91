//! Reading a segment that nobody remembers: its pieces are put together, every block is checked against its CID, and the whole
//! is coded again, which tells the hashes that its pieces must have, the missing ones too. Pieces that nodes lie about
//! do not have them; without them it is tried again with others.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use client::PieceOrder;
use content::{
    Block, Cid, Codec,
    car::{CarError, CarReader},
    dagpb, ipld,
};
use erasure::Scheme;
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    order::{Action, Purpose},
    proof,
    record::{self, Record},
};
use rand::seq::SliceRandom as _;
use store::{BlockAt, FoundPiece, FoundSegment, NewPiece, NewSegment, SegmentInfo, SegmentPiece};
use transfer::{PieceSource, Pool, SegmentSource, code_segment};

use crate::{Recovery, Urls, liars::one_each, summary::LIARS_MAX};

/// How often too few pieces of a segment may come before it counts as unreadable.
const FAILURES_MAX: u32 = 4;

/// Why a segment could not be read: pieces that were found, each of another node, and pieces that rebuild it. Nodes may say
/// different things of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooFew(pub(crate) Vec<(usize, usize)>);

impl Recovery {
    /// Reads a segment that the database knows.
    pub(crate) async fn read_known_segment(
        &self,
        known: &SegmentInfo,
        pieces: &[FoundPiece],
        urls: &Urls,
    ) -> anyhow::Result<Result<FoundSegment, TooFew>> {
        // Whatever else is said of it is not it.
        let is_it = |piece: &&FoundPiece| {
            let same = |one: &SegmentPiece| one.index == piece.index && one.hash == piece.hash;
            piece.scheme == known.scheme
                && piece.segment_bytes == known.length_bytes
                && known.pieces.iter().any(same)
        };
        let pieces: Vec<FoundPiece> =
            pieces.iter().filter(is_it).filter(|piece| urls.contains_key(&piece.node)).copied().collect();
        let (found, needed) = (one_each(&pieces).len(), usize::from(known.scheme.needed()));
        if found >= needed
            && let Some(found) = self.read_group(known.id, &pieces, urls).await?
        {
            return Ok(Ok(found));
        }
        Ok(Err(TooFew(vec![(found, needed)])))
    }

    /// Reads a segment that nobody remembers, of which these pieces were found. It is believed as most nodes say, and of more
    /// nodes than would invent one together.
    pub(crate) async fn read_segment(
        &self,
        id: SegmentId,
        pieces: &[FoundPiece],
        urls: &Urls,
    ) -> anyhow::Result<Result<FoundSegment, TooFew>> {
        let mut groups: BTreeMap<(String, u64), Vec<FoundPiece>> = BTreeMap::new();
        for piece in pieces.iter().filter(|piece| urls.contains_key(&piece.node)) {
            groups.entry((piece.scheme.to_string(), piece.segment_bytes)).or_default().push(*piece);
        }
        let mut groups: Vec<(usize, usize, Vec<FoundPiece>)> = groups
            .into_values()
            .map(|group| (one_each(&group).len(), usize::from(group[0].scheme.needed()), group))
            .collect();
        groups.sort_by_key(|(found, ..)| std::cmp::Reverse(*found));
        let holders_min = (LIARS_MAX + 1).min(urls.len());
        if let Some((found, needed, group)) = groups.first()
            && *found >= *needed.max(&holders_min)
            && let Some(read) = self.read_group(id, group, urls).await?
            && read.segment.pieces.iter().filter(|piece| piece.node.is_some()).count() >= holders_min
        {
            return Ok(Ok(read));
        }
        Ok(Err(TooFew(groups.iter().map(|(found, needed, _)| (*found, *needed)).collect())))
    }

    async fn read_group(
        &self,
        id: SegmentId,
        pieces: &[FoundPiece],
        urls: &Urls,
    ) -> anyhow::Result<Option<FoundSegment>> {
        let (scheme, len) = (pieces[0].scheme, pieces[0].segment_bytes);
        let mut failures = 0;
        for attempt in 0..self.config.tries.max(1) {
            let Some(chosen) = self.some_of(pieces, scheme, attempt, failures) else { continue };
            let source = Arc::new(self.source(id, scheme, len, &chosen, urls));
            let bytes = match self.gather.read(&source, std::slice::from_ref(&(0..len))).await {
                Ok(mut read) => read.pop().unwrap_or_default(),
                Err(error) => {
                    tracing::debug!(segment = %id, tries = attempt, %error, "segment not read");
                    failures += 1;
                    if failures > FAILURES_MAX {
                        return Ok(None);
                    }
                    continue;
                }
            };
            let (key, pool, found) = (self.signer.public_key(), self.pool.clone(), pieces.to_vec());
            let liars = self.liars.clone();
            let work = move || {
                let contents = Contents::read(id, &bytes, &key).ok()?;
                let hashes = hashes(scheme, &bytes, &pool)?;
                liars.compare(&found, &hashes);
                Some(contents.into_found(id, scheme, len, &hashes, &found))
            };
            if let Some(found) = tokio::task::spawn_blocking(work).await? {
                return Ok(Some(found));
            }
            tracing::warn!(segment = %id, tries = attempt, "pieces of a segment do not fit together");
        }
        Ok(None)
    }

    /// Pieces to try with, one of each node: first all, then as many as are needed, any, as long as those can be had. Every
    /// other time those last of whom something wrong is known. `None`: these were too few.
    fn some_of(
        &self,
        pieces: &[FoundPiece],
        scheme: Scheme,
        attempt: u32,
        failures: u32,
    ) -> Option<Vec<FoundPiece>> {
        let needed = usize::from(scheme.needed());
        let mut some = pieces.to_vec();
        if attempt > 0 {
            some.shuffle(&mut self.dice.rng());
        }
        if attempt.is_multiple_of(2) {
            self.liars.last(&mut some);
        }
        let mut some = one_each(&some);
        if attempt > 0 && failures == 0 {
            some.truncate(needed);
        }
        Some(some).filter(|some| some.len() >= needed)
    }

    fn source(
        &self,
        id: SegmentId,
        scheme: Scheme,
        len: u64,
        pieces: &[FoundPiece],
        urls: &Urls,
    ) -> SegmentSource {
        let piece_len = scheme.layout(len).piece_len();
        let bytes_max = proof::encoded_len(piece_len, &(0..piece_len)).saturating_mul(2);
        let lifetime = self.config.order_lifetime;
        let sources = |piece: &FoundPiece| {
            let (index, node, hash) = (piece.index, piece.node, piece.hash);
            let order = self.signer.order(node, Action::Get(hash, Purpose::Repair), bytes_max, lifetime);
            let urls = urls.get(&node).map(Vec::as_slice).unwrap_or_default();
            let source = |url: &String| PieceSource {
                index,
                order: PieceOrder { node, url: url.clone(), hash, order: order.clone() },
            };
            urls.iter().map(source).collect::<Vec<_>>()
        };
        SegmentSource { id, scheme, segment_len: len, pieces: pieces.iter().flat_map(sources).collect() }
    }
}

/// The hashes of all pieces of a segment.
fn hashes(scheme: Scheme, bytes: &Bytes, pool: &Pool) -> Option<Vec<PieceHash>> {
    let mut buffer = pool.take(bytes.len() + erasure::NEEDED_MAX * erasure::COLUMN);
    buffer.vec().extend_from_slice(bytes);
    let coded = code_segment(scheme, buffer, pool).ok()?;
    Some(coded.into_iter().map(|piece| piece.hash).collect())
}

/// What is in a segment.
#[derive(Debug, Default)]
struct Contents {
    blocks: Vec<BlockAt>,
    links: Vec<(Cid, Cid)>,
    record: Option<(Cid, Record)>,
}

impl Contents {
    /// Reads a segment's bytes; an error if one of its blocks is not what its CID names.
    fn read(id: SegmentId, bytes: &Bytes, network: &ed25519_dalek::VerifyingKey) -> Result<Self, CarError> {
        let reader = CarReader::new(bytes)?;
        let root = reader.roots().first().cloned();
        let frames = reader.clone();
        let mut contents = Self::default();
        let mut last: Option<Block> = None;
        let mut first: Option<Cid> = None;
        for (frame, block) in frames.zip(reader.blocks()) {
            let (frame, block) = (frame?, block?);
            first.get_or_insert_with(|| block.cid.clone());
            for child in links(&block) {
                contents.links.push((block.cid.clone(), child));
            }
            contents.blocks.push(BlockAt {
                cid: frame.cid,
                segment: id,
                offset_bytes: frame.offset,
                length_bytes: frame.len as u64,
            });
            last = Some(block);
        }
        // The record is the last block, and the root.
        if let Some(block) = last.filter(|block| root.as_ref() == Some(&block.cid))
            && let Ok(record) = record::decode(&block.bytes, id, network)
            && (record.log.is_some() || first.as_ref() != Some(&block.cid))
        {
            contents.blocks.pop();
            contents.links.retain(|(parent, _)| *parent != block.cid);
            contents.record = Some((block.cid, record));
        }
        Ok(contents)
    }

    fn into_found(
        self,
        id: SegmentId,
        scheme: Scheme,
        length_bytes: u64,
        hashes: &[PieceHash],
        found: &[FoundPiece],
    ) -> FoundSegment {
        let mut taken: HashSet<NodeId> = HashSet::new();
        let mut pieces = Vec::with_capacity(hashes.len());
        for (index, hash) in hashes.iter().enumerate() {
            let is_it = |piece: &&FoundPiece| usize::from(piece.index) == index && piece.hash == *hash;
            // No node has two pieces of a segment.
            let node = found.iter().filter(is_it).map(|piece| piece.node).find(|node| !taken.contains(node));
            taken.extend(node);
            pieces.push(NewPiece { hash: *hash, node });
        }
        let segment = NewSegment { id, scheme, length_bytes, pieces };
        FoundSegment { segment, blocks: self.blocks, links: self.links, record: self.record }
    }
}

/// What a block links, those blocks passed through that CIDs carry.
fn links(block: &Block) -> Vec<Cid> {
    let mut found = Vec::new();
    let mut todo = vec![block.clone()];
    while let Some(block) = todo.pop() {
        for link in direct_links(&block) {
            match Block::from_identity(link.clone()) {
                // Each is shorter than the one around it.
                Some(carried) => todo.push(carried),
                None => found.push(link),
            }
        }
    }
    found
}

fn direct_links(block: &Block) -> Vec<Cid> {
    if block.cid.codec() == Codec::DagPb {
        let mut links = Vec::new();
        // Uploads of raw blocks may have any bytes: what cannot be read has no links.
        return match dagpb::scan(&block.bytes, |link| links.push(link.cid)) {
            Ok(_) => links,
            Err(_) => Vec::new(),
        };
    }
    ipld::links(block).unwrap_or_default()
}
