//! What `pinstripe status` found out, as JSON and as text.

use std::{collections::BTreeMap, fmt::Write as _};

use indicatif::BinaryBytes;
use protocol::status::{NetworkStatus, RecordedStatus, RegionStatus, StatusEvent};
use serde::Serialize;

/// Everything that was found out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) gateways: Vec<GatewayReport>,
    /// Monitors that were asked; of a network elsewhere none can be.
    pub(super) monitors: Vec<MonitorReport>,
    /// What a gateway says to whoever has the admin token.
    pub(super) network: Option<NetworkStatus>,
    /// What everybody may know, if that is all that is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) regions: BTreeMap<String, RegionStatus>,
    /// Why no more is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why_little: Option<String>,
    /// What somebody should look at.
    pub(super) problems: Vec<String>,
}

/// A gateway.
#[derive(Debug, Serialize)]
pub(super) struct GatewayReport {
    pub(super) url: String,
    /// It says that it is.
    pub(super) is_ready: bool,
    /// Why it is not.
    pub(super) not_ready: Option<String>,
}

/// A monitor.
#[derive(Debug, Serialize)]
pub(super) struct MonitorReport {
    pub(super) url: String,
    /// Why it holds consequences back, if it does.
    pub(super) breaker: Option<String>,
    /// Why it could not be asked.
    pub(super) error: Option<String>,
}

impl Report {
    /// Finds what somebody should look at.
    pub(super) fn judge(&mut self) {
        let mut problems = Vec::new();
        let asked =
            self.gateways.iter().filter_map(|gateway| Some((&gateway.url, gateway.not_ready.as_ref()?)));
        problems.extend(asked.map(|(url, why)| format!("gateway {url} is not ready: {why}")));
        for monitor in &self.monitors {
            let url = &monitor.url;
            problems
                .extend(monitor.error.iter().map(|error| format!("monitor {url} does not answer: {error}")));
            problems.extend(
                monitor.breaker.iter().map(|why| format!("monitor {url} holds consequences back: {why}")),
            );
        }
        let of_network = if let Some(network) = &self.network {
            // That it is not ready was told above, and what monitors said themselves.
            let mut network = NetworkStatus { not_ready: None, ..network.clone() };
            if let Some(recorded) = network.recorded.as_mut().filter(|_| !self.monitors.is_empty()) {
                recorded.breakers.clear();
            }
            network.problems()
        } else {
            let without = self.regions.iter().filter(|(_, nodes)| nodes.is_empty_handed());
            without.map(|(region, _)| format!("no node of region {region} is there")).collect()
        };
        problems.extend(of_network);
        self.problems = problems;
    }

    /// The text for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for gateway in &self.gateways {
            let how = match &gateway.not_ready {
                Some(why) => format!("not ready: {why}"),
                None if gateway.is_ready => "ready".into(),
                None => "does not say here whether it is ready".into(),
            };
            rows.push(["gateway".to_string(), format!("{}  {how}", gateway.url)]);
        }
        for monitor in &self.monitors {
            let how = match (&monitor.error, &monitor.breaker) {
                (Some(error), _) => format!("does not answer: {error}"),
                (None, Some(why)) => format!("holds consequences back: {why}"),
                (None, None) => "works".into(),
            };
            rows.push(["monitor".to_string(), format!("{}  {how}", monitor.url)]);
        }
        if let Some(network) = &self.network {
            rows.extend(of_network(network));
        }
        if let Some(why) = &self.why_little {
            rows.push(["known".to_string(), format!("only what everybody may know ({why})")]);
        }
        let mut lines: Vec<String> =
            rows.into_iter().map(|[name, value]| format!("{name:<11} {value}")).collect();
        lines.push(String::new());
        lines.extend(table(self.network.as_ref().map_or(&self.regions, |network| &network.regions)));
        let recorded = self.network.as_ref().and_then(|network| network.recorded.as_ref());
        let events = recorded.map_or(&[][..], |recorded| &recorded.events);
        if !events.is_empty() {
            lines.push(String::new());
            lines.push("latest events".into());
            lines.extend(events.iter().map(event));
        }
        lines.push(String::new());
        if self.problems.is_empty() && self.network.is_some() {
            lines.push("nothing needs anybody".into());
        } else if self.problems.is_empty() {
            lines.push("nothing is known that needs anybody".into());
        } else {
            lines.push("somebody should look at this".into());
            lines.extend(self.problems.iter().map(|problem| format!("  {problem}")));
        }
        lines.into_iter().map(|line| printable(&line)).collect()
    }
}

