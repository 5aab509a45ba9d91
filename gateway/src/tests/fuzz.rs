//! Whatever is sent, the answer is one that is documented: nobody panics, and nothing is a failure of ours.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    body::Body,
    http::{Method, Request, Uri, header},
};
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use super::world::{World, patterned};

/// A world that is asked from tests that are not async.
struct Asked {
    runtime: Runtime,
    world: World,
    /// Texts that mean something somewhere.
    texts: Vec<String>,
    /// Requests that were not refused.
    taken: AtomicU32,
}

impl Asked {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (world, texts) = runtime.block_on(async {
            let world = World::new().await;
            let file = world.upload("?name=file", patterned(1, 1_000)).await.file();
            let folder = world.upload_form("", &[("a/b", b"1"), ("a/c/d", b"2")]).await.file();
            let files = world.get("/v3/files/public").await.json();
            let id = files["data"]["files"][0]["id"].as_str().unwrap().to_string();
            let known =
                [folder.cid.clone(), file.cid, format!("/ipfs/{}/b", folder.cid), "bafkqaaa".into(), id];
            let others = [
                "",
                "a",
                "0",
                "1",
                "-1",
                "18446744073709551616",
                "true",
                "public",
                "private",
                "v0",
                "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
                "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
                "2026-01-31T12:00:00Z",
                "http://127.0.0.1:1",
                "/ip4/192.0.2.1/tcp/80/http",
                "{\"a\":\"b\"}",
                "size-1",
                "sha2-512",
                "dag-cbor",
                "x\0y",
            ];
            (world, known.into_iter().chain(others.map(str::to_string)).collect())
        });
        Self { runtime, world, texts, taken: AtomicU32::new(0) }
    }

    /// A value for a parameter or a member of this name: mostly one that makes sense there.
    fn value(&self, key: &str) -> BoxedStrategy<String> {
        let sensible = match key {
            "arg" | "cid" | "hashToPin" | "ipfsPinHash" | "ipfs_pin_hash" => self.texts[..4].to_vec(),
            "network" => vec!["public".to_string()],
            "limit" | "pageLimit" | "offset" | "length" | "pageOffset" => vec!["1".into(), "99".into()],
            "pin" | "stream" | "names" | "recursive" | "unpin" | "wrap" | "hidden" | "archive"
            | "compress" => {
                vec!["true".to_string(), "false".into()]
            }
            _ => self.texts.clone(),
        };
        prop_oneof![3 => select(sensible), 1 => self.text()].boxed()
    }

    #[track_caller]
    fn assert_some_were_taken(&self, min: u32) {
        let taken = self.taken.load(Ordering::Relaxed);
        assert!(taken >= min, "only {taken} were taken, which tests nothing but the first checks");
    }

    /// The status of an answer that is read to its end, or until it is broken off.
    fn status(&self, method: &Method, uri: &str, kind: &str, body: Vec<u8>) -> u16 {
        self.runtime.block_on(async {
            let mut request: Request<Body> = self.world.request(method.clone(), uri, body);
            request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
            let response = self.world.router.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let _ = response.into_body().collect().await;
            self.taken.fetch_add(u32::from((200..300).contains(&status)), Ordering::Relaxed);
            status
        })
    }

    fn text(&self) -> impl Strategy<Value = String> + use<> {
        prop_oneof![4 => select(self.texts.clone()), 1 => any::<String>(), 1 => "[ -~]{0,12}"]
    }
}

/// What was done, what was refused, or what there is none of here. Nothing in these tests is too much or out of reach.
fn is_documented(status: u16) -> bool {
    (200..300).contains(&status) || (400..500).contains(&status) || status == 501
}

