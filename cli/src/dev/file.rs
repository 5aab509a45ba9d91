//! `dev.json`: where a running network on this machine is found.

use std::{collections::HashMap, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::Context as _;
use protocol::api::NodeInfo;
use serde::{Deserialize, Serialize};

use super::{
    children::Children,
    layout::{Layout, ServerLayout},
};

/// The file's content; its names are a public interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DevFile {
    /// URL of the gateway.
    pub(crate) gateway: String,
    /// URL of the monitor.
    pub(crate) monitor: String,
    /// A key with all scopes.
    pub(crate) api_key: String,
    /// The token of the admin API.
    pub(crate) admin_token: String,
    /// All nodes.
    pub(crate) nodes: Vec<DevNode>,
    /// All gateways, the one above first.
    pub(crate) gateways: Vec<DevServer>,
    /// All monitors, likewise.
    pub(crate) monitors: Vec<DevServer>,
    /// Process ids of gateways and monitors by their names: `gateway`, `monitor`, `gateway-2`...
    pub(crate) pids: HashMap<String, u32>,
}

/// A gateway or monitor of a [`DevFile`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DevServer {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) config: String,
}

/// One node of a [`DevFile`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DevNode {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) pid: u32,
    pub(crate) region: String,
    pub(crate) country: Option<String>,
    pub(crate) dir: String,
}

impl DevFile {
    /// Reads the file of a running network.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(dir.join("dev.json"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Writes the file in one step: nobody reads half of it.
pub(super) fn write(layout: &Layout, children: &Children, nodes: &[NodeInfo]) -> anyhow::Result<()> {
    let pid = |name: &str| children.pid(name).with_context(|| format!("{name} has ended"));
    let mut entries = Vec::with_capacity(layout.nodes.len());
    for node in &layout.nodes {
        let url = node.url();
        let known = nodes.iter().find(|known| known.url == url);
        let known = known.with_context(|| format!("{} is not in the network", node.name))?;
        entries.push(DevNode {
            id: known.id.to_string(),
            url,
            pid: pid(&node.name)?,
            region: known.region.clone(),
            country: known.country.clone(),
            dir: node.dir.display().to_string(),
        });
    }
    let servers = |servers: &[ServerLayout]| {
        let server = |server: &ServerLayout| DevServer {
            name: server.name.clone(),
            url: server.url(),
            config: server.config.display().to_string(),
        };
        servers.iter().map(server).collect::<Vec<_>>()
    };
    let mut pids = HashMap::new();
    for server in layout.gateways.iter().chain(&layout.monitors) {
        pids.insert(server.name.clone(), pid(&server.name)?);
    }
    let file = DevFile {
        gateway: layout.gateway_url(),
        monitor: layout.monitors[0].url(),
        api_key: layout.api_key.clone(),
        admin_token: layout.admin_token.clone(),
        nodes: entries,
        gateways: servers(&layout.gateways),
        monitors: servers(&layout.monitors),
        pids,
    };
    let path = layout.dev_file();
    let temporary = path.with_extension("json.new");
    // It holds keys: nobody else on this machine may read it.
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    let mut new = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
    new.write_all(&serde_json::to_vec_pretty(&file)?)?;
    std::fs::rename(&temporary, &path)?;
    Ok(())
}
