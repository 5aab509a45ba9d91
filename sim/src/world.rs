//! A whole network in one process: the real gateways, nodes and monitors, joined by a [`Net`], under one clock that only
//! this moves. Nothing here decides what happens when; see `scenario`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use gateway::geoip::{dev_ranges, write_dev_database};
use protocol::{ids::NodeId, time::UnixMillis};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use service::{clock::Clock, dice::Dice};
use store::{Db, NewApiKey};
use tempfile::TempDir;

use crate::{
    clients::Files,
    net::Net,
    pace,
    parts::{Common, GatewayPart, MonitorPart, NodePart, node_url, run},
    trace::Trace,
    trouble::{Party, Trouble},
    truth::Truth,
};

/// When every simulation begins: the start of a day, of an hour and of a window of the online score.
pub const START: UnixMillis = UnixMillis(1_700_006_400_000);
/// The account of all uploads.
pub const ACCOUNT: &str = "account";
const QUOTA_BYTES: u64 = 1 << 40;
const INVITE: &str = "welcome";

/// How often tasks are counted, a millisecond apart: the least counts.
const LOOKS: usize = 6;

/// How many of each there are at first.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Storage nodes.
    pub nodes: usize,
    /// Gateways.
    pub gateways: usize,
    /// Monitors.
    pub monitors: usize,
    /// Whether monitors repair as soon as one piece is missing.
    pub eagerly: bool,
}

/// The network, its files and its truth.
pub struct World {
    _dir: TempDir,
    places: std::path::PathBuf,
    /// The only time.
    pub clock: Clock,
    /// Draws everything that the world decides.
    pub rng: ChaCha8Rng,
    /// The wires.
    pub net: Arc<Net>,
    /// For looking; what the parts do goes through handles of their own.
    pub db: Db,
    pub(crate) common: Common,
    pub(crate) gateways: Vec<Option<GatewayPart>>,
    gateway_lives: Vec<u32>,
    pub(crate) monitors: Vec<MonitorPart>,
    monitor_lives: u32,
    pub(crate) eagerly: bool,
    /// Tasks that are always there.
    tasks: usize,
    pub(crate) nodes: Vec<NodePart>,
    pub(crate) numbers: BTreeMap<NodeId, usize>,
    /// What was uploaded, and what became of it.
    pub files: Files,
    /// What happened.
    pub trace: Trace,
    pub(crate) truth: Truth,
    /// Events from here on are not in the trace yet.
    pub(crate) events_from: UnixMillis,
    pub(crate) api_key: String,
}

impl World {
    /// A network whose nodes have joined, on a database of its own.
    pub async fn new(seed: u64, shape: Shape) -> anyhow::Result<Self> {
        Self::on(seed, shape, None).await
    }

    /// The same on an empty database that is there; `None`: a new file.
    pub async fn on(seed: u64, shape: Shape, database: Option<String>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let places = dir.path().join("places.mmdb");
        write_dev_database(&places, &dev_ranges(3))?;
        let clock = Clock::sim(START);
        let net = Net::new(seed, clock.clone());
        let network_key = SigningKey::from_bytes(blake3::hash(&seed.to_le_bytes()).as_bytes());
        let database =
            database.unwrap_or_else(|| format!("sqlite://{}", dir.path().join("sim.db").display()));
        let common = Common { net: net.clone(), clock: clock.clone(), network_key, database, seed };
        let db = common.open().await?;
        db.migrate().await?;
        let api_key = accounts(&db, seed).await?;
        let mut world = Self {
            _dir: dir,
            places,
            clock,
            rng: ChaCha8Rng::seed_from_u64(seed),
            net,
            db,
            common,
            gateways: (0..shape.gateways).map(|_| None).collect(),
            gateway_lives: vec![0; shape.gateways],
            monitors: Vec::new(),
            monitor_lives: 0,
            eagerly: shape.eagerly,
            tasks: 0,
            nodes: Vec::new(),
            numbers: BTreeMap::new(),
            files: Files::default(),
            trace: Trace::default(),
            truth: Truth::default(),
            events_from: START,
            api_key,
        };
        for number in 0..shape.gateways {
            world.start_gateway(number).await?;
        }
        world.start_monitors(shape.monitors, shape.eagerly);
        for _ in 0..shape.nodes {
            world.join_node().await?;
        }
        Ok(world)
    }

    /// The time.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Lets time pass until `at`.
    pub fn pass_until(&mut self, at: UnixMillis) {
        self.clock.advance(at.since(self.now()));
    }

    /// Notes that something happened.
    pub fn say(&mut self, what: impl AsRef<str>) {
        let at = self.now().since(START);
        self.trace.add(at, what.as_ref());
    }

