//! One line of a denylist.

use content::{Cid, Codec};
use percent_encoding::percent_decode_str;

use super::{Denial, header};

/// Hex digits of a SHA-256.
const HEX_DIGITS: usize = 64;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing: it is empty or a comment.
    Nothing,
    /// What is denied, or allowed.
    Rule {
        what: What,
        allow: bool,
        /// The status that the line's own hints ask for.
        denial: Option<Denial>,
    },
    /// A rule about something that is never served here: IPNS names and content types.
    NotApplied,
}

/// What a rule is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The multihash of a CID, or, when `path` is not empty, what lies there below it. Components are decoded.
    Path { cid: Cid, path: String },
    /// What begins so, the CID itself included when `prefix` is empty. It may end within a component.
    Prefix { cid: Cid, prefix: String },
    /// The multihash of a name that is not told.
    Hashed(Cid),
}

/// Reads a line, or says why it is no rule.
pub(super) fn parse(line: &str) -> Result<Line, &'static str> {
    let mut words = line.split_ascii_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(rule) = words.next() else { return Ok(Line::Nothing) };
    // The specification parts key and value with a colon; tools that came before it write an equals sign.
    let hints = words.filter_map(|hint| hint.split_once([':', '=']));
    let denial = hints.filter_map(|(key, value)| header::status(key, value)).last();
    let (rule, allow) = rule.strip_prefix('!').map_or((rule, false), |rule| (rule, true));
    let what = if let Some(hash) = rule.strip_prefix("//") {
        What::Hashed(hashed(hash)?)
    } else if let Some(path) = rule.strip_prefix("/ipfs/") {
        content_path(path)?
    } else if rule.starts_with("/ipns/") || rule.starts_with("/mime/") {
        return Ok(Line::NotApplied);
    } else {
        return Err("no rule of a known kind");
    };
    Ok(Line::Rule { what, allow, denial })
}

/// The hash of a name: a multihash in base58, or a SHA-256 in hex as it was written before there were multihashes here.
fn hashed(text: &str) -> Result<Cid, &'static str> {
    if text.len() == HEX_DIGITS {
        let mut digest = [0; HEX_DIGITS / 2];
        let hex = data_encoding::HEXLOWER_PERMISSIVE;
        return match hex.decode_mut(text.as_bytes(), &mut digest) {
            Ok(_) => Ok(Cid::from_sha2_256(Codec::Raw, digest)),
            Err(_) => Err("64 characters that are no hex digits"),
        };
    }
    let multihash =
        Cid::from_multihash_base58(text).map_err(|_| "neither a multihash nor a SHA-256 in hex")?;
    let hash_fn = multihash.hash_fn().ok_or("a hash function that is not supported")?;
    let is_whole = multihash.digest().len() == hash_fn.digest_len();
    if is_whole { Ok(multihash) } else { Err("a multihash of the wrong length") }
}

