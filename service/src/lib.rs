//! What every process of the network shares: configuration, time and randomness, process life, the one job loop,
//! the HTTP server with its limits and error body, limits of rates, logs, metrics and traces, files that change under it. It knows
//! nothing of pieces or CIDs.

pub mod clock;
pub mod config;
pub mod dice;
pub mod http;
pub mod job;
pub mod lifecycle;
pub mod rate_limit;
pub mod secrets;
pub mod signer;
pub mod telemetry;
pub mod token_bucket;
pub mod traces;
pub mod watched_files;
