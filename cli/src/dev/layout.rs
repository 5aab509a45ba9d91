//! What a network on one machine looks like on disk: keys, database, configuration files, node directories.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use gateway::geoip::{dev_ranges, write_dev_database};
use service::{clock::Clock, dice::Dice, secrets::DEV_MARK};
use store::{Db, DbOptions, NewApiKey};

use super::settings;

/// Regions that the nodes are spread over: 127.1.0.0/16, 127.2.0.0/16, 127.3.0.0/16.
const REGIONS: u16 = 3;
/// Nodes on one machine, at most.
pub(super) const NODES_MAX: usize = 200;

/// Paths and addresses of one network.
pub(crate) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) gateways: Vec<ServerLayout>,
    pub(super) monitors: Vec<ServerLayout>,
    pub(super) database_url: String,
    pub(super) redis_url: String,
    pub(super) api_key: String,
    pub(super) admin_token: String,
    pub(super) nodes: Vec<NodeLayout>,
}

/// How many processes there are to be, and what is between them.
pub(super) struct Wanted {
    pub(super) nodes: u16,
    pub(super) gateways: u8,
    pub(super) monitors: u8,
    /// SQLite in the directory unless said otherwise.
    pub(super) database: Option<String>,
    /// Empty: none.
    pub(super) redis: String,
}

/// A gateway or a monitor.
pub(super) struct ServerLayout {
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    pub(super) config: PathBuf,
}

