//! The arguments of a command, in the query of its request.

use content::Cid;
use retrieval::resolve;

use super::answer::RpcError;
use crate::app::Gateway;

/// Arguments by name; a name may come several times.
#[derive(Debug)]
pub(super) struct Args(pub(super) Vec<(String, String)>);

impl Args {
    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A switch, in the spellings that Go knows; a name without a value is one that is on.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, RpcError> {
        self.get(name)
            .map(|value| match value {
                "" | "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
                "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
                other => Err(RpcError::argument(format!("{name}: {other:?} is neither true nor false"))),
            })
            .transpose()
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, RpcError> {
        let wrong = |value: &str| RpcError::argument(format!("{name}: {value:?} is not a number"));
        self.get(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// The argument that a command cannot do without.
    pub(super) fn required(&self) -> Result<&str, RpcError> {
        self.get("arg").ok_or_else(|| RpcError::argument("argument \"arg\" is required"))
    }
}

/// What such a path leads to: the CID itself where there is nothing below it, stored here or not.
pub(super) async fn target(gateway: &Gateway, text: &str) -> Result<Cid, RpcError> {
    let (cid, path) = content_path(text)?;
    Ok(if path.is_empty() { cid } else { resolve(&gateway.blocks, &cid, &path).await?.block.cid })
}

/// A CID with a path below it: `CID`, `/ipfs/CID/a/b`, `CID/a/b` or `ipfs://CID`. Arguments are decoded already.
pub(super) fn content_path(text: &str) -> Result<(Cid, Vec<String>), RpcError> {
    let path = text.strip_prefix("/ipfs/").or_else(|| text.strip_prefix("ipfs://")).unwrap_or(text);
    let mut parts = path.split('/');
    let cid = parts.next().unwrap_or_default();
    let cid = cid.parse().map_err(|error| RpcError::argument(format!("invalid path {text:?}: {error}")))?;
    Ok((cid, parts.filter(|part| !part.is_empty()).map(str::to_string).collect()))
}
