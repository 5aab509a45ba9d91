//! What records of either shape mean, and which of their fields decides.

use mmdb_writer::{IpVersion, Writer};
use proptest::prelude::*;

use super::*;

// Edirne, at Turkey's western border: nearer to the middle of Bulgaria than to that of Turkey, which counts to Asia.
const EDIRNE: (f64, f64) = (41.7, 26.6);

fn nested(country: Option<&str>, continent: Option<&str>, point: Option<(f64, f64)>) -> Value {
    let mut fields = vec![("city", Value::map([("names", Value::map([("en", "Somewhere")]))]))];
    if let Some(code) = country {
        let names = Value::map([("de", "Irgendwo"), ("en", "Somewhere")]);
        fields.push(("country", Value::map([("iso_code", Value::from(code)), ("names", names)])));
    }
    if let Some(code) = continent {
        fields.push(("continent", Value::map([("code", code)])));
    }
    if let Some((latitude, longitude)) = point {
        let radius = ("accuracy_radius", Value::from(100_u16));
        let degrees = [("latitude", latitude.into()), ("longitude", longitude.into()), radius];
        fields.push(("location", Value::map(degrees)));
    }
    Value::map(fields)
}

fn lookup(record: Value) -> Option<Place> {
    // A second record keeps the database usable when the one in question says nothing.
    holding([("192.0.2.0/24", record), ("198.51.100.0/24", Value::map([("country_code", "JP")]))])
        .lookup(ip("192.0.2.77"))
}

#[test]
fn the_nested_shape_gives_region_country_and_point() {
    let place = lookup(nested(Some("BR"), Some("SA"), Some((-23.5, -46.6)))).unwrap();
    let wanted = Place { coordinates: Some(point(-23.5, -46.6)), ..in_country("BR") };
    assert_eq!(place, wanted);
    assert_eq!(lookup(nested(Some("BR"), None, None)), Some(in_country("BR")));
    assert_eq!(lookup(nested(None, Some("OC"), None)), Some(Place::of_region(Region::OC)));
}

#[test]
fn the_flat_shape_gives_the_same_in_any_kind_of_number() {
    let flat = |latitude: Value, longitude: Value| {
        let codes = [("country_code", Value::from("BR")), ("continent_code", Value::from("SA"))];
        lookup(Value::map(codes.into_iter().chain([("latitude", latitude), ("longitude", longitude)])))
    };
    let wanted = Place { coordinates: Some(point(-23.5, -46.5)), ..in_country("BR") };
    assert_eq!(flat(Value::Double(-23.5), Value::Double(-46.5)), Some(wanted));
    assert_eq!(flat(Value::Float(-23.5), Value::Float(-46.5)), Some(wanted));
    assert_eq!(flat("-23.5".into(), " -46.5".into()), Some(wanted));
    let whole = flat(Value::I32(-23), Value::U16(46)).unwrap();
    assert_eq!(whole.coordinates, Some(point(-23.0, 46.0)));
    let nonsense = flat("somewhere".into(), Value::Double(f64::NAN)).unwrap();
    assert_eq!(nonsense, in_country("BR"), "no point is better than a wrong one");
}

#[test]
fn names_in_the_place_of_codes_do_no_harm() {
    let names = [("country", "Brazil"), ("country_code", "BR"), ("continent", "South America")];
    assert_eq!(lookup(Value::map(names)), Some(in_country("BR")));
    let bare = [("country", "BR"), ("continent", "SA")];
    assert_eq!(lookup(Value::map(bare)), Some(in_country("BR")));
    let only_continent = [("continent", "South America"), ("continent_code", "SA")];
    assert_eq!(lookup(Value::map(only_continent)), Some(Place::of_region(Region::SA)));
}

#[test]
fn a_point_decides_only_when_country_and_continent_are_missing() {
    let by = |country, continent| lookup(nested(country, continent, Some(EDIRNE))).unwrap();
    assert_eq!(by(Some("TR"), None).region, Region::AS);
    assert_eq!(by(None, Some("AS")).region, Region::AS);
    assert_eq!(by(None, None).region, Region::EU);
    assert_eq!(by(None, None).country, None, "the nearest country is a guess and is not claimed");
    assert_eq!(by(None, None).coordinates, Some(point(EDIRNE.0, EDIRNE.1)));
}