impl ServerLayout {
    /// The first of a kind has its plain name.
    fn new(dir: &Path, kind: &str, index: u8, listen: SocketAddr) -> Self {
        let name = if index == 0 { kind.to_string() } else { format!("{kind}-{}", index + 1) };
        Self { config: dir.join(format!("{name}.toml")), name, listen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

/// One node's directory and address.
pub(super) struct NodeLayout {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) invite: String,
}

impl NodeLayout {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.join("pinner.toml")
    }
}

impl Layout {
    /// Makes the directory, or finds it as an earlier run left it, and writes this run's configuration.
    pub(super) async fn prepare(
        dir: &Path,
        listen: SocketAddr,
        fresh: bool,
        wanted: Wanted,
    ) -> anyhow::Result<Self> {
        // Before anything is made or removed: whoever has the address may be the network that is in the directory.
        free(listen)?;
        if fresh && dir.exists() {
            remove_network(dir)?;
        }
        fs::create_dir_all(dir.join("logs")).with_context(|| format!("create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        // Left behind by a run that was killed; whoever waits for it must wait for this run's.
        let _ = fs::remove_file(dir.join("dev.json"));
        let dice = Dice::System;
        // Marked, so that no process takes them where others can reach it.
        let _ = secret(&dir.join("network.key"), || format!("{DEV_MARK}{}", hex(&dice.bytes::<32>())))?;
        let admin_token =
            secret(&dir.join("admin.token"), || format!("{DEV_MARK}adm_{}", hex(&dice.bytes::<24>())))?;
        write_dev_database(&dir.join("geo.mmdb"), &dev_ranges(usize::from(REGIONS)))?;

        let sqlite = || format!("sqlite://{}", dir.join("pinstripe.db").display());
        let database_url = wanted.database.unwrap_or_else(sqlite);
        let db = Db::open(&DbOptions::new(database_url.clone())).await.context("open the database")?;
        db.migrate().await?;
        let api_key = api_key(&db, &dir, &dice).await?;
        let mut layout = Self {
            gateways: vec![ServerLayout::new(&dir, "gateway", 0, listen)],
            monitors: vec![ServerLayout::new(&dir, "monitor", 0, monitor_address(listen))],
            dir: dir.clone(),
            database_url,
            redis_url: wanted.redis,
            api_key,
            admin_token,
            nodes: Vec::new(),
        };
        for index in 1..wanted.gateways {
            let listen = any_port(listen.ip()).context("no free port for a gateway")?;
            layout.gateways.push(ServerLayout::new(&dir, "gateway", index, listen));
        }
        for index in 1..wanted.monitors {
            let listen = any_port(listen.ip()).context("no free port for a monitor")?;
            layout.monitors.push(ServerLayout::new(&dir, "monitor", index, listen));
        }
        for index in 0..wanted.nodes {
            let node = node_layout(&db, &dir, index, &dice).await?;
            layout.nodes.push(node);
        }
        db.close().await;
        settings::write(&layout)?;
        Ok(layout)
    }

    /// URL of the first gateway.
    pub(super) fn gateway_url(&self) -> String {
        self.gateways[0].url()
    }

    pub(super) fn dev_file(&self) -> PathBuf {
        self.dir.join("dev.json")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }
}

/// Removes an earlier network, and nothing that does not look like one.
fn remove_network(dir: &Path) -> anyhow::Result<()> {
    let is_empty = fs::read_dir(dir)?.next().is_none();
    if !is_empty && !dir.join("network.key").exists() {
        bail!("{} holds something else than a network; not removing it", dir.display());
    }
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

/// Says early, and in plain words, that an address is taken.
fn free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!("{address} cannot be used: is another network running? Try --listen with another port")
    })
}

/// The gateway's port plus one when that is free, any other otherwise.
fn monitor_address(gateway: SocketAddr) -> SocketAddr {
    let next = SocketAddr::new(gateway.ip(), gateway.port().saturating_add(1));
    if TcpListener::bind(next).is_ok() { next } else { any_port(gateway.ip()).unwrap_or(next) }
}

/// Ports that the system gives to nobody by itself: one from among those could be some connection's when a process is
/// started again.
const PORTS: std::ops::Range<u16> = 10_000..20_000;
/// How many of them are tried.
const PORT_TRIES: usize = 100;

fn any_port(ip: IpAddr) -> Option<SocketAddr> {
    let random = |dice: &Dice| PORTS.start + u16::from_le_bytes(dice.bytes()) % (PORTS.end - PORTS.start);
    let own = (0..PORT_TRIES).map(|_| random(&Dice::System));
    own.chain([0]).find_map(|port| TcpListener::bind((ip, port)).ok()?.local_addr().ok())
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Reads a secret, or makes it at the first start, readable by its owner only.
fn secret(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    use std::io::Write as _;
    if path.exists() {
        return Ok(fs::read_to_string(path)?.trim().to_string());
    }
    let secret = make();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    Ok(secret)
}

/// The developer's key, made with its account at the first start.
async fn api_key(db: &Db, dir: &Path, dice: &Dice) -> anyhow::Result<String> {
    let path = dir.join("api.key");
    if path.exists() {
        return Ok(fs::read_to_string(path)?.trim().to_string());
    }
    let now = Clock::System.now();
    let account = hex(&dice.bytes::<12>());
    db.create_account(&account, "dev", 1 << 40, now).await?;
    let minted = gateway::mint_key(dice);
    let key = NewApiKey {
        id: minted.id,
        account,
        name: "dev".into(),
        secret_hash: minted.secret_hash,
        scopes: gateway::ALL_SCOPES.join(","),
        expires: None,
    };
    db.create_key(&key, now).await?;
    secret(&path, || minted.key)
}

async fn node_layout(db: &Db, dir: &Path, index: u16, dice: &Dice) -> anyhow::Result<NodeLayout> {
    let name = format!("node-{:02}", index + 1);
    let node_dir = dir.join("nodes").join(&name);
    fs::create_dir_all(&node_dir)?;
    let region = u8::try_from(index % REGIONS + 1).unwrap_or(1);
    let host = u8::try_from(index / REGIONS + 1).unwrap_or(u8::MAX);
    // Every node has a network of its own where the system lets us listen there, as Linux does.
    let own = IpAddr::from(Ipv4Addr::new(127, region, host, 1));
    let listen = any_port(own).or_else(|| any_port(Ipv4Addr::LOCALHOST.into()));
    let listen = listen.context("no free port for a node")?;
    let path = node_dir.join("invite");
    let first = !path.exists();
    let invite = secret(&path, || format!("inv_{}", hex(&dice.bytes::<24>())))?;
    if first {
        let now = Clock::System.now();
        let year = now + Duration::from_hours(24 * 365);
        let hash = blake3::hash(invite.as_bytes()).to_hex().to_string();
        db.create_invite(&hash, &format!("operator-{:02}", index + 1), 1, now, year).await?;
    }
    Ok(NodeLayout { name, dir: node_dir, listen, invite })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_node() -> Wanted {
        Wanted { nodes: 1, gateways: 1, monitors: 1, database: None, redis: String::new() }
    }

    #[tokio::test]
    async fn a_taken_address_leaves_the_directory_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("network");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listen = taken.local_addr().unwrap();
        for fresh in [false, true] {
            let refused = Layout::prepare(&dir, listen, fresh, one_node()).await.err().unwrap();
            assert!(format!("{refused:#}").contains("cannot be used"), "{refused:#}");
            assert!(!dir.exists(), "nothing is left that --fresh would not remove");
        }
        // Nor is a network removed that is perhaps running.
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("network.key"), "key").unwrap();
        assert!(Layout::prepare(&dir, listen, true, one_node()).await.is_err());
        assert_eq!(fs::read_to_string(dir.join("network.key")).unwrap(), "key");
        drop(taken);
        Layout::prepare(&dir, listen, true, one_node()).await.unwrap();
        assert_ne!(fs::read_to_string(dir.join("network.key")).unwrap(), "key");
    }
}
