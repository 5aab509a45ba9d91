//! CARs: the blocks on a path and what lies at its end, so that a client can check every byte itself (IPIP-402, IPIP-412).

mod params;
mod stream;

use std::ops::Range;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use content::unixfs::walk::{Kind, kind};
use futures_util::{Stream, StreamExt as _};

pub(super) use self::params::CarParams;
use self::{
    params::{EntityBytes, Scope},
    stream::{CarStream, Want},
};
use super::{
    Ask,
    answer::{not_modified, streamed},
    body::stream_body,
    failure::Failure,
    headers::{Caching, set_disposition},
};
use crate::{blocks::Blocks, error::ReadError, resolve::Resolved};

/// A CAR of version 1 of everything under `root`, which it names: depth first, each block once. It ends with an error when
/// there are more than `distinct_max` blocks.
pub fn stream_car(
    blocks: Blocks,
    root: &Resolved,
    distinct_max: usize,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
    let header = content::car::header_as_written(&root.block.cid);
    let dag = Resolved { trail: Vec::new(), ..root.clone() };
    let rest = CarStream::new(blocks, &dag, (Want::All, 0..u64::MAX), Some(distinct_max));
    futures_util::stream::iter([Ok(header.into())]).chain(rest.into_stream())
}

pub(super) fn answer(ask: &Ask<'_>, resolved: &Resolved, params: &CarParams) -> Result<Response, Failure> {
    let caching = Caching::immutable(etag(resolved, params));
    if caching.is_known(&ask.request.headers) {
        return Ok(not_modified(&caching));
    }
    let want = want(resolved, params)?;
    let body = if ask.request.head {
        Body::empty()
    } else {
        let duplicates = if params.duplicates { None } else { Some(ask.rules.car_blocks_max) };
        let stream = CarStream::new(ask.blocks.clone(), resolved, want, duplicates);
        let header = content::car::header_as_written(&resolved.block.cid);
        stream_body(Some(header.into()), stream.into_stream(), ask.rules.stall_timeout)
    };
    let mut response = streamed(body, &caching, &params.content_type());
    let name = format!("{}.car", resolved.block.cid.as_written());
    set_disposition(response.headers_mut(), ask.request, "attachment", &name);
    Ok(response)
}

/// What is wanted of the block at the end of the path.
fn want(resolved: &Resolved, params: &CarParams) -> Result<(Want, Range<u64>), Failure> {
    let all = 0..u64::MAX;
    let kind = kind(&resolved.block);
    Ok(match params.scope {
        Scope::Block => (Want::Nothing, all),
        Scope::All => (Want::All, all),
        Scope::Entity => match kind {
            Ok(Kind::HamtShard) => (Want::Shards, all),
            Ok(Kind::File { size_bytes } | Kind::Raw { size_bytes }) => match &params.bytes {
                None => (Want::File { start: 0 }, all),
                Some(bytes) => match within(*bytes, size_bytes)? {
                    Some(range) => (Want::File { start: 0 }, range),
                    None => (Want::Nothing, all),
                },
            },
            // Directories of one block, links, and data that is no UnixFS: the block is the entity.
            _ => (Want::Nothing, all),
        },
    })
}

/// The bytes of a file of `size` that are asked for; `None` for a range without any: then the root block alone tells why.
fn within(asked: EntityBytes, size: u64) -> Result<Option<Range<u64>>, Failure> {
    let size_wide = i128::from(size);
    let place = |at: i64| if at < 0 { size_wide + i128::from(at) } else { i128::from(at) };
    let from = place(asked.from).max(0);
    let to = asked.to.map_or(size_wide - 1, place);
    let is_outside = size > 0 && (from >= size_wide || to < 0);
    if is_outside {
        return Err(Failure::OutsideOfEntity(size));
    }
    let end = (to + 1).min(size_wide);
    match (u64::try_from(from), u64::try_from(end)) {
        (Ok(from), Ok(end)) if from < end => Ok(Some(from..end)),
        _ => Ok(None),
    }
}

/// Weak, as others may put the same blocks into another order. It differs with everything that decides which blocks come:
/// the way, the scope, the range, duplicates.
fn etag(resolved: &Resolved, params: &CarParams) -> String {
    let mut hasher = blake3::Hasher::new();
    for cid in resolved.trail.iter().chain([&resolved.block.cid]) {
        hasher.update(cid.as_written().bytes());
    }
    hasher.update(format!("{params:?}").as_bytes());
    let hash = hasher.finalize().to_hex();
    format!("W/\"{}.car.{}\"", resolved.block.cid.as_written(), &hash[..16])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_an_entity() {
        let within = |from, to, size| within(EntityBytes { from, to }, size).map_err(|_| ());
        assert_eq!(within(0, None, 10), Ok(Some(0..10)));
        assert_eq!(within(2, Some(4), 10), Ok(Some(2..5)));
        assert_eq!(within(2, Some(400), 10), Ok(Some(2..10)));
        assert_eq!(within(-3, None, 10), Ok(Some(7..10)));
        assert_eq!(within(4, Some(-3), 10), Ok(Some(4..8)));
        assert_eq!(within(-9999, Some(-3), 10), Ok(Some(0..8)));
        assert_eq!(within(-9999, None, 10), Ok(Some(0..10)));
        assert_eq!(within(0, Some(0), 10), Ok(Some(0..1)));
        assert_eq!(within(5, Some(4), 10), Ok(None), "no bytes");
        assert_eq!(within(0, None, 0), Ok(None), "no bytes in an empty file");
        assert_eq!(within(10, None, 10), Err(()));
        assert_eq!(within(0, Some(-11), 10), Err(()));
        assert_eq!(
            within(i64::MIN, Some(i64::MAX), u64::MAX),
            Ok(Some(i64::MAX as u64..i64::MAX as u64 + 1))
        );
    }

    proptest! {
        #[test]
        fn an_entity_has_the_bytes_that_a_slow_reader_finds(
            from in -25_i64..25, to in prop::option::of(-25_i64..25), size in 0_u64..20,
        ) {
            let from_end = |at: i64| if at < 0 { at + size.cast_signed() } else { at };
            let last = to.map_or(i64::MAX, from_end);
            let bytes: Vec<u64> =
                (0..size).filter(|at| (from_end(from)..=last).contains(&at.cast_signed())).collect();
            let is_outside = size > 0 && (from_end(from) >= size.cast_signed() || last < 0);
            let found = within(EntityBytes { from, to }, size);
            prop_assert_eq!(found.is_err(), is_outside);
            if let Ok(found) = found {
                prop_assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), bytes);
            }
        }

        #[test]
        fn no_ends_of_an_entity_break_it(from: i64, to: Option<i64>, size: u64) {
            if let Ok(Some(range)) = within(EntityBytes { from, to }, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
