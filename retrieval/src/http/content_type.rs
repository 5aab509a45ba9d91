//! What a file is, by its name, else by its first bytes.

/// How many of the first bytes are looked at.
pub(super) const SNIFF_LEN: u64 = 3072;

/// By the extension of the name.
pub(super) fn by_name(name: &str) -> Option<String> {
    let guess = mime_guess::from_path(name).first()?;
    Some(with_charset(guess.essence_str()))
}

/// By magic numbers; text when it reads as UTF-8, else unknown bytes.
pub(super) fn by_bytes(bytes: &[u8]) -> String {
    let window = &bytes[..bytes.len().min(usize::try_from(SNIFF_LEN).unwrap_or(usize::MAX))];
    if let Some(kind) = infer::get(window) {
        return with_charset(kind.mime_type());
    }
    let start =
        window.iter().position(|byte| !byte.is_ascii_whitespace()).map_or(&[][..], |at| &window[at..]);
    if start.starts_with(b"<svg") {
        return "image/svg+xml".into();
    }
    let cut_off = window.len() < bytes.len();
    let is_text = match std::str::from_utf8(window) {
        Ok(_) => true,
        // A character that the window cuts through.
        Err(error) => cut_off && error.error_len().is_none(),
    };
    if is_text && !window.contains(&0) {
        "text/plain; charset=utf-8".into()
    } else {
        "application/octet-stream".into()
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

    #[test]
    fn names_win_and_bytes_help() {
        assert_eq!(by_name("a/b.html").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(by_name("data.json").as_deref(), Some("application/json"));
        assert_eq!(by_name("pic.svg").as_deref(), Some("image/svg+xml"));
        assert_eq!(by_name("README"), None);
        assert_eq!(by_bytes(b"\x89PNG\r\n\x1a\n----"), "image/png");
        assert_eq!(by_bytes("grüße".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(by_bytes(b""), "text/plain; charset=utf-8");
        assert_eq!(by_bytes(b"\x00\x01\x02"), "application/octet-stream");
        assert_eq!(by_bytes(b" \n<svg xmlns='x'/>"), "image/svg+xml");
    }
}
