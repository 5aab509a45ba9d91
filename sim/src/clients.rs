//! Those who upload, read and delete, and what they may expect.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use protocol::{
    api::{FileInfo, FileList},
    time::UnixMillis,
};
use rand::Rng as _;
use service::http::client_address::PeerAddr;
use store::SegmentState;

use crate::{
    invariants::{self, violated},
    trouble::Party,
    world::World,
};

/// Everything that was uploaded and acknowledged.
#[derive(Default)]
pub struct Files {
    /// In the order of their acknowledgement.
    pub all: Vec<File>,
    /// Uploads that were refused.
    pub refused: usize,
    next_name: usize,
}

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its CID.
    pub cid: String,
    /// Its name.
    pub name: String,
    /// What it must read as.
    pub bytes: Bytes,
    /// When its deletion was acknowledged.
    pub deleted: Option<UnixMillis>,
    /// When it ends by itself.
    pub expires: Option<UnixMillis>,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By a gateway, which serves it itself.
    Proxy(usize),
    /// By a gateway's redirect.
    Redirect(usize),
    /// By a node, without a ticket.
    Node(usize),
}

/// What a reader got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A whole body that ended as announced.
    Bytes(Bytes),
    /// An honest failure: a status, or no or half an answer.
    Failure(String),
}

impl File {
    /// Whether it must be there at this time.
    fn is_live(&self, now: UnixMillis) -> bool {
        self.deleted.is_none() && self.expires.is_none_or(|expires| expires > now)
    }
}

impl Files {
    /// Positions of files that must be there: not deleted, and their time is not over.
    pub fn live(&self, now: UnixMillis) -> Vec<usize> {
        (0..self.all.len()).filter(|at| self.all[*at].is_live(now)).collect()
    }

    /// CIDs of files that must be there, each with its length.
    pub fn cids(&self, now: UnixMillis) -> BTreeMap<String, u64> {
        let live = self.all.iter().filter(|file| file.is_live(now));
        live.map(|file| (file.cid.clone(), file.bytes.len() as u64)).collect()
    }

    /// CIDs of files that may still be there, because nobody has collected them yet; each with its length.
    pub fn expired_cids(&self, now: UnixMillis) -> BTreeMap<String, u64> {
        let ended = self.all.iter().filter(|file| file.deleted.is_none() && !file.is_live(now));
        let live = self.cids(now);
        let ended = ended.filter(|file| !live.contains_key(&file.cid));
        ended.map(|file| (file.cid.clone(), file.bytes.len() as u64)).collect()
    }
}

