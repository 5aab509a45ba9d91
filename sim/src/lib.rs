//! The whole network in one process, under a virtual clock, with seeded faults: real gateways, real nodes and real
//! monitors, stepped by hand and joined by a network in memory that can be cut, stalled and made lossy.
//!
//! [`scenario::run`] is a month in the life of such a network; `invariants` says what must hold in it. Nothing else depends
//! on this crate, and nothing here is part of what runs in production.

pub mod clients;
pub mod faults;
pub mod invariants;
pub mod net;
pub mod pace;
mod parts;
pub mod scenario;
pub mod steps;
pub mod trace;
pub mod trouble;
pub mod truth;
pub mod world;

#[cfg(test)]
mod tests;
