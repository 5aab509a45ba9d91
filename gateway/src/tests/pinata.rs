//! Pinata's API, as its own clients call it.

mod large;
mod signed;
mod v1;
mod v3;

use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use content::unixfs::{file::import_bytes, profile::Profile, tree::TreeBuilder};
use serde_json::Value;

use super::world::{Answer, World, json_request, request};

/// A field of a form: name, file name, type, content.
type Field<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [u8]);

/// A file as clients send it.
fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Field<'a> {
    ("file", Some(name), Some("application/octet-stream"), bytes)
}

/// A field that is no file.
fn text<'a>(name: &'a str, value: &'a str) -> Field<'a> {
    (name, None, None, value.as_bytes())
}

fn form(method: Method, uri: &str, bearer: Option<&str>, fields: &[Field<'_>]) -> Request<axum::body::Body> {
    let mut body = Vec::new();
    for (name, file_name, kind, content) in fields {
        let file_name = file_name.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let kind = kind.map_or_else(String::new, |kind| format!("\r\nContent-Type: {kind}"));
        let head =
            format!("--X-Y\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}{kind}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--X-Y--\r\n");
    let mut request = request(method, uri, bearer, body);
    let value = "multipart/form-data; boundary=X-Y".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, value);
    request
}

async fn post_form(world: &World, uri: &str, fields: &[Field<'_>]) -> Answer {
    world.send(form(Method::POST, uri, Some(&world.key), fields)).await
}

/// Sends JSON.
async fn send(world: &World, method: Method, uri: &str, body: &Value) -> Answer {
    world.send(json_request(method, uri, Some(&world.key), body)).await
}

/// The JSON of an answer, which must be 200: clients take nothing else.
#[track_caller]
fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    answer.json()
}

/// What stands under `data`.
#[track_caller]
fn data(answer: &Answer) -> Value {
    ok(answer)["data"].clone()
}

/// The CID of a file under a profile.
fn cid_of(profile: Profile, bytes: &[u8]) -> String {
    import_bytes(profile, &Bytes::copy_from_slice(bytes)).target().cid.as_written().to_string()
}

/// The CID of a directory under a profile.
fn folder_of(profile: Profile, files: &[(&str, &[u8])]) -> String {
    let mut tree = TreeBuilder::new(profile);
    for (path, bytes) in files {
        tree.add(path, import_bytes(profile, &Bytes::copy_from_slice(bytes)).target()).unwrap();
    }
    tree.finish().unwrap().root.cid.as_written().to_string()
}
