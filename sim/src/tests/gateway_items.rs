//! The items of the gateway specifications, asked of a gateway that answers itself, of one that sends readers on, and of a
//! node directly: what is said must be the same. Each row is a request and what the specification wants of its answer.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use axum::body::Body;
use bytes::Bytes;
use content::car::CarReader;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use protocol::api::FileInfo;
use service::http::client_address::PeerAddr;

use crate::{
    clients::Route,
    scenario::runtime,
    trouble::Party,
    world::{Shape, World},
};

const SHAPE: Shape = Shape { nodes: 20, gateways: 1, monitors: 1, eagerly: false };
const ROUTES: [Route; 3] = [Route::Proxy(0), Route::Redirect(0), Route::Node(3)];

const IMMUTABLE: &str = "public, max-age=29030400, immutable";
const GENERATED: &str = "public, max-age=604800, stale-while-revalidate=2678400";
const RAW: &str = "application/vnd.ipld.raw";

/// CARs of the public conformance suite, under the names by which rows call their roots.
const CARS: [(&str, &str); 8] = [
    ("list", "dir_listing/fixtures.car"),
    ("cache", "gateway-cache/fixtures.car"),
    ("raw", "gateway-raw-block.car"),
    ("cbor", "path_gateway_dag/dag-cbor-traversal.car"),
    ("json", "path_gateway_dag/dag-json-traversal.car"),
    ("plain", "path_gateway_dag/plain-json.car"),
    ("link", "path_gateway_unixfs/symlink.car"),
    ("percent", "path_gateway_unixfs/dir-with-percent-encoded-filename.car"),
];

/// What a header or a body is to be. `{name}` stands for a root.
#[derive(Clone, Copy, Debug)]
enum Like {
    Is(&'static str),
    Starts(&'static str),
    Has(&'static str),
    Absent,
}
use Like::{Absent, Has, Is, Starts};

/// One row.
struct Row {
    method: &'static str,
    uri: &'static str,
    asked: &'static [(&'static str, &'static str)],
    status: u16,
    headers: &'static [(&'static str, Like)],
    body: Option<Like>,
}

const fn row(uri: &'static str, status: u16) -> Row {
    Row { method: "GET", uri, asked: &[], status, headers: &[], body: None }
}

impl Row {
    const fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    const fn asked(self, asked: &'static [(&'static str, &'static str)]) -> Self {
        Self { asked, ..self }
    }

    const fn headers(self, headers: &'static [(&'static str, Like)]) -> Self {
        Self { headers, ..self }
    }

    const fn body(self, body: Like) -> Self {
        Self { body: Some(body), ..self }
    }
}

const FILES: [Row; 14] = [
    row("/ipfs/{site}/hello.txt", 200)
        .headers(&[
            ("content-type", Starts("text/plain")),
            ("content-length", Is("6")),
            ("cache-control", Is(IMMUTABLE)),
            ("accept-ranges", Is("bytes")),
            ("x-ipfs-path", Is("/ipfs/{site}/hello.txt")),
            ("x-ipfs-roots", Is("{site},{hello}")),
            ("etag", Is("\"{hello}\"")),
            ("content-disposition", Absent),
        ])
        .body(Is("hello\n")),
    row("/ipfs/{hello}", 200).headers(&[("content-type", Starts("text/plain"))]).body(Is("hello\n")),
    row("/ipfs/{site}/hello.txt", 200)
        .method("HEAD")
        .headers(&[("content-length", Is("6")), ("etag", Is("\"{hello}\""))])
        .body(Is("")),
    row("/ipfs/{hello}?filename=na%C3%AFve.html", 200).headers(&[
        ("content-type", Is("text/html; charset=utf-8")),
        ("content-disposition", Has("filename*=UTF-8''na%C3%AFve.html")),
    ]),
    row("/ipfs/{hello}?filename=a.txt&download=true", 200)
        .headers(&[("content-disposition", Starts("attachment; filename=\"a.txt\""))]),
    row("/ipfs/{site}/pixel", 200).headers(&[("content-type", Is("image/png"))]),
    row("/ipfs/{site}/hello.txt", 304)
        .asked(&[("if-none-match", "\"x\", W/\"{hello}\"")])
        .headers(&[("etag", Is("\"{hello}\"")), ("cache-control", Is(IMMUTABLE))])
        .body(Is("")),
    row("/ipfs/{site}/hello.txt", 206)
        .asked(&[("range", "bytes=1-3")])
        .headers(&[("content-range", Is("bytes 1-3/6")), ("content-length", Is("3"))])
        .body(Is("ell")),
    row("/ipfs/{site}/hello.txt", 206)
        .asked(&[("range", "bytes=-2")])
        .headers(&[("content-range", Is("bytes 4-5/6"))])
        .body(Is("o\n")),
    row("/ipfs/{site}/hello.txt", 206).asked(&[("range", "bytes=9-, 0-1")]).body(Is("he")),
    row("/ipfs/{site}/hello.txt", 416)
        .asked(&[("range", "bytes=6-")])
        .headers(&[("content-range", Is("bytes */6"))]),
    row("/ipfs/{site}/hello.txt", 200).asked(&[("range", "lines=1-2")]).body(Is("hello\n")),
    row("/ipfs/{big}", 206)
        .asked(&[("range", "bytes=2500000-2500003")])
        .headers(&[("content-range", Is("bytes 2500000-2500003/3000000"))])
        .body(Is("0000")),
    row("/ipfs/bafkqablimvwgy3y", 200).headers(&[("cache-control", Is(IMMUTABLE))]).body(Is("hello")),
];

