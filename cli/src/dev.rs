//! `pinstripe dev`: a whole network on one machine, as real child processes: a gateway, a monitor, many nodes. More gateways
//! and monitors, with PostgreSQL and Redis between them, when asked for.

mod children;
mod file;
mod layout;
mod settings;
mod stop;
mod watch;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use protocol::{api::NodeInfo, redundancy::RedundancyRules};
use service::secrets::is_loopback;

use self::{
    children::Children,
    layout::{Layout, Wanted},
    stop::Stop,
};
use crate::output;
pub(crate) use file::{DevFile, DevServer};

/// How long the network may take to become usable.
const START_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Number of storage nodes; a segment needs 16, and those beyond 20 are spare for repairs
    #[arg(long, default_value_t = 20)]
    nodes: u16,
    /// Where everything is kept
    #[arg(long, default_value = ".pinstripe")]
    dir: PathBuf,
    /// Address of the gateway
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Forget the network that is in the directory and start a new one
    #[arg(long)]
    fresh: bool,
    /// Number of gateways; those after the first take free ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    gateways: u8,
    /// Number of monitors
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    monitors: u8,
    /// An empty PostgreSQL database (`postgres://...`) instead of SQLite in the directory. It is not emptied by --fresh
    #[arg(long)]
    database: Option<String>,
    /// What the gateways share (`redis://...`)
    #[arg(long)]
    redis: Option<String>,
}

pub(crate) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    if args.nodes == 0 || usize::from(args.nodes) > layout::NODES_MAX {
        bail!("--nodes must be between 1 and {}", layout::NODES_MAX);
    }
    if !is_loopback(args.listen) {
        bail!(
            "--listen {}: a network of `pinstripe dev` is for this machine only, as its keys are made for trying things \
             out; give a loopback address such as 127.0.0.1:8080, or see docs/operations.md for a network of its own",
            args.listen
        );
    }
    let mut stop = Stop::new()?;
    let wanted = Wanted {
        nodes: args.nodes,
        gateways: args.gateways,
        monitors: args.monitors,
        database: args.database,
        redis: args.redis.unwrap_or_default(),
    };
    let layout = Layout::prepare(&args.dir, args.listen, args.fresh, wanted).await?;
    let mut children = Children::default();
    let started = tokio::select! {
        started = start(&layout, &mut children) => started,
        how = stop.asked() => Err(anyhow::anyhow!(how)),
    };
    let nodes = match started {
        Ok(nodes) => nodes,
        Err(error) => {
            // It may have been written already.
            let _ = std::fs::remove_file(layout.dev_file());
            children.stop().await;
            return Err(error);
        }
    };
    let needed = u16::from(RedundancyRules::default().total_min);
    if args.nodes < needed {
        output::tell(format_args!(
            "with {} nodes nothing can be uploaded: every segment needs {needed}; give --nodes {needed} or more",
            args.nodes
        ));
    }
    output::tell(format_args!("ready {}", layout.gateway_url()));
    let outcome = tokio::select! {
        _ = stop.asked() => Ok(ExitCode::SUCCESS),
        Err(error) = watch::follow(&layout, &mut children, &nodes) => Err(error),
    };
    output::tell("stopping");
    // Whoever reads the file from now on must not find a network that is not there.
    let _ = std::fs::remove_file(layout.dev_file());
    children.stop().await;
    outcome
}

/// Starts all processes, waits until all nodes are online, writes `dev.json`.
async fn start(layout: &Layout, children: &mut Children) -> anyhow::Result<Vec<NodeInfo>> {
    for server in &layout.gateways {
        children.spawn(&server.name, "gateway", &server.config, &layout.log(&server.name))?;
    }
    for server in &layout.monitors {
        children.spawn(&server.name, "monitor", &server.config, &layout.log(&server.name))?;
    }
    for node in &layout.nodes {
        children.spawn(&node.name, "pinner", &node.config_file(), &layout.log(&node.name))?;
    }
    let ready = watch::until_ready(layout, children);
    let nodes = tokio::time::timeout(START_MAX, ready)
        .await
        .with_context(|| format!("the network was not ready in time; see {}", layout.logs().display()))??;
    file::write(layout, children, &nodes)?;
    Ok(nodes)
}
