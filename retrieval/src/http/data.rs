//! Blocks as they are: raw, or as the data that their codec says they are. Never converted (IPIP-0524).

use axum::{body::Body, response::Response};
use content::{Block, Codec};

use super::{
    Ask,
    answer::{not_modified, ranged, wanted},
    body::block_body,
    failure::Failure,
    headers::{Caching, set_disposition},
};

/// How a block is called when it is sent as it is.
struct Label {
    content_type: &'static str,
    /// What is behind the CID in the `ETag`.
    etag: &'static str,
    disposition: &'static str,
    extension: &'static str,
}

const RAW: Label = Label {
    content_type: "application/vnd.ipld.raw",
    etag: ".raw",
    disposition: "attachment",
    extension: "bin",
};
const DAG_JSON: Label = Label {
    content_type: "application/vnd.ipld.dag-json",
    etag: ".dag-json",
    disposition: "inline",
    extension: "json",
};
const DAG_CBOR: Label = Label {
    content_type: "application/vnd.ipld.dag-cbor",
    etag: ".dag-cbor",
    disposition: "attachment",
    extension: "cbor",
};
const JSON: Label =
    Label { content_type: "application/json", etag: ".json", disposition: "inline", extension: "json" };
const CBOR: Label =
    Label { content_type: "application/cbor", etag: ".cbor", disposition: "attachment", extension: "cbor" };

/// The block itself.
pub(super) fn raw(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    as_is(ask, block, &RAW)
}

/// What its codec says; a block of an unknown codec itself.
pub(super) fn native(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    let label = match block.cid.codec() {
        Codec::DagJson => DAG_JSON,
        Codec::DagCbor => DAG_CBOR,
        Codec::Json => JSON,
        Codec::Cbor => CBOR,
        Codec::Raw | Codec::DagPb | Codec::Other(_) => RAW,
    };
    as_is(ask, block, &label)
}

/// `format=dag-json`.
pub(super) fn dag_json(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    only(ask, block, &[Codec::DagJson], &DAG_JSON)
}

/// `format=dag-cbor`.
pub(super) fn dag_cbor(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    only(ask, block, &[Codec::DagCbor], &DAG_CBOR)
}

/// `format=json`, for what is no file: JSON, of which dag-json is a kind.
pub(super) fn json(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    only(ask, block, &[Codec::Json, Codec::DagJson], &JSON)
}

/// `format=cbor`, for what is no file.
pub(super) fn cbor(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    only(ask, block, &[Codec::Cbor, Codec::DagCbor], &CBOR)
}

fn only(ask: &Ask<'_>, block: &Block, codecs: &[Codec], label: &Label) -> Result<Response, Failure> {
    if codecs.contains(&block.cid.codec()) {
        return as_is(ask, block, label);
    }
    Err(Failure::NotAcceptable { cid: block.cid.clone(), wanted: label.content_type })
}

fn as_is(ask: &Ask<'_>, block: &Block, label: &Label) -> Result<Response, Failure> {
    let name = block.cid.as_written();
    let caching = Caching::immutable(format!("\"{name}{}\"", label.etag));
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    let size = block.bytes.len() as u64;
    let range = wanted(ask.request, &caching, size)?;
    let body = if ask.request.head { Body::empty() } else { block_body(ask.blocks, block, range.0.clone()) };
    let mut response = ranged(body, &caching, range, size, label.content_type);
    let default = format!("{name}.{}", label.extension);
    set_disposition(response.headers_mut(), ask.request, label.disposition, &default);
    Ok(response)
}