const DIRECTORIES: [Row; 12] = [
    row("/ipfs/{site}", 301).headers(&[("location", Starts("/ipfs/{site}/"))]),
    row("/ipfs/{site}/sub%20dir?x=%c4%85", 301)
        .headers(&[("location", Starts("/ipfs/{site}/sub%20dir/?x=%c4%85"))]),
    row("/ipfs/{site}/www/", 200)
        .headers(&[("content-type", Is("text/html; charset=utf-8")), ("cache-control", Is(IMMUTABLE))])
        .body(Is("<h1>page</h1>")),
    row("/ipfs/{site}/", 200)
        .headers(&[
            ("content-type", Is("text/html; charset=utf-8")),
            ("cache-control", Is(GENERATED)),
            ("etag", Starts("\"DirIndex-")),
        ])
        .body(Has("hello.txt")),
    row("/ipfs/{list}/%C4%85/%C4%99/", 200).body(Has("file-źł.txt")),
    row("/ipfs/{list}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt", 200),
    row("/ipfs/{percent}/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt", 200)
        .headers(&[(
            "ipfs-uri",
            Is("ipfs://{percent}/Portugal%252C%2BEspa%C3%B1a%3DPeninsula%20Ib%C3%A9rica.txt"),
        )])
        .body(Is("hello from a percent encoded filename\n")),
    row("/ipfs/{link}/bar", 200).body(Is("foo")),
    row("/ipfs/{sharded}/file-0777", 200).body(Is("777")),
    row("/ipfs/{sharded}/", 200).body(Has("file-4999")),
    row("/ipfs/{sharded}/file-5000", 404)
        .headers(&[("cache-control", Is("no-store"))])
        .body(Has("file-5000")),
    row("/ipfs/{cache}/root2/root3/root4/", 200)
        .headers(&[("cache-control", Is(IMMUTABLE))])
        .body(Is("hello\n")),
];

