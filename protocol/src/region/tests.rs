use proptest::prelude::*;

use super::*;

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

fn km(a: &str, b: &str) -> f64 {
    country(a).centroid().unwrap().distance_km(country(b).centroid().unwrap())
}

#[test]
fn regions_print_and_parse() {
    for text in ["eu", "eu-west", "na", "moon-base-1", "abcdefghijklmnop"] {
        let region: Region = text.parse().unwrap();
        assert_eq!(region.to_string(), text);
        assert_eq!(serde_json::from_str::<Region>(&serde_json::to_string(&region).unwrap()).unwrap(), region);
    }
    for text in ["", "EU", "-eu", "eu-", "1eu", "eu west", "é", "abcdefghijklmnopq"] {
        assert!(text.parse::<Region>().is_err(), "{text}");
    }
    assert_eq!("eu-west".parse::<Region>().unwrap().continent(), Region::EU);
    assert_eq!(Region::SA.continent(), Region::SA);
}

#[test]
fn every_named_region_is_well_formed() {
    for (region, latitude, longitude) in CENTROIDS {
        assert_eq!(region.as_str().parse(), Ok(*region));
        assert!(Coordinates::new(*latitude, *longitude).is_some());
        assert!(region.continent().centroid().is_some());
    }
    assert_eq!("eu-nowhere".parse::<Region>().unwrap().centroid(), Region::EU.centroid());
    assert_eq!("moon".parse::<Region>().unwrap().centroid(), None);
}

#[test]
fn the_table_holds_every_country_once() {
    let table = countries::COUNTRIES;
    assert_eq!(table.len(), 250, "249 of ISO 3166-1 and XK");
    assert!(table.windows(2).all(|pair| pair[0].code < pair[1].code), "sorted, no code twice");
    for entry in table {
        let country = Country::new(entry.code).unwrap();
        let point = country.centroid().unwrap();
        assert!(Coordinates::new(point.latitude, point.longitude).is_some(), "{country}");
        // A slip of a sign or a digit puts a country on the wrong side of the world.
        let far = country.region().unwrap().centroid().unwrap().distance_km(point);
        let far_max = if country.region() == Some(Region::OC) { 9_500.0 } else { 7_700.0 };
        assert!(far < far_max, "{country} lies {far} km from the middle of its region");
    }
    assert_eq!(Country::new(*b"ZZ").unwrap().region(), None);
}

#[test]
fn distances_are_those_of_the_globe() {
    let close = |got: f64, want: f64| (got - want).abs() < want * 0.01;
    let london = Coordinates::new(51.5074, -0.1278).unwrap();
    let new_york = Coordinates::new(40.7128, -74.006).unwrap();
    let sydney = Coordinates::new(-33.8688, 151.2093).unwrap();
    assert!(close(london.distance_km(new_york), 5_570.0));
    assert!(close(london.distance_km(sydney), 16_994.0));
    let west = Coordinates::new(0.0, -179.5).unwrap();
    let east = Coordinates::new(0.0, 179.5).unwrap();
    assert!(close(west.distance_km(east), 111.2), "across the date line");
    assert!(km("DE", "FR") < km("DE", "ES") && km("DE", "ES") < km("DE", "US"));
    assert!(km("AU", "NZ") < km("AU", "JP") && km("BR", "AR") < km("BR", "ZA"));
}

#[test]
fn geoip_answers_become_regions() {
    assert_eq!(region_of(Some(country("de")), None), Some(Region::EU));
    assert_eq!(region_of(Some(country("JP")), Some("EU")), Some(Region::AS));
    assert_eq!(region_of(Some(country("ZZ")), Some("AF")), Some(Region::AF));
    assert_eq!(region_of(None, Some("OC")), Some(Region::OC));
    assert_eq!(region_of(None, Some("XX")), None);
    assert_eq!(region_of(None, None), None);
}

#[test]
fn regions_are_ordered_by_distance_from_the_reader() {
    let moon: Region = "moon".parse().unwrap();
    let mut regions = [moon, Region::OC, Region::SA, Region::AS, Region::EU, Region::NA];
    sort_by_distance(&Place::of_country(country("BR")).unwrap(), &mut regions);
    assert_eq!(regions, [Region::SA, Region::NA, Region::EU, Region::OC, Region::AS, moon]);
    sort_by_distance(&Place::of_country(country("PL")).unwrap(), &mut regions);
    assert_eq!(regions[0], Region::EU);
    // Morocco is in Africa, but of the regions there are, Europe is nearest.
    let mut regions = [Region::OC, Region::NA, Region::EU];
    sort_by_distance(&Place::of_country(country("MA")).unwrap(), &mut regions);
    assert_eq!(regions[0], Region::EU);
}

fn point() -> impl Strategy<Value = Coordinates> {
    (-90.0..=90.0, -180.0..=180.0).prop_map(|(latitude, longitude)| Coordinates { latitude, longitude })
}

/// The same distance by the law of cosines, which is exact for points that are not close.
fn slow_distance_km(a: Coordinates, b: Coordinates) -> f64 {
    let unit = |p: Coordinates| {
        let (lat, lon) = (p.latitude.to_radians(), p.longitude.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let dot: f64 = unit(a).iter().zip(unit(b)).map(|(x, y)| x * y).sum();
    EARTH_RADIUS_KM * dot.clamp(-1.0, 1.0).acos()
}

proptest! {
    #[test]
    fn distance_agrees_with_the_law_of_cosines(a in point(), b in point()) {
        let (ab, slow) = (a.distance_km(b), slow_distance_km(a, b));
        prop_assert!((ab - slow).abs() < 1.0, "{ab} {slow}");
        prop_assert!((ab - b.distance_km(a)).abs() < 1e-6);
        prop_assert!(a.distance_km(a) < 1e-6);
    }

    #[test]
    fn parsing_a_region_never_panics(text in "\\PC{0,20}") {
        if let Ok(region) = text.parse::<Region>() {
            prop_assert_eq!(region.as_str(), text);
        }
    }
}
