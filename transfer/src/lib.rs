//! Moving segments between this process and many nodes: coding them into pieces, spreading the pieces, gathering what
//! rebuilds a byte range. Uploads, reads and repairs all go through here; nothing here knows accounts, pins or SQL.

mod code;
mod gather;
mod peers;
mod pool;
mod spread;

pub use code::{CodedPiece, code_segment};
pub use gather::{Gather, GatherConfig, GatherError, PieceSource, SegmentSource};
pub use peers::Peers;
pub use pool::{Pool, PooledBytes};
pub use spread::{Rest, Spread, SpreadConfig, SpreadError, Spreader, Stored, Target};

#[cfg(test)]
mod tests;