const FORMS: [Row; 18] = [
    row("/ipfs/{raw}/dir?format=raw", 200).headers(&[
        ("content-type", Is(RAW)),
        ("cache-control", Is(IMMUTABLE)),
        ("content-disposition", Has(".bin\"")),
        ("etag", Has(".raw\"")),
        ("x-content-type-options", Is("nosniff")),
    ]),
    row("/ipfs/{raw}/dir", 200)
        .asked(&[("accept", "text/html;q=0.5, application/vnd.ipld.raw")])
        .headers(&[("content-type", Is(RAW)), ("vary", Has("Accept"))]),
    row("/ipfs/{hello}?format=raw", 200).asked(&[("accept", "text/html")]).body(Is("hello\n")),
    row("/ipfs/{hello}?format=car", 200).headers(&[
        ("content-type", Starts("application/vnd.ipld.car; version=1")),
        ("content-disposition", Has(".car\"")),
        ("accept-ranges", Is("none")),
        ("x-content-type-options", Is("nosniff")),
    ]),
    row("/ipfs/{site}?format=car&dag-scope=block", 200).headers(&[("etag", Starts("W/\""))]),
    row("/ipfs/{big}?format=car&entity-bytes=0:9&dag-scope=entity", 200),
    row("/ipfs/{big}?format=car&entity-bytes=9:x", 400),
    row("/ipfs/{hello}?format=car&dag-scope=some", 400),
    row("/ipfs/{site}?format=tar", 200)
        .headers(&[("content-type", Is("application/x-tar")), ("content-disposition", Has(".tar\""))]),
    row("/ipfs/{cbor}", 200).headers(&[("content-type", Is("application/vnd.ipld.dag-cbor"))]),
    row("/ipfs/{cbor}", 200)
        .asked(&[("accept", "text/html")])
        .headers(&[("content-type", Is("text/html; charset=utf-8")), ("cache-control", Has("public"))]),
    row("/ipfs/{cbor}?format=dag-json", 406).headers(&[("cache-control", Is("no-store"))]),
    row("/ipfs/{json}?format=json", 200).headers(&[("content-type", Is("application/json"))]),
    row("/ipfs/{json}/foo/object/deeper?format=dag-json", 404),
    row("/ipfs/{plain}", 200).headers(&[("content-type", Is("application/json"))]),
    row("/ipfs/{hello}?format=dag-json", 406),
    row("/ipfs/{hello}?format=nonsense", 400),
    row("/ipfs/{hello}?format=ipns-record", 400),
];

const REFUSALS: [Row; 12] = [
    row("/ipfs/{unknown}", 404).headers(&[("cache-control", Is("no-store"))]),
    row("/ipfs/{site}/no/such", 404).body(Has("no")),
    row("/ipfs/{site}/hello.txt/deeper", 404),
    row("/ipfs/nonsense", 400).headers(&[("cache-control", Is("no-store"))]),
    row("/ipfs/{site}/%ff", 400),
    row("/ipfs/{site}/../../x", 400),
    row("/ipfs/{hello}", 405).method("PUT").headers(&[("allow", Has("GET"))]),
    row("/ipfs/{hello}", 204)
        .method("OPTIONS")
        .asked(&[("origin", "https://dapp.example"), ("access-control-request-method", "GET")])
        .headers(&[
            ("access-control-allow-methods", Has("GET")),
            ("access-control-allow-headers", Has("Range")),
        ]),
    row("/ipfs/{hello}", 400).asked(&[("service-worker", "script")]),
    row("/ipfs/{unknown}", 412).asked(&[("cache-control", "only-if-cached")]).body(Is("")),
    row("/ipfs/{hello}?uri=x", 200),
    row("/ipfs/zQmUnknownMultihash", 400),
];

/// What was uploaded, and where to.
struct Library {
    world: World,
    names: BTreeMap<&'static str, String>,
    /// How often somebody was sent on to a node.
    redirects: Cell<usize>,
}

impl Library {
    async fn new() -> Self {
        let mut world = World::new(1, SHAPE).await.unwrap();
        world.refresh_view(0).await.unwrap();
        let mut library = Self { world, names: BTreeMap::new(), redirects: Cell::new(0) };
        let unknown = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        library.names.insert("unknown", unknown.to_string());
        for (name, file) in CARS {
            let folder =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/fixtures/gateway-conformance");
            let car = Bytes::from(std::fs::read(folder.join(file)).unwrap());
            let root = CarReader::new(&car).unwrap().roots()[0].as_written().to_string();
            library.upload("?unpack=car", "application/vnd.ipld.car", car).await;
            library.names.insert(name, root);
        }
        let hello = library.upload("", "application/octet-stream", "hello\n".into()).await;
        let big = library.upload("", "application/octet-stream", vec![b'0'; 3_000_000].into()).await;
        let site = library
            .form(&[
                ("hello.txt", b"hello\n"),
                ("pixel", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"),
                ("sub dir/a", b"a"),
                ("www/index.html", b"<h1>page</h1>"),
            ])
            .await;
        let files: Vec<(String, String)> =
            (0..5_000).map(|number| (format!("file-{number:04}"), number.to_string())).collect();
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        let sharded = library.form(&files).await;
        library.names.extend([("hello", hello), ("big", big), ("site", site), ("sharded", sharded)]);
        library
    }

    async fn upload(&mut self, query: &str, kind: &str, body: Bytes) -> String {
        let request = Request::builder()
            .method("POST")
            .uri(format!("{}/v1/files{query}", World::gateway_url(0)))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.world.api_key))
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap();
        let response = self.world.net.send(Party::Client, request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
        self.world.settle().await.unwrap();
        serde_json::from_slice::<FileInfo>(&body).unwrap().cid
    }

