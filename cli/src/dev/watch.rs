//! Waiting for the network to be usable, and telling what happens in it.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use anyhow::bail;
use client::{GatewayClient, Timeouts, Transport};
use http::Method;
use protocol::api::{NodeInfo, NodeList};
use serde::Deserialize;
use service::clock::Clock;

use super::{children::Children, layout::Layout};
use crate::output;

/// Between two looks.
const POLL: Duration = Duration::from_millis(200);
/// How long one look may take.
const CALL: Duration = Duration::from_secs(5);

/// Until the gateway answers and every node is enrolled and online.
pub(super) async fn until_ready(layout: &Layout, children: &mut Children) -> anyhow::Result<Vec<NodeInfo>> {
    let client = client(layout)?;
    let mut told = 0;
    loop {
        if let Some((name, status)) = children.ended().first() {
            bail!("{name} ended at the start ({status}); see {}", layout.log(name).display());
        }
        let list: Result<NodeList, _> = client.json(Method::GET, "/v1/nodes", None, None, CALL).await;
        if let Ok(list) = list {
            let urls: HashSet<String> = layout.nodes.iter().map(super::layout::NodeLayout::url).collect();
            let online = list.nodes.iter().filter(|node| node.status == "online" && urls.contains(&node.url));
            let online = online.count();
            if online > told {
                output::tell(format_args!("{online} of {} nodes are online", urls.len()));
                told = online;
            }
            if online == urls.len() {
                return Ok(list.nodes);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn client(layout: &Layout) -> anyhow::Result<GatewayClient> {
    Ok(GatewayClient::new(Transport::http(Timeouts::default())?, &layout.gateway_url(), Clock::System))
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

/// Prints what happens, until the gateway or the monitor ends.
pub(super) async fn follow(layout: &Layout, children: &mut Children) -> ExitCode {
    let Ok(client) = client(layout) else { return ExitCode::FAILURE };
    let token = layout.admin_token.as_str();
    let mut told: HashSet<Event> = HashSet::new();
    let mut first = true;
    loop {
        for (name, status) in children.ended() {
            output::tell(format_args!("{name} ended ({status})"));
            if name == "gateway" || name == "monitor" {
                output::tell(format_args!(
                    "the network cannot go on without its {name}; see {}",
                    layout.log(&name).display()
                ));
            }
            if let Some(node) = layout.nodes.iter().find(|node| node.name == name) {
                output::tell(format_args!(
                    "  to bring it back: pinstripe pinner --config {}",
                    node.config_file().display()
                ));
            }
        }
        let latest: Result<Events, _> =
            client.json(Method::GET, "/v1/admin/events", Some(token), None, CALL).await;
        if let Ok(latest) = latest {
            for event in latest.events.iter().rev().filter(|event| !told.contains(*event)) {
                if !first {
                    output::tell(format_args!("{}", line(layout, event)));
                }
            }
            told = latest.events.into_iter().collect();
            first = false;
        }
        tokio::time::sleep(POLL * 2).await;
    }
}

fn line(_: &Layout, event: &Event) -> String {
    let time = event.at.get(11..19).unwrap_or(&event.at);
    let short = |id: &Option<String>| id.as_deref().map(|id| id.get(..8).unwrap_or(id).to_string());
    let node = short(&event.node).map_or_else(String::new, |id| format!(" node {id}"));
    let segment = short(&event.segment).map_or_else(String::new, |id| format!(" segment {id}"));
    format!("{time} {}{node}{segment} {}", event.kind, event.details)
}
