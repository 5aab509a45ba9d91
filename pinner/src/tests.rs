//! A node as its callers see it: real routes over a store in memory, other parties in the same process, a clock that is
//! moved by hand.

mod audits;
mod content;
mod gets;
mod jobs;
mod network;
mod places;
mod puts;
mod world;
