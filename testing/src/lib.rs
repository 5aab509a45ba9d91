//! Storage nodes in memory for tests: they keep to the node API and can be told to misbehave.
//!
//! Only tests depend on this crate. It knows nothing of gateways, databases or content.

mod fake_node;
mod network;

pub use fake_node::{FakeNode, Mode};
pub use network::FakeNetwork;
