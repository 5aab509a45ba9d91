//! The sources of one fetch, and how they did so far: who is asked first, and who is not asked any more.

use std::sync::atomic::{AtomicU32, Ordering};

use content::Cid;
use parking_lot::Mutex;
use url::Url;

use crate::{
    origin::base_url,
    policy::{OutboundPolicy, Refusal},
    problem::Problem,
};

/// Longest name of a source in a message, in characters.
const NAME_MAX: usize = 40;

/// Somebody who may have the blocks.
#[derive(Debug)]
pub(crate) struct Source {
    /// For users: the host that they named, or that it is one of ours.
    pub(crate) name: String,
    base: Url,
    /// Requests in a row that failed, but for those below.
    failures: AtomicU32,
    /// Requests in a row for what it does not have.
    misses: AtomicU32,
    /// Why it is not asked any more.
    out: Mutex<Option<Problem>>,
}

impl Source {
    fn new(name: String, base: Url) -> Self {
        let name = name.chars().take(NAME_MAX).collect();
        let (failures, misses) = (AtomicU32::default(), AtomicU32::default());
        Self { name, base, failures, misses, out: Mutex::default() }
    }

    /// Where it has a block, as it is.
    pub(crate) fn block_url(&self, cid: &Cid) -> Url {
        self.url(cid, "format=raw")
    }

    /// Where it has everything under a CID.
    pub(crate) fn car_url(&self, cid: &Cid) -> Url {
        self.url(cid, "format=car&dag-scope=all&car-order=dfs&car-dups=n")
    }

    fn url(&self, cid: &Cid, query: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["ipfs", &cid.to_string()]);
        }
        url.set_query(Some(query));
        url
    }

    /// Notes what a request came to.
    pub(crate) fn note(&self, problem: Option<&Problem>) {
        match problem {
            None => {
                self.failures.store(0, Ordering::Relaxed);
                self.misses.store(0, Ordering::Relaxed);
            }
            Some(Problem::NotFound) => drop(self.misses.fetch_add(1, Ordering::Relaxed)),
            Some(problem) if problem.is_bad() => *self.out.lock() = Some(problem.clone()),
            Some(_) => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Why it is not asked any more; `None` when it is.
    pub(crate) fn out(&self) -> Option<Problem> {
        self.out.lock().clone()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) all: Vec<Source>,
    /// Origins that no HTTP request can be made to.
    pub(crate) unusable: usize,
}

impl Sources {
    /// The origins of a request, whoever named them having reason to, before the gateways that are asked for everything.
    pub(crate) fn new(
        origins: &[String],
        origins_max: usize,
        gateways: &[Url],
        policy: &OutboundPolicy,
    ) -> Self {
        let mut sources = Self { all: Vec::new(), unusable: 0 };
        for origin in origins.iter().take(origins_max) {
            match base_url(origin) {
                Some(base) => {
                    let name = base.host_str().unwrap_or_default().to_owned();
                    sources.add(name, base, policy);
                }
                None => sources.unusable += 1,
            }
        }
        for base in gateways {
            sources.add("our gateway".into(), base.clone(), policy);
        }
        sources
    }

    fn add(&mut self, name: String, base: Url, policy: &OutboundPolicy) {
        if self.all.iter().any(|source| source.base == base) {
            return;
        }
        let refusal: Option<Refusal> = policy.check_url(&base).err();
        let source = Source::new(name, base);
        if let Some(refusal) = refusal {
            source.note(Some(&Problem::Refused(refusal)));
        }
        self.all.push(source);
    }

    /// Those that may be asked, by their places: first who did not fail lately, then who was not without what it was asked for.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.all.len()).filter(|&at| self.all[at].out().is_none()).collect();
        let standing = |&at: &usize| {
            let source = &self.all[at];
            (source.failures.load(Ordering::Relaxed), source.misses.load(Ordering::Relaxed))
        };
        order.sort_by_cached_key(standing);
        order
    }
}
