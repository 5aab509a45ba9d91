//! A fetch from its root to its end: first the root alone, then a CAR of everything under it unless parts are held
//! already, then block by block what is missing. It never asks for what it has, and keeps no block.

use std::collections::VecDeque;

use bytes::Bytes;
use content::{
    Block, Cid,
    cid::VerifyError,
    dag_index::{DagIndex, DagLimits, DagRoot},
};
use service::{config::Validate as _, dice::Dice};
use tokio::time::timeout;
use url::Url;

use crate::{
    config::FetchConfig,
    error::FetchError,
    outbound::{Outbound, Resolver},
    problem::{Problem, Stage},
    sink::Sink,
    source::{Source, Sources},
};

/// Blocks that the sink is asked about at once.
const ASKED_AT_ONCE: usize = 256;

/// From this size on blocks are hashed on a blocking thread, in bytes.
const HASHED_ELSEWHERE: usize = 64 << 10;

/// What was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks that the sink was given.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all distinct blocks of the DAG, those that were held among them.
    pub dag_size_bytes: u64,
    /// Bytes of the file, or of all files of the directory; `None` when the root is no `UnixFS`, or a file says that it is
    /// shorter than its parts.
    pub size_bytes: Option<u64>,
}

/// Why there can be no [`Fetcher`].
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// The configuration is not usable; all problems.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// The HTTP client could not be made.
    #[error("no http client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Fetches DAGs. How many at once is for its users to bound.
#[derive(Debug)]
pub struct Fetcher {
    pub(crate) config: FetchConfig,
    pub(crate) outbound: Outbound,
    gateways: Vec<Url>,
    dice: Dice,
}

impl Fetcher {
    /// A fetcher that finds addresses by `resolver`.
    pub fn new(config: FetchConfig, resolver: Resolver, dice: Dice) -> Result<Self, FetcherError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(FetcherError::Config(problems));
        }
        let gateways = config.gateway_urls();
        let outbound = Outbound::new(&config, resolver)?;
        Ok(Self { config, outbound, gateways, dice })
    }

    /// Fetches everything under `root` that `sink` does not hold, from `origins` (URLs and multiaddrs) and the gateways
    /// of the configuration. When it fails the sink has had some of the blocks.
    pub async fn fetch<S: Sink>(
        &self,
        root: &Cid,
        origins: &[String],
        sink: &mut S,
    ) -> Result<Fetched, FetchError<S::Error>> {
        let config = &self.config;
        let sources = Sources::new(origins, config.origins_max, &self.gateways, self.outbound.policy());
        let mut run = Run::new(self, &sources, sink, root)?;
        let outcome = timeout(config.deadline, run.all()).await;
        outcome.unwrap_or_else(|_| {
            Err(FetchError::Deadline { after: config.deadline, blocks: run.index.blocks() })
        })
    }

    /// Asks one source for one block.
    pub(crate) async fn block_from(&self, source: &Source, cid: &Cid) -> Result<Block, Problem> {
        let limit = self.config.block_timeout;
        let taken = async {
            let answer = self.outbound.get(source.block_url(cid), "application/vnd.ipld.raw").await?;
            let collected = timeout(limit, answer.collect(content::BLOCK_MAX)).await;
            let bytes = collected.map_err(|_| Problem::Late(Stage::Block, limit))??;
            verified(cid.clone(), bytes.ok_or(Problem::WrongBytes)?).await
        };
        let outcome = taken.await;
        source.note(outcome.as_ref().err());
        outcome
    }
}

/// Checks bytes against their name, which is known to be one that they can be checked against.
pub(crate) async fn verified(cid: Cid, bytes: Bytes) -> Result<Block, Problem> {
    if bytes.len() < HASHED_ELSEWHERE {
        return Block::verified(cid, bytes).map_err(|_| Problem::WrongBytes);
    }
    let checked = tokio::task::spawn_blocking(move || Block::verified(cid, bytes)).await;
    checked.expect("hashing does not panic").map_err(|_| Problem::WrongBytes)
}

/// Whether anything can be checked against this name.
pub(crate) fn is_verifiable(cid: &Cid) -> bool {
    !matches!(cid.verify(&[]), Err(VerifyError::UnknownHash { .. } | VerifyError::DigestLength { .. }))
}

/// One fetch on its way.
pub(crate) struct Run<'a, S> {
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) sources: &'a Sources,
    sink: &'a mut S,
    pub(crate) cid: &'a Cid,
    root: DagRoot,
    pub(crate) index: DagIndex,
    /// What is to be fetched next.
    pub(crate) queue: VecDeque<Cid>,
    /// Number of the first name in the index that was neither queued nor found held.
    next: u32,
    blocks: u64,
    bytes: u64,
    /// Blocks that were found held, and their bytes.
    held: u64,
    held_bytes: u64,
}

