//! What a file is, by its name, else by its first bytes.

/// How many of the first bytes are looked at.
pub(super) const SNIFF_LEN: u64 = 3072;
/// What nobody can tell anything about.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// By the extension of the name.
pub(super) fn by_name(name: &str) -> Option<String> {
    let guess = mime_guess::from_path(name).first()?;
    Some(with_charset(guess.essence_str()))
}

/// By magic numbers; JSON and SVG by their beginnings; text when it reads as UTF-8, else unknown bytes.
/// `whole`: whether these are all bytes there are.
pub(super) fn by_bytes(bytes: &[u8], whole: bool) -> String {
    let window = &bytes[..bytes.len().min(usize::try_from(SNIFF_LEN).unwrap_or(usize::MAX))];
    let cut_off = !whole || window.len() < bytes.len();
    let start = window.trim_ascii_start();
    if is_svg(start) {
        return "image/svg+xml".into();
    }
    if let Some(kind) = infer::get(window) {
        return with_charset(kind.mime_type());
    }
    if is_json(start, cut_off) {
        return "application/json".into();
    }
    let is_text = match std::str::from_utf8(window) {
        Ok(_) => true,
        // A character that the window cuts through.
        Err(error) => cut_off && error.error_len().is_none(),
    };
    if is_text && !window.contains(&0) { "text/plain; charset=utf-8".into() } else { UNKNOWN.into() }
}

/// An image, though its magic number is that of XML.
fn is_svg(start: &[u8]) -> bool {
    let has = |text: &[u8]| start.windows(text.len()).any(|window| window == text);
    start.starts_with(b"<svg") || start.starts_with(b"<?xml") && has(b"<svg")
}

/// A list or a map, or as much of one as is there.
fn is_json(start: &[u8], cut_off: bool) -> bool {
    if !matches!(start.first(), Some(b'{' | b'[')) {
        return false;
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(start) {
        Ok(_) => true,
        Err(error) => cut_off && error.is_eof(),
    }
}

fn with_charset(essence: &str) -> String {
    if essence.starts_with("text/") || essence == "application/javascript" {
        format!("{essence}; charset=utf-8")
    } else {
        essence.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniffed(bytes: &[u8]) -> String {
        by_bytes(bytes, true)
    }

    #[test]
    fn names_win_and_bytes_help() {
        assert_eq!(by_name("a/b.html").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(by_name("data.json").as_deref(), Some("application/json"));
        assert_eq!(by_name("pic.svg").as_deref(), Some("image/svg+xml"));
        assert_eq!(by_name("README"), None);
        assert_eq!(sniffed(b"\x89PNG\r\n\x1a\n----"), "image/png");
        assert_eq!(sniffed("grüße".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(sniffed(b""), "text/plain; charset=utf-8");
        assert_eq!(sniffed(b"\x00\x01\x02"), "application/octet-stream");
        assert_eq!(sniffed(b" \n<svg xmlns='x'/>"), "image/svg+xml");
        assert_eq!(sniffed(b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='x'/>"), "image/svg+xml");
        assert_eq!(sniffed(b"<?xml version='1.0'?><feed/>"), "text/xml; charset=utf-8");
        assert_eq!(sniffed(b"<!DOCTYPE html><p>"), "text/html; charset=utf-8");
    }

    #[test]
    fn json_is_known_by_its_beginning() {
        assert_eq!(sniffed(b"{ \"test\": \"i am a plain json file\" }\n"), "application/json");
        assert_eq!(sniffed(b"[1, 2]"), "application/json");
        assert_eq!(sniffed(b"{ not json }"), "text/plain; charset=utf-8");
        assert_eq!(sniffed(b"[section]\nkey = 1\n"), "text/plain; charset=utf-8");
        assert_eq!(
            sniffed(b"{\"ends\": "),
            "text/plain; charset=utf-8",
            "a whole file that is no whole JSON"
        );
        let long = format!("[{}]", "\"some words\",".repeat(1000));
        assert_eq!(sniffed(long.as_bytes()), "application/json");
    }
}
