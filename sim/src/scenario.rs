//! A month in the life of a network: what is uploaded, read, deleted and broken when follows from the seed alone.

use std::time::Duration;

use protocol::time::UnixMillis;

use crate::{
    clients::{Got, Route},
    faults::{Heal, KINDS, Later},
    pace::{self, DAY},
    steps::Step,
    trouble::Party,
    world::{START, Shape, World},
};

/// After the last fault everything comes to rest: what was deleted last is kept for a day, lists are compared once a day,
/// and what is recorded nowhere is dropped when it is a day old.
const QUIET: Duration = Duration::from_hours(24 * 4);
/// Files uploaded before anything goes wrong.
const FILES_AT_FIRST: usize = 6;
/// Files that are kept at a time, at most.
const FILES_MAX: usize = 26;
/// Upper bounds of the lengths of files.
const LENS: &[usize] = &[1, 200, 3_000, 20_000, 20_000, 120_000, 120_000, 400_000, 1_300_000];
/// Of files that are uploaded at the same time: so short that they are hashed where they arrive, one after another, and
/// not on several threads in an order left to chance.
const LENS_TOGETHER: &[usize] = &[1, 200, 3_000, 16_000];
/// Nodes that must be there and trusted at the end, so that every segment can be whole.
const NODES_AT_LAST: usize = 21;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of the trace.
    pub digest: String,
    /// Its lines.
    pub lines: usize,
    /// Uploads acknowledged and refused, and reads.
    pub uploads: usize,
    /// Uploads that were refused.
    pub refused: usize,
    /// Files that were deleted.
    pub deleted: usize,
    /// Calls over the network.
    pub calls: u64,
}

/// Something to do at a time.
#[derive(Clone, Debug)]
enum Act {
    Upload,
    Burst,
    /// Of what was uploaded before, be it deleted or not, or of something that begins like it.
    Again,
    /// One whose client goes away in the middle.
    HalfUpload,
    /// One whose gateway dies in the middle.
    TornUpload,
    Read,
    Delete,
    Strike,
    Heal(Heal),
}

/// A run under way.
struct Run {
    world: World,
    /// What comes, the latest first.
    agenda: Vec<(UnixMillis, u64, Act)>,
    next: u64,
    /// When it comes to rest.
    end: UnixMillis,
}

/// A runtime for one simulation: one thread for everything that waits and one for everything that blocks, so that what is
/// begun first ends first.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()
}

/// Runs the network of a seed for so many days with faults, and then until it has come to rest.
pub async fn run(seed: u64, days: u64, print: bool) -> anyhow::Result<(Report, Vec<String>)> {
    run_on(seed, days, print, None).await
}

/// The same on an empty database that is there; `None`: a new file.
pub async fn run_on(
    seed: u64,
    days: u64,
    print: bool,
    database: Option<String>,
) -> anyhow::Result<(Report, Vec<String>)> {
    let mut world = World::on(seed, shape(seed), database).await?;
    world.trace.print = print;
    let end = START + DAY * u32::try_from(days)?;
    let mut run = Run { world, agenda: Vec::new(), next: 0, end };
    match run.live().await {
        Ok(()) => Ok((run.report(), run.world.trace.lines().to_vec())),
        Err(error) => {
            let lines = run.world.trace.lines();
            let last = lines[lines.len().saturating_sub(30)..].join("\n");
            Err(error.context(format!(
                "{last}\nseed {seed} fails on day {}; replay it with: cargo run -p sim -- --seed {seed} --days {days} --trace",
                run.world.now().since(START).as_secs() / 86_400
            )))
        }
    }
}

/// What the network of a seed is like.
fn shape(seed: u64) -> Shape {
    let number = usize::try_from(seed % 1000).unwrap_or(0);
    Shape { nodes: 22 + number % 4, gateways: 2, monitors: 1 + number % 3, eagerly: number % 2 == 1 }
}

impl Run {
    async fn live(&mut self) -> anyhow::Result<()> {
        self.begin().await?;
        let mut step = Step(Duration::ZERO);
        while START + step.0 < self.end {
            if step.is(DAY) {
                self.plan_day();
            }
            self.until(START + step.0).await?;
            self.world.step(step).await?;
            if step.is(pace::CARE) {
                self.world.check_always().await?;
            }
            if step.is(DAY) {
                self.world.note_state().await?;
            }
            step = Step(step.0 + pace::STEP);
        }
        self.calm_down().await?;
        let rest = START + step.0 + QUIET;
        while START + step.0 <= rest {
            self.world.pass_until(START + step.0);
            self.world.step(step).await?;
            if step.is(pace::CARE) {
                self.world.check_always().await?;
            }
            step = Step(step.0 + pace::STEP);
        }
        self.finish().await
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        for _ in 0..FILES_AT_FIRST {
            self.upload(1).await?;
        }
        anyhow::ensure!(
            self.world.files.all.len() == FILES_AT_FIRST,
            "uploads fail although nothing is wrong"
        );
        Ok(())
    }