/// What stands behind `/ipfs/`.
fn content_path(text: &str) -> Result<What, &'static str> {
    let (cid, path) = text.split_once('/').unwrap_or((text, ""));
    let cid: Cid =
        cid.parse().or_else(|_| Cid::from_multihash_base58(cid)).map_err(|_| "no CID behind /ipfs/")?;
    let (path, is_prefix) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
    // As requests are decoded: once, and before the path is taken apart.
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| "a path that is no UTF-8")?;
    let components: Vec<&str> = decoded.split('/').filter(|component| !component.is_empty()).collect();
    // The last component of a prefix is only the beginning of one.
    let whole = &components[..components.len() - usize::from(is_prefix && !components.is_empty())];
    if whole.iter().any(|component| matches!(*component, "." | "..")) {
        return Err("a path with . or ..");
    }
    let path = components.join("/");
    Ok(if is_prefix { What::Prefix { cid, prefix: path } } else { What::Path { cid, path } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768";

    fn what(line: &str) -> What {
        match parse(line) {
            Ok(Line::Rule { what, .. }) => what,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn paths_are_brought_into_one_form() {
        let cid: Cid = CID.parse().unwrap();
        for (path, expected) in [
            ("", ""),
            ("/", ""),
            ("/a", "a"),
            ("/a/", "a"),
            ("//a//b/", "a/b"),
            ("/%C3%A4%20b%2Fc%2A", "ä b/c*"),
        ] {
            let expected = What::Path { cid: cid.clone(), path: expected.into() };
            assert_eq!(what(&format!("/ipfs/{CID}{path}")), expected, "{path}");
        }
        for (path, expected) in [("/*", ""), ("/a*", "a"), ("/a/*", "a"), ("/a/.*", "a/."), ("/a**", "a*")] {
            let expected = What::Prefix { cid: cid.clone(), prefix: expected.into() };
            assert_eq!(what(&format!("/ipfs/{CID}{path}")), expected, "{path}");
        }
    }

    #[test]
    fn hints_and_comments_stand_behind_the_rule() {
        let of = |line: &str| match parse(line) {
            Ok(Line::Rule { allow, denial, .. }) => (allow, denial),
            other => panic!("{line}: {other:?}"),
        };
        let rule = format!("/ipfs/{CID}");
        assert_eq!(of(&rule), (false, None));
        assert_eq!(of(&format!("  !{rule}\t")), (true, None));
        assert_eq!(of(&format!("{rule} a:b status:451 c")), (false, Some(Denial::Legal)));
        assert_eq!(of(&format!("{rule} gateway_status=410 x=y")), (false, Some(Denial::Gone)));
        assert_eq!(of(&format!("{rule} status:200")), (false, None));
        assert_eq!(of(&format!("{rule} # status:451")), (false, None));
        for nothing in ["", "   ", "# x", "  # /ipfs/x", "#"] {
            assert_eq!(parse(nothing), Ok(Line::Nothing), "{nothing:?}");
        }
    }

    #[test]
    fn names_are_read_in_every_form() {
        let sha =
            |text: &str| Cid::from_sha2_256(Codec::Raw, *blake3::Hash::from_hex(text).unwrap().as_bytes());
        let hex = "d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7";
        assert_eq!(what(&format!("//{hex}")), What::Hashed(sha(hex)));
        assert_eq!(what(&format!("//{}", hex.to_uppercase())), What::Hashed(sha(hex)));
        let What::Hashed(blake) = what("//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX") else { panic!() };
        assert_eq!(blake.hash_fn(), Some(content::HashFn::Blake3));
        let What::Path { cid, .. } = what("/ipfs/gW7Nhu4HrfDtphEivm3Z9NNE7gpdh5Tga8g6JNZc1S8E47/path") else {
            panic!()
        };
        assert_eq!(cid.hash_fn(), Some(content::HashFn::Blake3), "a bare multihash");
    }

    #[test]
    fn what_is_never_served_is_told_apart_from_what_is_wrong() {
        for line in ["/ipns/example.com", "!/ipns/example.com/path*", "/mime/text/plain"] {
            assert_eq!(parse(line), Ok(Line::NotApplied), "{line}");
        }
        let cut = Cid::of(Codec::Raw, content::HashFn::Blake3, b"x").multihash_base58();
        for line in [
            "/ipfs/",
            "/ipfs/nonsense",
            &format!("/ipfs/{CID}*"),
            &format!("/ipfs/{CID}/a/../b"),
            &format!("/ipfs/{CID}/./b*"),
            &format!("/ipfs/{CID}/%ff"),
            &format!("ipfs/{CID}"),
            &format!("!!/ipfs/{CID}"),
            CID,
            "//",
            "//abc",
            &format!("//{}", "x".repeat(64)),
            &format!("//{}", &cut[..cut.len() - 1]),
            "///ipfs/x",
            "/some/path",
            "---",
        ] {
            assert!(parse(line).is_err(), "{line}: {:?}", parse(line));
        }
    }
}
