use super::*;

fn report() -> Report {
    let nodes = |healthy, offline| RegionStatus {
        healthy,
        offline,
        used_bytes: 3 << 30,
        free_bytes: 5 << 40,
        ..RegionStatus::default()
    };
    let recorded = RecordedStatus {
        counted_max: 1_000,
        segments: [("live".to_string(), 1_000), ("lost".to_string(), 0)].into(),
        repairs_waiting: Some(2),
        unpins_waiting: Some(0),
        monitor_seen_ms_ago: Some(3_999),
        events: vec![StatusEvent {
            at: "2026-01-02T03:04:05Z".into(),
            kind: "node_offline".into(),
            node: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
            details: "said \u{1b}[31mno".into(),
            ..StatusEvent::default()
        }],
        ..RecordedStatus::default()
    };
    let network = NetworkStatus {
        version: "1.2.3".into(),
        database: "up".into(),
        redis: "off".into(),
        nodes_needed: 16,
        nodes_usable: 19,
        regions: [("eu".to_string(), nodes(7, 0)), ("north-america".to_string(), nodes(12, 1))].into(),
        recorded: Some(recorded),
        ..NetworkStatus::default()
    };
    Report {
        gateways: vec![GatewayReport { url: "http://a".into(), is_ready: true, not_ready: None }],
        monitors: vec![MonitorReport { url: "http://b".into(), breaker: None, error: None }],
        network: Some(network),
        ..Report::default()
    }
}

#[test]
fn what_is_well_is_shown_in_columns() {
    let mut report = report();
    report.judge();
    let expected = "\
gateway     http://a  ready
monitor     http://b  works
version     1.2.3
database    answers
redis       not used
nodes       19 can take pieces, 16 needed
monitors    last sign of life 3 s ago
segments    live 1000 or more, lost 0
waiting     repairs 2, pieces to be dropped 0
collection  goes on

region         healthy  offline  suspended  disqualified      used      free
eu                   7        0          0             0  3.00 GiB  5.00 TiB
north-america       12        1          0             0  3.00 GiB  5.00 TiB

latest events
  2026-01-02T03:04:05Z  node_offline           4bf92f3577b3 said ?[31mno

nothing needs anybody";
    assert_eq!(report.lines().join("\n"), expected);
}

#[test]
fn what_somebody_should_look_at_comes_last() {
    let mut report = report();
    report.gateways[0].not_ready = Some("starting".into());
    report.monitors[0].breaker = Some("many fail".into());
    let network = report.network.as_mut().unwrap();
    (network.recorded, network.database) = (None, "away".into());
    network.not_ready = Some("told twice".into());
    report.judge();
    let text = report.lines().join("\n");
    let end = "\
somebody should look at this
  gateway http://a is not ready: starting
  monitor http://b holds consequences back: many fail
  the database does not answer";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn what_a_monitor_elsewhere_holds_back_is_told_once() {
    let mut report = report();
    let recorded = report.network.as_mut().unwrap().recorded.as_mut().unwrap();
    recorded.breakers = [("4bf9".to_string(), "many fail".to_string())].into();
    report.judge();
    assert_eq!(report.problems, Vec::<String>::new(), "the monitor was asked itself");
    report.monitors.clear();
    report.judge();
    assert_eq!(report.problems, ["monitor 4bf9 holds consequences back: many fail"]);
    let text = report.lines().join("\n");
    assert!(text.contains("\nmonitor     4bf9  holds consequences back: many fail\n"), "{text}");
}

#[test]
fn what_was_not_counted_in_time_is_not_shown_as_a_database_that_is_away() {
    let mut report = report();
    let recorded = report.network.as_mut().unwrap().recorded.as_mut().unwrap();
    recorded.segments.clear();
    (recorded.repairs_waiting, recorded.unpins_waiting) = (None, None);
    recorded.not_counted = Some("it took too long".into());
    report.judge();
    let text = report.lines().join("\n");
    for line in [
        "database    answers\n",
        "segments    not known (it took too long)\n",
        "waiting     repairs not known, pieces to be dropped not known\n",
        "monitors    last sign of life 3 s ago\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
}

#[test]
fn without_the_admin_token_only_regions_are_shown() {
    let whole = report();
    let mut little = Report {
        gateways: whole.gateways,
        regions: whole.network.unwrap().regions,
        why_little: Some("no admin token".into()),
        ..Report::default()
    };
    little.judge();
    let text = little.lines().join("\n");
    assert!(text.contains("only what everybody may know (no admin token)"), "{text}");
    assert!(text.contains("north-america") && !text.contains("database"), "{text}");
    assert_eq!(little.problems, Vec::<String>::new());
    little.regions.values_mut().for_each(|nodes| (nodes.healthy, nodes.offline) = (0, 3));
    little.judge();
    assert_eq!(little.problems.len(), 2, "{:?}", little.problems);
}
