//! Reading a segment that nobody remembers: its pieces are put together, every block is checked against its CID, and the whole
//! is coded again, which tells the hashes that its pieces must have, the missing ones too. Pieces that nodes lie about
//! do not have them; without them it is tried again with others.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
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
use store::{BlockAt, FoundPiece, FoundSegment, NewPiece, NewSegment};
use transfer::{PieceSource, Pool, SegmentSource, code_segment};

use crate::{Recovery, Urls};

/// Why a segment could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFew {
    pub(crate) found: usize,
    pub(crate) needed: usize,
}

impl Recovery {
    /// Reads a segment of which these pieces were found.
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
        // Nodes may say what they like of a segment: those are believed first that agree most.
        let mut groups: Vec<Vec<FoundPiece>> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(indices(group)));
        let best =
            groups.first().map_or((0, 1), |group| (indices(group), usize::from(group[0].scheme.needed())));
        for group in groups {
            if indices(&group) >= usize::from(group[0].scheme.needed())
                && let Some(found) = self.read_group(id, &group, urls).await?
            {
                return Ok(Ok(found));
            }
        }
        Ok(Err(TooFew { found: best.0, needed: best.1 }))
    }

    async fn read_group(
        &self,
        id: SegmentId,
        pieces: &[FoundPiece],
        urls: &Urls,
    ) -> anyhow::Result<Option<FoundSegment>> {
        let (scheme, len) = (pieces[0].scheme, pieces[0].segment_bytes);
        for attempt in 0..self.config.tries.max(1) {
            let chosen = if attempt == 0 { pieces.to_vec() } else { self.some_of(pieces, scheme) };
            let source = Arc::new(self.source(id, scheme, len, &chosen, urls));
            let bytes = match self.gather.read(&source, std::slice::from_ref(&(0..len))).await {
                Ok(mut read) => read.pop().unwrap_or_default(),
                Err(error) => {
                    tracing::debug!(segment = %id, tries = attempt, %error, "segment not read");
                    if attempt == 0 {
                        // All there was has been asked.
                        return Ok(None);
                    }
                    continue;
                }
            };
            let (key, pool, found) = (self.signer.public_key(), self.pool.clone(), pieces.to_vec());
            let work = move || {
                let contents = Contents::read(id, &bytes, &key).ok()?;
                let hashes = hashes(scheme, &bytes, &pool)?;
                Some(contents.into_found(id, scheme, len, &hashes, &found))
            };
            if let Some(found) = tokio::task::spawn_blocking(work).await? {
                return Ok(Some(found));
            }
            tracing::warn!(segment = %id, tries = attempt, "pieces of a segment do not fit together");
        }
        Ok(None)
    }

    /// As many pieces as are needed, any.
    fn some_of(&self, pieces: &[FoundPiece], scheme: Scheme) -> Vec<FoundPiece> {
        let mut shuffled = pieces.to_vec();
        shuffled.shuffle(&mut self.dice.rng());
        let mut had = BTreeSet::new();
        shuffled.retain(|piece| had.insert(piece.index));
        shuffled.truncate(usize::from(scheme.needed()));
        shuffled
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
        let source = |piece: &FoundPiece| {
            let action = Action::Get(piece.hash, Purpose::Repair);
            let order = self.signer.order(piece.node, action, bytes_max, lifetime);
            let url = urls.get(&piece.node)?.clone();
            Some(PieceSource {
                index: piece.index,
                order: PieceOrder { node: piece.node, url, hash: piece.hash, order },
            })
        };
        SegmentSource { id, scheme, segment_len: len, pieces: pieces.iter().filter_map(source).collect() }
    }
}

fn indices(pieces: &[FoundPiece]) -> usize {
    pieces.iter().map(|piece| piece.index).collect::<BTreeSet<u8>>().len()
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
