//! What accounts say of their files: names, keyvalues, groups, types, ends. Checks it and has it recorded of pins, whichever
//! way these came. Never makes a pin, and charges nobody.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::http::error::ApiError;
use store::{Described, PinChange, PinKind, StoreError, TusUpload};

use crate::{app::Gateway, upload::UploadError};

/// Characters of a key, at most.
const KEY_MAX: usize = 255;
/// Characters of a value, at most.
const VALUE_MAX: usize = 1_024;
/// Length of a media type, at most (RFC 6838).
const MIME_TYPE_MAX: usize = 127;
/// What nobody can tell anything about.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Entries of metadata; `None` takes one away.
pub(crate) type Keyvalues = BTreeMap<String, Option<String>>;

/// Why something is not said of a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotesError {
    /// A key or a value that cannot be.
    #[error("{0}")]
    BadKeyvalues(String),
    /// More keyvalues than a file may have.
    #[error("a file may have {0} keyvalues at most")]
    TooManyKeyvalues(usize),
    /// An end in the past.
    #[error("expires_at: that time is over already")]
    Over,
    /// No such group, or another account's.
    #[error("this account has no group {0}")]
    UnknownGroup(String),
    /// No such pin, or another account's.
    #[error("this account has no file {0}")]
    UnknownFile(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotesError> for ApiError {
    fn from(error: NotesError) -> Self {
        let (status, reason) = match error {
            NotesError::BadKeyvalues(_) => (StatusCode::BAD_REQUEST, "bad_keyvalues"),
            NotesError::TooManyKeyvalues(_) => (StatusCode::BAD_REQUEST, "too_many_keyvalues"),
            NotesError::Over => (StatusCode::BAD_REQUEST, "bad_expires"),
            NotesError::UnknownGroup(_) => (StatusCode::NOT_FOUND, "unknown_group"),
            NotesError::UnknownFile(_) => (StatusCode::NOT_FOUND, "unknown_file"),
            NotesError::Store(StoreError::Database(error)) => {
                tracing::error!(%error, "the metadata store failed");
                return UploadError::StoreUnavailable.into();
            }
            NotesError::Store(error) => return Self::internal(&error.into()),
        };
        Self::new(status, reason, error)
    }
}

/// What is said of a file that is to be pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notes {
    pub(crate) name: Option<String>,
    pub(crate) keyvalues: Keyvalues,
    pub(crate) group: Option<String>,
    pub(crate) expires: Option<UnixMillis>,
}

impl Notes {
    /// The same with these keyvalues, which are checked.
    pub(crate) fn keyvalues(
        mut self,
        gateway: &Gateway,
        given: &Map<String, Value>,
    ) -> Result<Self, NotesError> {
        self.keyvalues = keyvalues(gateway, given)?;
        Ok(self)
    }

    /// What is to be said of a pin that has its name and its end already.
    pub(crate) fn change(self, kind: PinKind) -> PinChange {
        let Self { keyvalues, group, .. } = self;
        PinChange { meta: keyvalues, group: group.map(Some), kind: Some(kind), ..PinChange::default() }
    }
}

/// Reads keyvalues. They are kept as text: numbers and booleans as they are written in JSON.
pub(crate) fn keyvalues(gateway: &Gateway, given: &Map<String, Value>) -> Result<Keyvalues, NotesError> {
    let max = gateway.config.pinata.keyvalues_max;
    let refuse = |details: String| Err(NotesError::BadKeyvalues(details));
    // Those that are taken away too: nobody has more of them.
    if given.len() > max {
        return Err(NotesError::TooManyKeyvalues(max));
    }
    let mut entries = Keyvalues::new();
    for (key, value) in given {
        if key.is_empty() || key.chars().count() > KEY_MAX {
            return refuse(format!("a key must have 1 to {KEY_MAX} characters"));
        }
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(_) | Value::Object(_) => {
                return refuse(format!("the value of {key:?} must be a text, a number or a boolean"));
            }
        };
        if value.as_ref().is_some_and(|value| value.chars().count() > VALUE_MAX) {
            return refuse(format!("the value of {key:?} must have {VALUE_MAX} characters at most"));
        }
        entries.insert(key.clone(), value);
    }
    Ok(entries)
}

/// A time in seconds that is still to come.
pub(crate) fn expires(gateway: &Gateway, seconds: i64) -> Result<UnixMillis, NotesError> {
    let expires = UnixMillis(seconds.saturating_mul(1_000));
    if expires <= gateway.clock.now() { Err(NotesError::Over) } else { Ok(expires) }
}

/// The media type of a file: as whoever sent it has it, else by its name.
pub(crate) fn mime_type(said: Option<&str>, name: &str) -> String {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_type = |text: &String| {
        let fits = |c: char| c.is_ascii_graphic() && c != '"' && c != '<' && c != '>';
        text.len() <= MIME_TYPE_MAX && text.contains('/') && text.chars().all(fits)
    };
    let said = said.map(essence).filter(is_type).filter(|said| said != UNKNOWN_TYPE);
    said.unwrap_or_else(|| mime_guess::from_path(name).first_or_octet_stream().essence_str().to_string())
}

/// Refuses a group that the account does not have.
pub(crate) async fn check_group(gateway: &Gateway, account: &str, group: &str) -> Result<(), NotesError> {
    let found = gateway.db.group(account, group).await?;
    found.map(drop).ok_or_else(|| NotesError::UnknownGroup(group.to_string()))
}

/// Says something of a pin.
pub(crate) async fn describe(
    gateway: &Gateway,
    account: &str,
    id: &str,
    change: &PinChange,
) -> Result<(), NotesError> {
    if *change == PinChange::default() {
        return Ok(());
    }
    let max = gateway.config.pinata.keyvalues_max;
    described(id, change, max, gateway.db.describe_pin(account, id, change, max).await?)
}

/// Says of the pin that an upload in several requests has become what was kept for that, unless it was said before.
pub(crate) async fn describe_upload(
    gateway: &Gateway,
    upload: &TusUpload,
    id: &str,
    change: &PinChange,
) -> Result<(), NotesError> {
    let max = gateway.config.pinata.keyvalues_max;
    let outcome = gateway.db.describe_tus_pin(&upload.id, &upload.account, id, change, max).await?;
    described(id, change, max, outcome)
}

fn described(id: &str, change: &PinChange, max: usize, outcome: Described) -> Result<(), NotesError> {
    match outcome {
        Described::Done => Ok(()),
        Described::NoPin => Err(NotesError::UnknownFile(id.to_string())),
        Described::NoGroup => {
            let group = change.group.as_ref().and_then(Option::as_deref).unwrap_or_default();
            Err(NotesError::UnknownGroup(group.to_string()))
        }
        Described::TooMany => Err(NotesError::TooManyKeyvalues(max)),
    }
}
