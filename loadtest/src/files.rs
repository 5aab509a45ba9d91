//! Uploads to the gateway and reads from wherever, each over a connection of its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    pattern::Pattern,
    wire::{Connection, get},
};

/// What it takes to upload.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) gateway: SocketAddr,
    pub(crate) api_key: String,
}

impl Files {
    /// The head of an upload of `len` bytes.
    fn upload_head(&self, len: u64) -> String {
        let key = &self.api_key;
        format!(
            "POST /v1/files?name=x.bin HTTP/1.1\r\nhost: loadtest\r\nauthorization: Bearer {key}\r\n\
             content-type: application/octet-stream\r\ncontent-length: {len}\r\n\r\n"
        )
    }

    /// A whole request that uploads a small file.
    pub(crate) fn upload_request(&self, content: Pattern) -> Bytes {
        let mut request = self.upload_head(content.len()).into_bytes();
        request.extend_from_slice(&content.whole());
        request.into()
    }

    /// Uploads a file and gives its CID.
    pub(crate) async fn upload(&self, content: Pattern) -> anyhow::Result<String> {
        let mut connection = Connection::open(self.gateway).await?;
        connection.send(self.upload_head(content.len()).as_bytes()).await?;
        for slice in content.slices() {
            connection.send(&slice).await?;
        }
        let (head, body) = connection.whole().await?;
        ensure!(head.status == 201, "upload: {} {}", head.status, String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).context("answer to an upload")?;
        answer["cid"].as_str().map(str::to_string).context("answer to an upload without a CID")
    }

    /// Reads a file to its end, compares every byte, and gives the times to the first byte and to the last.
    pub(crate) async fn read(
        &self,
        from: SocketAddr,
        path: &str,
        content: Pattern,
    ) -> anyhow::Result<(Duration, Duration)> {
        let mut connection = Connection::open(from).await?;
        let started = Instant::now();
        connection.send(&get(path, "")).await?;
        let head = connection.head().await?;
        ensure!(head.status == 200 && head.length == content.len(), "{path}: {head:?}");
        let (mut first, mut same) = (None, true);
        connection
            .body(&head, |offset, part| {
                first.get_or_insert_with(|| started.elapsed());
                same &= content.matches(offset, part);
            })
            .await
            .with_context(|| format!("read {path}"))?;
        let last = started.elapsed();
        ensure!(same, "{path}: not the bytes that were uploaded");
        Ok((first.unwrap_or(last), last))
    }
}