/// Bytes of a form, more or less.
fn form() -> impl Strategy<Value = Vec<u8>> {
    let names =
        ["file", "file", "file", "pinataMetadata", "pinataOptions", "network", "name", "cid_version", "x"];
    let kinds = ["application/x-directory", "application/symlink", "text/plain", "", "\u{fc}"];
    let contents =
        ["public", "v0", "{\"cidVersion\":1}", "{\"wrapWithDirectory\":true}", "{\"name\":1}", "{", "../.."];
    let content = prop_oneof![vec(any::<u8>(), 0..60), select(contents.to_vec()).prop_map(Vec::from)];
    let part = (
        select(names.to_vec()),
        option::of(prop_oneof!["[abc./]{0,6}", "[ab%20DA\"\\\\.]{0,9}", any::<String>()]),
        option::of(select(kinds.to_vec())),
        content,
    )
        .prop_map(|(name, file, kind, content)| {
            let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
            let kind = kind.map_or_else(String::new, |kind| format!("\r\nContent-Type: {kind}"));
            let head =
                format!("--X-Y\r\nContent-Disposition: form-data; name=\"{name}\"{file}{kind}\r\n\r\n");
            [head.as_bytes(), &content, b"\r\n"].concat()
        });
    let crumbs = [
        "--X-Y\r\n",
        "--X-Y--\r\n",
        "--X-Y",
        "\r\n",
        "\r\n\r\n",
        "Content-Disposition: form-data; name=\"file\"; filename=\"",
        "Content-Disposition: form-data; name=file; filename*=UTF-8''x\r\n",
        "Content-Length: -1\r\n",
    ];
    let part = prop_oneof![
        6 => part,
        1 => select(crumbs.to_vec()).prop_map(|crumb| crumb.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ];
    let public = "--X-Y\r\nContent-Disposition: form-data; name=\"network\"\r\n\r\npublic\r\n";
    let begin = select(vec!["", public]);
    let end = prop_oneof![4 => Just("--X-Y--\r\n"), 1 => Just("--X-Y--"), 1 => Just("")];
    (begin, vec(part, 0..5), end)
        .prop_map(|(begin, parts, end)| [begin.as_bytes(), &parts.concat(), end.as_bytes()].concat())
}

#[test]
fn any_body_with_a_boundary_is_an_upload_or_an_error() {
    let asked = Asked::new();
    let uris = [
        "/v1/files",
        "/v1/files?wrap=true&hidden=false",
        "/pinning/pinFileToIPFS",
        "/v3/files",
        "/api/v0/add",
        "/api/v0/add?wrap-with-directory=true&progress=true",
        "/api/v0/block/put",
        "/api/v0/dag/put",
        "/api/v0/dag/import",
    ];
    proptest!(ProptestConfig::with_cases(256), |(uri in select(uris.to_vec()), body in form())| {
        let status = asked.status(&Method::POST, uri, "multipart/form-data; boundary=X-Y", body);
        prop_assert!(is_documented(status), "{}: {}", uri, status);
    });
    asked.assert_some_were_taken(10);
    assert_eq!(asked.runtime.block_on(asked.world.segments())[0], 0, "nothing is left open");
}

/// Where JSON goes, and which members mean something there.
const JSON: &[(&str, &str, &[&str])] = &[
    ("POST", "/psa/pins", &["cid", "name", "origins", "meta"]),
    ("POST", "/psa/pins/nothing", &["cid", "name", "origins", "meta"]),
    ("POST", "/pinning/pinJSONToIPFS", &["pinataContent", "pinataMetadata", "pinataOptions"]),
    ("POST", "/pinning/pinByHash", &["hashToPin", "pinataMetadata", "pinataOptions"]),
    ("PUT", "/pinning/hashMetadata", &["ipfsPinHash", "name", "keyvalues"]),
    (
        "POST",
        "/v3/files/sign",
        &[
            "date",
            "expires",
            "network",
            "filename",
            "group_id",
            "keyvalues",
            "max_file_size",
            "allow_mime_types",
        ],
    ),
    ("POST", "/v3/files/public/pin_by_cid", &["cid", "name", "keyvalues", "group_id", "host_nodes"]),
    ("PUT", "/v3/files/public/ID", &["name", "keyvalues", "expires_at"]),
    ("POST", "/v3/groups/public", &["name", "is_public"]),
    ("PUT", "/v3/groups/public/nothing", &["name", "is_public"]),
];

/// Members of members.
const INNER: [&str; 8] =
    ["name", "keyvalues", "cidVersion", "wrapWithDirectory", "groupId", "hostNodes", "key", "value"];

fn json(text: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text.prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0..100_i64).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let object = vec((select(&INNER[..]), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_string(), value))
                .collect()),
        ]
    })
}

#[test]
fn any_json_is_taken_or_refused() {
    let asked = Asked::new();
    let id = asked.texts[4].clone();
    let request = select(JSON).prop_flat_map(|(method, uri, keys)| {
        let text = asked.text().boxed();
        let member = |key: &'static str| {
            let sensible = match key {
                "date" => Just(Value::from(asked.world.gateway.clock.now().0 / 1_000)).boxed(),
                "expires" | "max_file_size" => (1..1_000_i64).prop_map(Value::from).boxed(),
                "is_public" => any::<bool>().prop_map(Value::from).boxed(),
                _ => asked.value(key).prop_map(Value::from).boxed(),
            };
            (Just(key), prop_oneof![2 => sensible, 1 => json(text.clone())])
        };
        let all = keys.iter().map(|key| option::weighted(0.7, member(key))).collect::<Vec<_>>();
        let members = all.prop_map(|members| members.into_iter().flatten().collect::<Vec<_>>());
        let object = members.prop_map(|members| {
            let object: Map<String, Value> =
                members.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
            Value::from(object).to_string().into_bytes()
        });
        let body = prop_oneof![
            8 => object,
            1 => json(text.clone()).prop_map(|value| value.to_string().into_bytes()),
            1 => vec(any::<u8>(), 0..30),
        ];
        (Just((method, uri)), body)
    });
    proptest!(ProptestConfig::with_cases(512), |(((method, uri), body) in request)| {
        let uri = uri.replace("ID", &id);
        let said = String::from_utf8_lossy(&body).into_owned();
        let status = asked.status(&method.parse().unwrap(), &uri, "application/json", body);
        prop_assert!(is_documented(status), "{} {} {}: {}", method, uri, said, status);
    });
    asked.assert_some_were_taken(25);
}