    async fn form(&mut self, files: &[(&str, &[u8])]) -> String {
        let mut body = Vec::new();
        for (name, bytes) in files {
            let head = format!(
                "--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"all/{name}\"\r\n\r\n"
            );
            body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        body.extend(b"--X--\r\n");
        self.upload("", "multipart/form-data; boundary=X", body.into()).await
    }

    /// A text with every `{name}` replaced.
    fn named(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_string(), |text, (name, cid)| text.replace(&format!("{{{name}}}"), cid))
    }

    async fn ask(&self, row: &Row, route: Route) -> Response<Body> {
        let uri = self.named(row.uri);
        let mut url = match route {
            Route::Proxy(number) => {
                let and = if uri.contains('?') { '&' } else { '?' };
                format!("{}{uri}{and}route=proxy", World::gateway_url(number))
            }
            Route::Redirect(number) => format!("{}{uri}", World::gateway_url(number)),
            Route::Node(number) => format!("{}{uri}", self.world.nodes[number].url),
        };
        loop {
            let peer = SocketAddr::new(IpAddr::from([127, 2, 0, 9]), 40_000);
            let mut request = Request::builder().method(row.method).uri(&url).extension(PeerAddr(peer));
            for (name, value) in row.asked {
                request = request.header(*name, self.named(value));
            }
            let request = request.body(Body::empty()).unwrap();
            let response = self.world.net.send(Party::Client, request).await.unwrap();
            if response.status() != StatusCode::TEMPORARY_REDIRECT {
                return response;
            }
            assert_cors(&url, response.headers());
            self.redirects.set(self.redirects.get() + 1);
            url = response.headers()[header::LOCATION].to_str().unwrap().to_string();
        }
    }

    fn is_like(&self, like: Like, found: Option<&str>) -> bool {
        match (like, found) {
            (Absent, None) => true,
            (Is(text), Some(found)) => found == self.named(text),
            (Starts(text), Some(found)) => found.starts_with(&self.named(text)),
            (Has(text), Some(found)) => found.contains(&self.named(text)),
            _ => false,
        }
    }

    async fn check(&self, rows: &[Row]) {
        for (row, route) in rows.iter().flat_map(|row| ROUTES.map(|route| (row, route))) {
            let what = format!("{} {} {:?} by {route:?}", row.method, self.named(row.uri), row.asked);
            let response = self.ask(row, route).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap_or_else(|error| panic!("{what}: {error}")).to_bytes();
            let text = String::from_utf8_lossy(&body);
            assert_eq!(parts.status.as_u16(), row.status, "{what}: {text}");
            assert_cors(&what, &parts.headers);
            for (name, like) in row.headers {
                let found = parts.headers.get(*name).and_then(|value| value.to_str().ok());
                assert!(self.is_like(*like, found), "{what}: {name} is {found:?}, and not {like:?}");
            }
            if let Some(like) = row.body {
                assert!(self.is_like(like, Some(&*text)), "{what}: {text:?} is not {like:?}");
            }
        }
    }
}

/// Pages of any origin may read whatever is answered; two headers of a name would be none.
fn assert_cors(what: &str, headers: &HeaderMap) {
    let origins: Vec<_> = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
    assert_eq!(origins, ["*"], "{what}");
}

#[test]
fn gateways_and_nodes_answer_as_the_specifications_have_it() {
    runtime().unwrap().block_on(async {
        let library = Library::new().await;
        for rows in [&FILES[..], &DIRECTORIES, &FORMS, &REFUSALS] {
            library.check(rows).await;
        }
        // Nearly all but what a gateway refuses itself.
        assert!(library.redirects.get() > 30, "{}", library.redirects.get());
    });
}