    /// What is to happen in the day that begins. Nothing goes wrong on the first two, while nodes are new.
    fn plan_day(&mut self) {
        let day = self.world.now();
        let mut acts = vec![Act::Upload, Act::Read, Act::Read, Act::Read];
        if self.world.draw(3) == 0 {
            acts.push(Act::Burst);
        }
        if self.world.draw(3) > 0 {
            acts.push(Act::Delete);
        }
        if self.world.draw(2) == 0 {
            acts.push(Act::Again);
        }
        if self.world.draw(5) == 0 {
            acts.push(Act::HalfUpload);
        }
        if self.world.draw(5) == 0 {
            acts.push(Act::TornUpload);
        }
        if day.since(START) >= DAY * 2 {
            acts.push(Act::Strike);
            if self.world.draw(2) == 0 {
                acts.push(Act::Strike);
            }
        }
        for act in acts {
            let at = day + Duration::from_secs(self.world.draw(86_400) as u64);
            self.put(at, act);
        }
    }

    fn put(&mut self, at: UnixMillis, act: Act) {
        self.next += 1;
        self.agenda.push((at, self.next, act));
        self.agenda.sort_by_key(|(at, number, _)| std::cmp::Reverse((*at, *number)));
    }

    fn put_all(&mut self, later: Vec<Later>) {
        for (at, heal) in later {
            self.put(at, Act::Heal(heal));
        }
    }

    /// Does what is to be done before `at`, and lets time pass until then.
    async fn until(&mut self, at: UnixMillis) -> anyhow::Result<()> {
        while let Some((when, _, act)) = self.agenda.pop_if(|(when, _, _)| *when < at) {
            self.world.pass_until(when);
            self.act(act).await?;
        }
        self.world.pass_until(at);
        Ok(())
    }

