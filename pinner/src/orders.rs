//! Checking orders and tickets: signed by the network, for this node, for this request, valid now.
//!
//! A signature costs 50 us to check, and a reader fetches many ranges under one order, so genuine orders are remembered.
//! Times are checked on every use all the same.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use content::Cid;
use protocol::{
    api::ORDER_HEADER,
    ids::{NodeId, PieceHash},
    order::{Action, Order, OrderError},
    ticket::{Ticket, TicketError},
};
use service::{clock::Clock, http::error::ApiError};

use crate::{identity::NetworkKey, usage::Leave};

/// Longest order or ticket looked at. The longest order has 263 letters; a ticket for the longest CID 248.
const TOKEN_LEN_MAX: usize = 512;

/// Why a request is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaveError {
    /// No order came with the request.
    #[error("the request needs an order in the {ORDER_HEADER} header")]
    Missing,
    /// No ticket came, and this node serves nothing unpaid.
    #[error("this node serves content under a ticket only: ask a gateway")]
    NoTicket,
    /// This node has not been admitted to a network yet.
    #[error("this node has not been admitted to a network yet")]
    NotEnrolled,
    /// The order does not allow the request.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The ticket does not allow the request.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// More bytes are wanted than are left.
    #[error("order allows {left} more bytes, {wanted} are wanted")]
    Exhausted {
        /// What is left under the order.
        left: u64,
        /// What was asked for.
        wanted: u64,
    },
}

impl From<LeaveError> for ApiError {
    fn from(error: LeaveError) -> Self {
        metrics::counter!("pinstripe_orders_refused_total").increment(1);
        match error {
            LeaveError::Missing => Self::new(StatusCode::UNAUTHORIZED, "order_missing", error),
            LeaveError::NotEnrolled => Self::unavailable("not_enrolled", error, 5),
            LeaveError::NoTicket
            | LeaveError::Order(_)
            | LeaveError::Ticket(_)
            | LeaveError::Exhausted { .. } => Self::new(StatusCode::FORBIDDEN, "order_refused", error),
        }
    }
}

/// Checks the orders of one node.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    node: NodeId,
    network: Arc<NetworkKey>,
    clock: Clock,
    /// Orders with a good signature, by the BLAKE3 hash of the token.
    genuine: moka::sync::Cache<[u8; 32], Order>,
}

impl Orders {
    pub(crate) fn new(node: NodeId, network: Arc<NetworkKey>, clock: Clock, cached_max: u64) -> Self {
        Self { node, network, clock, genuine: moka::sync::Cache::new(cached_max) }
    }

    /// The order that came with a request, if it is good now. What it allows is for the caller to compare.
    fn order<'a>(&self, headers: &'a HeaderMap) -> Result<(Order, &'a str), LeaveError> {
        let token = headers.get(ORDER_HEADER).ok_or(LeaveError::Missing)?;
        let malformed = OrderError::Token(protocol::token::TokenError::Malformed);
        let token = token.to_str().map_err(|_| malformed)?;
        if token.len() > TOKEN_LEN_MAX {
            return Err(malformed.into());
        }
        let name = *blake3::hash(token.as_bytes()).as_bytes();
        let order = if let Some(order) = self.genuine.get(&name) {
            order
        } else {
            let network = self.network.get().ok_or(LeaveError::NotEnrolled)?;
            let order = Order::verify(network, token).map_err(OrderError::Token)?;
            self.genuine.insert(name, order);
            order
        };
        order.check(self.node, self.clock.now())?;
        Ok((order, token))
    }

    /// The order of a request, which must allow exactly what `allows` accepts.
    pub(crate) fn allowing<T>(
        &self,
        headers: &HeaderMap,
        allows: impl FnOnce(&Action) -> Option<T>,
    ) -> Result<(Order, T), LeaveError> {
        let (order, _) = self.order(headers)?;
        let allowed = allows(&order.action).ok_or(OrderError::WrongAction)?;
        Ok((order, allowed))
    }

    /// Leave to read ranges of `hash`, to be counted and paid.
    pub(crate) fn to_get(&self, headers: &HeaderMap, hash: PieceHash) -> Result<Leave, LeaveError> {
        let (order, token) = self.order(headers)?;
        if !matches!(order.action, Action::Get(allowed, _) if allowed == hash) {
            return Err(OrderError::WrongAction.into());
        }
        let Order { serial, issued, expires, bytes_max, .. } = order;
        Ok(Leave { serial, issued, expires, bytes_max, token: token.into() })
    }

    /// Leave to read what is under `cid`, from the ticket in a URL.
    pub(crate) fn ticket(&self, token: &str, cid: &Cid) -> Result<Leave, LeaveError> {
        let network = self.network.get().ok_or(LeaveError::NotEnrolled)?;
        if token.len() > TOKEN_LEN_MAX {
            return Err(TicketError::Token(protocol::token::TokenError::Malformed).into());
        }
        let ticket = Ticket::verify(network, self.node, token).map_err(TicketError::Token)?;
        ticket.check(cid.as_bytes(), self.clock.now())?;
        let Ticket { serial, issued, expires, bytes_max, .. } = ticket;
        Ok(Leave { serial, issued, expires, bytes_max, token: token.into() })
    }
}
