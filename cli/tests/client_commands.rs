//! What the client commands make of a gateway's answers, shown with a gateway that answers by rote.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::Redirect,
    routing::{get, post},
};
use serde_json::json;
use tokio::process::Command;

/// Answers by rote; gives its URL and the number of uploads that began.
async fn gateway() -> (String, Arc<AtomicUsize>) {
    let uploads = Arc::new(AtomicUsize::new(0));
    let counted = uploads.clone();
    let listing = || async { ([(header::ETAG, "\"DirIndex-1_CID-x\"")], "<html>a listing</html>") };
    let router = Router::new()
        .route("/v1/admin/events", get(|| async { Json(json!({ "events": vec!["an event"; 100_000] })) }))
        .route("/ipfs/site", get(|| async { Redirect::permanent("/ipfs/site/") }))
        .route("/ipfs/site/", get(|| async { "<html>an index.html</html>" }))
        .route("/ipfs/listed/", get(listing))
        .route("/ipfs/file", get(|| async { "bytes" }))
        .route(
            "/v1/files",
            post(move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, uploads)
}

fn pinstripe(gateway: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinstripe"));
    command.args(args).args(["--gateway", gateway, "--api-key", "pk_a.b", "--admin-token", "adm"]);
    command
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_quietly() {
    let (gateway, _) = gateway().await;
    let mut command = pinstripe(&gateway, &["admin", "events"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn a_directory_is_not_written_as_if_it_were_a_file() {
    let (gateway, _) = gateway().await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("x");
    for path in ["site", "listed/"] {
        let output =
            pinstripe(&gateway, &["get", path, "-o", target.to_str().unwrap()]).output().await.unwrap();
        assert!(complaint(&output).contains("is a directory"), "{path}");
        assert!(!target.exists(), "{path}");
    }
    let output = pinstripe(&gateway, &["get", "file"]).output().await.unwrap();
    assert!(output.status.success() && output.stdout == b"bytes");
    // Whoever asks for the page of a directory gets it.
    let output = pinstripe(&gateway, &["get", "site/"]).output().await.unwrap();
    assert!(output.status.success() && output.stdout == b"<html>an index.html</html>");
}

async fn add(gateway: &str, dir: &Path) -> Output {
    pinstripe(gateway, &["add", "--quiet", dir.to_str().unwrap()]).output().await.unwrap()
}

#[tokio::test]
async fn a_name_that_a_form_cannot_carry_is_refused_before_anything_is_sent() {
    let (gateway, uploads) = gateway().await;
    for name in ["line\nbreak", "bell\u{7}", "back\\slash"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), "x").unwrap();
        let complaint = complaint(&add(&gateway, dir.path()).await);
        assert!(complaint.contains(&name.escape_debug().to_string()), "{complaint}");
    }
    assert_eq!(uploads.load(Ordering::SeqCst), 0);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a \"quoted\" name\t"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("pointer")).unwrap();
    let complaint = complaint(&add(&gateway, dir.path()).await);
    assert!(complaint.contains("pointer: a symbolic link"), "{complaint}");
    assert_eq!(uploads.load(Ordering::SeqCst), 1);
}
