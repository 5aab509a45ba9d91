//! Which form of the content a request wants: `?format=`, else the `Accept` header (RFC 9110, 12.5.1; IPIP-0523).

use axum::http::header;

use super::{car::CarParams, request::ContentRequest};

/// A form that content can be sent in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Files as files, directories as pages, data as its codec says.
    Default {
        /// Whether a page is wanted where there is no file.
        html: bool,
    },
    Raw,
    Car(CarParams),
    Tar,
    DagJson,
    DagCbor,
    Json,
    Cbor,
}

/// What was agreed on.
#[derive(Clone, Debug)]
pub(super) struct Negotiated {
    pub(super) format: Format,
    /// The URL that stands for this form alone, where the request's URL does not.
    pub(super) location: Option<String>,
    /// Whether the answer depends on the `Accept` header.
    pub(super) varies: bool,
}

/// A form that does not exist here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    #[error("unknown format {0:?}: use raw, car, tar, dag-json, dag-cbor, json or cbor")]
    Unknown(String),
    #[error("there are no ipns records under /ipfs")]
    IpnsRecord,
    #[error("bad parameter {name}: {value:?}")]
    Parameter { name: &'static str, value: String },
    #[error("no such CAR: version 1, order dfs or unk, dups y or n")]
    NoSuchCar,
    #[error("this host gives raw blocks and CARs only: use format=raw or format=car")]
    Trustless,
    #[error("a raw block is asked for by its own CID, without a path")]
    RawPath,
}

/// One form that a client accepts.
struct Accepted<'a> {
    essence: &'a str,
    /// In thousandths.
    quality: u32,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Agrees on a form.
pub(super) fn negotiate(request: &ContentRequest, trustless: bool) -> Result<Negotiated, FormatError> {
    let asked = request.parameter("format").filter(|format| !format.is_empty());
    let accepted = accepted(request);
    let best = best(request, &accepted);
    let format = match &asked {
        Some(name) => by_name(request, name, &accepted)?,
        None => best.clone().transpose()?.unwrap_or(Format::Default { html: false }),
    };
    match format {
        Format::Raw if trustless && !request.path.is_empty() => return Err(FormatError::RawPath),
        Format::Raw | Format::Car(_) => {}
        _ if trustless => return Err(FormatError::Trustless),
        _ => {}
    }
    // A cache that knows nothing of this header must not mix the forms up.
    let best_name = best.and_then(Result::ok).and_then(|best| best.name());
    let disagree = best_name.is_some() && best_name != format.name();
    let location = (asked.is_none() || disagree).then(|| location(request, &format)).flatten();
    Ok(Negotiated { format, location, varies: asked.is_none() })
}

impl Format {
    fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Default { .. } => return None,
            Self::Raw => "raw",
            Self::Car(_) => "car",
            Self::Tar => "tar",
            Self::DagJson => "dag-json",
            Self::DagCbor => "dag-cbor",
            Self::Json => "json",
            Self::Cbor => "cbor",
        })
    }
}

fn by_name(request: &ContentRequest, name: &str, accepted: &[Accepted<'_>]) -> Result<Format, FormatError> {
    Ok(match name {
        "raw" => Format::Raw,
        "car" => {
            // What the header says of CARs counts as far as the query says nothing.
            let said = accepted.iter().find(|accepted| accepted.essence == "application/vnd.ipld.car");
            Format::Car(CarParams::new(request, said.map_or(&[], |said| &said.parameters))?)
        }
        "tar" => Format::Tar,
        "dag-json" => Format::DagJson,
        "dag-cbor" => Format::DagCbor,
        "json" => Format::Json,
        "cbor" => Format::Cbor,
        "ipns-record" => return Err(FormatError::IpnsRecord),
        _ => return Err(FormatError::Unknown(name.chars().take(32).collect())),
    })
}

/// The best form that the header names; `None` when it names none that is special.
fn best(request: &ContentRequest, accepted: &[Accepted<'_>]) -> Option<Result<Format, FormatError>> {
    let anything = accepted.iter().filter(|accepted| accepted.essence == "*/*").map(|any| any.quality).max();
    let mut best: Option<(u32, Result<Format, FormatError>)> = None;
    for candidate in accepted.iter().filter(|candidate| candidate.quality > 0) {
        let format = match candidate.essence {
            "text/html" | "application/xhtml+xml" => Ok(Format::Default { html: true }),
            "application/vnd.ipld.raw" => Ok(Format::Raw),
            "application/vnd.ipld.car" => CarParams::new(request, &candidate.parameters).map(Format::Car),
            "application/x-tar" => Ok(Format::Tar),
            "application/vnd.ipld.dag-json" => Ok(Format::DagJson),
            "application/vnd.ipld.dag-cbor" => Ok(Format::DagCbor),
            "application/json" => Ok(Format::Json),
            "application/cbor" => Ok(Format::Cbor),
            "application/vnd.ipfs.ipns-record" => Err(FormatError::IpnsRecord),
            _ => continue,
        };
        // The first of equals, and what exists before what does not.
        let rank = (format.is_ok(), candidate.quality);
        if best.as_ref().is_none_or(|(quality, best)| rank > (best.is_ok(), *quality)) {
            best = Some((candidate.quality, format));
        }
    }
    let (quality, format) = best?;
    // Whoever would rather have anything else gets what everybody gets.
    (anything.is_none_or(|anything| quality >= anything)).then_some(format)
}

fn accepted(request: &ContentRequest) -> Vec<Accepted<'_>> {
    let values = request.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(accepted_type).collect()
}

fn accepted_type(text: &str) -> Accepted<'_> {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let mut accepted = Accepted { essence, quality: 1000, parameters: Vec::new() };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("q") {
            accepted.quality = quality(value);
        } else {
            accepted.parameters.push((name, value));
        }
    }
    accepted
}

