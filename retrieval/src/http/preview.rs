//! dag-json and dag-cbor as a page to look at, for clients that ask for HTML: text with links that can be followed.

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use content::{
    Block, Codec,
    ipld::{Event, Events},
};

use super::{
    Ask,
    answer::not_modified,
    encode,
    failure::Failure,
    headers::{Caching, OWN_PAGE, set},
    listing::gateway_prefix,
};
use crate::error::ReadError;

/// Changes with the page's looks.
const VERSION: &str = "1";
/// Bytes of data shown, at most; the whole block can be downloaded.
const SHOWN_MAX: usize = 64 << 10;
/// Bytes of one value shown, at most.
const VALUE_MAX: usize = 1024;

pub(super) fn answer(ask: &Ask<'_>, block: &Block) -> Result<Response, Failure> {
    let caching = Caching::generated("DagIndex", VERSION, &block.cid);
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    let page = page(block, &gateway_prefix(ask.request))?;
    let length = page.len();
    let mut response = Response::new(if ask.request.head { Body::empty() } else { Body::from(page) });
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    caching.set(headers);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN_PAGE));
    Ok(response)
}

fn page(block: &Block, gateway: &str) -> Result<String, Failure> {
    let cid = &block.cid;
    let format = if cid.codec() == Codec::DagJson { "dag-json" } else { "dag-cbor" };
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{cid}</title>\n\
         <style>body{{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         pre{{white-space:pre-wrap;word-break:break-word}}</style></head>\n\
         <body><h1>{cid}</h1>\n<p>{format}, {} bytes: <a href=\"{gateway}/ipfs/{cid}?format={format}\">{format}</a>, \
         <a href=\"{gateway}/ipfs/{cid}?format=raw\">raw block</a>, \
         <a href=\"{gateway}/ipfs/{cid}?format=car\">CAR</a></p>\n<pre>",
        block.bytes.len()
    );
    write_data(&mut html, block, gateway).map_err(|error| ReadError::BadData(cid.clone(), error))?;
    html.push_str("</pre>\n</body></html>\n");
    Ok(html)
}

fn write_data(html: &mut String, block: &Block, gateway: &str) -> Result<(), content::ipld::IpldError> {
    let Some(mut events) = Events::of(block) else { return Ok(()) };
    let mut depth = 0_usize;
    let mut keyed = false;
    let start = html.len();
    while let Some(event) = events.next_event()? {
        if html.len() - start > SHOWN_MAX {
            html.push_str("\n... and more");
            break;
        }
        if event == Event::End {
            depth = depth.saturating_sub(1);
        }
        if !keyed && event != Event::End && html.len() > start {
            html.push('\n');
            html.extend(std::iter::repeat_n("  ", depth));
        }
        keyed = matches!(event, Event::Key(_));
        match &event {
            Event::Null => html.push_str("null"),
            Event::Bool(value) => _ = write!(html, "{value}"),
            Event::Int(value) => _ = write!(html, "{value}"),
            Event::Float(value) => _ = write!(html, "{value}"),
            Event::Text(text) => _ = write!(html, "\"{}\"", encode::html_text(cut(text))),
            Event::Bytes(bytes) => {
                html.push_str("bytes ");
                for byte in bytes.iter().take(VALUE_MAX / 2) {
                    _ = write!(html, "{byte:02x}");
                }
                if bytes.len() > VALUE_MAX / 2 {
                    html.push_str("...");
                }
            }
            Event::Link(cid) => {
                let cid = cid.as_written();
                _ = write!(html, "<a href=\"{gateway}/ipfs/{cid}\">{cid}</a>");
            }
            Event::List => html.push_str("list"),
            Event::Map => html.push_str("map"),
            Event::Key(key) => _ = write!(html, "{}: ", encode::html_text(cut(key))),
            Event::End => {}
        }
        depth += usize::from(matches!(event, Event::List | Event::Map));
    }
    Ok(())
}

/// The beginning of a long text.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(VALUE_MAX);
    &text[..end]
}
