//! Reads a CAR of either version while its bytes arrive: push what came, take blocks until there are none.
//!
//! It holds at most the section that is incomplete and what was pushed last. Blocks come as the CAR has them: nothing is
//! hashed here, so that the caller can do that elsewhere ([`Cid::verify`]). The index of version 2 is never read: it
//! says nothing that the blocks do not say. A section of length zero is refused, for the specification of version 1
//! knows no padding between sections.

use bytes::{Bytes, BytesMut};

use super::{CarError, Decoded, decode_frame_prefix, decode_header, v2};
use crate::block::Block;
use crate::cid::{CID_BYTES_MAX, Cid};

/// Most bytes before those of a block: a length of four bytes and a CID.
const FRAME_PREFIX_MAX: usize = 4 + CID_BYTES_MAX;

/// Reads a CAR from its pieces.
#[derive(Debug, Default)]
pub struct CarDecoder {
    input: Input,
    expects: Expects,
    roots: Option<Vec<Cid>>,
    /// Where the data ends, when the CAR says so: in version 2.
    data_end: Option<u64>,
    /// Where the index of version 2 begins, if it has one.
    index_at: Option<u64>,
}

/// What stands next in the CAR.
#[derive(Debug, Default)]
enum Expects {
    /// The header of version 1, or what version 2 begins with.
    #[default]
    Start,
    /// The 40 bytes behind that.
    V2Header,
    /// Padding up to the data of version 2, which begins at this offset.
    Padding(u64),
    /// The header of the data of version 2.
    V1Header,
    /// A section or the end.
    Sections,
    /// Nothing that is of interest.
    Rest,
    /// Something else than what stood there. Where the next section begins is unknown.
    Broken(CarError),
}

