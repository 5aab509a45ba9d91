//! Waiting for the network to be usable, and telling what happens in it.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    time::Duration,
};

use anyhow::bail;
use client::{GatewayClient, Timeouts, Transport};
use http::Method;
use protocol::api::{NodeInfo, NodeList};
use serde::Deserialize;
use service::clock::Clock;

use super::{
    children::Children,
    layout::{Layout, NodeLayout, ServerLayout},
};
use crate::output;

/// Between two looks.
const POLL: Duration = Duration::from_millis(200);
/// How long one look may take.
const CALL: Duration = Duration::from_secs(5);

/// Until every gateway answers and knows every node as online.
pub(super) async fn until_ready(layout: &Layout, children: &mut Children) -> anyhow::Result<Vec<NodeInfo>> {
    let client = client(layout)?;
    let mut others = Vec::new();
    for gateway in &layout.gateways[1..] {
        others.push(client_of(&gateway.url())?);
    }
    let mut told = 0;
    loop {
        if let Some((name, status)) = children.ended().first() {
            bail!("{name} ended at the start ({status}); see {}", layout.log(name).display());
        }
        if let Some((nodes, now)) = online(&client, layout).await {
            if now > told {
                output::tell(format_args!("{now} of {} nodes are online", layout.nodes.len()));
                told = now;
            }
            let mut ready = now == layout.nodes.len();
            for other in &others {
                let theirs = online(other, layout).await.map_or(0, |(_, online)| online);
                ready = ready && theirs == now;
            }
            if ready {
                return Ok(nodes);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// All nodes that a gateway knows, and how many of this network's are online.
async fn online(client: &GatewayClient, layout: &Layout) -> Option<(Vec<NodeInfo>, usize)> {
    let list: Result<NodeList, _> = client.json(Method::GET, "/v1/nodes", None, None, CALL).await;
    let nodes = list.ok()?.nodes;
    let urls: HashSet<String> = layout.nodes.iter().map(NodeLayout::url).collect();
    let online = nodes.iter().filter(|node| node.status == "online" && urls.contains(&node.url)).count();
    Some((nodes, online))
}

fn client(layout: &Layout) -> anyhow::Result<GatewayClient> {
    client_of(&layout.gateway_url())
}

fn client_of(gateway: &str) -> anyhow::Result<GatewayClient> {
    Ok(GatewayClient::new(Transport::http(Timeouts::default())?, gateway, Clock::System))
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Deserialize, PartialEq, Eq, Hash, Clone)]
struct Event {
    at: String,
    kind: String,
    node: Option<String>,
    segment: Option<String>,
    details: String,
}

/// Prints what happens, without an end. A process that dies is left to whoever killed it: the rest runs on, and what is
/// printed says how to bring it back.
///
/// # Errors
/// When there cannot be a client of the gateway.
pub(super) async fn follow(
    layout: &Layout,
    children: &mut Children,
    nodes: &[NodeInfo],
) -> anyhow::Result<Infallible> {
    let client = client(layout)?;
    let names = names(layout, nodes);
    let token = layout.admin_token.as_str();
    let mut told: HashSet<Event> = HashSet::new();
    let mut first = true;
    loop {
        for (name, status) in children.ended() {
            output::tell(format_args!("{name} ended ({status})"));
            match name.as_str() {
                "gateway" if layout.gateways.len() == 1 => {
                    output::tell("  without it there are no uploads, and reads only from nodes");
                }
                "monitor" if layout.monitors.len() == 1 => {
                    output::tell("  without it nothing is audited, paid or repaired");
                }
                _ => {}
            }
            output::tell(format_args!("  why: {}", layout.log(&name).display()));
            if let Some(command) = revival(layout, &name) {
                output::tell(format_args!("  to bring it back: {command}"));
            }
        }
        let latest: Result<Events, _> =
            client.json(Method::GET, "/v1/admin/events", Some(token), None, CALL).await;
        if let Ok(latest) = latest {
            for event in latest.events.iter().rev().filter(|event| !told.contains(*event)) {
                if !first {
                    output::tell(format_args!("{}", line(&names, event)));
                }
            }
            told = latest.events.into_iter().collect();
            first = false;
        }
        tokio::time::sleep(POLL * 2).await;
    }
}

/// How to start a process again that ended.
fn revival(layout: &Layout, name: &str) -> Option<String> {
    let config =
        |servers: &[ServerLayout]| Some(servers.iter().find(|server| server.name == name)?.config.clone());
    let gateway = config(&layout.gateways).map(|config| ("gateway", config));
    let monitor = config(&layout.monitors).map(|config| ("monitor", config));
    let pinner = || Some(("pinner", layout.nodes.iter().find(|node| node.name == name)?.config_file()));
    let (subcommand, config) = gateway.or(monitor).or_else(pinner)?;
    Some(format!("pinstripe {subcommand} --config {}", config.display()))
}

/// The names that nodes have on this machine, by id.
fn names(layout: &Layout, nodes: &[NodeInfo]) -> HashMap<String, String> {
    let named = layout.nodes.iter().filter_map(|node| {
        let known = nodes.iter().find(|known| known.url == node.url())?;
        Some((known.id.to_string(), node.name.clone()))
    });
    named.collect()
}

fn line(names: &HashMap<String, String>, event: &Event) -> String {
    let time = event.at.get(11..19).unwrap_or(&event.at);
    let short = |id: &Option<String>| id.as_deref().map(|id| id.get(..8).unwrap_or(id).to_string());
    let name = event.node.as_ref().and_then(|id| names.get(id));
    let name = name.map_or_else(String::new, |name| format!(" ({name})"));
    let node = short(&event.node).map_or_else(String::new, |id| format!(" node {id}{name}"));
    let segment = short(&event.segment).map_or_else(String::new, |id| format!(" segment {id}"));
    format!("{time} {}{node}{segment} {}", event.kind, event.details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_a_node_shows_its_name_and_its_id() {
        let id = "0123456789abcdef";
        let names = HashMap::from([(id.to_string(), "node-05".to_string())]);
        let event = |node: &str| Event {
            at: "2026-01-31T12:34:56.789Z".into(),
            kind: "node_offline".into(),
            node: Some(node.into()),
            segment: None,
            details: "three probes failed".into(),
        };
        let expected = "12:34:56 node_offline node 01234567 (node-05) three probes failed";
        assert_eq!(line(&names, &event(id)), expected);
        let expected = "12:34:56 node_offline node ffff three probes failed";
        assert_eq!(line(&names, &event("ffff")), expected, "a node that `dev` did not start");
    }
}
