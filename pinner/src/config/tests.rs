//! Configuration: sizes as people write them, sources, and what is refused.

use std::io::Write as _;

use proptest::prelude::*;
use service::config::load;

use super::*;

#[test]
fn sizes_are_read_exactly() {
    let check = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
    assert_eq!(check("1 TB"), Ok(1_000_000_000_000));
    assert_eq!(check("500GiB"), Ok(500 << 30));
    assert_eq!(check("0.1 TB"), Ok(100_000_000_000));
    assert_eq!(check("1.5mib"), Ok(3 << 19));
    assert_eq!(check("1_000"), Ok(1000));
    for wrong in ["", "TB", "-1", "1 XB", "1.2.3", "1 TB more", "99999999 PB", ".5 GB", "1e9"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn a_printed_size_reads_back(bytes: u64, shift in 0_u32..64) {
        let size = ByteSize(bytes >> shift);
        prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
    }
}

#[test]
fn file_and_environment_are_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "url = \"https://node.example\"\ncapacity = \"1 TB\"\nreserve = 5\n[usage]\nredeem_grace = \"1s\"\n";
    file.write_all(text.as_bytes()).unwrap();
    let variables = vec![("PINSTRIPE__GATEWAYS".to_string(), "http://a, http://b:1".to_string())];
    let config: Config = load(Some(file.path()), variables).unwrap();
    assert_eq!(config.gateways, ["http://a", "http://b:1"]);
    assert_eq!((config.capacity, config.reserve), (ByteSize(1_000_000_000_000), ByteSize(5)));
    assert_eq!(config.usage.redeem_grace, Duration::from_secs(1));
    assert_eq!(config.pieces_dir(), PathBuf::from("pinner/pieces"));
}

#[test]
fn the_defaults_are_usable_and_survive_being_written() {
    let config: Config = load(None, Vec::new()).unwrap();
    assert_eq!(config, Config::default());
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
}

#[test]
fn every_problem_is_listed() {
    let mut config = Config {
        url: "node.example".into(),
        gateways: vec!["ftp://x".into()],
        invite: "a".into(),
        invite_file: "b".into(),
        capacity: ByteSize(0),
        ..Config::default()
    };
    config.limits.gets_max = 10_000;
    config.limits.client_rate = f64::NAN;
    config.limits.clients_max = 0;
    config.heartbeat.every = Duration::ZERO;
    config.usage.redeemed_max = 0;
    config.scrub.rate = ByteSize(0);
    let problems = config.problems();
    for key in [
        "url",
        "gateways",
        "invite",
        "capacity",
        "limits.gets_max",
        "limits.client_rate",
        "limits.clients_max",
        "heartbeat.every",
        "usage.redeemed_max",
        "scrub.rate",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:?}");
    }
    assert_eq!(problems.len(), 10, "{problems:?}");
}
