//! What a request for content asks for.

use axum::http::{HeaderMap, Method, Uri, uri::PathAndQuery};
use content::Cid;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What must not stand bare in the `filename*` of a header (RFC 5987): everything but letters, digits and a few signs.
const NOT_IN_ATTR: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

/// A request for content, taken apart.
#[derive(Clone, Debug)]
pub struct ContentRequest {
    /// `HEAD`: everything but the body.
    pub head: bool,
    /// The CID that the path starts with.
    pub root: Cid,
    /// The decoded components behind it.
    pub path: Vec<String>,
    /// Whether the path ends with a slash.
    pub trailing_slash: bool,
    /// The path as it came, still encoded.
    pub encoded_path: String,
    /// The path as it came, decoded where it can be: for `X-Ipfs-Path`.
    pub content_path: String,
    /// The query as it came.
    pub query: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
}

/// A path that names no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It does not start with `/ipfs/` and a CID.
    #[error("invalid path {path:?}: {reason}")]
    Cid {
        /// The path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A component is not UTF-8, or leads out of the root.
    #[error("invalid path {0:?}")]
    Path(String),
}

impl ContentRequest {
    /// Takes a `/ipfs/{cid}[/path]` request apart.
    pub fn parse(method: &Method, uri: &Uri, headers: HeaderMap) -> Result<Self, RequestError> {
        let encoded_path = uri.path().to_string();
        let rest = encoded_path.strip_prefix("/ipfs/").unwrap_or_default();
        let (cid, components) = rest.split_once('/').unwrap_or((rest, ""));
        let root: Cid = cid
            .parse()
            .map_err(|error| RequestError::Cid { path: encoded_path.clone(), reason: format!("{error}") })?;
        let mut path = Vec::new();
        for component in components.split('/').filter(|component| !component.is_empty()) {
            let decoded = percent_decode_str(component).decode_utf8();
            match decoded.map_err(|_| RequestError::Path(encoded_path.clone()))?.as_ref() {
                "." => {}
                ".." => drop(path.pop().ok_or_else(|| RequestError::Path(encoded_path.clone()))?),
                name => path.push(name.to_string()),
            }
        }
        Ok(Self {
            head: method == Method::HEAD,
            root,
            path,
            trailing_slash: rest.ends_with('/'),
            content_path: percent_decode_str(&encoded_path).decode_utf8_lossy().into_owned(),
            query: uri.path_and_query().and_then(PathAndQuery::query).map(str::to_string),
            encoded_path,
            headers,
        })
    }

    /// A parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| {
                let spaced = value.replace('+', " ");
                percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
            })
        })
    }

    /// The name that decides the content type: the one asked for, or the last component.
    pub fn file_name(&self) -> String {
        self.parameter("filename").or_else(|| self.path.last().cloned()).unwrap_or_default()
    }

    /// `Content-Disposition`, when a name or a download was asked for.
    pub fn content_disposition(&self, name: &str) -> Option<String> {
        let download = self.parameter("download").is_some_and(|value| value == "true");
        let named = self.parameter("filename").filter(|name| !name.is_empty());
        if !download && named.is_none() {
            return None;
        }
        let kind = if download { "attachment" } else { "inline" };
        let name =
            named.unwrap_or_else(|| if name.is_empty() { self.root.to_string() } else { name.to_string() });
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' })
            .collect();
        let encoded = utf8_percent_encode(&name, NOT_IN_ATTR);
        Some(format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
    }
}
