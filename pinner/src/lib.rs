//! The storage node: it keeps pieces, proves that it has them, gives them to whoever holds a valid order, and serves
//! content to readers.
//!
//! [`run`](run::run) is the whole life of the process; [`Pinner`] is the same node made of parts that come in from
//! outside (store, transport, clock, randomness), so that many of them run in one process. Nothing here decides where
//! pieces go or who gets paid: that is settled by orders and tickets, which the network signs and this node checks.

pub mod piece_store;

pub mod config;
pub mod directory;
pub mod enrol;
pub mod heartbeat;
pub mod identity;
pub mod redeem;
pub mod run;
pub mod scrub;
pub mod usage;

mod accept;
mod challenge;
mod collect;
mod disk;
mod gateways;
mod load;
mod locate;
mod node;
mod orders;
mod routes;
mod serve;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use node::{Parts, Pinner};
pub use run::{file_problems, run};
