//! Rules that can be asked: 20 bytes for each, however long its text was.
//!
//! A rule without a star is kept as a key of 128 bits, made of what it names, and its rank. Of the rules that match
//! something the last one decides. Keys are a part of a BLAKE3 hash: nobody finds content that shares one with a rule.

use content::{Cid, Codec, HashFn};

use super::{Denial, line::What};

/// Rules that can be told apart, at most: two of a rank's 32 bits say what the rule does.
pub(super) const RULES_LIMIT: usize = 1 << 30;

/// What keys are made of; a hashed name must not be taken for the name of content.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Kind {
    Named = 1,
    Hashed = 2,
}

/// How late a rule stands, and, in the two lowest bits, what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u32);

const ALLOW: u32 = 0;
const GONE: u32 = 1;
const LEGAL: u32 = 2;

/// A rule with a star.
#[derive(Debug)]
struct Prefix {
    key: u128,
    rank: Rank,
    text: Box<str>,
}

/// Rules in the order in which they stand in the files.
#[derive(Debug, Default)]
pub(super) struct RuleList {
    exact: Vec<(u128, Rank)>,
    prefixes: Vec<Prefix>,
    hash_fns: Vec<HashFn>,
    has_names: bool,
}

/// Rules in the order in which they are found.
#[derive(Debug)]
pub(super) struct Rules {
    /// Sorted, each once.
    keys: Box<[u128]>,
    /// Those of the keys at the same places.
    ranks: Box<[Rank]>,
    /// Sorted by key.
    prefixes: Box<[Prefix]>,
    /// What names are hashed with in rules that do not tell the name.
    hash_fns: Box<[HashFn]>,
    /// Whether there are other rules without a star.
    has_names: bool,
}

impl Rank {
    fn denial(self) -> Option<Denial> {
        match self.0 & 3 {
            GONE => Some(Denial::Gone),
            LEGAL => Some(Denial::Legal),
            _ => None,
        }
    }
}

impl RuleList {
    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.prefixes.len()
    }

    /// Adds a rule behind all others. There must be fewer than [`RULES_LIMIT`].
    pub(super) fn push(&mut self, what: What, allow: bool, denial: Denial) {
        let order = u32::try_from(self.len()).expect("rules_max is below the limit");
        let does = match denial {
            _ if allow => ALLOW,
            Denial::Gone => GONE,
            Denial::Legal => LEGAL,
        };
        let rank = Rank(order << 2 | does);
        match what {
            What::Path { cid, path } => {
                self.has_names = true;
                self.exact.push((key(Kind::Named, cid.multihash(), &path), rank));
            }
            What::Prefix { cid, prefix } => {
                let key = key(Kind::Named, cid.multihash(), "");
                self.prefixes.push(Prefix { key, rank, text: prefix.into() });
            }
            What::Hashed(hash) => {
                if let Some(hash_fn) = hash.hash_fn().filter(|hash_fn| !self.hash_fns.contains(hash_fn)) {
                    self.hash_fns.push(hash_fn);
                }
                self.exact.push((key(Kind::Hashed, hash.multihash(), ""), rank));
            }
        }
    }

    /// Sorts the rules to be asked.
    pub(super) fn finish(mut self) -> Rules {
        // The last of equal keys first, so that it is the one that stays.
        self.exact.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        self.exact.dedup_by_key(|(key, _)| *key);
        self.prefixes.sort_unstable_by_key(|prefix| (prefix.key, prefix.rank));
        Rules {
            keys: self.exact.iter().map(|(key, _)| *key).collect(),
            ranks: self.exact.iter().map(|(_, rank)| *rank).collect(),
            prefixes: self.prefixes.into(),
            hash_fns: self.hash_fns.into(),
            has_names: self.has_names,
        }
    }
}

impl Rules {
    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.prefixes.len()
    }

    /// What the rules say of a path (decoded components, with slashes between them) below a CID, or of the CID itself when
    /// the path is empty.
    pub(super) fn verdict(&self, cid: &Cid, path: &str) -> Option<Denial> {
        let named = self.has_names.then(|| self.find(key(Kind::Named, cid.multihash(), path))).flatten();
        named.max(self.begun(cid, path)).max(self.hashed(cid, path))?.denial()
    }

    fn find(&self, key: u128) -> Option<Rank> {
        self.keys.binary_search(&key).ok().map(|at| self.ranks[at])
    }

    /// The last rule with a star that matches.
    fn begun(&self, cid: &Cid, path: &str) -> Option<Rank> {
        if self.prefixes.is_empty() {
            return None;
        }
        let key = key(Kind::Named, cid.multihash(), "");
        let from = self.prefixes.partition_point(|prefix| prefix.key < key);
        let of_cid = self.prefixes[from..].iter().take_while(|prefix| prefix.key == key);
        of_cid.filter(|prefix| path.starts_with(&*prefix.text)).map(|prefix| prefix.rank).max()
    }

    /// The last rule that matches a hash of the name: of `multihash[/path]` in base58, or, as it was done first, of
    /// `cid/[path]` in base32. Which of both a SHA-256 is of cannot be seen, so all are compared with both.
    fn hashed(&self, cid: &Cid, path: &str) -> Option<Rank> {
        if self.hash_fns.is_empty() {
            return None;
        }
        let multihash = cid.multihash_base58();
        let slash = if path.is_empty() { "" } else { "/" };
        let names = [format!("{multihash}{slash}{path}"), format!("{cid}/{path}")];
        let hashes = self
            .hash_fns
            .iter()
            .flat_map(|hash_fn| names.iter().map(|name| Cid::of(Codec::Raw, *hash_fn, name.as_bytes())));
        hashes.filter_map(|hash| self.find(key(Kind::Hashed, hash.multihash(), ""))).max()
    }
}

/// What a rule without a star is found by. A multihash says its own length, so nothing else looks like it and a path.
fn key(kind: Kind, multihash: &[u8], path: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind as u8]);
    hasher.update(multihash);
    hasher.update(path.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(first)
}
