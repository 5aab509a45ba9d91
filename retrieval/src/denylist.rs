//! What must not be served: rules in the compact denylist format of IPIP-0383, from files that may change while we run.
//!
//! Whoever gives content out asks here first, whether it is cached or not. It says what the rules say and nothing else: it
//! never fetches anything, deletes nothing, and knows no requests. Lines are read in `denylist/line.rs`, and matched in
//! `denylist/rules.rs`.

mod config;
mod file;
mod header;
mod line;
mod reload;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use content::Cid;
use service::watched_files::WatchedFiles;

use self::rules::Rules;
pub use self::{
    config::DenylistConfig,
    file::FormatError,
    reload::{DenylistError, DenylistReload},
};

/// Says what must not be served. A cheap handle: clones share one list and see its replacement at once. The default one
/// denies nothing.
#[derive(Clone, Debug)]
pub struct Denylist(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: WatchedFiles,
    rules_max: usize,
    /// Readers take a snapshot without waiting. `None` without files: the usual case costs one load.
    current: ArcSwapOption<Rules>,
}

/// How it is said that something is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// 410: somebody decided so.
    #[default]
    #[error("is on a denylist and is not served here")]
    Gone,
    /// 451: the law has it so (RFC 7725).
    #[error("is not served here for legal reasons")]
    Legal,
}

impl Default for Denylist {
    fn default() -> Self {
        Self::over(&DenylistConfig::default())
    }
}

impl Denylist {
    fn over(config: &DenylistConfig) -> Self {
        let files = WatchedFiles::new(config.files.clone(), config.bytes_max);
        Self(Arc::new(Inner { files, rules_max: config.rules_max, current: ArcSwapOption::empty() }))
    }

    /// Whether the block of this name must not be served, whatever path leads to it. Versions and codecs make no difference:
    /// rules name multihashes.
    pub fn denied(&self, cid: &Cid) -> Option<Denial> {
        self.0.current.load().as_ref()?.verdict(cid, "")
    }

    /// Whether what lies under a path (decoded components) below this CID must not be served. Without components it is the
    /// same as [`Denylist::denied`]; with some it says nothing of the CID itself, nor of what the path leads to.
    pub fn denied_path<S: AsRef<str>>(&self, cid: &Cid, path: impl IntoIterator<Item = S>) -> Option<Denial> {
        let current = self.0.current.load();
        let rules = current.as_ref()?;
        let mut joined = String::new();
        for component in path {
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(component.as_ref());
        }
        rules.verdict(cid, &joined)
    }

    /// How many rules are in use. A rule that is repeated counts once.
    pub fn rules(&self) -> usize {
        self.0.current.load().as_ref().map_or(0, |rules| rules.len())
    }
}
