//! `pinstripe migrate`, and that servers do not start on a schema that lacks something.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::process::{Command, Output};

fn pinstripe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinstripe")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_schema_is_checked_and_brought_up_to_date_and_servers_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let url_file = dir.path().join("url");
    std::fs::write(&url_file, format!("{url}\n")).unwrap();
    std::fs::write(dir.path().join("network.key"), "0a".repeat(32)).unwrap();
    let config = dir.path().join("server.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndatabase_url_file = \"{}\"\nnetwork_key_file = \"{}\"\n",
        url_file.display(),
        dir.path().join("network.key").display()
    );
    std::fs::write(&config, text).unwrap();
    let (url_file, config) = (url_file.to_str().unwrap(), config.to_str().unwrap());

    let check = pinstripe(&["migrate", "--database", &url, "--check"]);
    assert!(check.status.code() == Some(1) && said(&check).contains("0001 network"), "{}", said(&check));
    for server in ["gateway", "monitor"] {
        let refused = pinstripe(&[server, "--config", config]);
        assert!(!refused.status.success(), "a {server} starts without a schema");
        assert!(said(&refused).contains("run `pinstripe migrate`"), "{}", said(&refused));
    }
    let migrated = pinstripe(&["migrate", "--database-file", url_file]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    let check = pinstripe(&["migrate", "--database", &url, "--check"]);
    assert!(check.status.success() && said(&check).contains("up to date"), "{}", said(&check));
    assert!(!pinstripe(&["migrate"]).status.success(), "it must be said which database");
}
