//! The blocks of a CAR, one after another, depth first.
//!
//! What is kept of the DAG is bounded (see `descent`), and so are the names of blocks that were sent. Only so much is
//! fetched as the client takes, and some more ahead of it.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use bytes::Bytes;
use content::{
    Block, Cid, Codec, car, dagpb, ipld,
    unixfs::walk::{self, Reason, WalkError},
};
use futures_util::{Stream, stream};

use super::super::{
    ahead::Ahead,
    descent::{Descent, Next, Waiting},
};
use crate::{
    blocks::{Blocks, COPY_BYTES},
    error::ReadError,
    resolve::Resolved,
};

/// What is wanted of a block besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Nothing,
    /// Whatever it links to.
    All,
    /// The shards of the directory.
    Shards,
    /// The parts of the file that lie in the range. This one starts there.
    File {
        start: u64,
    },
}

/// A block to send.
#[derive(Clone, Debug)]
struct Item {
    cid: Cid,
    want: Want,
    /// Whether all that is below it is wanted.
    whole: bool,
    /// Bytes that are said to be at and below it; 0 when nothing is said.
    below: u64,
}

impl Waiting for Item {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

pub(super) struct CarStream {
    ahead: Ahead,
    range: Range<u64>,
    /// What comes before the DAG at the end of the path, and its root.
    first: VecDeque<Item>,
    descent: Descent<(Cid, Want), Item>,
    seen: Option<Seen>,
    ready: VecDeque<Bytes>,
    /// A block of which a part was sent, and how much.
    rest: Option<(Cid, usize)>,
}

impl CarStream {
    /// The blocks of the way and what is wanted at its end. `distinct_max`: each block is sent once, and there may be so
    /// many; `None`: each time it occurs.
    pub(super) fn new(
        blocks: Blocks,
        resolved: &Resolved,
        (want, range): (Want, Range<u64>),
        distinct_max: Option<usize>,
    ) -> Self {
        let way = resolved.trail.iter().map(|cid| Item {
            cid: cid.clone(),
            want: Want::Nothing,
            whole: false,
            below: 0,
        });
        let last = Item { cid: resolved.block.cid.clone(), want, whole: range == (0..u64::MAX), below: 0 };
        Self {
            ahead: Ahead::new(blocks),
            range,
            first: way.chain([last]).collect(),
            descent: Descent::new(),
            seen: distinct_max.map(|max| Seen { names: HashMap::new(), max }),
            ready: VecDeque::new(),
            rest: None,
        }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
        stream::try_unfold(self, |mut car| async move { Ok(car.next().await?.map(|bytes| (bytes, car))) })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if let Some((cid, sent)) = self.rest.take() {
                let block = self.ahead.blocks.get(&cid).await?;
                self.hand_out(&block, sent);
                continue;
            }
            let item = match self.first.pop_front() {
                Some(item) => item,
                None => match self.descent.next() {
                    Next::Visit(item) => item,
                    Next::Reload((cid, want)) => {
                        let block = self.ahead.blocks.get(&cid).await?;
                        self.descent.resume(children(&block, want, &self.range)?);
                        continue;
                    }
                    Next::End => return Ok(None),
                },
            };
            self.visit(item).await?;
        }
    }

    async fn visit(&mut self, item: Item) -> Result<(), ReadError> {
        // A name that is its own block is written in the block that names it.
        let is_virtual = item.cid.is_identity();
        let before = match &mut self.seen {
            Some(seen) if !is_virtual => seen.note(&item)?,
            _ => Before::Never,
        };
        if before == Before::Whole {
            return Ok(());
        }
        let coming = self.first.iter().chain(self.descent.upcoming());
        let unseen = coming.filter(|item| self.seen.as_ref().is_none_or(|seen| !seen.has(&item.cid)));
        let block = self.ahead.take(&item.cid, unseen.map(|item| (&item.cid, item.below))).await?;
        let children = children(&block, item.want, &self.range)?;
        self.descent.enter((item.cid, item.want), children)?;
        if before == Before::Never && !is_virtual {
            self.ready.push_back(car::frame_prefix_as_written(&block.cid, block.bytes.len()).into());
            self.hand_out(&block, 0);
        }
        Ok(())
    }

