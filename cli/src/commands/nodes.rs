//! `pinstripe node`: what operators and the curious want to know of nodes.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use http::Method;
use protocol::api::{Earnings, NodeList};

use crate::{endpoint::Endpoint, output};

const CALL: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List all nodes
    Ls(NodeLsArgs),
    /// Show what a node has earned
    Earnings(EarningsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NodeLsArgs {
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct EarningsArgs {
    /// Node id, or the first digits of it [default: all nodes]
    node: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(command: NodeCommand) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::Ls(args) => ls(args).await,
        NodeCommand::Earnings(args) => earnings(args).await,
    }
}

async fn nodes(endpoint: &Endpoint) -> anyhow::Result<NodeList> {
    Ok(endpoint.client()?.json(Method::GET, "/v1/nodes", None, None, CALL).await?)
}

async fn ls(args: NodeLsArgs) -> anyhow::Result<ExitCode> {
    for node in nodes(&args.endpoint).await?.nodes {
        output::line(format_args!(
            "{}  {:<8}  {:<8}  {:<12}  {:>6.3}  {:>14} of {:>14} bytes  {}",
            &node.id.to_string()[..12],
            node.region,
            node.status,
            node.standing,
            node.audit_score,
            node.used_bytes,
            node.capacity_bytes,
            node.url
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn earnings(args: EarningsArgs) -> anyhow::Result<ExitCode> {
    let client = args.endpoint.client()?;
    let wanted = args.node.unwrap_or_default();
    let list = nodes(&args.endpoint).await?;
    let chosen: Vec<_> = list.nodes.iter().filter(|node| node.id.to_string().starts_with(&wanted)).collect();
    anyhow::ensure!(!chosen.is_empty(), "no node's id starts with {wanted:?}");
    for node in &chosen {
        let path = format!("/v1/nodes/{}/earnings", node.id);
        let earned: Earnings = client.json(Method::GET, &path, None, None, CALL).await?;
        output::line(format_args!("{}  {} micro-units", earned.node, earned.total_micros))?;
        for (kind, micros) in &earned.by_kind {
            output::line(format_args!("    {kind}: {micros}"))?;
        }
        if chosen.len() == 1 {
            for line in earned.hours {
                output::line(format_args!(
                    "    {}  {:<14}  {:>20}  {:>12}",
                    line.hour, line.kind, line.quantity, line.micros
                ))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
