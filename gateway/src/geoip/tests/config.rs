//! The `[geoip]` section: defaults, refusals, and reading it as a process does.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::{Validate, load};

use super::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tree {
    geoip: GeoIpConfig,
}

impl Validate for Tree {
    fn problems(&self) -> Vec<String> {
        self.geoip.problems()
    }
}

fn read(text: &str) -> Result<GeoIpConfig, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    load::<Tree>(Some(file.path()), vec![]).map(|tree| tree.geoip).map_err(|error| error.to_string())
}

#[test]
fn the_default_has_no_database_and_is_usable() {
    assert_eq!(read("").unwrap(), GeoIpConfig::default());
    assert_eq!(GeoIpConfig::default().path, None);
    assert!(!GeoIp::open(&GeoIpConfig::default()).is_loaded());
}

#[test]
fn every_key_is_read() {
    let text = "[geoip]\npath = \"/var/lib/GeoIP/city.mmdb\"\nreload_every = \"5m\"\nbytes_max = 1000\n";
    let wanted = GeoIpConfig {
        path: Some("/var/lib/GeoIP/city.mmdb".into()),
        reload_every: Duration::from_secs(300),
        bytes_max: 1000,
    };
    assert_eq!(read(text).unwrap(), wanted);
}

#[test]
fn unknown_keys_and_useless_values_are_refused_by_name() {
    assert!(read("[geoip]\nfile = \"a\"\n").unwrap_err().contains("file"));
    for (text, key) in [
        ("reload_every = \"0s\"", "geoip.reload_every"),
        ("bytes_max = 0", "geoip.bytes_max"),
        ("path = \"\"", "geoip.path"),
    ] {
        let error = read(&format!("[geoip]\n{text}\n")).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}
