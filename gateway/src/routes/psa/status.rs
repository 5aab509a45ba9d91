//! What is said of a pin.

use std::collections::BTreeMap;

use content::Cid;
use protocol::time::UnixMicros;
use serde_json::{Map, Value, json};
use store::{Pin, PinDetails, PinState, WaitingPin};
use url::{Host, Url};

use crate::{
    app::Gateway,
    routes::{kubo::peer_name, time_text::rfc3339_micros},
};

/// Where whoever wants to give its blocks may turn: this gateway's address, under the network's key. It is an HTTP server, and
/// clients that know only libp2p find nobody there.
pub(super) fn delegates(gateway: &Gateway) -> Vec<String> {
    let peer = peer_name(gateway).unwrap_or_default();
    let address = Url::parse(&gateway.config.public_url).ok().and_then(|url| {
        let host = match url.host()? {
            Host::Domain(name) => format!("/dns/{name}"),
            Host::Ipv4(address) => format!("/ip4/{address}"),
            Host::Ipv6(address) => format!("/ip6/{address}"),
        };
        Some(format!("{host}/tcp/{}/{}", url.port_or_known_default()?, url.scheme()))
    });
    vec![format!("{}/p2p/{peer}", address.unwrap_or_default())]
}

/// A pin that was found.
pub(super) fn status(found: &PinDetails, delegates: &[String]) -> Value {
    let PinDetails { pin, origins, info, meta, .. } = found;
    let Pin { id, cid, name, state, size_bytes, dag_size_bytes, created, expires, .. } = pin;
    let mut said = Map::new();
    if let Some(info) = info {
        said.insert("status_details".into(), json!(info));
    }
    if *state == PinState::Pinned {
        said.insert("dag_size".into(), json!(dag_size_bytes.to_string()));
        said.insert("raw_size".into(), json!(size_bytes.to_string()));
    }
    if let Some(expires) = expires {
        said.insert("pinned_until".into(), json!(rfc3339_micros(expires.micros())));
    }
    body(id, *state, *created, &asked(cid, name, origins, meta), delegates, said)
}

/// A pin that has just been asked for.
pub(super) fn waiting(pin: &WaitingPin, delegates: &[String]) -> Value {
    let asked = asked(&pin.cid, &pin.name, &pin.origins, &pin.meta);
    body(&pin.id, PinState::Queued, pin.created, &asked, delegates, Map::new())
}

fn body(
    id: &str,
    state: PinState,
    created: UnixMicros,
    pin: &Value,
    delegates: &[String],
    info: Map<String, Value>,
) -> Value {
    json!({
        "requestid": id,
        "status": state.as_str(),
        "created": rfc3339_micros(created),
        "pin": pin,
        "delegates": delegates,
        "info": info,
    })
}

/// The pin as it was asked for.
fn asked(cid: &Cid, name: &str, origins: &[String], meta: &BTreeMap<String, String>) -> Value {
    let mut pin = Map::from_iter([("cid".to_string(), json!(cid.as_written().to_string()))]);
    if !name.is_empty() {
        pin.insert("name".into(), json!(name));
    }
    if !origins.is_empty() {
        pin.insert("origins".into(), json!(origins));
    }
    if !meta.is_empty() {
        pin.insert("meta".into(), json!(meta));
    }
    Value::Object(pin)
}
