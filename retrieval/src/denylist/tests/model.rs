//! Arbitrary texts, and arbitrary rules against a matcher that tries them one after another.

use content::{Codec, HashFn};
use proptest::prelude::*;

use super::*;

fn cid(number: u8) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, &[number])
}

/// Few components, so that they meet.
fn path() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("ab"), Just("b")], 0..3)
}

#[derive(Debug, Clone)]
struct Rule {
    allow: bool,
    number: u8,
    path: String,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Exact,
    Star,
    Hashed(HashFn),
    Hex,
}

fn rule() -> impl Strategy<Value = Rule> {
    let form = prop_oneof![
        Just(Form::Exact),
        Just(Form::Star),
        Just(Form::Hashed(HashFn::Sha2_256)),
        Just(Form::Hashed(HashFn::Blake3)),
        Just(Form::Hex),
    ];
    (any::<bool>(), 0..3_u8, path(), form).prop_map(|(allow, number, path, form)| Rule {
        allow,
        number,
        path: path.join("/"),
        form,
    })
}

impl Rule {
    fn line(&self) -> String {
        let Self { allow, number, path, form } = self;
        let (cid, sign) = (cid(*number), if *allow { "!" } else { "" });
        let slash = if path.is_empty() { "" } else { "/" };
        match form {
            Form::Exact => format!("{sign}/ipfs/{cid}/{path}"),
            Form::Star if path.is_empty() => format!("{sign}/ipfs/{cid}/*"),
            Form::Star => format!("{sign}/ipfs/{cid}/{path}*"),
            Form::Hashed(hash_fn) => {
                let name = format!("{}{slash}{path}", cid.multihash_base58());
                format!("{sign}//{}", Cid::of(Codec::Raw, *hash_fn, name.as_bytes()).multihash_base58())
            }
            Form::Hex => {
                let name = Cid::of(Codec::Raw, HashFn::Sha2_256, format!("{cid}/{path}").as_bytes());
                format!("{sign}//{}", data_encoding::HEXLOWER.encode(name.digest()))
            }
        }
    }

    fn matches(&self, number: u8, path: &str) -> bool {
        let is_path = match self.form {
            Form::Star => path.starts_with(&self.path),
            Form::Exact | Form::Hashed(_) | Form::Hex => path == self.path,
        };
        number == self.number && is_path
    }
}

proptest! {
    #[test]
    fn the_last_match_decides(
        list in proptest::collection::vec(rule(), 0..12),
        asked in proptest::collection::vec((0..3_u8, path()), 1..20),
    ) {
        let lines: Vec<String> = list.iter().map(Rule::line).collect();
        let rules = rules(&lines.join("\n"));
        for (number, path) in asked {
            let path = path.join("/");
            let last = list.iter().rev().find(|rule| rule.matches(number, &path));
            let expected = last.is_some_and(|rule| !rule.allow);
            prop_assert_eq!(rules.verdict(&cid(number), &path).is_some(), expected, "{} {:?}", path, lines);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = file::parse(&bytes, 10, &mut RuleList::default());
    }

    #[test]
    fn no_text_panics(
        lines in proptest::collection::vec("(!?(//|/ipfs/|/ipns/)?[Qmzbf1./*%#:= -]{0,20}|---|hints:|.{0,20})", 0..20)
    ) {
        let _ = file::parse(lines.join("\n").as_bytes(), 10, &mut RuleList::default());
    }
}