fn of_network(network: &NetworkStatus) -> Vec<[String; 2]> {
    let redis = match network.redis.as_str() {
        "off" => "not used",
        "up" => "answers",
        _ => "does not answer",
    };
    let database = match (network.database.as_str(), &network.recorded) {
        ("away", _) | ("", None) => "does not answer",
        (_, None) => "answers, but does not say in time what is recorded",
        (_, Some(_)) => "answers",
    };
    let mut rows = vec![
        ["version", &network.version].map(str::to_string),
        ["database", database].map(str::to_string),
        ["redis", redis].map(str::to_string),
        [
            "nodes".into(),
            format!("{} can take pieces, {} needed", network.nodes_usable, network.nodes_needed),
        ],
    ];
    if let Some(recorded) = &network.recorded {
        rows.extend(of_database(recorded));
    }
    rows
}

fn of_database(recorded: &RecordedStatus) -> Vec<[String; 2]> {
    let shown = |count: u64| recorded.shown(count);
    let not_known = recorded.not_counted.as_ref().map(|why| format!("not known ({why})"));
    let waiting = |count: Option<u64>| count.map_or_else(|| "not known".to_string(), shown);
    let segments = recorded.segments.iter().fold(String::new(), |mut text, (state, count)| {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{state} {}", shown(*count));
        text
    });
    let seen = match recorded.monitor_seen_ms_ago {
        Some(away) => format!("last sign of life {} s ago", away / 1_000),
        None => "none has ever worked".into(),
    };
    let held = recorded.held.as_ref().map_or("goes on".to_string(), |why| format!("held: {why}"));
    let breakers = recorded.breakers.iter();
    let mut rows = vec![["monitors".to_string(), seen]];
    rows.extend(
        breakers.map(|(id, why)| ["monitor".into(), format!("{id}  holds consequences back: {why}")]),
    );
    rows.extend([
        ["segments".into(), not_known.unwrap_or(segments)],
        [
            "waiting".into(),
            format!(
                "repairs {}, pieces to be dropped {}",
                waiting(recorded.repairs_waiting),
                waiting(recorded.unpins_waiting)
            ),
        ],
        ["collection".into(), held],
    ]);
    rows
}

/// Regions, in columns as wide as what stands in them.
fn table(regions: &BTreeMap<String, RegionStatus>) -> Vec<String> {
    let bytes = |bytes: u64| BinaryBytes(bytes).to_string();
    let head =
        ["region", "healthy", "offline", "suspended", "disqualified", "used", "free"].map(str::to_string);
    let mut rows = vec![head];
    rows.extend(regions.iter().map(|(region, nodes)| {
        [
            region.clone(),
            nodes.healthy.to_string(),
            nodes.offline.to_string(),
            nodes.suspended.to_string(),
            nodes.disqualified.to_string(),
            bytes(nodes.used_bytes),
            bytes(nodes.free_bytes),
        ]
    }));
    let widths: Vec<usize> =
        (0..7).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: [String; 7]| {
        let cells = row.into_iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.into_iter().map(line).collect()
}

fn event(event: &StatusEvent) -> String {
    let short = |id: &Option<String>| {
        id.as_ref().map_or_else(String::new, |id| id.chars().take(12).collect::<String>() + " ")
    };
    format!(
        "  {}  {:<22} {}{}{}",
        event.at,
        event.kind,
        short(&event.node),
        short(&event.segment),
        event.details
    )
}

/// What others say must not do anything to a terminal.
fn printable(line: &str) -> String {
    line.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests;
