//! The only HTTP clients of the project: typed calls to nodes and gateways over one [`Transport`].

mod body;
mod gateway;
mod node;
mod transport;

pub use body::Chunks;
pub use gateway::GatewayClient;
pub use node::{NodeClient, PieceOrder};
pub use transport::{Answer, CallError, Network, SendError, Timeouts, Transport};
