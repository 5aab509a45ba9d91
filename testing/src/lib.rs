//! What tests of several crates need: storage nodes in memory that keep to the node API and can be told to misbehave, a real
//! Redis server that can be killed and stalled, databases of a real PostgreSQL, ways to servers that can be cut, and a
//! collector of traces.
//!
//! Only tests depend on this crate. It knows nothing of gateways, databases or content.

mod collector;
mod fake_node;
mod network;
mod postgres_database;
mod redis_server;
mod tcp_proxy;

#[cfg(test)]
mod tests;

pub use collector::{Collector, SeenSpan};
pub use fake_node::{FakeNode, Mode};
pub use network::FakeNetwork;
pub use postgres_database::PostgresDatabase;
pub use redis_server::RedisServer;
pub use tcp_proxy::TcpProxy;
