//! What all gateways shall know at once: a key was changed, a denylist is a new one. A notice makes them look, and no more: what
//! is so they find out for themselves, and they would without it, a little later.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Client, aio::PubSub};
use serde::{Deserialize, Serialize};
use tokio::{sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::link::Link;

/// Notices that wait for a listener, at most. One that falls behind by more hears [`Notice::Missed`].
const WAITING_MAX: usize = 256;
/// The kind of all notices, in the name of their channel and in metrics.
const KIND: &str = "notices";

/// Something that others remember has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// An API key, such as by its revocation.
    KeyChanged {
        /// Its public half.
        id: String,
    },
    /// Files with denied content.
    DenylistChanged,
    /// The list of nodes.
    NodesChanged,
    /// Anything may have changed: some notices were not heard.
    #[serde(skip)]
    Missed,
}

/// Tells and hears notices; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notices {
    heard: broadcast::Sender<Notice>,
    link: Option<Link>,
}

/// Hears every notice from now on.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Notice>);

impl Listener {
    /// The next notice; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Notices {
    /// Notices of this process, and of all that have a link to the same Redis.
    pub fn new(link: Option<Link>) -> Self {
        Self { heard: broadcast::Sender::new(WAITING_MAX), link }
    }

    /// Hears every notice from now on, those of this process too.
    pub fn listen(&self) -> Listener {
        Listener(self.heard.subscribe())
    }

    /// Tells everybody: this process now, the others in the background.
    pub fn tell(&self, notice: Notice) {
        if let Some(link) = self.link.clone()
            && let Ok(text) = serde_json::to_vec(&notice)
        {
            tokio::spawn(async move {
                let channel = link.name(KIND, "all");
                let mut command = redis::cmd("PUBLISH");
                command.arg(&channel).arg(link.seal().close(&channel, &text));
                let _: Option<()> =
                    link.ask(KIND, async |mut redis| command.query_async(&mut redis).await).await;
            });
        }
        // Nobody may be listening.
        let _ = self.heard.send(notice);
    }

    /// Hears what the others tell, until `stop`. Without a link there is nothing to hear.
    pub async fn hear(self, stop: CancellationToken) {
        let Some(link) = &self.link else { return };
        for server in link.servers().iter().cycle() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.subscribed(link, server) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(link.config().retry_every) => {}
            }
        }
    }

    /// One subscription, as long as it lasts.
    async fn subscribed(&self, link: &Link, server: &Client) {
        let channel = link.name(KIND, "all");
        let config = link.config();
        let subscription = timeout(config.connect_timeout, subscribe(server, &channel)).await;
        let Ok(Ok(subscription)) = subscription else { return };
        // What was told until now was not heard.
        let _ = self.heard.send(Notice::Missed);
        let (mut sink, mut messages) = subscription.split();
        loop {
            match timeout(config.ping_every, messages.next()).await {
                Ok(None) => return,
                Ok(Some(message)) => {
                    if let Some(notice) = read(link, &channel, message.get_payload_bytes()) {
                        let _ = self.heard.send(notice);
                    }
                }
                // It has been quiet: is it still there?
                Err(_) => match timeout(patience(config.call_timeout), sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }
}

/// A subscription that is lost has to be made anew and everything looked at again, so it gets more time than a question.
fn patience(call_timeout: Duration) -> Duration {
    call_timeout * 10
}

async fn subscribe(server: &Client, channel: &str) -> redis::RedisResult<PubSub> {
    let mut subscription = server.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    Ok(subscription)
}

/// A notice that this network told; `None` for others, and for kinds that only newer versions know.
fn read(link: &Link, channel: &str, message: &[u8]) -> Option<Notice> {
    let text = link.seal().open(channel, message)?;
    serde_json::from_slice(text)
        .inspect_err(|error| tracing::debug!(%error, "a notice is not understood"))
        .ok()
}
