//! Files that change, break, vanish and come back under a running gateway.

use std::{
    fs::{File, FileTimes},
    os::unix::fs::MetadataExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use service::{
    job::{Job as _, Progress},
    watched_files::{LoadError, Reload},
};
use tempfile::TempDir;

use super::{super::GeoIpReload, *};

const READER: &str = "127.1.0.9";

/// A directory with a database in it that says `READER` is in Germany.
fn in_germany() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    write_dev_database(&path, &dev_ranges(3)).unwrap();
    (dir, path)
}

fn reader_in(code: &str) -> [(IpNet, Place); 1] {
    [(net("127.1.0.0/16"), in_country(code))]
}

#[test]
fn a_replaced_file_is_taken_once() {
    let (_dir, path) = in_germany();
    let geoip = at(&path);
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Unchanged);
    write_dev_database(&path, &reader_in("JP")).unwrap();
    assert_eq!(region(&geoip, READER), Some(Region::EU), "nothing changes before the reload");
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
    assert_eq!(region(&geoip, READER), Some(Region::AS));
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Unchanged);
}

#[test]
fn clones_see_the_new_database() {
    let (_dir, path) = in_germany();
    let geoip = at(&path);
    let clone = geoip.clone();
    write_dev_database(&path, &reader_in("JP")).unwrap();
    geoip.reload_if_changed().unwrap();
    assert_eq!(region(&clone, READER), Some(Region::AS));
}

#[test]
fn content_overwritten_in_place_is_noticed_though_size_and_modification_time_stay() {
    let (_dir, path) = in_germany();
    write_dev_database(&path, &reader_in("DE")).unwrap();
    let geoip = at(&path);
    let before = fs::metadata(&path).unwrap();
    let other = tempfile::NamedTempFile::new().unwrap();
    write_dev_database(other.path(), &reader_in("JP")).unwrap();
    // "EU" and "AS", "DE" and "JP" are as long as each other.
    let bytes = fs::read(other.path()).unwrap();
    assert_eq!(bytes.len() as u64, before.len());
    loop {
        fs::write(&path, &bytes).unwrap();
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()));
        // File systems stamp by the tick of the kernel's clock: go on until it has moved.
        if (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            break;
        }
    }
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
    assert_eq!(region(&geoip, READER), Some(Region::AS));
}

#[test]
fn a_bad_file_is_refused_once_and_the_old_database_stays() {
    let (_dir, path) = in_germany();
    let whole = fs::read(&path).unwrap();
    let geoip = at(&path);
    let noise: Vec<u8> = (0..5000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bad in [&[][..], &whole[..whole.len() / 2], &whole[..whole.len() - 1], &noise] {
        fs::write(&path, bad).unwrap();
        let error = geoip.reload_if_changed().unwrap_err();
        assert!(matches!(error, LoadError::Unusable { .. }), "{error}");
        assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Unchanged, "told once");
        assert_eq!(region(&geoip, READER), Some(Region::EU));
    }
    write_dev_database(&path, &reader_in("JP")).unwrap();
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
    assert_eq!(region(&geoip, READER), Some(Region::AS));
}

#[test]
fn a_file_that_vanishes_is_told_once_and_taken_again_when_it_is_back() {
    let (dir, path) = in_germany();
    let geoip = at(&path);
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    assert!(matches!(geoip.reload_if_changed(), Err(LoadError::Missing(_))));
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Unchanged);
    assert_eq!(region(&geoip, READER), Some(Region::EU));
    fs::rename(&aside, &path).unwrap();
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
}

#[test]
fn what_is_no_file_is_told_once_and_asked_again() {
    let (_dir, path) = in_germany();
    let geoip = at(&path);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(geoip.reload_if_changed(), Err(LoadError::Unreadable { .. })));
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Unchanged);
    fs::remove_dir(&path).unwrap();
    write_dev_database(&path, &reader_in("JP")).unwrap();
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
}

#[test]
fn a_file_over_the_bound_is_refused_and_one_at_the_bound_is_taken() {
    let (_dir, path) = in_germany();
    let size = fs::metadata(&path).unwrap().len();
    let bounded =
        |bytes_max| GeoIp::open(&GeoIpConfig { path: Some(path.clone()), bytes_max, ..Default::default() });
    assert!(bounded(size).is_loaded());
    assert!(!bounded(size - 1).is_loaded());
}

#[test]
fn a_link_moved_to_another_file_is_noticed() {
    let (dir, path) = in_germany();
    let link = dir.path().join("current.mmdb");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let geoip = at(&link);
    let next = dir.path().join("next.mmdb");
    write_dev_database(&next, &reader_in("JP")).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&next, &link).unwrap();
    assert_eq!(geoip.reload_if_changed().unwrap(), Reload::Loaded);
    assert_eq!(region(&geoip, READER), Some(Region::AS));
}

#[tokio::test]
async fn the_job_picks_up_a_database_that_was_missing_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("geo.mmdb");
    let geoip = at(&path);
    assert_eq!(region(&geoip, READER), None);
    let job = GeoIpReload::new(geoip.clone());
    assert_eq!(job.step().await.unwrap(), Progress::Idle);
    write_dev_database(&path, &dev_ranges(3)).unwrap();
    assert_eq!(job.step().await.unwrap(), Progress::Idle);
    assert_eq!(region(&geoip, READER), Some(Region::EU));
    fs::write(&path, b"broken").unwrap();
    assert_eq!(job.step().await.unwrap(), Progress::Idle, "a bad file is no failure of the job");
    assert_eq!(region(&geoip, READER), Some(Region::EU));
}

/// Runs `change` and a reload a hundred times while others look up, and checks that every answer was one of the two.
fn reload_under_lookups(geoip: &GeoIp, places: [Place; 2], change: impl Fn(usize)) {
    let stop = AtomicBool::new(false);
    let lookups = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let place = geoip.lookup(ip(READER)).expect("never without a database");
                    assert!(places.contains(&place), "{place:?} is in neither database");
                    lookups.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..100 {
            change(round);
            // Overwriting may be met half done; that is refused or postponed, and never served.
            let _ = geoip.reload_if_changed();
            let before = lookups.load(Ordering::Relaxed);
            while lookups.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn lookups_during_a_hundred_reloads_see_one_database_or_the_other() {
    let (_dir, path) = in_germany();
    let places = [Place { coordinates: Some(point(50.1, 8.7)), ..in_country("DE") }, {
        Place { coordinates: Some(point(35.7, 139.7)), ..in_country("JP") }
    }];
    let range = net("127.1.0.0/16");
    let geoip = at(&path);
    reload_under_lookups(&geoip, places, |round| {
        write_dev_database(&path, &[(range, places[(round + 1) % 2])]).unwrap();
    });
    assert_eq!(geoip.lookup(ip(READER)), Some(places[0]), "the last one written is in use");
}

#[test]
fn a_file_overwritten_in_place_during_reloads_is_never_seen_torn() {
    let (_dir, path) = in_germany();
    let places = [in_country("DE"), in_country("JP")];
    let encoded = places.map(|place| {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_dev_database(file.path(), &[(net("127.1.0.0/16"), place)]).unwrap();
        fs::read(file.path()).unwrap()
    });
    write_dev_database(&path, &[(net("127.1.0.0/16"), places[0])]).unwrap();
    let geoip = at(&path);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rounds = encoded.iter().cycle();
            while !done.load(Ordering::Relaxed) {
                fs::write(&path, rounds.next().unwrap()).unwrap();
            }
        });
        reload_under_lookups(&geoip, places, |_| {});
        done.store(true, Ordering::Relaxed);
    });
}
