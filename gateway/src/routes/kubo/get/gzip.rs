//! Gzip around bytes while they are sent.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::{Stream, StreamExt as _, stream};
use retrieval::ReadError;

/// Up to this many bytes are compressed on the async thread.
const INLINE_BYTES: usize = 4 << 10;

type Encoder = GzEncoder<Vec<u8>>;

/// The bytes, compressed. An error ends them without gzip's own end, so that nobody takes the part for the whole.
pub(super) fn gzip<S>(bytes: S, level: u32) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, ReadError>> + Send + Unpin + 'static,
{
    let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    stream::try_unfold(Some((bytes, encoder)), async |open| {
        let Some((mut bytes, mut encoder)) = open else { return Ok(None) };
        loop {
            let Some(next) = bytes.next().await.transpose()? else {
                let last = on_thread(move || encoder.finish()).await?;
                return Ok(Some((Bytes::from(last), None)));
            };
            encoder = if next.len() <= INLINE_BYTES {
                compress(encoder, &next).map_err(failed)?
            } else {
                on_thread(move || compress(encoder, &next)).await?
            };
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Ok(Some((Bytes::from(ready), Some((bytes, encoder)))));
            }
        }
    })
}

fn compress(mut encoder: Encoder, bytes: &[u8]) -> io::Result<Encoder> {
    encoder.write_all(bytes)?;
    Ok(encoder)
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ReadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ReadError::Unavailable(error.to_string()))?.map_err(failed)
}

/// A buffer in memory takes everything, so this does not happen.
fn failed(error: io::Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use futures_util::TryStreamExt as _;

    use super::*;

    fn parts(len: usize) -> Vec<Bytes> {
        let bytes: Vec<u8> = (0..len).map(|at| (at * at / 7).to_le_bytes()[0]).collect();
        bytes.chunks(10_000).map(Bytes::copy_from_slice).collect()
    }

    #[tokio::test]
    async fn it_unpacks_to_what_it_was() {
        for len in [0, 1, 9_999, 300_000] {
            for level in [1, 6, 9] {
                let parts = parts(len);
                let packed = gzip(stream::iter(parts.clone().into_iter().map(Ok)), level);
                let packed: Vec<Bytes> = packed.try_collect().await.unwrap();
                let mut unpacked = Vec::new();
                GzDecoder::new(&packed.concat()[..]).read_to_end(&mut unpacked).unwrap();
                assert!(unpacked == parts.concat(), "{len} bytes at level {level}");
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_off_has_no_end() {
        let parts = parts(300_000).into_iter().map(Ok).chain([Err(ReadError::TooSlow)]);
        let mut packed = std::pin::pin!(gzip(stream::iter(parts), 6));
        let mut bytes = Vec::new();
        let error = loop {
            match packed.try_next().await {
                Ok(Some(part)) => bytes.extend_from_slice(&part),
                Ok(None) => panic!("it looks whole"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, ReadError::TooSlow);
        assert!(GzDecoder::new(&bytes[..]).read_to_end(&mut Vec::new()).is_err());
    }
}
