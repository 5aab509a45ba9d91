//! `pinstripe config`, as the binary answers it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    path::Path,
    process::{Command, Output},
};

fn config(command: &str, process: &str, file: &Path, variables: &[(&str, &str)]) -> Output {
    let mut pinstripe = Command::new(env!("CARGO_BIN_EXE_pinstripe"));
    pinstripe.args(["config", command, process, "--config"]).arg(file);
    pinstripe.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_printed_is_the_effective_tree_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "database_url = \"postgres://ann:s3cret@db/x\"\n[uploads]\nlinger = \"9ms\"\n")
        .unwrap();
    let printed = config("print", "gateway", &file, &[("PINSTRIPE__HTTP__CONNECTIONS_MAX", "77")]);
    let tree = text(&printed.stdout);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    for expected in ["postgres://ann:REDACTED@db/x", "linger = \"9ms\"", "connections_max = 77", "[ranking]"]
    {
        assert!(tree.contains(expected), "{expected}: {tree}");
    }
    std::fs::write(&file, &tree).unwrap();
    assert_eq!(text(&config("print", "gateway", &file, &[]).stdout), tree);
    for process in ["monitor", "pinner"] {
        std::fs::write(&file, "").unwrap();
        assert!(text(&config("print", process, &file, &[]).stdout).contains("[http]"), "{process}");
    }
}

#[test]
fn every_problem_is_listed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (key, token) = (write("network.key", "c0ffee"), write("admin.token", "short"));
    let (cert, geoip) = (write("cert.pem", "no certificate"), write("geo.mmdb", "no database"));
    let file = write(
        "gateway.toml",
        &format!(
            "lisen = \"127.0.0.1:1\"\nlisten = 7\nnetwork_key_file = {key:?}\nadmin_token_file = {token:?}\n\
             [uploads]\ncodec = \"zip\"\nqueue_max = \"many\"\n[http]\nstreams_max = 0\n\
             [tls]\ncert_file = {cert:?}\nkey_file = \"/nowhere/key.pem\"\n[geoip]\npath = {geoip:?}\n\
             [denylist]\nfiles = [\"/nowhere/deny.txt\"]\n"
        ),
    );
    let checked = config("check", "gateway", &file, &[("PINSTRIPE__READS__MODE", "push")]);
    assert_eq!(checked.status.code(), Some(1));
    let listed = text(&checked.stderr);
    let keys = [
        "lisen: ",
        "listen: ",
        "uploads.codec: ",
        "uploads.queue_max: ",
        "http.streams_max: ",
        "reads.mode: ",
        "network_key_file: ",
        "admin_token_file: ",
        "tls: ",
        "denylist.files: ",
        "geoip.path: ",
    ];
    for key in keys {
        assert!(listed.contains(&format!("- {key}")), "{key}: {listed}");
    }
    assert_eq!(listed.matches("\n  - ").count(), keys.len(), "{listed}");
    assert!(!listed.contains("c0ffee") && !listed.contains("short"), "{listed}");

    let good = write("good.key", &"0a".repeat(32));
    let file = write("monitor.toml", &format!("network_key_file = {good:?}\n"));
    let checked = config("check", "monitor", &file, &[]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    // The same key with the mark of a network on one machine.
    let marked = write("marked.key", &format!("dev_{}", "0a".repeat(32)));
    let file = write("open.toml", &format!("listen = \"0.0.0.0:1\"\nnetwork_key_file = {marked:?}\n"));
    for command in [vec!["config", "check", "monitor"], vec!["monitor"]] {
        let mut pinstripe = Command::new(env!("CARGO_BIN_EXE_pinstripe"));
        let refused = pinstripe.args(command).arg("--config").arg(&file).output().unwrap();
        assert!(!refused.status.success());
        let why = text(&refused.stderr);
        assert!(why.contains("network_key_file") && why.contains("pinstripe dev"), "{why}");
    }
}

#[test]
fn a_network_on_one_machine_is_not_shown_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut pinstripe = Command::new(env!("CARGO_BIN_EXE_pinstripe"));
    let dir = dir.path().join("net");
    let refused = pinstripe.args(["dev", "--listen", "0.0.0.0:0", "--dir"]).arg(&dir).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("for this machine only"), "{}", text(&refused.stderr));
    assert!(!dir.exists());
}
