//! Replacing the rules while requests are answered: all files are read aside, then swapped in whole.
//!
//! Files that cannot be used never take the place of rules that are in use.

use std::{cell::RefCell, path::Path, sync::Arc};

use service::{
    job::{Job, Progress},
    watched_files::{LoadError, Reload},
};

use super::{
    Denylist,
    config::DenylistConfig,
    file::{self, FormatError, Report},
    rules::RuleList,
};

/// Times that files which are being written are read anew at the start.
const OPEN_TRIES: usize = 10;

/// Why a process cannot start with its denylists.
#[derive(Debug, thiserror::Error)]
pub enum DenylistError {
    /// A file is missing or no denylist.
    #[error("denylist {0}")]
    Load(#[from] LoadError<FormatError>),
    /// A file changed each time while it was read.
    #[error("a denylist is being written all the time")]
    BeingWritten,
}

impl Denylist {
    /// Reads the configured files, blocking meanwhile. Whoever configures a list wants nothing served without it, so a file
    /// that is missing or unusable is an error here.
    pub fn open(config: &DenylistConfig) -> Result<Self, DenylistError> {
        let denylist = Self::over(config);
        for _ in 0..OPEN_TRIES {
            if denylist.reload_if_changed()? != Reload::Postponed {
                return Ok(denylist);
            }
        }
        Err(DenylistError::BeingWritten)
    }

    /// Reads the files if any is another than last time, blocking meanwhile; requests are answered by the old rules until
    /// all new ones are there. On an error they stay: see
    /// [`WatchedFiles::reload`](service::watched_files::WatchedFiles::reload).
    pub fn reload_if_changed(&self) -> Result<Reload, LoadError<FormatError>> {
        let list = RefCell::new(RuleList::default());
        self.0.files.reload(
            |path, bytes| {
                let report = file::parse(&bytes, self.0.rules_max, &mut list.borrow_mut())?;
                tell(path, &report);
                Ok(())
            },
            |_| {
                let rules = list.take().finish();
                metrics::gauge!("pinstripe_denylist_rules").set(rules.len() as f64);
                self.0.current.store(Some(Arc::new(rules)));
            },
        )
    }

    /// Reloads in the background, and tells log and metrics what came of it; whether there are new rules. A refused file is
    /// reported here and is no error, which would be logged at every look.
    pub async fn reload(&self) -> anyhow::Result<bool> {
        let denylist = self.clone();
        Ok(tokio::task::spawn_blocking(move || denylist.reload_and_report()).await?)
    }

    fn reload_and_report(&self) -> bool {
        let outcome = match self.reload_if_changed() {
            Ok(Reload::Unchanged) => return false,
            Ok(Reload::Postponed) => "postponed",
            Ok(Reload::Loaded) => "loaded",
            Err(error) => {
                tracing::error!(%error, "denylists not loaded, the rules before them stay");
                "refused"
            }
        };
        metrics::counter!("pinstripe_denylist_reloads_total", "outcome" => outcome).increment(1);
        outcome == "loaded"
    }
}

fn tell(path: &Path, report: &Report) {
    let Report { rules, not_applied, wrong, first_wrong } = report;
    let path = path.display();
    for (line, fault) in first_wrong {
        tracing::warn!(%path, line, error = fault, "denylist has a line that is passed over");
    }
    tracing::info!(%path, rules, not_applied, wrong, "denylist read");
}

/// The job that keeps the rules fresh; run it every [`DenylistConfig::reload_every`].
#[derive(Debug)]
pub struct DenylistReload(Denylist);

impl DenylistReload {
    /// A job for this list.
    pub fn new(denylist: Denylist) -> Self {
        Self(denylist)
    }
}

impl Job for DenylistReload {
    const NAME: &'static str = "denylist_reload";

    async fn step(&self) -> anyhow::Result<Progress> {
        self.0.reload().await?;
        Ok(Progress::Idle)
    }
}
