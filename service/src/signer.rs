//! The network's key in use: gateways and monitors sign orders and tickets with it.

use std::{sync::Arc, time::Duration};

use ed25519_dalek::{SigningKey, VerifyingKey};
use protocol::{
    ids::{NodeId, Serial},
    order::{Action, Order},
    time::UnixMillis,
};

use crate::{clock::Clock, dice::Dice};

/// Signs in the network's name.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<SigningKey>,
    clock: Clock,
    dice: Dice,
}

impl Signer {
    /// A signer with the network's key.
    pub fn new(key: SigningKey, clock: Clock, dice: Dice) -> Self {
        Self { key: Arc::new(key), clock, dice }
    }

    /// What everybody checks with.
    pub fn public_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The key itself, for other signed messages.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A signed order that ends after `lifetime`.
    pub fn order(&self, node: NodeId, action: Action, bytes_max: u64, lifetime: Duration) -> String {
        let now = self.clock.now();
        self.order_until(node, action, bytes_max, now, now + lifetime)
    }

    /// A signed order with given times.
    pub fn order_until(
        &self,
        node: NodeId,
        action: Action,
        bytes_max: u64,
        issued: UnixMillis,
        expires: UnixMillis,
    ) -> String {
        let serial = Serial(self.dice.bytes());
        Order { node, serial, issued, expires, bytes_max, action }.sign(&self.key)
    }
}
