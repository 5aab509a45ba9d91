//! Bodies: what is at hand, what is lent, and streams that break off rather than look whole.

use std::{ops::Range, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use content::Block;
use futures_util::{Stream, StreamExt as _, stream};

use super::failure::count_denied;
use crate::{blocks::Blocks, error::ReadError, file_stream::stream_file};

/// A part of a block's bytes.
pub(super) fn part(bytes: &Bytes, wanted: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(wanted.start)..at(wanted.end).max(at(wanted.start)))
}

/// A part of one block: lent as it is, or in copies when connections hold too much.
pub(super) fn block_body(blocks: &Blocks, block: &Block, wanted: Range<u64>) -> Body {
    let bytes = part(&block.bytes, &wanted);
    match blocks.lend(bytes.clone(), block.bytes.len()) {
        Some(lent) => Body::from(lent),
        None if block.cid.codec() == content::Codec::Raw => {
            Body::from_stream(stream_file(blocks.clone(), block.clone(), wanted))
        }
        // Other codecs hold data and no files, and are short.
        None => Body::from(Bytes::copy_from_slice(&bytes)),
    }
}

/// A body of which a beginning is at hand. It is broken off when what follows fails, or does not come for so long: the
/// end was promised, by a length or by the last chunk, so nobody takes the part for the whole.
pub fn stream_body<S>(first: Option<Bytes>, rest: S, stall: Duration) -> Body
where
    S: Stream<Item = Result<Bytes, ReadError>> + Send + 'static,
{
    let begun = stream::iter(first.map(Ok));
    let rest = stream::unfold((Box::pin(rest), false), move |(mut rest, ended)| async move {
        if ended {
            return None;
        }
        let next = tokio::time::timeout(stall, rest.next()).await;
        let next = next.unwrap_or(Some(Err(ReadError::TooSlow)))?;
        if let Err(error) = &next {
            tracing::warn!(%error, "content became unreadable while it was sent");
            metrics::counter!("pinstripe_truncated_responses_total").increment(1);
            count_denied(error);
        }
        let ended = next.is_err();
        Some((next, (rest, ended)))
    });
    Body::from_stream(begun.chain(rest))
}