impl<'a, S: Sink> Run<'a, S> {
    fn new(
        fetcher: &'a Fetcher,
        sources: &'a Sources,
        sink: &'a mut S,
        cid: &'a Cid,
    ) -> Result<Self, FetchError<S::Error>> {
        let FetchConfig { blocks_max, links_max, .. } = fetcher.config;
        let mut index = DagIndex::new(DagLimits { blocks_max, links_max }, fetcher.dice.bytes());
        let root = index.root(cid).map_err(|error| FetchError::of_dag(cid, error))?;
        let (queue, next) = (VecDeque::new(), 0);
        let (blocks, bytes, held, held_bytes) = (0, 0, 0, 0);
        Ok(Self { fetcher, sources, sink, cid, root, index, queue, next, blocks, bytes, held, held_bytes })
    }

    async fn all(&mut self) -> Result<Fetched, FetchError<S::Error>> {
        self.refill().await?;
        if self.index.blocks() == 0 {
            // The root alone tells whether anybody has it, and whether what it links is held.
            self.blocks(1).await?;
            self.refill().await?;
        }
        if self.held == 0 && !self.is_complete() {
            self.car().await?;
            (self.queue, self.next) = (VecDeque::new(), 0);
        }
        self.blocks(usize::MAX).await?;
        Ok(Fetched {
            blocks: self.blocks,
            bytes: self.bytes,
            dag_size_bytes: self.index.dag_size_bytes(self.root),
            size_bytes: self.index.charged_bytes(self.root),
        })
    }

    /// Whether every block that was named has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.index.blocks() == self.index.named()
    }

    /// Goes on through what is missing until there is something to fetch in the queue, or everything was gone through.
    /// What the sink holds is looked into instead.
    pub(crate) async fn refill(&mut self) -> Result<(), FetchError<S::Error>> {
        while self.queue.is_empty() {
            let missing = self.index.missing_from(self.next).take(ASKED_AT_ONCE);
            let (numbers, cids): (Vec<u32>, Vec<Cid>) =
                missing.map(|(number, cid)| (number, cid.clone())).unzip();
            let Some(last) = numbers.last() else { return Ok(()) };
            self.next = last.saturating_add(1);
            let held = self.sink.holds(&cids).await.map_err(FetchError::Sink)?;
            for (at, cid) in cids.into_iter().enumerate() {
                let len = held.get(at).copied().flatten();
                let is_held = match len {
                    Some(len) => self.take_held(&cid, len).await?,
                    None => false,
                };
                if !is_held && !is_verifiable(&cid) {
                    return Err(FetchError::Unverifiable(cid));
                }
                if !is_held {
                    self.queue.push_back(cid);
                }
            }
        }
        Ok(())
    }

    /// Learns of a block that the sink holds what the index must know. False when it must be fetched after all.
    async fn take_held(&mut self, cid: &Cid, len: u32) -> Result<bool, FetchError<S::Error>> {
        let failure = |error| FetchError::of_dag(cid, error);
        let mut len = u64::from(len);
        if cid.codec().may_link() {
            let Some(bytes) = self.sink.read(cid).await.map_err(FetchError::Sink)? else { return Ok(false) };
            let Ok(block) = verified(cid.clone(), bytes).await else { return Ok(false) };
            len = block.bytes.len() as u64;
            self.index.insert(&block).map_err(failure)?;
        } else {
            self.index.insert_leaf(cid, u32::try_from(len).unwrap_or(u32::MAX)).map_err(failure)?;
        }
        self.held += 1;
        self.held_bytes = self.held_bytes.saturating_add(len);
        self.check_limits()?;
        Ok(true)
    }

    /// Takes a verified block that is missing, and hands it on.
    pub(crate) async fn take(&mut self, block: Block) -> Result<(), FetchError<S::Error>> {
        self.index.insert(&block).map_err(|error| FetchError::of_dag(&block.cid, error))?;
        self.blocks += 1;
        self.bytes += block.bytes.len() as u64;
        self.check_limits()?;
        self.sink.put(block).await.map_err(FetchError::Sink)
    }

    /// Gives up as soon as what was named can no longer fit.
    fn check_limits(&self) -> Result<(), FetchError<S::Error>> {
        let FetchConfig { bytes_max, blocks_max, .. } = self.fetcher.config;
        if self.bytes.saturating_add(self.held_bytes) > bytes_max {
            return Err(FetchError::TooLarge(bytes_max));
        }
        if self.index.named() > blocks_max { Err(FetchError::TooManyBlocks(blocks_max)) } else { Ok(()) }
    }
}
