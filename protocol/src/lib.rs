//! What all parties of the network must agree on, and nothing else.
//!
//! Pure: no I/O, no clock, no randomness of its own, no async. Time arrives as [`time::UnixMillis`], randomness as a
//! generator that the caller seeds. Gateways, pinners, monitors and the simulation decide with the same functions.
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod ids;
pub mod node_proof;
pub mod order;
pub mod pay;
pub mod piece;
pub mod placement;
pub mod places;
pub mod proof;
pub mod ranking;
pub mod receipt;
pub mod record;
pub mod redundancy;
pub mod region;
pub mod repair;
pub mod reputation;
pub mod rules;
pub mod status;
pub mod ticket;
pub mod time;
pub mod token;
pub mod unpin;
