//! What other gateways tell: look again, now. Everything that is looked at here is looked at now and then without being told.

use service::job::{Job, Progress};
use shared::{Listener, Notice};
use tokio_util::sync::CancellationToken;

use crate::app::Gateway;

/// Heeds notices until `stop`.
pub(crate) async fn heed(gateway: Gateway, mut listener: Listener, stop: CancellationToken) {
    loop {
        let notice = tokio::select! {
            () = stop.cancelled() => return,
            notice = listener.next() => notice,
        };
        let Some(notice) = notice else { return };
        tracing::debug!(?notice, "heard");
        match notice {
            Notice::KeyChanged { id } => gateway.keys.forget(&id),
            Notice::DenylistChanged => look_at_denylist(&gateway).await,
            Notice::NodesChanged => look_at_nodes(&gateway).await,
            Notice::Missed => {
                gateway.keys.forget_all();
                look_at_denylist(&gateway).await;
                look_at_nodes(&gateway).await;
            }
        }
    }
}

async fn look_at_denylist(gateway: &Gateway) {
    if let Err(error) = gateway.blocks.denylist().reload().await {
        tracing::error!(%error, "could not look at the denylists");
    }
}

async fn look_at_nodes(gateway: &Gateway) {
    if let Err(error) = gateway.nodes.refresh().await {
        tracing::warn!(error = format!("{error:#}"), "could not read the list of nodes");
    }
}

/// The job that keeps the denylists fresh, and has the others look when it found new ones.
pub struct WatchDenylist(pub(crate) Gateway);

impl Job for WatchDenylist {
    const NAME: &'static str = "denylist_reload";

    async fn step(&self) -> anyhow::Result<Progress> {
        if self.0.blocks.denylist().reload().await? {
            self.0.notices.tell(Notice::DenylistChanged);
        }
        Ok(Progress::Idle)
    }
}
