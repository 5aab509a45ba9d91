//! Where blocks are: a gateway asks its database, a node asks a gateway.

use std::{future::Future, pin::Pin, sync::Arc};

use content::Cid;
use protocol::time::UnixMillis;
use transfer::SegmentSource;

/// Where a block can be fetched.
#[derive(Clone, Debug)]
pub struct Found {
    /// The block.
    pub cid: Cid,
    /// The segment that holds it.
    pub segment: Arc<SegmentSource>,
    /// Where it starts in the segment.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    /// Until when the orders in `segment` hold.
    pub expires: UnixMillis,
}

/// Nobody could say where blocks are; they may well exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot find out where blocks are: {0}")]
pub struct LocateError(pub String);

/// Answer of a [`Locator`].
pub type LocateFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<Found>, LocateError>> + Send + 'a>>;

/// Knows where blocks are. There are the gateway's, over its database (one for readers, one for what
/// it puts together itself), and the node's, over HTTP to a gateway.
pub trait Locator: Send + Sync + 'static {
    /// Finds blocks; those that nobody stores are missing from the answer. `root` is what they are read below, if that is
    /// known: readers of one root are sent to the same nodes, so that these know best.
    fn locate<'a>(&'a self, cids: &'a [Cid], root: Option<&'a Cid>) -> LocateFuture<'a>;

    /// Blocks could not be read where they were found: whoever remembers places asks anew next time.
    fn forget(&self, cids: &[Cid]) {
        let _ = cids;
    }
}
