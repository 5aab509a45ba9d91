//! Whole flows over a small network: real jobs, a real database, nodes in memory, a clock that stands still until moved.

mod audits;
mod collecting;
mod outages;
mod pair;
mod repairs;
mod shown;
mod world;
