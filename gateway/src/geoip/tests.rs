//! Tests of GeoIP: what addresses mean, what survives a bad file, and what a reload looks like from a lookup.

use std::{fs, net::IpAddr, path::Path};

use ipnet::IpNet;
use mmdb_writer::Value;
use protocol::region::{Coordinates, Country, Place, Region};

use super::{
    GeoIp, GeoIpConfig, dev_database::encode, dev_ranges, nearest::NearestRegion, write_dev_database,
};

mod bytes;
mod config;
mod dev;
mod places;
mod reload;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

fn at(path: &Path) -> GeoIp {
    GeoIp::open(&GeoIpConfig { path: Some(path.to_owned()), ..GeoIpConfig::default() })
}

/// A database of these records, opened.
fn holding(records: impl IntoIterator<Item = (&'static str, Value)>) -> GeoIp {
    let bytes = encode(records.into_iter().map(|(range, record)| (net(range), record))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    fs::write(&path, bytes).unwrap();
    let geoip = at(&path);
    assert!(geoip.is_loaded());
    geoip
}

/// The bytes of the database of three loopback regions.
fn dev_bytes() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    write_dev_database(&path, &dev_ranges(3)).unwrap();
    fs::read(&path).unwrap()
}

fn region(geoip: &GeoIp, address: &str) -> Option<Region> {
    geoip.lookup(ip(address)).map(|place| place.region)
}

fn in_country(code: &str) -> Place {
    Place::of_country(country(code)).unwrap()
}

fn point(latitude: f64, longitude: f64) -> Coordinates {
    Coordinates::new(latitude, longitude).unwrap()
}
