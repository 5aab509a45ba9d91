//! The header of a denylist: of its YAML only what decides something, which is the version and the hints.
//!
//! This is no parser of YAML. It reads `key: value` lines, a map below `hints` or in braces behind it, and passes over what
//! is indented below other keys.

use super::{Denial, file::FormatError};

/// The version of the format that is read here.
const VERSION: &str = "1";
/// Hints that say with which status something is refused. The second is what other gateways call it.
const STATUS: [&str; 2] = ["status", "gateway_status"];

/// What rules without hints of their own get from a header.
pub(super) fn parse(text: &str) -> Result<Denial, FormatError> {
    let mut denial = Denial::default();
    let mut in_hints = false;
    for (number, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let is_below = line.starts_with([' ', '\t', '-']);
        let pair = pair(content);
        if is_below {
            if in_hints && let Some((key, value)) = pair {
                denial = status(key, value).unwrap_or(denial);
            }
            continue;
        }
        let (key, value) = pair.ok_or(FormatError::Header(number + 1))?;
        in_hints = key == "hints";
        if key == "version" && value != VERSION {
            return Err(FormatError::Version(value.chars().take(32).collect()));
        }
        if in_hints {
            let inline = value.trim_start_matches('{').trim_end_matches('}').split(',');
            let statuses = inline.filter_map(|part| self::pair(part.trim()));
            denial = statuses.filter_map(|(key, value)| status(key, value)).next_back().unwrap_or(denial);
        }
    }
    Ok(denial)
}

/// What a hint says of the status; `None` when it says something else.
pub(super) fn status(key: &str, value: &str) -> Option<Denial> {
    match value {
        "410" if STATUS.contains(&key) => Some(Denial::Gone),
        "451" if STATUS.contains(&key) => Some(Denial::Legal),
        _ => None,
    }
}

/// `key: value`, without quotes and comments.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    if !value.is_empty() && !value.starts_with([' ', '\t']) {
        return None;
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value);
    Some((plain(key), plain(value)))
}

fn plain(text: &str) -> &str {
    let text = text.trim();
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_say_the_status() {
        for (header, expected) in [
            ("", Denial::Gone),
            ("version: 1\nname: x\n", Denial::Gone),
            ("hints:\n  status: 451\n", Denial::Legal),
            ("\"hints\":\n\tgateway_status: '451' # because\nname: status: 410\n", Denial::Legal),
            ("hints: {reason: x, status: 451}\n", Denial::Legal),
            ("hints: {}\n", Denial::Gone),
            ("hints:\n  status: 500\n", Denial::Gone),
            ("status: 451\n", Denial::Gone),
            ("custom:\n  status: 451\nhints:\n  a: b\n", Denial::Gone),
            ("description: >\n  several lines\n  of: text\nauthors:\n- a\n- b\n# done\n", Denial::Gone),
        ] {
            assert_eq!(parse(header), Ok(expected), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_of_version_1_is_refused() {
        assert_eq!(parse("version: 2\n"), Err(FormatError::Version("2".into())));
        assert_eq!(parse("version: \"1\"\n"), Ok(Denial::Gone));
        assert_eq!(parse("name: x\n/ipfs/bafkqaaa\n"), Err(FormatError::Header(2)));
        assert_eq!(parse("http://example.com\n"), Err(FormatError::Header(1)));
    }
}
