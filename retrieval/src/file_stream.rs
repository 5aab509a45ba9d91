//! Streaming a byte range of a file: walks the DAG in order, fetches a window ahead, yields verified bytes.
//!
//! The first window is small for a quick first byte, and each is twice as long as the one before. A reader has one
//! window in its hands and at most one under way, and lets go of the first before it waits for the second: readers that
//! wait for room never keep it from each other. Nothing of a block stays with a reader between two parts of it.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use bytes::Bytes;
use content::{
    Block, Cid,
    unixfs::walk::{Child, FileNode, file, kind},
};
use futures_util::stream::{self, Stream};

use crate::{
    blocks::{Blocks, COPY_BYTES, Fetch},
    error::ReadError,
};

/// Depth of a file's DAG, at most. 1024 links a node reach 2^60 leaves at depth 6.
const DEPTH_MAX: usize = 64;
/// Bytes of the first window: one leaf as most files have them.
const WINDOW_FIRST: u64 = 1 << 20;
/// Blocks in one window, at most.
const WINDOW_BLOCKS_MAX: usize = 512;
/// Blocks behind the window whose places are asked for in the same question.
const SOON_MAX: usize = 256;

/// The bytes of `range` of the file whose root is `block`, in order. It ends early only with an error.
pub fn stream_file(
    blocks: Blocks,
    block: Block,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
    let first = Todo { depth: 0, start: 0, what: What::Block(block) };
    let walk = Walk {
        blocks,
        range,
        todo: VecDeque::from([first]),
        window: HashMap::new(),
        ahead: HashMap::new(),
        went_ahead: false,
        window_bytes: WINDOW_FIRST,
    };
    stream::try_unfold(walk, |mut walk| async move { Ok(walk.next().await?.map(|bytes| (bytes, walk))) })
}

/// A part of the file still to be read.
struct Todo {
    depth: usize,
    /// Where in the file it starts.
    start: u64,
    what: What,
}

enum What {
    /// A block at hand.
    Block(Block),
    /// A block to fetch.
    Child(Child),
    /// Bytes that a block holds itself.
    Inline(Inline),
    /// The rest of a block without children that was partly handed out.
    Rest(Cid),
}

struct Inline {
    bytes: Bytes,
    /// Length of the block that they keep in memory.
    block_len: usize,
    /// The block, if it holds nothing else.
    leaf: Option<Cid>,
}

