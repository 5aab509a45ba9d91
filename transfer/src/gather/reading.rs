//! One range, or all pieces, being gathered: whom to ask, when to ask others too, when it is enough.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Fetched, Gather, GatherError, SegmentSource,
    slices::{Slice, Slices},
};

pub(super) struct Reading<'a> {
    gather: &'a Gather,
    segment: &'a Arc<SegmentSource>,
    slices: Slices,
    /// Sources that were asked and have not answered, with the time of asking.
    under_way: BTreeMap<(usize, bool), Instant>,
    /// Positions of sources not yet asked for all the columns, best last.
    unasked: Vec<usize>,
    /// Whether some of what is wanted must be rebuilt: then all columns of `needed` pieces are asked for.
    degraded: bool,
    /// An answer that takes longer lags.
    hedge_after: Duration,
}

impl<'a> Reading<'a> {
    /// Reads a range of the segment, which lies inside it and is not empty.
    pub(super) fn of_range(gather: &'a Gather, segment: &'a Arc<SegmentSource>, hull: Range<u64>) -> Self {
        let layout = segment.scheme.layout(segment.segment_len);
        let wanted = (0..segment.scheme.needed())
            .filter_map(|piece| layout.piece_range(piece, hull.clone()).map(|range| (piece, range)));
        Self::new(gather, segment, layout.columns(hull.clone()), wanted.collect())
    }

    /// Reads `needed` whole pieces, no matter which.
    pub(super) fn of_pieces(gather: &'a Gather, segment: &'a Arc<SegmentSource>) -> Self {
        let columns = 0..segment.scheme.layout(segment.segment_len).piece_len();
        Self { degraded: true, ..Self::new(gather, segment, columns, Vec::new()) }
    }

    fn new(
        gather: &'a Gather,
        segment: &'a Arc<SegmentSource>,
        columns: Range<u64>,
        wanted: Vec<(u8, Range<u64>)>,
    ) -> Self {
        let scheme = segment.scheme;
        // An index that the coding does not have can only be wrong metadata.
        let known = |at: &usize| segment.pieces[*at].index < scheme.total();
        let mut unasked: Vec<usize> = (0..segment.pieces.len()).filter(known).collect();
        unasked.sort_by_cached_key(|at| {
            let source = &segment.pieces[*at];
            let (pushed_back, latency) = gather.peers.rank(source.order.node);
            // Data pieces first among equals: they need no decoding.
            Reverse((pushed_back, source.index >= scheme.needed(), latency))
        });
        let usual = gather.peers.typical_latency().unwrap_or_default();
        let hedge_after = gather.config.hedge_after.max(usual * 3);
        let slices = Slices { segment: segment.id, scheme, columns, wanted, have: BTreeMap::new() };
        Self { gather, segment, slices, under_way: BTreeMap::new(), unasked, degraded: false, hedge_after }
    }

    /// Goes on until the slices suffice.
    pub(super) async fn run(mut self) -> Result<Slices, GatherError> {
        let mut running = FuturesUnordered::new();
        for (at, range) in self.first_to_ask() {
            running.push(self.ask(at, range));
        }
        while !self.slices.suffice() {
            for at in self.next_to_ask() {
                running.push(self.ask(at, self.slices.columns.clone()));
            }
            let lag = self.next_lag();
            tokio::select! {
                fetched = running.next() => match fetched {
                    Some(fetched) => self.arrived(fetched),
                    None if self.degraded => return Err(self.too_few()),
                    None => self.degraded = true,
                },
                () = tokio::time::sleep_until(lag.unwrap_or_else(Instant::now)), if lag.is_some() => {
                    self.degraded = true;
                    metrics::counter!("pinstripe_gather_hedges_total").increment(1);
                }
            }
        }
        self.push_back_laggards();
        Ok(self.slices)
    }

    /// The sources of what is wanted.
    fn first_to_ask(&mut self) -> Vec<(usize, Range<u64>)> {
        let peers = &self.gather.peers;
        let is_pushed_back = |at: usize| peers.is_pushed_back(self.segment.pieces[at].order.node);
        let good = self.unasked.iter().filter(|at| !is_pushed_back(**at)).count();
        // A node that just failed is not worth waiting for when others can stand in.
        let choosy = good >= usize::from(self.slices.scheme.needed());
        let mut first = Vec::new();
        for (piece, range) in &self.slices.wanted {
            let mut sources = self.unasked.iter().filter(|at| self.segment.pieces[**at].index == *piece);
            match sources.next_back().filter(|at| !choosy || !is_pushed_back(**at)) {
                Some(at) => first.push((*at, range.clone())),
                None => self.degraded = true,
            }
        }
        first
    }

    /// Sources to ask for the columns now, so that enough are under way. Those that lag do not count.
    fn next_to_ask(&mut self) -> Vec<usize> {
        let mut asked = Vec::new();
        if !self.degraded {
            return asked;
        }
        let in_time = |asked: &Instant| asked.elapsed() < self.hedge_after;
        let rebuilding = self.under_way.iter().filter(|((_, all), asked)| *all && in_time(asked)).count();
        let goal = usize::from(self.slices.scheme.needed());
        while self.slices.complete() + rebuilding + asked.len() < goal {
            // Who has not yet given what little was asked of it is not asked for more while others are left.
            let idle = self.unasked.iter().rposition(|at| !self.under_way.contains_key(&(*at, false)));
            let Some(position) = idle.or(self.unasked.len().checked_sub(1)) else { break };
            asked.push(self.unasked.remove(position));
        }
        asked
    }

    /// When the next source that was asked begins to lag.
    fn next_lag(&self) -> Option<Instant> {
        let now = Instant::now();
        self.under_way.values().map(|asked| *asked + self.hedge_after).filter(|lag| *lag > now).min()
    }

    fn ask(&mut self, at: usize, range: Range<u64>) -> impl Future<Output = Fetched> + use<'a> {
        let all_columns = range == self.slices.columns;
        if all_columns {
            self.unasked.retain(|other| *other != at);
        }
        self.under_way.insert((at, all_columns), Instant::now());
        let (gather, segment) = (self.gather, self.segment.clone());
        gather.fetch(segment, at, range)
    }

    fn arrived(&mut self, fetched: Fetched) {
        let Fetched { at, range, bytes } = fetched;
        self.under_way.remove(&(at, range == self.slices.columns));
        match bytes {
            None => self.degraded = true,
            Some(bytes) => self.slices.keep(self.segment.pieces[at].index, Slice { range, bytes }),
        }
    }

    /// The next reader shall not wait for those that this one did not wait for.
    fn push_back_laggards(&self) {
        for ((at, _), _) in self.under_way.iter().filter(|(_, asked)| asked.elapsed() >= self.hedge_after) {
            self.gather.peers.failed(self.segment.pieces[*at].order.node);
        }
    }

    fn too_few(&self) -> GatherError {
        GatherError::TooFewPieces {
            segment: self.segment.id,
            found: self.slices.complete(),
            needed: usize::from(self.slices.scheme.needed()),
        }
    }
}
