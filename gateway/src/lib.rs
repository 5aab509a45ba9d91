//! The gateway: takes uploads, keeps metadata, sends readers to nodes near them or serves them itself.
//!
//! Stateless but for caches: any number of gateways share one database.

mod app;
mod auth;
mod config;
mod database;
pub mod geoip;
mod grants;
mod heed;
mod intake;
mod live;
mod locate;
mod nodes;
mod notes;
mod pinning;
mod pins;
mod quota;
mod remembered;
mod routes;
mod routing;
mod run;
#[cfg(test)]
mod tests;
mod tus;
mod upload;

pub use app::{Gateway, Parts};
pub use auth::{ALL_SCOPES, MintedKey, mint_key};
pub use config::{Config, DirectoryConfig, LimitsConfig, NodesConfig, ReadMode, ReadsConfig, UploadsConfig};
pub use heed::WatchDenylist;
pub use nodes::ProbeNodes;
pub use pinning::{FetchPins, PinsConfig};
pub use routes::router;
pub use run::{file_problems, run};
pub use tus::TusConfig;
pub use upload::{PinLogConfig, WritePinLog};