struct Walk {
    blocks: Blocks,
    /// What is wanted of the file.
    range: Range<u64>,
    /// In order of the file.
    todo: VecDeque<Todo>,
    /// What is being read.
    window: HashMap<Cid, Fetch>,
    /// What is being fetched ahead of it.
    ahead: HashMap<Cid, Fetch>,
    /// Whether that was started since the window was.
    went_ahead: bool,
    /// Length of the next window.
    window_bytes: u64,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while let Some(todo) = self.todo.pop_front() {
            match todo.what {
                What::Inline(inline) => {
                    if let Some(bytes) = self.hand_out(inline, todo.start, todo.depth) {
                        return Ok(Some(bytes));
                    }
                }
                What::Rest(cid) => {
                    let block = self.block_again(&cid).await?;
                    self.expand(&block, todo.start, todo.depth)?;
                }
                What::Block(block) => self.expand(&block, todo.start, todo.depth)?,
                What::Child(child) => {
                    let block = self.block_of(&child).await?;
                    child.check(&kind(&block)?)?;
                    self.expand(&block, todo.start, todo.depth)?;
                    self.go_ahead();
                }
            }
        }
        Ok(None)
    }

    /// Puts a block's own bytes and those of its children that are wanted in front of what is to do.
    fn expand(&mut self, block: &Block, start: u64, depth: usize) -> Result<(), ReadError> {
        if depth > DEPTH_MAX {
            return Err(ReadError::TooLarge("file is nested too deeply"));
        }
        let node: FileNode = file(block)?;
        let local = self.range.start.saturating_sub(start)..self.range.end.saturating_sub(start);
        // Children without bytes are passed over: a small DAG could name them more often than anybody can count.
        let wanted = node.overlapping(&local).iter().filter(|child| !child.range.is_empty());
        for child in wanted.rev() {
            let start = start.saturating_add(child.range.start);
            self.todo.push_front(Todo { depth: depth + 1, start, what: What::Child(child.clone()) });
        }
        if !node.inline.is_empty() {
            let leaf = node.children.is_empty().then(|| block.cid.clone());
            let inline = Inline { bytes: node.inline, block_len: block.bytes.len(), leaf };
            self.todo.push_front(Todo { depth, start, what: What::Inline(inline) });
        }
        Ok(())
    }

    /// The next bytes for the connection: what is wanted of these, or a copy of their beginning when connections hold too
    /// much as it is.
    fn hand_out(&mut self, inline: Inline, start: u64, depth: usize) -> Option<Bytes> {
        let Inline { bytes, block_len, leaf } = inline;
        let bytes = cut(bytes, start, &self.range)?;
        if let Some(lent) = self.blocks.lend(bytes.clone(), block_len) {
            return Some(lent);
        }
        let copied = match leaf {
            Some(cid) if bytes.len() > COPY_BYTES => {
                let copied = bytes.slice(..COPY_BYTES);
                self.range.start = self.range.start.max(start).saturating_add(COPY_BYTES as u64);
                self.todo.push_front(Todo { depth, start, what: What::Rest(cid) });
                copied
            }
            _ => bytes,
        };
        Some(Bytes::copy_from_slice(&copied))
    }

    /// A block that was there a moment ago.
    async fn block_again(&mut self, cid: &Cid) -> Result<Block, ReadError> {
        if let Some(fetch) = self.window.get(cid)
            && let Some(outcome) = fetch.block(cid).await
        {
            return outcome;
        }
        self.blocks.get(cid).await
    }

    /// The block of a child: from what is being read, from memory, or as the first of the next window.
    async fn block_of(&mut self, child: &Child) -> Result<Block, ReadError> {
        if !self.window.contains_key(&child.cid) {
            if let Some(block) = self.blocks.at_hand(&child.cid) {
                return Ok(block);
            }
            // Let go of before anything is waited for.
            self.window = std::mem::take(&mut self.ahead);
            self.went_ahead = false;
            if !self.window.contains_key(&child.cid) {
                self.window = self.start_window(Some(child));
            }
        }
        if let Some(fetch) = self.window.get(&child.cid)
            && let Some(outcome) = fetch.block(&child.cid).await
        {
            return outcome;
        }
        // Others needed the room while this reader stood still.
        self.window.clear();
        self.blocks.get(&child.cid).await
    }

    /// Starts fetching the next window, once for each that is being read.
    fn go_ahead(&mut self) {
        if self.went_ahead || self.window.is_empty() {
            return;
        }
        self.went_ahead = true;
        let longest = self.blocks.config().window_bytes.max(WINDOW_FIRST);
        self.window_bytes = self.window_bytes.saturating_mul(2).min(longest);
        self.ahead = self.start_window(None);
    }

    /// Starts fetching what comes next, `first` before all, as far as it is not in memory or in the present window.
    fn start_window(&self, first: Option<&Child>) -> HashMap<Cid, Fetch> {
        let children = self.todo.iter().filter_map(|todo| match &todo.what {
            What::Child(child) => Some(child),
            What::Block(_) | What::Inline(_) | What::Rest(_) => None,
        });
        let mut next = first.into_iter().chain(children).peekable();
        let mut cids = Vec::new();
        let (mut bytes, mut looked_at) = (0_u64, 0);
        while let Some(child) = next.peek() {
            let len = child.range.end - child.range.start;
            // An inner node stands for more than any window and takes little itself: it is fetched with the last leaves
            // before it, so that nobody waits for it by itself.
            let is_inner = len > content::BLOCK_MAX as u64;
            bytes = bytes.saturating_add(if is_inner { 0 } else { len });
            if looked_at > 0 && (bytes > self.window_bytes || looked_at >= WINDOW_BLOCKS_MAX) {
                break;
            }
            looked_at += 1;
            if !self.window.contains_key(&child.cid) && !self.blocks.is_at_hand(&child.cid) {
                cids.push(child.cid.clone());
            }
            next.next();
            if is_inner {
                break;
            }
        }
        if cids.is_empty() {
            return HashMap::new();
        }
        let soon: Vec<Cid> = next.take(SOON_MAX).map(|child| child.cid.clone()).collect();
        self.blocks.fetch(&cids, &soon)
    }
}

/// The part of `bytes`, which start at `start`, that lies in `range`.
fn cut(bytes: Bytes, start: u64, range: &Range<u64>) -> Option<Bytes> {
    let end = start.saturating_add(bytes.len() as u64);
    let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
    if from >= to {
        return None;
    }
    let offset = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
    Some(bytes.slice(offset(from)..offset(to)))
}
