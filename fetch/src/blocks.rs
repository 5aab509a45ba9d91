//! Fetching block by block, a few at once, each from the first source that gives it.

use content::{Block, Cid};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

use crate::{
    error::FetchError,
    flow::{Fetcher, Run},
    problem::Problem,
    sink::Sink,
    source::Sources,
};

impl<S: Sink> Run<'_, S> {
    /// Fetches what is missing, at most `count` blocks. The first block that nobody gives ends it.
    pub(crate) async fn blocks(&mut self, mut count: usize) -> Result<(), FetchError<S::Error>> {
        let (fetcher, sources) = (self.fetcher, self.sources);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < fetcher.config.at_once && count > 0 {
                self.refill().await?;
                let Some(cid) = self.queue.pop_front() else { break };
                count -= 1;
                running.push(obtain(fetcher, sources, cid));
            }
            let Some(obtained) = running.next().await else { return Ok(()) };
            match obtained {
                Ok(block) => self.take(block).await?,
                Err((cid, problems)) => return Err(FetchError::of_problems(cid, sources, &problems)),
            }
        }
    }
}

/// What was wrong with each source that was asked for a block.
type Unobtained = (Cid, Vec<(usize, Problem)>);

/// Gets a block from whoever gives it, best sources first, and goes through those again that may yet give it.
async fn obtain(fetcher: &Fetcher, sources: &Sources, cid: Cid) -> Result<Block, Unobtained> {
    let config = &fetcher.config;
    let mut problems: Vec<Option<Problem>> = vec![None; sources.all.len()];
    let mut pause = config.retry_pause;
    for pass in 0..config.passes_max {
        if pass > 0 {
            let asked = problems.iter().flatten().filter_map(Problem::asks_for).max();
            sleep(pause.max(asked.unwrap_or_default()).min(config.retry_pause_max)).await;
            pause = pause.saturating_mul(2);
        }
        for at in sources.order() {
            if problems[at].as_ref().is_some_and(|problem| !problem.may_pass()) {
                continue;
            }
            match fetcher.block_from(&sources.all[at], &cid).await {
                Ok(block) => return Ok(block),
                Err(problem) => problems[at] = Some(problem),
            }
        }
        if !problems.iter().flatten().any(Problem::may_pass) {
            break;
        }
    }
    // Those that were not asked, because they are asked for nothing any more, have their reasons too.
    let of = |(at, problem): (usize, Option<Problem>)| Some((at, problem.or_else(|| sources.all[at].out())?));
    Err((cid, problems.into_iter().enumerate().filter_map(of).collect()))
}
