//! One rule of a `_redirects` file: `from to [status]`.

use axum::http::StatusCode;

use super::super::encode;

/// Placeholders of one rule, at most.
const PLACEHOLDERS_MAX: usize = 32;

/// Why a file of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum RedirectsError {
    #[error("redirects file size cannot exceed 65536 bytes")]
    TooLarge,
    #[error("it is no file")]
    NoFile,
    #[error("it is not utf-8")]
    NoText,
    #[error("line {0}: a rule is: from to [status]")]
    Form(usize),
    #[error("line {0}: forced redirects (or \"shadowing\") are not supported")]
    Forced(usize),
    #[error("line {0}: unsupported redirect status {1:?}")]
    Status(usize, String),
    #[error("line {0}: {1:?} is no path that can be redirected from")]
    From(usize, String),
    #[error("line {0}: {1:?} is no place that can be redirected to")]
    To(usize, String),
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    from: Vec<Segment>,
    splat: bool,
    to: String,
    status: StatusCode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Is(String),
    Placeholder(String),
}

/// Reads a file of rules.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, RedirectsError> {
    let mut rules = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            rules.push(Rule::parse(at + 1, line)?);
        }
    }
    Ok(rules)
}

impl Rule {
    fn parse(number: usize, line: &str) -> Result<Self, RedirectsError> {
        // What follows a blank and a hash is a remark.
        let line = line.split_once(" #").map_or(line, |(rule, _)| rule);
        let words: Vec<&str> = line.split_whitespace().collect();
        let (from, to, status) = match words[..] {
            [from, to] => (from, to, "301"),
            [from, to, status] => (from, to, status),
            _ => return Err(RedirectsError::Form(number)),
        };
        if status.ends_with('!') {
            return Err(RedirectsError::Forced(number));
        }
        let code = status
            .parse()
            .ok()
            .filter(|code| matches!(code, 200 | 301 | 302 | 303 | 307 | 308 | 404 | 410 | 451));
        let wrong = || RedirectsError::Status(number, status.chars().take(32).collect());
        let status = code.and_then(|code: u16| StatusCode::from_u16(code).ok()).ok_or_else(wrong)?;
        let (from, splat) = pattern(from).ok_or_else(|| RedirectsError::From(number, from.to_string()))?;
        let is_elsewhere = to.starts_with("https://") || to.starts_with("http://");
        if !(to.starts_with('/') || is_elsewhere && status.is_redirection()) {
            return Err(RedirectsError::To(number, to.to_string()));
        }
        Ok(Self { from, splat, to: to.to_string(), status })
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn is_redirect(&self) -> bool {
        self.status.is_redirection()
    }

    /// Where a path (decoded) leads by this rule.
    pub(super) fn apply(&self, path: &str) -> Option<String> {
        let mut rest = path.trim_start_matches('/');
        let mut found: Vec<(&str, &str)> = Vec::new();
        for segment in &self.from {
            if rest.is_empty() {
                return None;
            }
            let (here, after) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Is(name) if name == here => {}
                Segment::Is(_) => return None,
                Segment::Placeholder(name) => found.push((name, here)),
            }
            rest = after;
        }
        if self.splat {
            found.push(("splat", rest));
        } else if !rest.is_empty() {
            return None;
        }
        Some(fill(&self.to, &found, self.is_redirect()))
    }
}

/// The segments of a path to match, and whether anything may follow.
fn pattern(from: &str) -> Option<(Vec<Segment>, bool)> {
    let path = from.strip_prefix('/')?;
    let (path, splat) = match path.strip_suffix('*') {
        Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
        Some(_) => return None,
        None => (path, false),
    };
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<Segment> = segments
        .map(|segment| match segment.strip_prefix(':') {
            Some(name) => Segment::Placeholder(name.to_string()),
            None => Segment::Is(segment.to_string()),
        })
        .collect();
    let placeholders = segments.iter().filter(|segment| matches!(segment, Segment::Placeholder(_))).count();
    let is_good = placeholders <= PLACEHOLDERS_MAX && !path.contains('*');
    is_good.then_some((segments, splat))
}

/// Puts what was found in place of its name. In a URL it is encoded.
fn fill(to: &str, found: &[(&str, &str)], is_url: bool) -> String {
    let mut filled = String::with_capacity(to.len());
    let mut rest = to;
    while let Some(at) = rest.find(':') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        // The longest name first: `:year` is not `:y` and `ear`.
        let name = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let Some((_, value)) = found.iter().find(|(known, _)| *known == name) else {
            filled.push(':');
            rest = after;
            continue;
        };
        let parts: Vec<String> = value
            .split('/')
            .map(|part| if is_url { encode::component(part) } else { part.to_string() })
            .collect();
        filled.push_str(&parts.join("/"));
        rest = &after[name.len()..];
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(rule: &str, path: &str) -> Option<String> {
        parse(rule).unwrap()[0].apply(path)
    }

    #[test]
    fn placeholders_and_splats() {
        assert_eq!(target("/one /two", "/one").as_deref(), Some("/two"));
        assert_eq!(target("/one /two", "/one/"), Some("/two".into()));
        assert_eq!(target("/one /two", "/one/more"), None);
        let posts = "/posts/:year/:month/:title /articles/:month/:year/:title";
        assert_eq!(
            target(posts, "/posts/2022/01/hello world").as_deref(),
            Some("/articles/01/2022/hello%20world")
        );
        assert_eq!(target(posts, "/posts/2022/01"), None);
        assert_eq!(target("/a/* /b/:splat", "/a/x/y").as_deref(), Some("/b/x/y"));
        assert_eq!(target("/a/* /b/:splat", "/a").as_deref(), Some("/b/"));
        assert_eq!(target("/* /index.html 200", "/any/thing").as_deref(), Some("/index.html"));
        assert_eq!(
            target("/* /:splat.html 200", "/über").as_deref(),
            Some("/über.html"),
            "a path, not a URL"
        );
        assert_eq!(
            target("/* https://example.com:8080/:splat", "/x").as_deref(),
            Some("https://example.com:8080/x")
        );
        // Nothing that was asked for makes another host of it.
        assert_eq!(target("/* /:splat", "//example.com").as_deref(), Some("/example.com"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        assert_eq!(parse("/a /b 999"), Err(RedirectsError::Status(1, "999".into())));
        assert_eq!(parse("# x\r\n\r\n/a /b 301!\r\n"), Err(RedirectsError::Forced(3)));
        for bad in [
            "/a",
            "/a /b 301 x",
            "a /b",
            "/a b",
            "/a* /b",
            "/a/*/b /c",
            "/a https://x 200",
            "/a javascript:x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("# only a remark\n\n").unwrap().is_empty());
        assert_eq!(parse("/a /b 302 # why\r\n/c /d\r\n").unwrap().len(), 2);
    }
}
