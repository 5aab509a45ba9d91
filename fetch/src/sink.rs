//! Where fetched blocks go, and what is there already. Implemented by whoever stores them.

use bytes::Bytes;
use content::{Block, Cid};

/// Takes the blocks of one DAG.
///
/// Each call is waited for before anything else is read, so that a sink that is slow slows the sources down. A call may be
/// dropped unfinished when the time for the fetch is over; none follows it then.
pub trait Sink: Send {
    /// Why it cannot go on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// For each of the CIDs the length of its block, if that is held already and need not be fetched.
    fn holds(&mut self, cids: &[Cid]) -> impl Future<Output = Result<Vec<Option<u32>>, Self::Error>> + Send;

    /// A block that it holds and that may have links. `None` when it cannot be read now: then it is fetched.
    fn read(&mut self, cid: &Cid) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;

    /// Takes a block that was checked against its CID: each at most once, and none that its CID carries. It may be one
    /// that is held, for a CAR has them all.
    fn put(&mut self, block: Block) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
