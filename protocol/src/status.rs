//! How a network is, for people: what `GET /v1/admin/status` of a gateway says, and what of it somebody should look at.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Monitors give signs of life every few seconds. Without one for so long somebody should look.
pub const MONITORS_AWAY_MAX: Duration = Duration::from_mins(1);

/// What a gateway knows of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Version of the gateway.
    pub version: String,
    /// Why the gateway is not ready; nothing when it is.
    pub not_ready: Option<String>,
    /// `up` or `away`; empty of gateways that do not say it.
    #[serde(default)]
    pub database: String,
    /// `off`, `up` or `away`.
    pub redis: String,
    /// Nodes that a segment needs, at least.
    pub nodes_needed: u64,
    /// Nodes that can take pieces now.
    pub nodes_usable: u64,
    /// Nodes by region.
    pub regions: BTreeMap<String, RegionStatus>,
    /// What the database says; nothing when it does not say it in time.
    pub recorded: Option<RecordedStatus>,
}

/// The nodes of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionStatus {
    /// Nodes that answer, of good standing or still being vetted.
    pub healthy: u64,
    /// Nodes that do not answer; of those that do, the others are suspended or disqualified.
    pub offline: u64,
    /// Nodes that are suspended.
    pub suspended: u64,
    /// Nodes that are out for good.
    pub disqualified: u64,
    /// Bytes that all of them offer.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that healthy ones can still take.
    pub free_bytes: u64,
}

impl RegionStatus {
    /// Whether there are nodes, and none that readers can be sent to.
    pub fn is_empty_handed(&self) -> bool {
        self.healthy == 0 && self.offline + self.suspended > 0
    }
}

/// What stands in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedStatus {
    /// Nothing was counted further than this.
    pub counted_max: u64,
    /// Segments by state: `pending`, `live`, `orphaned`, `lost`; none when they were not counted.
    pub segments: BTreeMap<String, u64>,
    /// Segments that wait for repair; nothing when they were not counted.
    pub repairs_waiting: Option<u64>,
    /// Pieces that nodes are still to be told to drop; nothing when they were not counted.
    pub unpins_waiting: Option<u64>,
    /// Why nothing was counted.
    #[serde(default)]
    pub not_counted: Option<String>,
    /// Milliseconds since a monitor gave a sign of life; nothing when none ever did.
    pub monitor_seen_ms_ago: Option<u64>,
    /// Why monitors hold consequences back, by their names; those that do not are not here.
    #[serde(default)]
    pub breakers: BTreeMap<String, String>,
    /// Why nothing is collected, if that is so.
    pub held: Option<String>,
    /// What was decided lately, newest first.
    pub events: Vec<StatusEvent>,
}

/// Something that was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusEvent {
    /// RFC 3339.
    pub at: String,
    /// What it was.
    pub kind: String,
    /// The node, if it is about one.
    pub node: Option<String>,
    /// The segment, if it is about one.
    pub segment: Option<String>,
    /// For people.
    pub details: String,
}

impl NetworkStatus {
    /// What somebody should look at, for people; nothing when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.not_ready.iter().map(|why| format!("the gateway is not ready: {why}")).collect();
        if self.redis == "away" {
            problems.push("redis does not answer: gateways go on without each other".into());
        }
        if self.nodes_usable < self.nodes_needed {
            problems.push(format!(
                "{} nodes can take pieces, and a segment needs {}: nothing can be uploaded",
                self.nodes_usable, self.nodes_needed
            ));
        }
        let without = self.regions.iter().filter(|(_, nodes)| nodes.is_empty_handed());
        problems.extend(without.map(|(region, _)| format!("no node of region {region} is there")));
        match (&self.recorded, self.database.as_str()) {
            (None, "up") => {
                problems.push("the database answers, but does not say in time what is recorded".into());
            }
            (None, _) | (_, "away") => problems.push("the database does not answer".into()),
            _ => {}
        }
        problems.extend(self.recorded.iter().flat_map(RecordedStatus::problems));
        problems
    }
}

impl RecordedStatus {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(why) = &self.not_counted {
            problems.push(format!("whether segments are lost or wait for repair is not known: {why}"));
        }
        let lost = self.segments.get("lost").copied().unwrap_or(0);
        if lost > 0 {
            problems.push(format!("segments are lost: {}", self.shown(lost)));
        }
        match self.monitor_seen_ms_ago.map(Duration::from_millis) {
            None => problems.push("no monitor has ever worked here".into()),
            Some(away) if away > MONITORS_AWAY_MAX => {
                problems.push(format!("no monitor has given a sign of life for {} s", away.as_secs()));
            }
            Some(_) => {}
        }
        let breakers = self.breakers.iter();
        problems.extend(breakers.map(|(id, why)| format!("monitor {id} holds consequences back: {why}")));
        problems.extend(self.held.iter().map(|why| format!("nothing is collected: {why}")));
        problems
    }

    /// A count as people read it.
    pub fn shown(&self, count: u64) -> String {
        if count >= self.counted_max { format!("{count} or more") } else { count.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut NetworkStatus);
    type Recorded = fn(&mut RecordedStatus);

    fn well() -> NetworkStatus {
        let recorded = RecordedStatus {
            counted_max: 100,
            segments: [("live".to_string(), 100), ("lost".to_string(), 0)].into(),
            monitor_seen_ms_ago: Some(59_000),
            ..RecordedStatus::default()
        };
        let nodes = RegionStatus { healthy: 7, offline: 1, suspended: 1, ..RegionStatus::default() };
        NetworkStatus {
            database: "up".into(),
            redis: "off".into(),
            nodes_needed: 16,
            nodes_usable: 16,
            regions: [("eu".to_string(), nodes)].into(),
            recorded: Some(recorded),
            ..NetworkStatus::default()
        }
    }

    #[test]
    fn each_problem_is_told_and_nothing_else() {
        assert_eq!(well().problems(), Vec::<String>::new());
        let recorded = |status: &mut NetworkStatus, change: Recorded| {
            change(status.recorded.as_mut().expect("recorded"));
        };
        let check = |change: &dyn Fn(&mut NetworkStatus), said: &str| {
            let mut status = well();
            change(&mut status);
            let problems = status.problems();
            assert!(problems.len() == 1 && problems[0].contains(said), "{said}: {problems:?}");
        };
        let direct: [(Change, &str); 7] = [
            (|status| status.not_ready = Some("starting".into()), "starting"),
            (|status| status.redis = "away".into(), "redis"),
            (|status| status.nodes_usable = 15, "15 nodes"),
            (|status| status.regions.values_mut().for_each(|nodes| nodes.healthy = 0), "region eu"),
            (|status| status.recorded = None, "answers, but"),
            (|status| status.database = "away".into(), "database does not answer"),
            (|status| (status.recorded, status.database) = (None, "away".into()), "database does not answer"),
        ];
        for (change, said) in direct {
            check(&change, said);
        }
        let of_database: [(Recorded, &str); 7] = [
            (|status| *status.segments.entry("lost".into()).or_default() = 3, "segments are lost: 3"),
            (|status| *status.segments.entry("lost".into()).or_default() = 100, "100 or more"),
            (|status| status.monitor_seen_ms_ago = Some(61_000), "61 s"),
            (|status| status.monitor_seen_ms_ago = None, "no monitor has ever"),
            (|status| status.held = Some("set back".into()), "set back"),
            (|status| status.breakers = [("a".into(), "many fail".into())].into(), "monitor a holds"),
            (|status| status.not_counted = Some("took too long".into()), "took too long"),
        ];
        for (change, said) in of_database {
            check(&|status| recorded(status, change), said);
        }
    }
}
