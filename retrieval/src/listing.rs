//! A directory as a web page. Children are not fetched: sizes are what the directory itself says.

use std::fmt::Write as _;

use content::{Block, unixfs::walk::list};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{blocks::Blocks, error::ReadError};

/// Changes with the page's looks, so that cached pages are fetched anew.
pub(crate) const VERSION: &str = "1";
/// Entries shown, at most: a page is made in memory.
const ENTRIES_MAX: usize = 2_000;
/// Shards looked at, at most.
const SHARDS_MAX: usize = 400;

/// What must not stand bare in a path of a URL.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/');

/// The page for a directory at `path`.
pub(crate) async fn render(blocks: &Blocks, directory: &Block, path: &str) -> Result<String, ReadError> {
    let mut rows = Vec::new();
    let mut shards = vec![directory.clone()];
    let mut looked = 0;
    let mut complete = true;
    while let Some(block) = shards.pop() {
        let listing = list(&block)?;
        for entry in listing.entries {
            rows.push((entry.name.to_string(), entry.target.dag_size_bytes));
        }
        looked += 1;
        if rows.len() > ENTRIES_MAX || looked > SHARDS_MAX {
            complete = false;
            break;
        }
        for shard in listing.shards {
            shards.push(blocks.get(&shard).await?.block);
        }
    }
    complete &= rows.len() <= ENTRIES_MAX;
    rows.sort();
    rows.truncate(ENTRIES_MAX);
    Ok(page(path, &rows, complete))
}

fn page(path: &str, rows: &[(String, u64)], complete: bool) -> String {
    let title = escape(path);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>body{{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         td{{padding:.2em 1em .2em 0}}td+td{{text-align:right;color:#666}}</style></head>\n\
         <body><h1>{title}</h1><table>\n<tr><td><a href=\"../\">..</a></td><td></td></tr>\n"
    );
    for (name, bytes) in rows {
        let link = utf8_percent_encode(name, NOT_IN_PATH);
        let _ = writeln!(html, "<tr><td><a href=\"./{link}\">{}</a></td><td>{bytes}</td></tr>", escape(name));
    }
    html.push_str("</table>");
    if !complete {
        let _ = write!(
            html,
            "<p>Only the first {} entries are shown; all can be read by their names.</p>",
            rows.len()
        );
    }
    html.push_str("</body></html>\n");
    html
}

/// Text that is safe inside HTML and its attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}
