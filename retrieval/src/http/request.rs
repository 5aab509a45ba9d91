//! What a request for content asks for: under `/ipfs/` of a host that all content shares, or at the root of a host that
//! belongs to one CID alone.

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use content::Cid;
use percent_encoding::percent_decode_str;
use protocol::api::TICKET_PARAMETER;

use super::encode;

/// Parameters between gateways and nodes. They are no part of what is asked for.
const OWN_PARAMETERS: [&str; 2] = ["route", TICKET_PARAMETER];

/// Where content appears in URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// `/ipfs/{cid}/...`: all content of this host has one origin.
    Path,
    /// `/...` of a host that is this CID's alone.
    Origin {
        /// The gateway that the host belongs to, with its port.
        gateway: String,
    },
}

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
    /// The path of the URL as it came, still encoded.
    pub encoded_path: String,
    /// The content path as it was asked for, decoded once: for `X-Ipfs-Path`.
    pub content_path: String,
    /// The query as it came.
    pub query: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// Where the content appears.
    pub mount: Mount,
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
        let encoded_path = uri.path();
        let rest = encoded_path.strip_prefix("/ipfs/").unwrap_or_default();
        let (cid, components) = rest.split_once('/').unwrap_or((rest, ""));
        let root: Cid = cid
            .parse()
            .map_err(|error| RequestError::Cid { path: encoded_path.into(), reason: format!("{error}") })?;
        let asked = (cid.to_string(), components);
        Self::new(method, uri, headers, root, asked, Mount::Path)
    }

    /// Takes a request apart that came to the host of a CID: its path begins below that CID.
    pub fn at_origin(
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
        root: Cid,
        gateway: String,
    ) -> Result<Self, RequestError> {
        let asked = (root.to_string(), uri.path().strip_prefix('/').unwrap_or_default());
        Self::new(method, uri, headers, root, asked, Mount::Origin { gateway })
    }

    fn new(
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
        root: Cid,
        (root_name, components): (String, &str),
        mount: Mount,
    ) -> Result<Self, RequestError> {
        let wrong = || RequestError::Path(uri.path().to_string());
        // Once, and before it is taken apart (IPIP-548): an encoded slash parts components, and no name has one.
        let decoded = percent_decode_str(components).decode_utf8().map_err(|_| wrong())?;
        let mut path = Vec::new();
        for component in decoded.split('/').filter(|component| !component.is_empty()) {
            match component {
                "." => {}
                ".." => drop(path.pop().ok_or_else(wrong)?),
                name => path.push(name.to_string()),
            }
        }
        Ok(Self {
            head: method == Method::HEAD,
            root,
            path,
            trailing_slash: uri.path().ends_with('/') || decoded.ends_with('/'),
            encoded_path: uri.path().to_string(),
            content_path: content_path(uri, &root_name, &decoded, &mount),
            query: uri.query().map(str::to_string),
            headers,
            mount,
        })
    }

    /// A parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, value) = pairs(self.query.as_deref()?).find(|(key, _)| *key == name)?;
        let spaced = value.replace('+', " ");
        Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    }

    /// The query without some parameters and without those between gateways and nodes.
    pub fn query_without(&self, names: &[&str]) -> String {
        let all = self.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let kept = all.filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !names.contains(&name) && !OWN_PARAMETERS.contains(&name)
        });
        kept.collect::<Vec<_>>().join("&")
    }

    /// The path below the root in its one normal form, with a slash at its end if it came with one.
    pub fn normal_path(&self) -> String {
        let path = encode::path(&self.path);
        if self.trailing_slash || path.is_empty() { format!("{path}/") } else { path }
    }

    /// The content path as a URI in its one normal form (IPIP-548), for `Ipfs-Uri`.
    pub(super) fn uri(&self) -> String {
        let path: String = self.path.iter().flat_map(|name| ["/".into(), encode::strictly(name)]).collect();
        let slash = if self.trailing_slash { "/" } else { "" };
        format!("ipfs://{}{path}{slash}", self.root)
    }

    /// The start of the URLs of what lies below the root.
    pub(super) fn base(&self) -> String {
        match self.mount {
            Mount::Path => format!("/ipfs/{}", self.root_name()),
            Mount::Origin { .. } => String::new(),
        }
    }

    /// The root as it was asked for.
    pub(super) fn root_name(&self) -> String {
        let rest = self.content_path.strip_prefix("/ipfs/").unwrap_or_default();
        rest.split('/').next().unwrap_or_default().to_string()
    }

    /// The host that was asked, with its port.
    pub fn host(&self) -> Option<&str> {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok())
    }

    /// The first value of a header, as text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The name that decides the content type: the one asked for, or the last component.
    pub(super) fn file_name(&self) -> String {
        self.asked_name().or_else(|| self.path.last().cloned()).unwrap_or_default()
    }

    /// `?filename=`.
    pub(super) fn asked_name(&self) -> Option<String> {
        self.parameter("filename").filter(|name| !name.is_empty())
    }

    /// `?download=true`.
    pub(super) fn is_download(&self) -> bool {
        self.parameter("download").is_some_and(|value| value == "true")
    }
}

fn content_path(uri: &Uri, root: &str, decoded: &str, mount: &Mount) -> String {
    let has_rest = *mount != Mount::Path || uri.path().matches('/').count() > 2;
    if has_rest { format!("/ipfs/{root}/{decoded}") } else { format!("/ipfs/{root}") }
}

/// Names and values of a query, still encoded.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
