//! A directory as a web page. Children are not fetched: sizes are what the directory itself says. Rows are sent as the
//! directory's own blocks come, so a page of a million rows begins as soon as one of ten.

use std::{collections::VecDeque, fmt::Write as _};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use content::{Block, Cid, unixfs::walk::list};
use futures_util::{Stream, stream};

use super::{
    Ask,
    answer::not_modified,
    body::stream_body,
    encode,
    failure::Failure,
    headers::{Caching, OWN_PAGE, set},
    request::{ContentRequest, Mount},
};
use crate::{blocks::Blocks, error::ReadError};

/// Changes with the page's looks, so that cached pages are fetched anew.
const VERSION: &str = "2";
/// Up to so many rows are sorted by name. Those of a larger sharded directory stand in the order of its shards.
const SORTED_MAX: usize = 2_000;
/// Rows rendered at once.
const CHUNK_ROWS: usize = 256;
/// Shards fetched at once.
const SHARDS_AT_ONCE: usize = 8;
/// Shards of one directory, at most: enough for some ten million entries. What is made to have more has no end.
const SHARDS_MAX: usize = 262_144;

pub(super) async fn answer(ask: &Ask<'_>, directory: &Block) -> Result<Response, Failure> {
    let caching = Caching::generated("DirIndex", VERSION, &directory.cid);
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    let mut rows = Rows::new(ask.blocks.clone(), directory)?;
    let place = Place::of(ask.request);
    let mut length = None;
    let body = if ask.request.head {
        Body::empty()
    } else {
        rows.fill(SORTED_MAX).await?;
        if rows.is_complete() {
            let page = rows.whole_page(&place);
            length = Some(page.len());
            Body::from(page)
        } else {
            let head = place.head();
            stream_body(Some(head.into()), rows.stream(place), ask.rules.stall_timeout)
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    caching.set(headers);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN_PAGE));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

/// The start of links to other CIDs: the gateway, from where it sends readers to the CID's own host.
pub(super) fn gateway_prefix(request: &ContentRequest) -> String {
    match &request.mount {
        Mount::Path => String::new(),
        Mount::Origin { gateway } => format!("//{}", encode::html_text(gateway)),
    }
}

/// What a row shows.
struct Row {
    name: String,
    cid: Cid,
    dag_size_bytes: u64,
}

/// The entries of a directory, block by block.
struct Rows {
    blocks: Blocks,
    ready: VecDeque<Row>,
    /// The next is the last.
    shards: Vec<Cid>,
    shards_left: usize,
}

impl Rows {
    fn new(blocks: Blocks, directory: &Block) -> Result<Self, ReadError> {
        let mut rows = Self { blocks, ready: VecDeque::new(), shards: Vec::new(), shards_left: SHARDS_MAX };
        rows.take(directory)?;
        Ok(rows)
    }

    fn take(&mut self, block: &Block) -> Result<(), ReadError> {
        let listing = list(block)?;
        self.ready.extend(listing.entries.into_iter().map(|entry| Row {
            name: entry.name.to_string(),
            cid: entry.target.cid,
            dag_size_bytes: entry.target.dag_size_bytes,
        }));
        self.shards.extend(listing.shards.into_iter().rev());
        Ok(())
    }

    /// Reads on until so many rows are there, or all.
    async fn fill(&mut self, rows: usize) -> Result<(), ReadError> {
        while self.ready.len() < rows && !self.shards.is_empty() {
            let mut next = self.shards.split_off(self.shards.len().saturating_sub(SHARDS_AT_ONCE));
            next.reverse();
            self.shards_left = self
                .shards_left
                .checked_sub(next.len())
                .ok_or(ReadError::TooLarge("directory has too many shards"))?;
            for block in &self.blocks.get_all(&next).await? {
                self.take(block)?;
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.shards.is_empty() && self.ready.len() <= SORTED_MAX
    }

    fn whole_page(mut self, place: &Place) -> String {
        self.ready.make_contiguous().sort_by(|a, b| a.name.cmp(&b.name));
        let mut html = place.head();
        for row in &self.ready {
            place.write_row(&mut html, row);
        }
        html.push_str(FOOT);
        html
    }

    /// The rows and the end of the page.
    fn stream(self, place: Place) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
        stream::try_unfold(Some((self, place)), |state| async move {
            let Some((mut rows, place)) = state else { return Ok(None) };
            rows.fill(CHUNK_ROWS).await?;
            if rows.ready.is_empty() {
                return Ok(Some((Bytes::from_static(FOOT.as_bytes()), None)));
            }
            let mut html = String::new();
            for row in rows.ready.drain(..rows.ready.len().min(CHUNK_ROWS)) {
                place.write_row(&mut html, &row);
            }
            Ok(Some((Bytes::from(html), Some((rows, place)))))
        })
    }
}

const FOOT: &str = "</table></body></html>\n";

/// Where the directory appears, which decides all links.
struct Place {
    /// The start of links to other CIDs.
    gateway: String,
    /// The root, as it was asked for.
    root: String,
    /// The components below it.
    path: Vec<String>,
    /// The URL of the directory, without a slash at its end.
    url: String,
}

impl Place {
    fn of(request: &ContentRequest) -> Self {
        let url = format!("{}{}", request.base(), encode::path(&request.path));
        let root = encode::html_text(&request.root_name());
        Self {
            gateway: gateway_prefix(request),
            root,
            path: request.path.clone(),
            url: encode::html_text(&url),
        }
    }

    fn head(&self) -> String {
        let Self { gateway, root, .. } = self;
        let names: String = self.path.iter().flat_map(|name| ["/".into(), encode::html_text(name)]).collect();
        let mut crumbs = format!("/ipfs/<a href=\"{gateway}/ipfs/{root}\">{root}</a>");
        for depth in 1..=self.path.len() {
            let url = encode::html_text(&encode::path(&self.path[..depth]));
            let name = encode::html_text(&self.path[depth - 1]);
            let _ = write!(crumbs, "/<a href=\"{gateway}/ipfs/{root}{url}\">{name}</a>");
        }
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>/ipfs/{root}{names}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <style>body{{font:15px system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em}}\
             h1{{font-size:1.2em;word-break:break-word}}table{{width:100%;border-collapse:collapse}}\
             td{{padding:.2em 1em .2em 0}}td+td{{text-align:right;color:#666;white-space:nowrap}}\
             .ipfs-hash{{font:13px monospace}}</style></head>\n\
             <body><h1>Index of {crumbs}</h1><table>\n"
        );
        if !self.path.is_empty() {
            let url = &self.url;
            let _ = writeln!(html, "<tr><td><a href=\"{url}/..\">..</a></td><td></td><td></td></tr>");
        }
        html
    }

    fn write_row(&self, html: &mut String, row: &Row) {
        let Self { gateway, url, .. } = self;
        let link = encode::component(&row.name);
        // Encoded twice, as every other gateway does it: the name that a file is saved under is still encoded once.
        let filename = encode::query_value(&link);
        let cid = row.cid.as_written().to_string();
        let short =
            if cid.len() > 12 { format!("{}…{}", &cid[..4], &cid[cid.len() - 4..]) } else { cid.clone() };
        let _ = writeln!(
            html,
            "<tr><td><a href=\"{url}/{}\">{}</a></td>\
             <td><a class=\"ipfs-hash\" translate=\"no\" href=\"{gateway}/ipfs/{cid}?filename={filename}\">{short}</a></td>\
             <td title=\"{} bytes with all blocks\">{}</td></tr>",
            encode::html_text(&link),
            encode::html_text(&row.name),
            row.dag_size_bytes,
            readable(row.dag_size_bytes),
        );
    }
}

/// Units of sizes, each 1024 times the one before.
const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size for people.
fn readable(bytes: u64) -> String {
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1024 {
        (rest, whole) = (whole % 1024, whole / 1024);
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (u64::MAX, "15.9 EiB")]
        {
            assert_eq!(readable(bytes), text);
        }
    }
}
