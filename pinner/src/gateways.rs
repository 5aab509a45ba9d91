//! Asking gateways: one after another until one can answer, starting with the one that answered last.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use client::{CallError, GatewayClient, SendError, Transport};
use ed25519_dalek::SigningKey;
use service::clock::Clock;

/// The gateways of the configuration, and the key that this node's calls are signed with.
#[derive(Clone, Debug)]
pub(crate) struct Gateways {
    clients: Arc<[GatewayClient]>,
    /// Position of the one that answered last.
    answered: Arc<AtomicUsize>,
    key: Arc<SigningKey>,
}

impl Gateways {
    pub(crate) fn new(urls: &[String], transport: &Transport, clock: &Clock, key: Arc<SigningKey>) -> Self {
        let clients =
            urls.iter().map(|url| GatewayClient::new(transport.clone(), url, clock.clone())).collect();
        Self { clients, answered: Arc::default(), key }
    }

    /// What the first gateway that is able to answers. A refusal is an answer: another gateway of the same network would
    /// refuse too.
    pub(crate) async fn ask<T, F>(
        &self,
        question: impl Fn(GatewayClient, Arc<SigningKey>) -> F + Send,
    ) -> Result<T, CallError>
    where
        T: Send,
        F: Future<Output = Result<T, CallError>> + Send,
    {
        let first = self.answered.load(Ordering::Relaxed);
        let mut failure = CallError::Send(SendError::Connect("no gateway is configured".into()));
        for turn in 0..self.clients.len() {
            let at = (first + turn) % self.clients.len();
            let gateway = self.clients[at].clone();
            let url = gateway.url().to_string();
            match question(gateway, self.key.clone()).await {
                Err(error) if is_unable(&error) => {
                    tracing::debug!(gateway = url, %error, "gateway did not answer");
                    failure = error;
                }
                answer => {
                    self.answered.store(at, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(failure)
    }
}

/// Whether it is worth asking somebody else, or the same gateway later: no answer, an unusable one, or "not now".
pub(crate) fn is_unable(error: &CallError) -> bool {
    match error {
        CallError::Send(_) | CallError::BadAnswer(_) => true,
        CallError::Refused { status, .. } => status.is_server_error() || status.as_u16() == 429,
    }
}