/// A weight from 0 to 1 with three decimals, in thousandths; what is malformed weighs nothing.
fn quality(text: &str) -> u32 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{decimals:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse::<u32>().ok())) {
        ("1", _) => 1000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

/// This URL with the form in its query.
fn location(request: &ContentRequest, format: &Format) -> Option<String> {
    let name = format.name()?;
    let car = match format {
        Format::Car(params) => params.query(),
        _ => String::new(),
    };
    let kept = request.query_without(&["format", "car-version", "car-order", "car-dups"]);
    let between = if kept.is_empty() { "" } else { "&" };
    Some(format!("{}?{kept}{between}format={name}{car}", request.encoded_path))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};

    use super::*;

    const CID: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn request(query: &str, accept: &str) -> ContentRequest {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        let uri = format!("/ipfs/{CID}{query}").parse().unwrap();
        ContentRequest::parse(&Method::GET, &uri, headers).unwrap()
    }

    fn name(query: &str, accept: &str) -> Option<&'static str> {
        negotiate(&request(query, accept), false).unwrap().format.name()
    }

    #[test]
    fn the_query_wins_over_the_header() {
        assert_eq!(name("?format=json", "application/vnd.ipld.raw"), Some("json"));
        assert_eq!(name("", "application/vnd.ipld.raw"), Some("raw"));
        assert_eq!(name("?format=", "application/vnd.ipld.raw"), Some("raw"));
        assert_eq!(name("?format=car", ""), Some("car"));
        assert!(negotiate(&request("?format=zip", ""), false).is_err());
        assert_eq!(
            negotiate(&request("?format=ipns-record", ""), false).unwrap_err(),
            FormatError::IpnsRecord
        );
    }

    #[test]
    fn the_best_of_the_header_is_taken() {
        for (accept, expected) in [
            ("foo, application/vnd.ipld.dag-json,bar", Some("dag-json")),
            ("application/vnd.ipld.car;q=0.5, application/vnd.ipld.raw;q=0.8", Some("raw")),
            ("application/vnd.ipld.raw; q=0.8, application/vnd.ipld.car; q=0.9", Some("car")),
            ("application/vnd.ipld.raw, application/vnd.ipld.car", Some("raw")),
            ("application/vnd.ipld.raw;q=0, */*", None),
            ("application/vnd.ipld.raw;q=0.1, */*", None),
            ("application/vnd.ipld.raw, */*;q=0.1", Some("raw")),
            ("application/vnd.ipld.raw, */*", Some("raw")),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", None),
            ("image/png", None),
            ("application/vnd.ipld.car;order=foo, application/vnd.ipld.raw;q=0.1", Some("raw")),
        ] {
            assert_eq!(name("", accept), expected, "{accept}");
        }
        let wants_page = |accept| negotiate(&request("", accept), false).unwrap().format;
        assert_eq!(wants_page("text/html,*/*;q=0.8"), Format::Default { html: true });
        assert_eq!(wants_page("*/*"), Format::Default { html: false });
        assert_eq!(
            negotiate(&request("", "application/vnd.ipld.car;order=foo"), false).unwrap_err(),
            FormatError::NoSuchCar
        );
    }

    #[test]
    fn the_location_names_the_form_where_the_url_does_not() {
        let of = |query, accept| negotiate(&request(query, accept), false).unwrap().location;
        assert_eq!(of("", "application/vnd.ipld.raw"), Some(format!("/ipfs/{CID}?format=raw")));
        assert_eq!(
            of("?filename=x&ticket=t&route=proxy", "application/vnd.ipld.raw"),
            Some(format!("/ipfs/{CID}?filename=x&format=raw"))
        );
        assert_eq!(of("?format=raw", "application/vnd.ipld.raw"), None);
        assert_eq!(of("?format=raw", ""), None);
        assert_eq!(of("?format=raw", "application/x-tar"), Some(format!("/ipfs/{CID}?format=raw")));
        assert_eq!(of("", "text/html"), None);
        assert_eq!(
            of("", "application/vnd.ipld.car; dups=y"),
            Some(format!("/ipfs/{CID}?format=car&car-version=1&car-order=dfs&car-dups=y"))
        );
    }

    #[test]
    fn trustless_hosts_give_what_can_be_verified() {
        assert!(negotiate(&request("?format=raw", ""), true).is_ok());
        assert!(negotiate(&request("", "application/vnd.ipld.car"), true).is_ok());
        for (query, accept) in [("", ""), ("", "text/html"), ("?format=json", ""), ("?format=tar", "")] {
            assert_eq!(negotiate(&request(query, accept), true).unwrap_err(), FormatError::Trustless);
        }
        let uri = format!("/ipfs/{CID}/a?format=raw").parse().unwrap();
        let deep = ContentRequest::parse(&Method::GET, &uri, HeaderMap::new()).unwrap();
        assert_eq!(negotiate(&deep, true).unwrap_err(), FormatError::RawPath);
        assert!(negotiate(&deep, false).is_ok());
    }
}
