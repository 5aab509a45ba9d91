//! Taking everything under a root from one CAR, as far as that goes. Of what is in it only blocks that the DAG asks for are
//! taken; where that ends, the rest is fetched block by block.

use content::{
    Block,
    car::{CarDecoder, frame_len},
    dag_index::Presence,
};
use tokio::time::{Instant, timeout};

use crate::{
    error::FetchError,
    flow::{Run, is_verifiable, verified},
    outbound::Answer,
    problem::{Problem, Stage},
    sink::Sink,
};

impl<S: Sink> Run<'_, S> {
    /// Takes what is missing from a CAR of the first source that gives a new block in one. No second CAR is begun then: it
    /// would have everything again.
    pub(crate) async fn car(&mut self) -> Result<(), FetchError<S::Error>> {
        let (outbound, before) = (&self.fetcher.outbound, self.index.blocks());
        for at in self.sources.order() {
            let source = &self.sources.all[at];
            let problem = match outbound.get(source.car_url(self.cid), "application/vnd.ipld.car").await {
                Ok(answer) => self.read_car(answer).await?,
                Err(problem) => Some(problem),
            };
            // To have no CARs is no failure: blocks are what each must give.
            if problem.as_ref().is_none_or(|problem| problem.is_bad() || problem.may_pass()) {
                source.note(problem.as_ref());
            }
            tracing::debug!(source = source.name, error = ?problem, blocks = self.index.blocks(), "car read");
            if self.index.blocks() > before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads a CAR until the DAG is complete, or something is wrong with it.
    async fn read_car(&mut self, mut answer: Answer) -> Result<Option<Problem>, FetchError<S::Error>> {
        let limit = self.fetcher.config.block_timeout;
        let mut decoder = CarDecoder::new();
        let (mut repeated, mut since) = (0, Instant::now());
        loop {
            loop {
                let block = match decoder.next_block() {
                    Ok(Some(block)) => block,
                    Ok(None) => break,
                    Err(_) => return Ok(Some(Problem::BadCar)),
                };
                match self.car_block(block, &mut repeated).await? {
                    Ok(false) => {}
                    // Time that the sink took is not the source's.
                    Ok(true) => since = Instant::now(),
                    Err(problem) => return Ok(Some(problem)),
                }
                if self.is_complete() {
                    return Ok(None);
                }
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(Some(Problem::Late(Stage::Block, limit)));
            }
            match timeout(left, answer.next()).await {
                Ok(Ok(Some(bytes))) => decoder.push(bytes),
                Ok(Ok(None)) => return Ok(Some(Problem::BadCar)),
                Ok(Err(problem)) => return Ok(Some(problem)),
                Err(_) => return Ok(Some(Problem::Late(Stage::Block, limit))),
            }
        }
    }

    /// Takes a block out of a CAR if it is missing, and says whether it was. `repeated` counts the bytes of those that
    /// were not.
    async fn car_block(
        &mut self,
        block: Block,
        repeated: &mut u64,
    ) -> Result<Result<bool, Problem>, FetchError<S::Error>> {
        // Parents come before their children, so what is unknown here belongs to some other DAG.
        match self.index.presence(&block.cid) {
            Presence::Unknown if !block.cid.is_identity() => return Ok(Err(Problem::BadCar)),
            Presence::Unknown | Presence::Here => {
                *repeated += frame_len(&block.cid, block.bytes.len()) as u64;
                let is_too_much = *repeated > self.fetcher.config.repeats_bytes_max;
                return Ok(if is_too_much { Err(Problem::BadCar) } else { Ok(false) });
            }
            Presence::Missing => {}
        }
        if !is_verifiable(&block.cid) {
            return Err(FetchError::Unverifiable(block.cid));
        }
        match verified(block.cid, block.bytes).await {
            Ok(block) => self.take(block).await.map(|()| Ok(true)),
            Err(problem) => Ok(Err(problem)),
        }
    }
}