/// Where parameters go, and which mean something there.
const QUERIES: &[(&str, &str, &[&str])] = &[
    ("GET", "/v1/files", &["limit", "cursor"]),
    ("POST", "/v1/files", &["name", "hash", "expires", "unpack", "wrap", "hidden"]),
    ("GET", "/psa/pins", &["cid", "name", "match", "status", "before", "after", "limit", "meta", "meta[a]"]),
    (
        "GET",
        "/data/pinList",
        &[
            "hashContains",
            "status",
            "pinStart",
            "pinEnd",
            "pinSizeMin",
            "pinSizeMax",
            "groupId",
            "metadata[name]",
            "metadata[keyvalues]",
            "metadata",
            "pageLimit",
            "pageOffset",
            "includeCount",
            "sort",
        ],
    ),
    ("GET", "/pinning/pinJobs", &["sort", "status", "ipfs_pin_hash", "limit", "offset"]),
    (
        "GET",
        "/v3/files/public",
        &["name", "group", "cid", "mimeType", "keyvalues[a]", "keyvalues", "order", "limit", "pageToken"],
    ),
    ("GET", "/v3/files/public/pin_by_cid", &["order", "status", "cid", "limit", "pageToken"]),
    ("GET", "/v3/groups/public", &["name", "isPublic", "limit", "pageToken"]),
    (
        "POST",
        "/api/v0/add",
        &[
            "hash",
            "cid-version",
            "raw-leaves",
            "trickle",
            "inline",
            "inline-limit",
            "chunker",
            "s",
            "max-file-links",
            "only-hash",
            "pin",
            "pin-name",
            "quieter",
        ],
    ),
    ("POST", "/api/v0/cat", &["arg", "offset", "length"]),
    ("POST", "/api/v0/get", &["arg", "archive", "compress", "compression-level"]),
    ("POST", "/api/v0/ls", &["arg", "stream", "size", "resolve-type"]),
    ("POST", "/api/v0/block/get", &["arg"]),
    ("POST", "/api/v0/block/stat", &["arg"]),
    ("POST", "/api/v0/block/put", &["cid-codec", "format", "mhtype", "mhlen", "pin"]),
    ("POST", "/api/v0/dag/export", &["arg", "progress"]),
    ("POST", "/api/v0/dag/get", &["arg", "output-codec"]),
    ("POST", "/api/v0/dag/put", &["store-codec", "input-codec", "hash", "pin"]),
    ("POST", "/api/v0/dag/import", &["pin-roots", "stats", "silent"]),
    ("POST", "/api/v0/dag/resolve", &["arg"]),
    ("POST", "/api/v0/dag/stat", &["arg", "progress"]),
    ("POST", "/api/v0/resolve", &["arg", "recursive"]),
    ("POST", "/api/v0/pin/add", &["arg", "recursive", "name", "progress"]),
    ("POST", "/api/v0/pin/ls", &["arg", "type", "quiet", "stream", "names", "name"]),
    ("POST", "/api/v0/pin/rm", &["arg", "recursive"]),
    ("POST", "/api/v0/pin/update", &["arg", "unpin"]),
    ("POST", "/api/v0/pin/verify", &["arg", "verbose", "quiet"]),
];

#[test]
fn any_query_is_understood_or_refused() {
    let asked = Asked::new();
    let request = select(QUERIES).prop_flat_map(|(method, uri, keys)| {
        let pair = |key: &'static str| {
            asked
                .value(key)
                .prop_map(move |text| format!("{key}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC)))
        };
        let share = |key: &str| if key == "arg" { 0.9 } else { 0.25 };
        let all = keys.iter().map(|key| option::weighted(share(key), pair(key))).collect::<Vec<_>>();
        let more = option::weighted(0.1, "[!-~]{0,12}");
        let query = (all, more)
            .prop_map(|(pairs, more)| pairs.into_iter().flatten().chain(more).collect::<Vec<_>>().join("&"));
        (Just((method, uri)), query)
    });
    proptest!(ProptestConfig::with_cases(1_000), |(((method, uri), query) in request)| {
        let uri = format!("{uri}?{query}");
        prop_assume!(uri.parse::<Uri>().is_ok());
        let status = asked.status(&method.parse().unwrap(), &uri, "text/plain", b"a body".to_vec());
        prop_assert!(is_documented(status), "{} {}: {}", method, uri, status);
    });
    asked.assert_some_were_taken(50);
}
