//! Names in URLs, in headers and in HTML.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What must not stand bare in a component of a path.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What must not stand bare in the value of a query besides.
const NOT_IN_QUERY: &AsciiSet = &NOT_IN_PATH.add(b'&').add(b'+').add(b'=').add(b'\'').add(b';');

/// What must not stand bare in the `filename*` of a header (RFC 8187): everything but letters, digits and a few signs.
const NOT_IN_ATTR: &AsciiSet =
    &NOT_IN_QUERY.add(b'(').add(b')').add(b'*').add(b',').add(b':').add(b'@').add(b'!').add(b'$');

/// Everything but the unreserved characters of RFC 3986.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A component of a path in the one form that is the same everywhere.
pub(super) fn strictly(name: &str) -> String {
    utf8_percent_encode(name, NOT_UNRESERVED).to_string()
}

/// A component of a path.
pub(super) fn component(name: &str) -> String {
    utf8_percent_encode(name, NOT_IN_PATH).to_string()
}

/// The components of a path, each with a slash before it.
pub(super) fn path(components: &[String]) -> String {
    components.iter().flat_map(|name| ["/".into(), component(name)]).collect()
}

/// The value of a query parameter.
pub(super) fn query_value(value: &str) -> String {
    utf8_percent_encode(value, NOT_IN_QUERY).to_string()
}

/// `Content-Disposition` with a name for clients of every age (RFC 6266, appendix D).
pub(super) fn disposition(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic() && c != '"' && c != '\\';
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, NOT_IN_ATTR))
}

/// Text that is safe inside HTML and its attributes.
pub fn html_text(text: &str) -> String {
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
