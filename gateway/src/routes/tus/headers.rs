//! What requests of tus say in their headers. Nothing here panics or allocates more than a header is long.

use std::str::FromStr as _;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
};
use service::http::error::ApiError;

use super::answer::VERSION;
use crate::tus::{Checksum, Metadata, Piece, TusError};

/// What the bytes of an upload are.
const BYTES: &str = "application/offset+octet-stream";

/// Headers of a request.
pub(super) struct Headers<'h>(pub(super) &'h HeaderMap);

/// `Upload-Concat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concat {
    /// Not said: a file of its own.
    None,
    /// To be put together with others.
    Partial,
    /// Put together of others.
    Final {
        /// The header as it was sent.
        said: String,
        /// The uploads that it names.
        ids: Vec<String>,
    },
}

/// The method that is meant: clients that cannot send it say it in a header.
pub(super) fn method(request: &Request) -> Result<Method, TusError> {
    match text(request.headers(), "x-http-method-override")? {
        None => Ok(request.method().clone()),
        Some(name) => Method::from_str(&name.to_ascii_uppercase())
            .map_err(|_| TusError::BadHeader(format!("X-HTTP-Method-Override: {name:?} is no method"))),
    }
}

/// Whether the client speaks our version of the protocol. One that does not say so does.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match text(headers, "tus-resumable")? {
        Some(version) if version != VERSION => {
            let details = format!("tus {VERSION} is spoken here, not {version}");
            Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "tus_version", details))
        }
        _ => Ok(()),
    }
}

impl Headers<'_> {
    pub(super) fn metadata(&self, max: usize) -> Result<Metadata, TusError> {
        let text = text(self.0, "upload-metadata")?.unwrap_or_default();
        if text.len() > max {
            return Err(TusError::BadHeader(format!("Upload-Metadata: longer than {max} bytes")));
        }
        Metadata::parse(text)
    }

    pub(super) fn concat(&self) -> Result<Concat, TusError> {
        text(self.0, "upload-concat")?.map_or(Ok(Concat::None), parse_concat)
    }

    /// The length of a new upload; `None` when it is said later.
    pub(super) fn new_length(&self) -> Result<Option<u64>, TusError> {
        let (length, deferred) = (number(self.0, "upload-length")?, text(self.0, "upload-defer-length")?);
        let bad = |why: &str| Err(TusError::BadLength(why.to_string()));
        match (length, deferred) {
            (Some(_), Some(_)) => bad("Upload-Length and Upload-Defer-Length exclude each other"),
            (None, None) => bad("Upload-Length or Upload-Defer-Length is needed"),
            (None, Some(deferred)) if deferred != "1" => bad("Upload-Defer-Length can only be 1"),
            (length, _) => Ok(length),
        }
    }

    pub(super) fn offset(&self) -> Result<u64, TusError> {
        let offset = number(self.0, "upload-offset")?;
        offset.ok_or_else(|| TusError::BadHeader("Upload-Offset is needed".into()))
    }

    /// Whether the body is bytes of an upload.
    pub(super) fn is_bytes(&self) -> bool {
        let value =
            self.0.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(BYTES))
    }

    /// The bytes that the body brings, from `offset` on.
    pub(super) fn piece(&self, offset: u64) -> Result<Piece, TusError> {
        let checksum = text(self.0, "upload-checksum")?.map(Checksum::parse).transpose()?;
        Ok(Piece {
            offset,
            length: number(self.0, "upload-length")?,
            content_length: number(self.0, header::CONTENT_LENGTH.as_str())?,
            checksum,
            is_whole: false,
        })
    }

    /// Whether the client says that it speaks tus.
    pub(super) fn says_tus(&self) -> bool {
        self.0.contains_key("tus-resumable")
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, TusError> {
    let name = HeaderName::from_static(name);
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let value = value.to_str().map_err(|_| TusError::BadHeader(format!("{name} is not ASCII")))?;
    Ok(Some(value.trim()))
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, TusError> {
    let Some(value) = text(headers, name)? else { return Ok(None) };
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.map(Some).ok_or_else(|| TusError::BadHeader(format!("{name}: {value:?} is no number of bytes")))
}

/// `partial`, or `final;` and the uploads, as URLs or paths with blanks between them.
fn parse_concat(said: &str) -> Result<Concat, TusError> {
    if said == "partial" {
        return Ok(Concat::Partial);
    }
    let Some(list) = said.strip_prefix("final;") else {
        return Err(TusError::BadHeader("Upload-Concat: neither partial nor final;...".into()));
    };
    let id = |url: &str| url.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string();
    Ok(Concat::Final { said: said.to_string(), ids: list.split_ascii_whitespace().map(id).collect() })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn concatenations_by_url_and_path() {
        let said = "final;/tus/ab https://x.example/tus/cd/  ef";
        let ids = ["ab", "cd", "ef"].map(String::from).to_vec();
        assert_eq!(parse_concat(said).unwrap(), Concat::Final { said: said.into(), ids });
        assert_eq!(parse_concat("partial").unwrap(), Concat::Partial);
        assert_eq!(parse_concat("final;").unwrap(), Concat::Final { said: "final;".into(), ids: vec![] });
        for bad in ["", "final", "Partial", "partial;"] {
            assert!(parse_concat(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_said_now_or_later() {
        let length = |pairs: &[(&'static str, &str)]| Headers(&headers(pairs)).new_length().ok();
        assert_eq!(length(&[("upload-length", "5")]), Some(Some(5)));
        assert_eq!(length(&[("upload-defer-length", "1")]), Some(None));
        for bad in ["", "-1", "+5", "5.0", "18446744073709551616", "1e3"] {
            assert_eq!(length(&[("upload-length", bad)]), None, "{bad}");
        }
        assert_eq!(length(&[]), None);
        assert_eq!(length(&[("upload-defer-length", "0")]), None);
        assert_eq!(length(&[("upload-length", "5"), ("upload-defer-length", "1")]), None);
    }

    #[test]
    fn bytes_are_known_by_their_type() {
        let is_bytes = |value| Headers(&headers(&[("content-type", value)])).is_bytes();
        assert!(is_bytes("application/offset+octet-stream"));
        assert!(is_bytes("Application/Offset+Octet-Stream; charset=binary"));
        assert!(!is_bytes("application/octet-stream"));
        assert!(!Headers(&HeaderMap::new()).is_bytes());
    }

    proptest! {
        #[test]
        fn no_header_panics(
            name in "upload-(metadata|concat|length|defer-length|offset|checksum)|tus-resumable|content-(length|type)",
            value in proptest::collection::vec(any::<u8>(), 0..60),
            other in "(final;|partial|sha1 |md5 |1|)[ -~]{0,40}",
        ) {
            for value in [value, other.into_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                let name: HeaderName = name.parse().unwrap();
                let map: HeaderMap = [(name, value)].into_iter().collect();
                let said = Headers(&map);
                let _ = (said.metadata(40).is_ok(), said.concat().is_ok(), said.new_length().is_ok());
                let _ = (said.offset().is_ok(), said.is_bytes(), said.piece(0).is_ok(), check_version(&map).is_ok());
            }
        }
    }
}