    /// The bytes of a block from `sent` on: as they are, or a copy of the next few when connections hold too much.
    fn hand_out(&mut self, block: &Block, sent: usize) {
        let rest = block.bytes.slice(sent.min(block.bytes.len())..);
        if rest.is_empty() {
            return;
        }
        if let Some(lent) = self.ahead.blocks.lend(rest.clone(), block.bytes.len()) {
            self.ready.push_back(lent);
            return;
        }
        let copied = &rest[..rest.len().min(COPY_BYTES)];
        self.ready.push_back(Bytes::copy_from_slice(copied));
        if copied.len() < rest.len() {
            self.rest = Some((block.cid.clone(), sent + copied.len()));
        }
    }
}

/// Which blocks were sent.
struct Seen {
    /// By a part of the digest; and whether all below was sent too. A part is enough: nobody finds two digests that begin
    /// with the same 128 bits, and whoever did would leave a block out of a CAR of his own.
    names: HashMap<u128, bool>,
    max: usize,
}

/// What was sent of a block and what is below it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Never,
    /// The block, but not all that is wanted below it.
    Block,
    Whole,
}

impl Seen {
    fn key(cid: &Cid) -> u128 {
        let mut first = [0; 16];
        let digest = cid.digest();
        let len = digest.len().min(first.len());
        first[..len].copy_from_slice(&digest[..len]);
        // One digest under two codecs names two blocks.
        u128::from_le_bytes(first) ^ u128::from(cid.codec().code())
    }

    fn has(&self, cid: &Cid) -> bool {
        self.names.contains_key(&Self::key(cid))
    }

    fn note(&mut self, item: &Item) -> Result<Before, ReadError> {
        let key = Self::key(&item.cid);
        if let Some(whole) = self.names.get_mut(&key) {
            if *whole {
                return Ok(Before::Whole);
            }
            *whole = item.whole;
            return Ok(Before::Block);
        }
        if self.names.len() >= self.max {
            return Err(ReadError::TooLarge(
                "the CAR has too many blocks to leave out duplicates: ask for dups=y",
            ));
        }
        self.names.insert(key, item.whole);
        Ok(Before::Never)
    }
}

/// What is to be sent below a block.
fn children(block: &Block, want: Want, range: &Range<u64>) -> Result<Vec<Item>, ReadError> {
    let whole = |cid: Cid, want, below| Item { cid, want, whole: true, below };
    Ok(match want {
        Want::Nothing => Vec::new(),
        Want::All if block.cid.codec() == Codec::DagPb => {
            let mut items = Vec::new();
            let scanned = dagpb::scan(&block.bytes, |link| {
                items.push(whole(link.cid, Want::All, link.tsize.unwrap_or(0)));
            });
            scanned.map_err(|error| WalkError { cid: block.cid.clone(), reason: Reason::Node(error) })?;
            items
        }
        Want::All => {
            let links = ipld::links(block).map_err(|error| ReadError::BadData(block.cid.clone(), error))?;
            links.into_iter().map(|cid| whole(cid, Want::All, 0)).collect()
        }
        Want::Shards => {
            let shards = walk::list(block)?.shards;
            shards.into_iter().map(|cid| whole(cid, Want::Shards, 0)).collect()
        }
        Want::File { start } => {
            let local = range.start.saturating_sub(start)..range.end.saturating_sub(start);
            let node = walk::file(block)?;
            let wanted = node.overlapping(&local).iter().filter(|child| !child.range.is_empty());
            wanted
                .map(|child| Item {
                    cid: child.cid.clone(),
                    want: Want::File { start: start.saturating_add(child.range.start) },
                    whole: local.start <= child.range.start && child.range.end <= local.end,
                    below: child.range.end - child.range.start,
                })
                .collect()
        }
    })
}
