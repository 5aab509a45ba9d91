//! The database of a network on one machine.

use super::{
    super::{DEV_REGIONS_MAX, WriteDatabaseError},
    *,
};

#[test]
fn loopback_ranges_stand_for_regions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    write_dev_database(&path, &dev_ranges(3)).unwrap();
    let geoip = at(&path);
    let frankfurt = Place { coordinates: Some(point(50.1, 8.7)), ..in_country("DE") };
    assert_eq!(geoip.lookup(ip("127.1.0.9")), Some(frankfurt));
    assert_eq!(region(&geoip, "127.1.255.255"), Some(Region::EU));
    assert_eq!(region(&geoip, "127.2.0.9"), Some(Region::NA));
    assert_eq!(region(&geoip, "127.3.0.1"), Some(Region::AS));
    for unknown in ["127.0.0.1", "127.4.0.1", "126.1.0.1", "::1"] {
        assert_eq!(region(&geoip, unknown), None, "{unknown}");
    }
}

#[test]
fn as_many_regions_as_asked_for_up_to_the_most() {
    assert!(dev_ranges(0).is_empty());
    let all = dev_ranges(99);
    assert_eq!(all.len(), DEV_REGIONS_MAX);
    let mut regions: Vec<_> = all.iter().map(|(_, place)| place.region).collect();
    regions.sort();
    regions.dedup();
    assert_eq!(regions.len(), DEV_REGIONS_MAX, "no two alike");
}

#[test]
fn the_narrower_range_wins_in_any_order() {
    let narrow = (net("127.1.7.0/24"), in_country("JP"));
    let wide = (net("127.1.0.0/16"), in_country("DE"));
    let file = tempfile::NamedTempFile::new().unwrap();
    for ranges in [[narrow, wide], [wide, narrow]] {
        write_dev_database(file.path(), &ranges).unwrap();
        let geoip = at(file.path());
        assert_eq!(region(&geoip, "127.1.7.1"), Some(Region::AS));
        assert_eq!(region(&geoip, "127.1.8.1"), Some(Region::EU));
    }
}

#[test]
fn a_region_without_a_country_is_its_continent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let west = Place::of_region("eu-west".parse().unwrap());
    write_dev_database(file.path(), &[(net("127.1.0.0/16"), west)]).unwrap();
    assert_eq!(at(file.path()).lookup(ip("127.1.0.1")), Some(Place::of_region(Region::EU)));
}

#[test]
fn a_failed_write_changes_nothing_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    write_dev_database(&path, &dev_ranges(3)).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(before, dev_bytes(), "the same ranges give the same bytes");

    let mapped = [(net("::ffff:0:0/96"), in_country("DE"))];
    let error = write_dev_database(&path, &mapped).unwrap_err();
    assert!(matches!(error, WriteDatabaseError::Build(_)), "{error}");
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let error = write_dev_database(&taken, &dev_ranges(3)).unwrap_err();
    assert!(matches!(error, WriteDatabaseError::Write { .. }), "{error}");

    assert_eq!(fs::read(&path).unwrap(), before);
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["geo.mmdb", "taken"]);
}
