//! Blocks one after another, with those that come next fetched meanwhile.

use std::collections::HashMap;

use content::{BLOCK_MAX, Block, Cid};

use crate::{
    blocks::{Blocks, Fetch},
    error::ReadError,
};

/// Bytes fetched ahead at first.
const FIRST_BYTES: u64 = 1 << 20;
/// Blocks fetched ahead, at most.
const BLOCKS_MAX: usize = 64;
/// What is assumed of a block of which nothing, or too much, is said: an inner node.
const ASSUMED_BYTES: u64 = 16 << 10;

/// Reads blocks in order.
pub(super) struct Ahead {
    pub(super) blocks: Blocks,
    /// What is on its way, with what it was thought to take.
    window: HashMap<Cid, (Fetch, u64)>,
    window_bytes: u64,
    /// How much is fetched ahead now.
    limit_bytes: u64,
}

impl Ahead {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, window: HashMap::new(), window_bytes: 0, limit_bytes: FIRST_BYTES }
    }

    /// The next block. `upcoming` are those behind it, with how many bytes are said to be at and below them.
    pub(super) async fn take<'a>(
        &mut self,
        cid: &Cid,
        upcoming: impl Iterator<Item = (&'a Cid, u64)>,
    ) -> Result<Block, ReadError> {
        if !self.window.contains_key(cid) {
            if let Some(block) = self.blocks.at_hand(cid) {
                return Ok(block);
            }
            // Let go of before anything is waited for, so that readers never keep room from each other. What came is in
            // memory, as long as there is room for it.
            self.window.clear();
            self.window_bytes = 0;
            let upcoming: Vec<(&Cid, u64)> = upcoming.take(BLOCKS_MAX).collect();
            self.start([(cid, 0)].into_iter().chain(upcoming));
        } else if self.window_bytes < self.limit_bytes / 2 && self.window.len() < BLOCKS_MAX / 2 {
            self.start(upcoming.take(BLOCKS_MAX));
        }
        let fetched = match self.window.remove(cid) {
            Some((fetch, bytes)) => {
                self.window_bytes -= bytes;
                fetch.block(cid).await
            }
            None => None,
        };
        match fetched {
            Some(outcome) => outcome,
            // Others needed the room while this reader stood still.
            None => self.blocks.get(cid).await,
        }
    }

    /// Starts fetching what comes next, as far as there is room and it is not on its way.
    fn start<'a>(&mut self, next: impl Iterator<Item = (&'a Cid, u64)>) {
        let mut wanted: Vec<(Cid, u64)> = Vec::new();
        for (cid, below) in next {
            let bytes = if (1..=BLOCK_MAX as u64).contains(&below) { below } else { ASSUMED_BYTES };
            let is_full = self.window_bytes + bytes > self.limit_bytes
                || self.window.len() + wanted.len() >= BLOCKS_MAX;
            if !wanted.is_empty() && is_full {
                break;
            }
            let is_coming = self.window.contains_key(cid) || wanted.iter().any(|(other, _)| other == cid);
            if !is_coming && !self.blocks.is_at_hand(cid) {
                self.window_bytes += bytes;
                wanted.push((cid.clone(), bytes));
            }
        }
        if wanted.is_empty() {
            return;
        }
        let cids: Vec<Cid> = wanted.iter().map(|(cid, _)| cid.clone()).collect();
        let mut fetches = self.blocks.fetch(&cids, &[]);
        for (cid, bytes) in wanted {
            if let Some(fetch) = fetches.remove(&cid) {
                self.window.insert(cid, (fetch, bytes));
            }
        }
        let longest = self.blocks.config().window_bytes.max(FIRST_BYTES);
        self.limit_bytes = self.limit_bytes.saturating_mul(2).min(longest);
    }
}
