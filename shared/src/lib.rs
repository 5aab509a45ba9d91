//! What gateways tell each other beside the database, through Redis: rates that hold for all of them together, what one has
//! just found out, and what the others shall forget at once.
//!
//! Nothing here is needed. Every part has its stand-in within the process, and answers by that when there is no Redis, when it
//! is away, too slow, empty or full of nonsense: then each gateway counts, asks and finds out for itself. What must be so
//! (quotas, revocations, who holds what) is in the database and is never decided here.
//!
//! Values carry a keyed hash, so that whoever can write to Redis cannot make a gateway believe things.

mod config;
mod limit;
mod link;
mod memo;
mod notices;
mod seal;
#[cfg(test)]
mod tests;

pub use config::RedisConfig;
pub use limit::SharedLimit;
pub use link::{Link, LinkError};
pub use memo::Memo;
pub use notices::{Listener, Notice, Notices};