impl CarDecoder {
    /// A CAR of which nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the CAR. Whoever pushes only when [`CarDecoder::next_block`] gave none keeps no more
    /// than a section in memory.
    pub fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// The next block, unverified. `None` when it is not all there, or when there is none: that is for
    /// [`CarDecoder::finish`] to say. After an error there is only that error. A block that lay whole within one
    /// pushed piece shares its memory.
    pub fn next_block(&mut self) -> Result<Option<Block>, CarError> {
        loop {
            match self.step() {
                Ok(Step::On) => {}
                Ok(Step::Block(block)) => return Ok(Some(block)),
                Ok(Step::More) => return Ok(None),
                Err(error) => {
                    self.expects = Expects::Broken(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// The roots the header names, as soon as [`CarDecoder::next_block`] has met it. They need not be among the
    /// blocks, and there may be none.
    #[must_use]
    pub fn roots(&self) -> Option<&[Cid]> {
        self.roots.as_deref()
    }

    /// Says whether the CAR may end here, when nothing more will come and [`CarDecoder::next_block`] gave none. A CAR of
    /// version 1 may end behind any section: whether blocks are missing only their links can tell.
    pub fn finish(&self) -> Result<(), CarError> {
        let seen = self.input.offset + self.input.len();
        let truncated = CarError::Truncated(seen);
        match &self.expects {
            Expects::Broken(error) => Err(error.clone()),
            // Of the index only the beginning is known.
            Expects::Rest if self.index_at.is_none_or(|at| at < seen) => Ok(()),
            Expects::Sections if self.data_end.is_none() && self.input.len() == 0 => Ok(()),
            _ => Err(truncated),
        }
    }

    fn step(&mut self) -> Result<Step, CarError> {
        match &self.expects {
            Expects::Start => self.start(),
            Expects::V2Header => self.v2_header(),
            &Expects::Padding(until) => Ok(self.padding(until)),
            Expects::V1Header => self.v1_header(),
            Expects::Sections => self.section(),
            Expects::Rest => {
                self.input.skip(u64::MAX);
                Ok(Step::More)
            }
            Expects::Broken(error) => Err(error.clone()),
        }
    }

    fn start(&mut self) -> Result<Step, CarError> {
        // No header of version 1 is as short as the pragma.
        if !self.input.fill(v2::PRAGMA.len()) {
            return Ok(Step::More);
        }
        if self.input.front().starts_with(&v2::PRAGMA) {
            self.input.take(v2::PRAGMA.len());
            self.expects = Expects::V2Header;
            return Ok(Step::On);
        }
        self.v1_header()
    }

    fn v2_header(&mut self) -> Result<Step, CarError> {
        if !self.input.fill(v2::HEADER_LEN) {
            return Ok(Step::More);
        }
        let header = v2::decode(&self.input.take(v2::HEADER_LEN))?;
        self.data_end = Some(header.data_end);
        self.index_at = header.index_at;
        self.expects = Expects::Padding(header.data_at);
        Ok(Step::On)
    }

    fn padding(&mut self, until: u64) -> Step {
        self.input.skip(until - self.input.offset);
        if self.input.offset < until {
            return Step::More;
        }
        self.expects = Expects::V1Header;
        Step::On
    }

    fn v1_header(&mut self) -> Result<Step, CarError> {
        match decode_header(self.input.front())? {
            Decoded::Whole(roots, len) => {
                self.within_data(len)?;
                self.input.take(len);
                self.roots = Some(roots);
                self.expects = Expects::Sections;
                Ok(Step::On)
            }
            Decoded::Needs(len) => self.wait_for(len),
        }
    }

    fn section(&mut self) -> Result<Step, CarError> {
        if self.data_end == Some(self.input.offset) {
            self.expects = Expects::Rest;
            return Ok(Step::On);
        }
        if self.input.len() == 0 {
            return Ok(Step::More);
        }
        // As much as is there: what is wrong with a section is known before all of it has come.
        self.input.fill(FRAME_PREFIX_MAX);
        match decode_frame_prefix(self.input.front(), self.input.offset)? {
            Decoded::Needs(len) => self.wait_for(len),
            Decoded::Whole(frame, prefix) => {
                let whole = prefix + frame.len;
                self.within_data(whole)?;
                if !self.input.fill(whole) {
                    return Ok(Step::More);
                }
                self.input.take(prefix);
                Ok(Step::Block(Block { cid: frame.cid, bytes: self.input.take(frame.len) }))
            }
        }
    }

    /// Goes on once `len` bytes are there.
    fn wait_for(&mut self, len: usize) -> Result<Step, CarError> {
        self.within_data(len)?;
        Ok(if self.input.fill(len) { Step::On } else { Step::More })
    }

    /// Checks that what takes `len` bytes from here ends within the data that version 2 states.
    fn within_data(&self, len: usize) -> Result<(), CarError> {
        let offset = self.input.offset;
        match self.data_end {
            Some(end) if offset.saturating_add(len as u64) > end => Err(CarError::Overrun { offset, end }),
            _ => Ok(()),
        }
    }
}

enum Step {
    /// Something was read.
    On,
    /// A block was.
    Block(Block),
    /// More bytes are needed.
    More,
}

/// Bytes that came and were not used yet.
#[derive(Debug, Default)]
struct Input {
    /// What must be joined with what follows.
    held: BytesMut,
    /// What follows it.
    last: Bytes,
    /// Offset of the first of them in the CAR.
    offset: u64,
}

impl Input {
    fn push(&mut self, bytes: Bytes) {
        let before = std::mem::replace(&mut self.last, bytes);
        self.held.extend_from_slice(&before);
    }

    fn len(&self) -> u64 {
        (self.held.len() + self.last.len()) as u64
    }

    /// The bytes at the front as far as they are in one piece: all that the last [`Input::fill`] was asked for.
    fn front(&self) -> &[u8] {
        if self.held.is_empty() { &self.last } else { &self.held }
    }

    /// Brings `len` bytes into one piece, and says whether they are there.
    fn fill(&mut self, len: usize) -> bool {
        if !self.held.is_empty() && self.held.len() < len {
            let more = self.last.len().min(len - self.held.len());
            self.held.extend_from_slice(&self.last.split_to(more));
        }
        self.front().len() >= len
    }

    /// Takes bytes that [`Input::fill`] has found.
    fn take(&mut self, len: usize) -> Bytes {
        self.offset += len as u64;
        if self.held.is_empty() { self.last.split_to(len) } else { self.held.split_to(len).freeze() }
    }

    /// Drops up to `len` bytes.
    fn skip(&mut self, len: u64) {
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        while left > 0 && self.len() > 0 {
            let there = self.front().len().min(left);
            self.take(there);
            left -= there;
        }
    }
}
