//! JSON as it was written: members keep their order and numbers their digits, since both decide a CID. Never changes what is
//! within strings.

/// The same JSON without spaces between its parts. It must be valid.
pub(super) fn compact(text: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    let keep = |character: &char| {
        let is_quote = *character == '"' && !escaped;
        escaped = within && !escaped && *character == '\\';
        within ^= is_quote;
        within || is_quote || !character.is_ascii_whitespace()
    };
    text.chars().filter(keep).collect()
}

/// The value of a member of an object, as it was written; the last of that name. Both must be compact and valid.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let inner = object.strip_prefix('{')?.strip_suffix('}')?;
    let mut found = None;
    for part in split(inner, b',') {
        let mut halves = split(part, b':');
        let key = halves.next()?;
        // A colon within the value parts it further.
        let value = part.get(key.len() + 1..)?;
        let key: String = serde_json::from_str(key).ok()?;
        if key == name {
            found = Some(value);
        }
    }
    found
}

/// Parts of JSON between separators that are in no string, list or object.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut within, mut escaped, mut depth) = (false, false, 0_usize);
        for (at, byte) in text.bytes().enumerate() {
            if within {
                within = byte != b'"' || escaped;
                escaped = byte == b'\\' && !escaped;
                continue;
            }
            match byte {
                b'"' => (within, escaped) = (true, false),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ if byte == separator && depth == 0 => {
                    rest = text.get(at + 1..);
                    return text.get(..at);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_spaces_is_lost() {
        let text = " { \"b\" : [ 1.0 , 2e3 ,\t\"a \\\" b , \\\\\" ] ,\r\n \"a\": { \"x y\" : null } } ";
        assert_eq!(compact(text), r#"{"b":[1.0,2e3,"a \" b , \\"],"a":{"x y":null}}"#);
        assert_eq!(compact("[ ]"), "[]");
        assert_eq!(compact(r#" "a\\" "#), r#""a\\""#);
        assert_eq!(compact("\"ä  ö\""), "\"ä  ö\"");
    }

    #[test]
    fn members_are_given_as_they_are() {
        let text = r#"{"a":{"b":"}","c":[1,{"d":2}]},"e\"":"x:y,\\","\u0066":1.50,"f":2}"#;
        assert_eq!(member(text, "a"), Some(r#"{"b":"}","c":[1,{"d":2}]}"#));
        assert_eq!(member(text, "e\""), Some(r#""x:y,\\""#));
        assert_eq!(member(text, "f"), Some("2"), "the last, as all parsers have it");
        assert_eq!(member(text, "b"), None, "it is further in");
        assert_eq!(member("{}", "a"), None);
        assert_eq!(member(r#"["a"]"#, "a"), None);
        assert_eq!(member(r#""a""#, "a"), None);
    }
}
