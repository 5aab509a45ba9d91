//! What tests of several crates need: storage nodes in memory that keep to the node API and can be told to misbehave, and a
//! real Redis server that can be killed and stalled.
//!
//! Only tests depend on this crate. It knows nothing of gateways, databases or content.

mod fake_node;
mod network;
mod redis_server;

pub use fake_node::{FakeNode, Mode};
pub use network::FakeNetwork;
pub use redis_server::RedisServer;