    async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Upload => self.upload(1).await,
            Act::Burst => {
                let count = 2 + self.world.draw(4);
                self.upload(count).await
            }
            Act::Again => self.upload_again().await,
            Act::HalfUpload => {
                let gateways = self.world.good_gateways();
                let gateway = gateways[self.world.draw(gateways.len())];
                let len = 1 + self.some_len(LENS);
                let sent = self.world.draw(len);
                self.world.upload_in_part(gateway, len, sent).await
            }
            Act::TornUpload => self.tear_upload().await,
            Act::Read => self.read().await,
            Act::Delete => self.delete().await,
            Act::Strike => {
                let kind = KINDS[self.world.draw(KINDS.len())];
                let later = self.world.strike(kind).await?;
                self.put_all(later);
                // Whatever it was, everything can still be read.
                self.read().await
            }
            Act::Heal(heal) => self.world.heal(heal).await,
        }
    }

    async fn upload(&mut self, count: usize) -> anyhow::Result<()> {
        if self.world.live().len() >= FILES_MAX {
            return Ok(());
        }
        let gateways = self.world.good_gateways();
        let gateway = gateways[self.world.draw(gateways.len())];
        let most = if count > 1 { LENS_TOGETHER } else { LENS };
        let lens: Vec<usize> = (0..count).map(|_| self.some_len(most)).collect();
        // One in five ends by itself.
        let hours = Duration::from_hours(20 + self.world.draw(200) as u64);
        let expires = (self.world.draw(5) == 0).then(|| (self.world.now() + hours).min(self.end));
        self.world.upload(gateway, &lens, expires).await?;
        Ok(())
    }

    async fn upload_again(&mut self) -> anyhow::Result<()> {
        let (count, gateways) = (self.world.files.all.len(), self.world.good_gateways());
        // Mostly one of the latest, whose pieces may be on their way out.
        let back = 1 + self.world.draw(count.min(12));
        let mut bytes = self.world.files.all[count - back].bytes.to_vec();
        if self.world.draw(3) == 0 {
            bytes.extend_from_slice(&self.world.fresh_bytes(100));
        }
        let gateway = gateways[self.world.draw(gateways.len())];
        self.world.upload_bytes(gateway, vec![bytes.into()], None).await?;
        self.world.check_listing().await
    }

    /// A gateway dies while it stores the pieces of an upload; another one, or itself, goes on from the database.
    async fn tear_upload(&mut self) -> anyhow::Result<()> {
        let good = self.world.good_gateways();
        if good.len() < 2 {
            return Ok(());
        }
        let gateway = good[self.world.draw(good.len())];
        self.world.refresh_view(gateway).await?;
        let calls = u32::try_from(self.world.draw(24))?;
        self.world.net.doom(Party::Gateway(gateway), calls);
        let len = self.some_len(LENS);
        self.world.upload(gateway, &[len], None).await?;
        self.world.say(format!("gateway {gateway} dies after {calls} calls"));
        self.world.kill_gateway(gateway).await;
        self.world.net.spare(Party::Gateway(gateway));
        self.world.start_gateway(gateway).await?;
        self.world.check_listing().await
    }

    fn some_len(&mut self, most: &[usize]) -> usize {
        let most = most[self.world.draw(most.len())];
        self.world.draw(most)
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let (live, gateways, nodes) =
            (self.world.live(), self.world.good_gateways(), self.world.good_nodes());
        if live.is_empty() || nodes.is_empty() {
            return Ok(());
        }
        let file = live[self.world.draw(live.len())];
        let region = u8::try_from(1 + self.world.draw(3))?;
        let gateway = gateways[self.world.draw(gateways.len())];
        let len = self.world.files.all[file].bytes.len();
        let range = (len > 1 && self.world.draw(3) == 0).then(|| {
            let start = self.world.draw(len - 1);
            (start, start + 1 + self.world.draw(len - start - 1))
        });
        match self.world.draw(3) {
            0 => self.world.must_read(file, Route::Proxy(gateway), region, range).await,
            1 => {
                let node = nodes[self.world.draw(nodes.len())];
                self.world.must_read(file, Route::Node(node), region, range).await
            }
            _ => {
                let got = self.world.read(file, Route::Redirect(gateway), region, range).await?;
                let Got::Failure(why) = got else { return Ok(()) };
                // The node may be one of those that are in trouble. The reader comes back to a gateway.
                self.world.say(format!("read by redirect failed ({why}), once more by the gateway"));
                self.world.must_read(file, Route::Proxy(gateway), region, range).await
            }
        }
    }

    async fn delete(&mut self) -> anyhow::Result<()> {
        let (live, gateways) = (self.world.live(), self.world.good_gateways());
        if live.len() < FILES_AT_FIRST {
            return Ok(());
        }
        let (file, gateway) = (live[self.world.draw(live.len())], gateways[self.world.draw(gateways.len())]);
        let deleted = self.world.delete(gateway, file).await?;
        anyhow::ensure!(deleted, "a file could not be deleted");
        self.world.check_listing().await
    }

    /// All faults end but those that are for ever; enough nodes are there, and monitors repair whatever is missing.
    async fn calm_down(&mut self) -> anyhow::Result<()> {
        let mut agenda = std::mem::take(&mut self.agenda);
        agenda.reverse();
        for (_, _, act) in agenda {
            if let Act::Heal(heal) = act {
                self.world.heal(heal).await?;
            }
        }
        self.world.net.end_all();
        while self.world.trusted_nodes().await? < NODES_AT_LAST {
            let number = self.world.join_node().await?;
            self.world.say(format!("node {number} joins"));
        }
        let monitors = 1 + self.world.draw(3);
        self.world.start_monitors(monitors, true);
        self.world.say("quiet from now on");
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        let survey = self.world.check_always().await?;
        self.world.check_listing().await?;
        self.world.check_full_count(&survey).await?;
        self.world.check_health().await?;
        self.world.check_no_orphans(&survey).await?;
        self.world.check_ledger().await?;
        self.world.check_all_files().await?;
        let (all, refused) = (self.world.files.all.len(), self.world.files.refused);
        // Those that lose their gateway are refused on purpose.
        anyhow::ensure!(refused * 3 <= all, "{refused} uploads refused of {}", all + refused);
        for segment in &survey {
            let pieces: Vec<(u8, usize)> =
                segment.pieces.iter().map(|piece| (piece.index, piece.node)).collect();
            self.world.say(format!("segment {}: {pieces:?}", segment.id));
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let (trace, files) = (&self.world.trace, &self.world.files);
        Report {
            digest: trace.digest().to_string(),
            lines: trace.lines().len(),
            uploads: files.all.len(),
            refused: files.refused,
            deleted: files.all.len() - files.live(self.world.now()).len(),
            calls: self.world.net.calls(),
        }
    }
}

impl World {
    /// Everything on record, as one hash in the trace.
    async fn note_state(&mut self) -> anyhow::Result<()> {
        let mut hasher = blake3::Hasher::new();
        for segment in self.survey().await? {
            hasher.update(format!("{segment:?}").as_bytes());
        }
        self.say(format!("state {}", hasher.finalize()));
        Ok(())
    }

    /// Positions of files that must be there.
    pub fn live(&self) -> Vec<usize> {
        self.files.live(self.now())
    }

    /// Nodes that are there and count.
    pub async fn trusted_nodes(&self) -> anyhow::Result<usize> {
        let rows = self.db.nodes().await?;
        let trusted = rows.iter().filter(|row| {
            let here = self
                .number_of(row.id)
                .is_some_and(|number| self.is_reachable(number) && self.nodes[number].bad_since.is_none());
            here && matches!(row.standing.as_str(), "vetting" | "good")
        });
        Ok(trusted.count())
    }
}
