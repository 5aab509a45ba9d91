//! Files that are missing, change, break and come back.

use std::{fs, path::PathBuf};

use service::{
    job::{Job as _, Progress},
    watched_files::{LoadError, Reload},
};

use super::super::{Denylist, DenylistConfig, DenylistError, DenylistReload, FormatError};
use super::*;

const A: &str = "QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR";
const B: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

fn config(files: Vec<PathBuf>) -> DenylistConfig {
    DenylistConfig { files, ..DenylistConfig::default() }
}

fn denied(denylist: &Denylist, cid: &str) -> Option<Denial> {
    denylist.denied(&cid.parse().unwrap())
}

#[test]
fn without_files_nothing_is_denied() {
    let denylist = Denylist::open(&DenylistConfig::default()).unwrap();
    assert_eq!(denied(&denylist, A), None);
    assert_eq!(denylist.denied_path(&A.parse().unwrap(), ["a"]), None);
    assert_eq!(denylist.reload_if_changed().unwrap(), Reload::Unchanged);
    assert_eq!(denylist.rules(), 0);
}

#[test]
fn later_files_win_over_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.deny"), dir.path().join("second.deny"));
    fs::write(&first, format!("hints: {{status: 451}}\n---\n/ipfs/{A}\n/ipfs/{B}\n")).unwrap();
    fs::write(&second, format!("!/ipfs/{B}\n/ipfs/{A}/x/y\n")).unwrap();
    let denylist = Denylist::open(&config(vec![first.clone(), second.clone()])).unwrap();
    assert_eq!((denied(&denylist, A), denied(&denylist, B)), (Some(Denial::Legal), None));
    let below = |path: &[&str]| denylist.denied_path(&A.parse().unwrap(), path);
    assert_eq!(
        (below(&["x", "y"]), below(&["x"])),
        (Some(Denial::Gone), None),
        "hints are those of its own file"
    );
    assert_eq!(denylist.rules(), 3, "the second says of B what the first does not");
    let turned = Denylist::open(&config(vec![second, first])).unwrap();
    assert_eq!(denied(&turned, B), Some(Denial::Legal));
}

#[test]
fn nothing_starts_without_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.deny");
    let open = |change: fn(&mut DenylistConfig)| {
        let mut config = config(vec![path.clone()]);
        change(&mut config);
        Denylist::open(&config).map(|denylist| denylist.rules())
    };
    assert!(matches!(open(|_| {}), Err(DenylistError::Load(LoadError::Missing(_)))));
    fs::write(&path, "version: 3\n---\n").unwrap();
    let version = FormatError::Version("3".into());
    assert!(
        matches!(open(|_| {}), Err(DenylistError::Load(LoadError::Unusable { cause, .. })) if cause == version)
    );
    fs::write(&path, format!("/ipfs/{A}\n/ipfs/{B}\n")).unwrap();
    assert!(matches!(
        open(|config| config.bytes_max = 20),
        Err(DenylistError::Load(LoadError::TooLarge { .. }))
    ));
    let error = open(|config| config.rules_max = 1).unwrap_err();
    assert!(error.to_string().contains("rules_max = 1"), "{error}");
    assert_eq!(open(|config| config.rules_max = 2).unwrap(), 2);
}

#[tokio::test]
async fn changes_are_taken_while_it_runs_and_bad_files_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.deny");
    fs::write(&path, "").unwrap();
    let denylist = Denylist::open(&config(vec![path.clone()])).unwrap();
    let job = DenylistReload::new(denylist.clone());
    assert_eq!(denied(&denylist, A), None);
    fs::write(&path, format!("/ipfs/{A}\n")).unwrap();
    assert_eq!(denied(&denylist, A), None, "not before it is looked at");
    assert_eq!(job.step().await.unwrap(), Progress::Idle);
    assert_eq!(denied(&denylist, A), Some(Denial::Gone));
    for bad in ["version: 9\n---\n", "/ipfs/x\n---\n"] {
        fs::write(&path, bad).unwrap();
        assert_eq!(job.step().await.unwrap(), Progress::Idle, "a bad file is no failure of the job");
        assert_eq!(denied(&denylist, A), Some(Denial::Gone), "the old rules stay");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(denylist.reload_if_changed(), Err(LoadError::Missing(_))));
    assert_eq!(denied(&denylist, A), Some(Denial::Gone), "even without the file");
    fs::write(&path, format!("/ipfs/{B} status:451\n")).unwrap();
    job.step().await.unwrap();
    assert_eq!((denied(&denylist, A), denied(&denylist, B)), (None, Some(Denial::Legal)));
}

#[test]
fn nonsense_in_the_configuration_is_told() {
    assert_eq!(DenylistConfig::default().problems(), Vec::<String>::new());
    let wrong = DenylistConfig {
        files: vec!["".into()],
        reload_every: std::time::Duration::ZERO,
        bytes_max: 0,
        rules_max: usize::MAX,
    };
    assert_eq!(wrong.problems().len(), 4);
}