#[test]
fn a_country_decides_before_the_continent() {
    let place = lookup(nested(Some("TR"), Some("EU"), None)).unwrap();
    assert_eq!(place, in_country("TR"), "every party maps a country to the same region");
    let pseudo = lookup(nested(Some("ZZ"), Some("EU"), None)).unwrap();
    assert_eq!(pseudo, Place::of_region(Region::EU), "ZZ is no country");
}

#[test]
fn a_record_that_says_nothing_is_unknown() {
    assert_eq!(lookup(nested(None, None, None)), None);
    assert_eq!(lookup(nested(Some("ZZ"), Some("ZZ"), Some((0.0, 0.0)))), None);
    assert_eq!(lookup(nested(None, None, Some((91.0, 10.0)))), None);
}

#[test]
fn addresses_of_both_families_and_mapped_ones_are_found() {
    let geoip = holding([
        ("192.0.2.0/24", nested(Some("BR"), None, None)),
        ("2001:db8::/32", nested(Some("AU"), None, None)),
    ]);
    assert_eq!(region(&geoip, "192.0.2.1"), Some(Region::SA));
    assert_eq!(region(&geoip, "::ffff:192.0.2.1"), Some(Region::SA));
    assert_eq!(region(&geoip, "2001:db8:1::1"), Some(Region::OC));
    for unknown in ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "192.0.3.1", "2001:db9::1"] {
        assert_eq!(region(&geoip, unknown), None, "{unknown}");
    }
}

#[test]
fn a_database_of_ipv4_only_knows_no_ipv6_address() {
    let mut writer = Writer::builder("Test").ip_version(IpVersion::V4).build();
    writer.insert_value(net("192.0.2.0/24"), nested(Some("BR"), None, None)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), writer.to_bytes().unwrap()).unwrap();
    let geoip = at(file.path());
    assert_eq!(region(&geoip, "192.0.2.1"), Some(Region::SA));
    assert_eq!(region(&geoip, "::ffff:192.0.2.1"), Some(Region::SA));
    assert_eq!(region(&geoip, "2001:db8::1"), None);
}

#[test]
fn a_bad_record_beyond_the_samples_costs_only_its_own_addresses() {
    let good = (0..20_000_u32).map(|at| {
        let range = IpNet::new(IpAddr::V4((0x0A00_0000 + at * 2).into()), 32).unwrap();
        (range, nested(Some("BR"), None, None))
    });
    let bad = Value::map([("country", Value::map([("iso_code", 7_u16)]))]);
    let bytes = encode(good.chain([(net("203.0.113.7/32"), bad)])).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let geoip = at(file.path());
    assert_eq!(region(&geoip, "10.0.0.4"), Some(Region::SA));
    assert_eq!(region(&geoip, "203.0.113.7"), None);
}

#[test]
fn large_cities_are_nearest_to_their_own_region() {
    let nearest = NearestRegion::new();
    for (code, latitude, longitude) in [("FR", 48.9, 2.4), ("MA", 33.6, -7.6), ("US", 34.1, -118.2)] {
        assert_eq!(nearest.of(point(latitude, longitude)), country(code).region(), "{code}");
    }
}

/// Every country's middle and region, for the slow way.
fn countries() -> impl Iterator<Item = (Coordinates, Region)> {
    let codes = (b'A'..=b'Z').flat_map(|a| (b'A'..=b'Z').map(move |b| [a, b]));
    codes.filter_map(|code| {
        let country = Country::new(code)?;
        Some((country.centroid()?, country.region()?))
    })
}

proptest! {
    #[test]
    fn the_nearest_region_is_that_of_the_least_distance(
        latitude in -90.0..=90.0_f64,
        longitude in -180.0..=180.0_f64,
    ) {
        let here = point(latitude, longitude);
        let found = NearestRegion::new().of(here).unwrap();
        let least = |of: &dyn Fn(Region) -> bool| {
            let distances = countries().filter(|(_, region)| of(*region)).map(|(there, _)| here.distance_km(there));
            distances.fold(f64::INFINITY, f64::min)
        };
        // A metre, for points as good as halfway between two.
        prop_assert!(least(&|region| region == found) <= least(&|_| true) + 0.001);
    }
}
