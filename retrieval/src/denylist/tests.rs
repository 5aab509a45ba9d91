//! What lists deny: the examples of the specification, arbitrary ones, and files that change.

mod examples;
mod files;
mod model;

use content::Cid;

use super::{Denial, file, rules::RuleList, rules::Rules};

/// The rules of one file.
fn rules(text: &str) -> Rules {
    let mut list = RuleList::default();
    file::parse(text.as_bytes(), 1000, &mut list).unwrap();
    list.finish()
}

/// What the rules say of `CID[/path]`.
fn verdict(rules: &Rules, name: &str) -> Option<Denial> {
    let (cid, path) = name.split_once('/').unwrap_or((name, ""));
    let cid: Cid = cid.parse().unwrap();
    rules.verdict(&cid, path)
}
