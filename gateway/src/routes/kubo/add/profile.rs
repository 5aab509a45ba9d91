//! Which import profile the arguments of `add` mean. What they do not say is as Kubo has it.

use content::{
    HashFn,
    unixfs::profile::{CidVersion, Layout, Leaves, Parameters, Profile},
};

use super::super::{answer::RpcError, args::Args};

/// How many bytes `inline` means when it does not say.
const INLINE_DEFAULT: usize = 32;

/// The import profile that the arguments ask for.
pub(super) fn profile(args: &Args) -> Result<Profile, RpcError> {
    let hash = args.get("hash");
    let hash_fn: HashFn = match hash {
        None => HashFn::Sha2_256,
        Some(name) => {
            name.parse().map_err(|_| RpcError::argument(format!("unrecognized hash function: {name:?}")))?
        }
    };
    let version = match args.number("cid-version")? {
        Some(0) => CidVersion::V0,
        Some(1) => CidVersion::V1,
        Some(other) => return Err(RpcError::argument(format!("unknown CID version {other}"))),
        // Only version 1 has names for other hash functions.
        None if hash_fn != HashFn::Sha2_256 => CidVersion::V1,
        None => CidVersion::V0,
    };
    let base = match version {
        CidVersion::V0 => Profile::UNIXFS_V0_2015,
        CidVersion::V1 => Profile::KUBO_V1,
    }
    .parameters();
    let leaves = match args.flag("raw-leaves")? {
        None => base.leaves,
        Some(true) => Leaves::Raw,
        Some(false) => Leaves::DagPb,
    };
    let layout = if args.flag("trickle")?.or(args.flag("t")?).unwrap_or(false) {
        Layout::Trickle
    } else {
        Layout::Balanced
    };
    let inline_max = if args.flag("inline")?.unwrap_or(false) {
        Some(size(args, "inline-limit")?.unwrap_or(INLINE_DEFAULT))
    } else {
        None
    };
    let chunk_bytes = match args.get("chunker").or(args.get("s")) {
        None => base.chunk_bytes,
        Some(text) => chunk_bytes(text)?,
    };
    let links_max = size(args, "max-file-links")?.unwrap_or(base.links_max);
    let parameters = Parameters {
        hash_fn,
        cid_version: version,
        leaves,
        layout,
        inline_max,
        chunk_bytes,
        links_max,
        ..base
    };
    Profile::new(parameters).map_err(RpcError::argument)
}

fn size(args: &Args, name: &str) -> Result<Option<usize>, RpcError> {
    Ok(args.number(name)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
}

/// `size-N`, or `default`.
fn chunk_bytes(text: &str) -> Result<usize, RpcError> {
    if text == "default" {
        return Ok(Profile::KUBO_V1.parameters().chunk_bytes);
    }
    let number = text.strip_prefix("size-").and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        RpcError::argument(format!("chunker {text:?} is not size-N, the only kind there is here"))
    })
}
