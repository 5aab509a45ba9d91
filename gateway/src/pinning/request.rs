//! Taking a wish for a pin by CID.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use content::Cid;
use service::http::error::ApiError;
use store::WaitingPin;

use crate::{app::Gateway, database::store_failed, intake::NAME_MAX, upload::new_id};

/// Length of an origin, at most.
const ORIGIN_MAX: usize = 1_024;
/// Entries of a pin's metadata, at most.
const META_MAX: usize = 64;
/// Bytes of all of it, at most.
const META_BYTES_MAX: usize = 8 << 10;

/// A pin that somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) cid: Cid,
    pub(crate) name: String,
    /// Where its blocks may be had: URLs and multiaddrs.
    pub(crate) origins: Vec<String>,
    pub(crate) meta: BTreeMap<String, String>,
}

impl Wanted {
    fn check(&self, origins_max: usize) -> Result<(), ApiError> {
        let bad = |problem: String| Err(ApiError::bad_request("bad_pin", problem));
        if self.name.chars().count() > NAME_MAX {
            return bad(format!("name: longer than {NAME_MAX} characters"));
        }
        if self.origins.len() > origins_max {
            return bad(format!("origins: more than {origins_max}"));
        }
        if self.origins.iter().any(|origin| origin.len() > ORIGIN_MAX) {
            return bad(format!("origins: one is longer than {ORIGIN_MAX} bytes"));
        }
        check_meta(&self.meta)
    }
}

/// Whether metadata is within its limits.
fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let bytes: usize = meta.iter().map(|(key, value)| key.len() + value.len()).sum();
    if meta.len() > META_MAX || bytes > META_BYTES_MAX {
        let problem = format!("meta: more than {META_MAX} entries, or {META_BYTES_MAX} bytes");
        return Err(ApiError::bad_request("bad_pin", problem));
    }
    Ok(())
}

/// Writes down that an account wants a pin, which some gateway fetches then; gives the pin as it waits.
pub(crate) async fn request(
    gateway: &Gateway,
    account: &str,
    wanted: Wanted,
) -> Result<WaitingPin, ApiError> {
    wanted.check(gateway.config.fetch.origins_max)?;
    if gateway.blocks.denylist().denied(&wanted.cid).is_some() {
        let problem = format!("{} is on a denylist here and is not taken", wanted.cid);
        return Err(ApiError::new(StatusCode::FORBIDDEN, "denied", problem));
    }
    let Wanted { cid, name, origins, meta } = wanted;
    let now = gateway.clock.now();
    let pin = WaitingPin {
        id: new_id(&gateway.clock, &gateway.dice),
        account: account.to_string(),
        cid,
        name,
        origins,
        meta,
        created: now.micros(),
        deadline: now + gateway.config.pins.give_up_after,
    };
    let max = gateway.config.pins.waiting_max;
    let created = gateway.db.add_waiting_pin(&pin, max).await.map_err(store_failed)?;
    let created = created.ok_or_else(|| ApiError {
        status: StatusCode::TOO_MANY_REQUESTS,
        reason: "too_many_waiting",
        details: format!("{max} pins of this account wait to be fetched already"),
        retry_after_secs: Some(60),
    })?;
    Ok(WaitingPin { created, ..pin })
}
