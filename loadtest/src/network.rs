//! The network under test: one of its own, started beside this program and ended with it, or one that runs already.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    files::Files,
    process,
    wire::{Connection, get},
};

const START_MAX: Duration = Duration::from_mins(2);
const END_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// What `pinstripe dev` writes into `dev.json`; further fields do not matter here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DevFile {
    gateway: String,
    monitor: String,
    api_key: String,
    pub(crate) nodes: Vec<DevNode>,
    pids: HashMap<String, u32>,
}

/// A node in `dev.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DevNode {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) pid: u32,
}

impl DevNode {
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        address(&self.url)
    }
}

/// A running network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) file: DevFile,
    pub(crate) gateway: SocketAddr,
    pub(crate) gateway_pid: u32,
    pub(crate) monitor: SocketAddr,
    pub(crate) monitor_pid: u32,
    /// Uploads and reads.
    pub(crate) files: Arc<Files>,
    /// Where its keys are.
    pub(crate) dir: PathBuf,
    own: Option<Own>,
}

/// What ends with this program. The process before the directory.
#[derive(Debug)]
struct Own {
    process: Child,
    _dir: TempDir,
}

/// `http://ADDRESS`.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    address.parse().with_context(|| format!("{url:?} is no http://ADDRESS:PORT"))
}

impl Network {
    /// Starts `pinstripe dev` with `nodes` nodes in a new directory under `parent`, and waits until it can be used.
    pub(crate) async fn start(pinstripe: &Path, parent: &Path, nodes: usize) -> anyhow::Result<Self> {
        let own = TempDir::with_prefix_in("loadtest-", parent).context("make a directory")?;
        let dir = own.path().join("network");
        // Free now; should somebody take it before the network does, the start fails and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(own.path().join("dev.log"))?;
        let mut command = Command::new(pinstripe);
        command.arg("dev").arg("--fresh").arg("--nodes").arg(nodes.to_string());
        command.arg("--listen").arg(format!("127.0.0.1:{port}")).arg("--dir").arg(&dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = process::spawn(command)?;
        let started = Instant::now();
        let path = dir.join("dev.json");
        while !path.exists() {
            if let Some(status) = process.try_wait()? {
                let log = std::fs::read_to_string(own.path().join("dev.log")).unwrap_or_default();
                bail!("the network ended at its start ({status}): {}", log.trim());
            }
            ensure!(started.elapsed() < START_MAX, "the network did not start in time");
            tokio::time::sleep(POLL).await;
        }
        let mut network = Self::running(&path)?;
        network.own = Some(Own { process, _dir: own });
        Ok(network)
    }

    /// The network of a `dev.json`.
    pub(crate) fn running(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let file: DevFile =
            serde_json::from_str(&text).with_context(|| format!("{} is no dev.json", path.display()))?;
        let pid =
            |name: &str| file.pids.get(name).copied().with_context(|| format!("dev.json without {name}"));
        Ok(Self {
            gateway: address(&file.gateway)?,
            files: Arc::new(Files { gateway: address(&file.gateway)?, api_key: file.api_key.clone() }),
            gateway_pid: pid("gateway")?,
            monitor: address(&file.monitor)?,
            monitor_pid: pid("monitor")?,
            dir: path.parent().unwrap_or(Path::new(".")).to_path_buf(),
            file,
            own: None,
        })
    }

    /// Ends it, if it was started here.
    pub(crate) async fn end(mut self) {
        if let Some(own) = &mut self.own {
            process::end(&mut own.process, END_MAX).await;
        }
    }

    /// Kills some nodes of a network that was started here.
    pub(crate) fn kill_nodes(&self, count: usize) -> anyhow::Result<()> {
        ensure!(self.own.is_some(), "only nodes of a network of its own are killed");
        self.file.nodes.iter().take(count).try_for_each(|node| process::kill(node.pid))
    }

    pub(crate) fn node_pids(&self) -> Vec<u32> {
        self.file.nodes.iter().map(|node| node.pid).collect()
    }

    /// JSON from the gateway's API.
    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let authorization = format!("authorization: Bearer {}\r\n", self.file.api_key);
        let (head, body) = Connection::open(self.gateway).await?.fetch(&get(path, &authorization)).await?;
        ensure!(head.status == 200, "{path}: {}", head.status);
        Ok(serde_json::from_slice(&body)?)
    }

    /// The sum of a metric over its labels that contain `label`; 0 when it is not there.
    pub(crate) async fn metric(&self, of: SocketAddr, name: &str, label: &str) -> anyhow::Result<f64> {
        let (head, body) = Connection::open(of).await?.fetch(&get("/metrics", "")).await?;
        ensure!(head.status == 200, "metrics: {}", head.status);
        let text = String::from_utf8_lossy(&body).into_owned();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let fitting = lines
            .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{') && labels.contains(label));
        Ok(fitting.filter_map(|(_, value)| value.parse::<f64>().ok()).sum())
    }
}
