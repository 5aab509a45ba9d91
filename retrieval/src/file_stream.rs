//! Streaming a byte range of a file: walks the DAG in order, fetches a window ahead, yields verified bytes.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use content::{
    Block,
    unixfs::walk::{Child, FileNode, file, kind},
};
use futures_util::stream::{self, Stream};

use crate::{
    blocks::{Blocks, Held},
    error::ReadError,
};

/// Depth of a file's DAG, at most. 1024 links a node reach 2^60 leaves at depth 6.
const DEPTH_MAX: usize = 64;

/// The bytes of `range` of the file whose root is `block`, in order. It ends early only with an error.
pub fn stream_file(
    blocks: Blocks,
    block: Block,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
    let walk = Walk { blocks, range, todo: VecDeque::new(), ahead: None, window: 1 };
    let first = Todo { depth: 0, start: 0, what: What::Block(block) };
    stream::try_unfold((walk, Some(first)), |(mut walk, first)| async move {
        if let Some(first) = first {
            walk.todo.push_back(first);
        }
        Ok(walk.next().await?.map(|bytes| (bytes, (walk, None))))
    })
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
    /// Bytes of an interior node.
    Inline(Bytes),
}

struct Walk {
    blocks: Blocks,
    /// What is wanted of the file.
    range: Range<u64>,
    /// In order of the file.
    todo: VecDeque<Todo>,
    /// Blocks being fetched ahead.
    ahead: Option<tokio::task::JoinHandle<Result<Vec<Held>, ReadError>>>,
    /// How many mebibytes to fetch at once: little for a quick first byte, then more with every window.
    window: u64,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
    }
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while let Some(todo) = self.todo.pop_front() {
            match todo.what {
                What::Inline(bytes) => {
                    if let Some(bytes) = cut(bytes, todo.start, &self.range) {
                        return Ok(Some(bytes));
                    }
                }
                What::Block(block) => self.expand(&block, todo.start, todo.depth)?,
                What::Child(child) => {
                    let block = self.fetch(&child).await?;
                    child.check(&kind(&block)?)?;
                    self.expand(&block, todo.start, todo.depth)?;
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
        for child in node.overlapping(&local).iter().rev() {
            let start = start.saturating_add(child.range.start);
            self.todo.push_front(Todo { depth: depth + 1, start, what: What::Child(child.clone()) });
        }
        if !node.inline.is_empty() {
            self.todo.push_front(Todo { depth, start, what: What::Inline(node.inline) });
        }
        Ok(())
    }

    /// The block of a child: what was fetched ahead is waited for, then the next window is started.
    async fn fetch(&mut self, child: &Child) -> Result<Block, ReadError> {
        if let Some(block) = self.blocks.at_hand(&child.cid) {
            return Ok(block);
        }
        if let Some(ahead) = self.ahead.take() {
            // Its error will be met again, and told, when its block is asked for by itself.
            if let Ok(Ok(held)) = ahead.await
                && let Some(found) = held.iter().find(|held| held.block.cid == child.cid)
            {
                let block = found.block.clone();
                self.fetch_ahead(&held);
                return Ok(block);
            }
        }
        self.start_ahead(Some(child), &[]);
        if let Some(ahead) = self.ahead.take()
            && let Ok(Ok(held)) = ahead.await
            && let Some(found) = held.iter().find(|held| held.block.cid == child.cid)
        {
            let block = found.block.clone();
            self.fetch_ahead(&held);
            return Ok(block);
        }
        Ok(self.blocks.get(&child.cid).await?.block)
    }

    fn fetch_ahead(&mut self, held: &[Held]) {
        self.window = (self.window * 2).min((self.blocks.config().window_bytes >> 20).max(1));
        self.start_ahead(None, held);
    }

    /// Starts fetching the next window of children that are not at hand or `held`.
    fn start_ahead(&mut self, first: Option<&Child>, held: &[Held]) {
        let window_bytes = self.window << 20;
        let mut cids = Vec::new();
        let mut bytes = 0;
        let next = self.todo.iter().filter_map(|todo| match &todo.what {
            What::Child(child) => Some(child),
            _ => None,
        });
        for child in first.into_iter().chain(next) {
            if held.iter().any(|held| held.block.cid == child.cid) {
                continue;
            }
            bytes += child.range.end - child.range.start;
            if !cids.is_empty() && bytes > window_bytes {
                break;
            }
            if self.blocks.at_hand(&child.cid).is_none() {
                cids.push(child.cid.clone());
            }
        }
        if cids.is_empty() {
            return;
        }
        let blocks = self.blocks.clone();
        self.ahead = Some(tokio::spawn(async move { blocks.prefetch(&cids).await }));
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