    /// Draws a number under `below`, which is not 0.
    pub fn draw(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below.max(1))
    }

    pub(crate) fn gateway_url(number: usize) -> String {
        format!("http://gateway-{number}")
    }

    fn gateway_urls(&self) -> Vec<String> {
        (0..self.gateways.len()).map(Self::gateway_url).collect()
    }

    /// Starts a gateway, which knows nothing but what is in the database.
    pub async fn start_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let life = self.gateway_lives[number];
        self.gateway_lives[number] += 1;
        let url = Self::gateway_url(number);
        self.gateways[number] = Some(self.common.gateway(number, life, &url, &self.places).await?);
        self.count_tasks().await;
        Ok(())
    }

    /// Kills a gateway: nothing more leaves it or is written by it.
    pub async fn kill_gateway(&mut self, number: usize) {
        self.net.close(&Self::gateway_url(number));
        if let Some(part) = self.gateways[number].take() {
            part.db.close().await;
        }
        self.count_tasks().await;
    }

    /// Numbers of the gateways that run and whose lines are good.
    pub fn good_gateways(&self) -> Vec<usize> {
        let good = |number: &usize| {
            self.gateways[*number].is_some() && !self.net.is_troubled(Party::Gateway(*number))
        };
        (0..self.gateways.len()).filter(good).collect()
    }

    /// Starts monitors in place of those that ran.
    pub fn start_monitors(&mut self, count: usize, eagerly: bool) {
        self.monitor_lives += 1;
        self.eagerly = eagerly;
        let start = |number| self.common.monitor(&self.db, number, self.monitor_lives, eagerly);
        self.monitors = (0..count).map(start).collect();
    }

    /// A new node joins. Gives its number.
    pub async fn join_node(&mut self) -> anyhow::Result<usize> {
        let number = self.nodes.len();
        let node = self.common.node(number);
        self.numbers.insert(node.id, number);
        // Few operators have two nodes.
        let operator = format!("operator-{}", if number % 9 == 8 { number - 1 } else { number });
        let invite = format!("{INVITE}-{number}");
        let token_hash = blake3::hash(invite.as_bytes()).to_hex();
        let now = self.now();
        self.db.create_invite(&token_hash, &operator, 1, now, now + pace::DAY * 400).await?;
        self.nodes.push(node);
        self.start_node(number)?;
        self.enrol(number).await?;
        Ok(number)
    }

    /// Starts a node's process on what its disk holds.
    pub fn start_node(&mut self, number: usize) -> anyhow::Result<()> {
        let gateways = self.gateway_urls();
        let invite = format!("{INVITE}-{number}");
        self.common.start_node(&mut self.nodes[number], &gateways, &invite)
    }

    /// Kills a node's process. Its disk stays.
    pub fn kill_node(&mut self, number: usize) {
        (self.nodes[number].running, self.nodes[number].was_troubled) = (None, true);
        let url = self.nodes[number].url.clone();
        self.net.close(&url);
    }

    /// Gives a node that does not run another address in its region.
    pub fn move_node(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let life = usize::try_from(node.restarts).unwrap_or(0);
        node.url = node_url(node.region, number, u32::try_from(life).unwrap_or(0));
    }

    /// Lets a node join or tell its address, and beat once.
    pub async fn enrol(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(running) = &self.nodes[number].running {
            run(&running.enrol).await?;
            run(&running.heartbeat).await?;
        }
        Ok(())
    }

    /// Brings a gateway's view of the nodes up to date, if it is older than it may be.
    pub async fn refresh_view(&mut self, number: usize) -> anyhow::Result<()> {
        let now = self.now();
        let Some(part) = &mut self.gateways[number] else { return Ok(()) };
        if part.viewed.is_none_or(|at| now.since(at) > pace::VIEW) {
            part.viewed = Some(now);
            run(&part.probe).await?;
        }
        Ok(())
    }

    /// Has every gateway look at the nodes anew before it is used next.
    pub fn forget_views(&mut self) {
        for part in self.gateways.iter_mut().flatten() {
            part.viewed = None;
        }
    }

    /// Begins a trouble, notes it, and gives its name.
    pub fn trouble(&mut self, trouble: Trouble) -> u64 {
        self.say(trouble.to_string());
        self.net.begin(trouble)
    }

    /// Counts the tasks that are always there: those of gateways and of connections to the database.
    async fn count_tasks(&mut self) {
        let metrics = tokio::runtime::Handle::current().metrics();
        self.tasks = usize::MAX;
        for _ in 0..LOOKS {
            // What has just ended something takes a moment to be gone itself.
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.tasks = self.tasks.min(metrics.num_alive_tasks());
        }
    }

    /// Waits until nothing goes on in the background any more, such as pieces of an upload that are still being recorded.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let metrics = tokio::runtime::Handle::current().metrics();
        let settled = async {
            while metrics.num_alive_tasks() > self.tasks {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), settled).await.context("background tasks do not end")
    }
}

/// Makes the account; gives its API key.
async fn accounts(db: &Db, seed: u64) -> anyhow::Result<String> {
    db.create_account(ACCOUNT, "simulation", QUOTA_BYTES, START).await?;
    let minted = gateway::mint_key(&Dice::seeded(seed));
    let key = NewApiKey {
        id: minted.id,
        account: ACCOUNT.into(),
        name: "simulation".into(),
        secret_hash: minted.secret_hash,
        scopes: gateway::ALL_SCOPES.join(","),
        expires: None,
    };
    db.create_key(&key, START).await?;
    Ok(minted.key)
}