impl World {
    /// Bytes that nobody has uploaded before.
    pub fn fresh_bytes(&mut self, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    /// Uploads files of these lengths at the same time through one gateway; gives the positions of those that were
    /// acknowledged.
    pub async fn upload(
        &mut self,
        gateway: usize,
        lens: &[usize],
        expires: Option<UnixMillis>,
    ) -> anyhow::Result<Vec<usize>> {
        let files = lens.iter().map(|len| self.fresh_bytes(*len)).collect();
        self.upload_bytes(gateway, files, expires).await
    }

    /// Uploads these files at the same time.
    pub async fn upload_bytes(
        &mut self,
        gateway: usize,
        contents: Vec<Bytes>,
        expires: Option<UnixMillis>,
    ) -> anyhow::Result<Vec<usize>> {
        self.refresh_view(gateway).await?;
        // The gateway knows the key then, and uploads that come at the same moment stay in their order.
        self.list(gateway).await?;
        let mut files = Vec::new();
        for bytes in contents {
            self.files.next_name += 1;
            files.push((format!("file-{}", self.files.next_name), bytes));
        }
        let uploads = files.iter().map(|(name, bytes)| self.upload_one(gateway, name, bytes, expires));
        let outcomes = join_all(uploads).await;
        self.settle().await?;
        let mut acknowledged = Vec::new();
        for ((name, bytes), outcome) in files.into_iter().zip(outcomes) {
            match outcome {
                Ok(info) => {
                    self.say(format!(
                        "{name}: {} bytes uploaded through gateway {gateway}: {}",
                        bytes.len(),
                        info.cid
                    ));
                    anyhow::ensure!(
                        info.size_bytes == bytes.len() as u64,
                        "upload of {name} has another size"
                    );
                    self.keep(File { cid: info.cid, name, bytes, deleted: None, expires });
                    acknowledged.push(self.files.all.len() - 1);
                }
                Err(error) => {
                    self.say(format!(
                        "{name}: {} bytes refused by gateway {gateway}: {error:#}",
                        bytes.len()
                    ));
                    self.files.refused += 1;
                }
            }
        }
        Ok(acknowledged)
    }

    /// Notes an acknowledged upload. Of one that is uploaded again the latest end counts, and none is the latest.
    fn keep(&mut self, mut file: File) {
        let now = self.now();
        let mut twins: Vec<&mut File> = self
            .files
            .all
            .iter_mut()
            .filter(|other| other.cid == file.cid && other.deleted.is_none())
            .collect();
        for twin in &twins {
            if twin.is_live(now) {
                file.expires = file.expires.zip(twin.expires).map(|(one, other)| one.max(other));
            }
        }
        for twin in &mut twins {
            if twin.is_live(now) {
                twin.expires = file.expires;
            } else {
                twin.deleted = twin.expires;
            }
        }
        self.files.all.push(file);
    }

    async fn upload_one(
        &self,
        gateway: usize,
        name: &str,
        bytes: &Bytes,
        expires: Option<UnixMillis>,
    ) -> anyhow::Result<FileInfo> {
        let expires = expires.map(rfc3339).transpose()?;
        let expires = expires.map_or_else(String::new, |at| format!("&expires={at}"));
        let request =
            self.request("POST", gateway, &format!("/v1/files?name={name}{expires}"), bytes.clone())?;
        let response = self.net.send(Party::Client, request).await?;
        let (status, body) = whole(response).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Uploads a file and goes away when `sent` bytes of it are on their way.
    pub async fn upload_in_part(&mut self, gateway: usize, len: usize, sent: usize) -> anyhow::Result<()> {
        self.refresh_view(gateway).await?;
        let part = self.fresh_bytes(len).slice(..sent.min(len));
        let parts = vec![Ok(part), Err(std::io::Error::other("the client went away"))];
        let request = Request::builder()
            .method("POST")
            .uri(format!("{}/v1/files", Self::gateway_url(gateway)))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .body(Body::from_stream(futures_util::stream::iter(parts)))?;
        let (status, _) = whole(self.net.send(Party::Client, request).await?).await?;
        anyhow::ensure!(!status.is_success(), "half an upload is acknowledged with {status}");
        self.say(format!("half an upload of {len} bytes ends with {status}"));
        self.settle().await
    }

    /// Uploads a file of which `sent` bytes come first. When segments of it are recorded, a small file is uploaded beside it, which
    /// has the next segment recorded with blocks of both; then `look` is called, and the rest comes.
    pub async fn upload_around(
        &mut self,
        gateway: usize,
        (large, sent): (Bytes, usize),
        small: Bytes,
        look: impl FnOnce(&Self),
    ) -> anyhow::Result<()> {
        self.refresh_view(gateway).await?;
        let (rest_may_come, waited) = tokio::sync::oneshot::channel::<()>();
        let (first, rest) = (large.slice(..sent), large.slice(sent..));
        let first = futures_util::stream::once(async { Ok::<_, std::io::Error>(first) });
        let rest = futures_util::stream::once(async {
            waited.await.map_err(std::io::Error::other)?;
            Ok(rest)
        });
        let request = Request::builder()
            .method("POST")
            .uri(format!("{}/v1/files?name=large", Self::gateway_url(gateway)))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .body(Body::from_stream(first.chain(rest)))?;
        let around = async {
            let (status, body) = whole(self.net.send(Party::Client, request).await?).await?;
            anyhow::ensure!(status == StatusCode::CREATED, "{status} {}", String::from_utf8_lossy(&body));
            Ok(serde_json::from_slice::<FileInfo>(&body)?)
        };
        let between = async {
            let has_pending = async || -> anyhow::Result<bool> {
                let segments = self.db.segments_after(None, 1_000).await?;
                Ok(segments.iter().any(|(_, state)| *state == SegmentState::Pending))
            };
            while !has_pending().await? {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let info = self.upload_one(gateway, "small", &small, None).await?;
            look(self);
            rest_may_come.send(()).ok().context("the upload has ended")?;
            anyhow::Ok(info)
        };
        let (large_info, small_info) = tokio::try_join!(around, between)?;
        self.settle().await?;
        for (info, bytes) in [(small_info, small), (large_info, large)] {
            let name = info.name.clone();
            self.keep(File { cid: info.cid, name, bytes, deleted: None, expires: None });
        }
        Ok(())
    }

    fn request(
        &self,
        method: &str,
        gateway: usize,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Body>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", Self::gateway_url(gateway)))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::CONTENT_LENGTH, body.len());
        Ok(request.body(Body::from(body))?)
    }

    /// Deletes a file; `false` when the gateway could not.
    pub async fn delete(&mut self, gateway: usize, file: usize) -> anyhow::Result<bool> {
        let (cid, name) = (self.files.all[file].cid.clone(), self.files.all[file].name.clone());
        let request = self.request("DELETE", gateway, &format!("/v1/files/{cid}"), Bytes::new())?;
        let response = self.net.send(Party::Client, request).await?;
        let (status, body) = whole(response).await?;
        if status != StatusCode::NO_CONTENT {
            self.say(format!("{name}: not deleted: {status} {}", String::from_utf8_lossy(&body)));
            return Ok(false);
        }
        // The same bytes uploaded twice are one file.
        let now = self.now();
        self.files
            .all
            .iter_mut()
            .filter(|other| other.cid == cid)
            .for_each(|other| other.deleted = Some(now));
        self.say(format!("{name}: deleted"));
        Ok(true)
    }

    /// CIDs of all files that a gateway lists.
    pub async fn list(&self, gateway: usize) -> anyhow::Result<Vec<String>> {
        let mut cids = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/files?limit=50{cursor}");
            let response =
                self.net.send(Party::Client, self.request("GET", gateway, &path, Bytes::new())?).await?;
            let (status, body) = whole(response).await?;
            anyhow::ensure!(status == StatusCode::OK, "list of files: {status}");
            let page: FileList = serde_json::from_slice(&body)?;
            cids.extend(page.files.into_iter().map(|file| file.cid));
            match page.cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(cids),
            }
        }
    }

    /// Any JSON that a gateway gives.
    pub async fn ask<T: serde::de::DeserializeOwned>(&self, gateway: usize, path: &str) -> anyhow::Result<T> {
        let request = self.request("GET", gateway, path, Bytes::new())?;
        let (status, body) = whole(self.net.send(Party::Client, request).await?).await?;
        anyhow::ensure!(status == StatusCode::OK, "{path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| format!("answer to {path}"))
    }

    /// Reads a file, or the range of it, as somebody in a region does; a redirect is followed.
    pub async fn read(
        &mut self,
        file: usize,
        route: Route,
        region: u8,
        range: Option<(usize, usize)>,
    ) -> anyhow::Result<Got> {
        let cid = self.files.all[file].cid.clone();
        let got = match route {
            Route::Proxy(gateway) => {
                self.refresh_view(gateway).await?;
                let url = format!("{}/ipfs/{cid}?route=proxy", Self::gateway_url(gateway));
                self.fetch(&url, region, range).await
            }
            Route::Node(node) => {
                for gateway in 0..self.gateways.len() {
                    self.refresh_view(gateway).await?;
                }
                let url = format!("{}/ipfs/{cid}", self.nodes[node].url);
                self.fetch(&url, region, range).await
            }
            Route::Redirect(gateway) => {
                self.refresh_view(gateway).await?;
                let url = format!("{}/ipfs/{cid}", Self::gateway_url(gateway));
                self.fetch(&url, region, range).await
            }
        };
        self.settle().await?;
        let outcome = match &got {
            Got::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Got::Failure(why) => why.clone(),
        };
        self.say(format!("{} read by {route:?} from region {region}: {outcome}", self.files.all[file].name));
        self.check_bytes(file, route, range, &got)?;
        Ok(got)
    }

    /// Whatever a reader gets as a whole answer must be what was uploaded.
    fn check_bytes(
        &self,
        file: usize,
        route: Route,
        range: Option<(usize, usize)>,
        got: &Got,
    ) -> anyhow::Result<()> {
        let Got::Bytes(bytes) = got else { return Ok(()) };
        let File { name, bytes: all, .. } = &self.files.all[file];
        let expected = range.map_or(all.clone(), |(start, end)| all.slice(start..end));
        if *bytes != expected {
            let details = format!(
                "{name} {range:?} by {route:?}: {} bytes, not the {} uploaded",
                bytes.len(),
                expected.len()
            );
            return Err(violated(&invariants::NO_WRONG_BYTE, details));
        }
        Ok(())
    }

    async fn fetch(&self, url: &str, region: u8, range: Option<(usize, usize)>) -> Got {
        let mut url = url.to_string();
        for _ in 0..3 {
            let response = match self.get(&url, region, range).await {
                Ok(response) => response,
                Err(error) => return Got::Failure(format!("{error:#}")),
            };
            let status = response.status();
            if status == StatusCode::TEMPORARY_REDIRECT {
                let location = response.headers().get(header::LOCATION);
                let Some(location) = location.and_then(|value| value.to_str().ok()) else {
                    return Got::Failure("redirect without location".into());
                };
                url = location.to_string();
                continue;
            }
            let expected = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            let body = response.into_body().collect().await;
            return match body {
                Ok(body) if status == expected => Got::Bytes(body.to_bytes()),
                Ok(body) => {
                    Got::Failure(format!("{status} {}", String::from_utf8_lossy(&body.to_bytes()).trim()))
                }
                Err(error) => Got::Failure(format!("broken off: {error}")),
            };
        }
        Got::Failure("too many redirects".into())
    }

    async fn get(
        &self,
        url: &str,
        region: u8,
        range: Option<(usize, usize)>,
    ) -> anyhow::Result<Response<Body>> {
        let peer = SocketAddr::new(IpAddr::from([127, region, 0, 9]), 40_000);
        let mut request = Request::builder().uri(url).extension(PeerAddr(peer));
        if let Some((start, end)) = range {
            request = request.header(header::RANGE, format!("bytes={start}-{}", end - 1));
        }
        let response = self.net.send(Party::Client, request.body(Body::empty())?).await?;
        // What a node sends to readers is what it may be paid for.
        let node = self.nodes.iter().find(|node| url.starts_with(&format!("{}/", node.url)));
        let Some(number) = node.map(|node| node.number) else { return Ok(response) };
        let net = self.net.clone();
        Ok(response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                net.count(number, frame.data_ref().map_or(0, Bytes::len) as u64);
                frame
            }))
        }))
    }
}

fn rfc3339(at: UnixMillis) -> anyhow::Result<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000))?;
    Ok(at.format(&time::format_description::well_known::Rfc3339)?)
}

async fn whole(response: Response<Body>) -> anyhow::Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok((status, body.to_bytes()))
}
