//! Fetching content that this network does not hold from HTTP gateways of others: a root CID and where it may be go in,
//! the blocks of its DAG go to a [`Sink`], or a reason comes back in a stated time.
//!
//! Nobody is believed: a block is its hash, only blocks that the DAG asks for are taken, and only addresses of the public
//! internet are asked ([`policy`]). It keeps nothing of its own, neither blocks nor queues, and sends no credentials.

mod blocks;
mod car;
mod config;
mod error;
mod flow;
mod origin;
mod outbound;
pub mod policy;
mod problem;
mod sink;
mod source;

pub use config::FetchConfig;
pub use error::{FetchError, MESSAGE_MAX};
pub use flow::{Fetched, Fetcher, FetcherError};
pub use origin::base_url;
pub use outbound::Resolver;
pub use problem::{Problem, Stage};
pub use sink::Sink;

#[cfg(test)]
mod tests;
