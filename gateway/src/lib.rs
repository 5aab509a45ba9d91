//! The gateway: takes uploads, keeps metadata, sends readers to nodes near them or serves them itself.
//!
//! Stateless but for caches: any number of gateways share one database.

mod app;
mod auth;
mod config;
pub mod geoip;
mod grants;
mod intake;
mod locate;
mod nodes;
mod notes;
mod pinning;
mod pins;
mod quota;
mod routes;
mod routing;
#[cfg(test)]
mod tests;
mod tus;
mod upload;

pub use app::{Gateway, Parts, run};
pub use auth::{ALL_SCOPES, MintedKey, mint_key};
pub use config::{Config, LimitsConfig, NodesConfig, ReadMode, ReadsConfig, UploadsConfig};
pub use nodes::ProbeNodes;
pub use pinning::{FetchPins, PinsConfig};
pub use tus::TusConfig;
pub use upload::{PinLogConfig, WritePinLog};
