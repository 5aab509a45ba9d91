//! Rebuilding whole pieces in memory, column by column, each checked against its recorded hash before it is sent anywhere.

use std::ops::Range;

use erasure::{CodingError, Decoder, Scheme, UNIT};
use protocol::{ids::PieceHash, repair::IndexSet};
use store::SegmentInfo;
use transfer::{CodedPiece, PooledBytes};

/// Rebuilt pieces.
#[derive(Debug)]
pub(super) struct Rebuilt {
    /// Those that have their recorded hash.
    pub(super) pieces: Vec<CodedPiece>,
    /// Indices of those that have not.
    pub(super) wrong: Vec<u8>,
}

/// Rebuilds the pieces in `wanted` from exactly `needed` whole, checked ones, on a blocking thread.
pub(super) async fn rebuild_blocking(
    info: &SegmentInfo,
    wanted: IndexSet,
    present: Vec<(u8, PooledBytes)>,
) -> anyhow::Result<Rebuilt> {
    let scheme = info.scheme;
    let wanted: Vec<(u8, PieceHash)> = info
        .pieces
        .iter()
        .filter(|piece| wanted.contains(piece.index))
        .map(|piece| (piece.index, piece.hash))
        .collect();
    Ok(tokio::task::spawn_blocking(move || rebuild(scheme, &present, &wanted)).await??)
}

fn rebuild(
    scheme: Scheme,
    present: &[(u8, impl AsRef<[u8]>)],
    wanted: &[(u8, PieceHash)],
) -> Result<Rebuilt, CodingError> {
    let len = present.first().map_or(0, |(_, bytes)| bytes.as_ref().len());
    let mut decoder = Decoder::new(scheme);
    let mut outputs: Vec<Vec<u8>> = wanted.iter().map(|_| vec![0; len]).collect();
    let mut hashers = vec![blake3::Hasher::new(); wanted.len()];
    for start in (0..len).step_by(UNIT) {
        let columns: Range<usize> = start..len.min(start + UNIT);
        let inputs: Vec<(u8, &[u8])> =
            present.iter().map(|(index, bytes)| (*index, &bytes.as_ref()[columns.clone()])).collect();
        let mut missing: Vec<(u8, &mut [u8])> = wanted
            .iter()
            .zip(&mut outputs)
            .map(|((index, _), bytes)| (*index, &mut bytes[columns.clone()]))
            .collect();
        decoder.rebuild(&inputs, &mut missing)?;
        for (hasher, (_, bytes)) in hashers.iter_mut().zip(&missing) {
            hasher.update(bytes);
        }
    }
    let mut rebuilt = Rebuilt { pieces: Vec::with_capacity(wanted.len()), wrong: Vec::new() };
    for (((index, hash), bytes), hasher) in wanted.iter().zip(outputs).zip(hashers) {
        if *hasher.finalize().as_bytes() == hash.0 {
            rebuilt.pieces.push(CodedPiece { index: *index, hash: *hash, slices: vec![bytes.into()] });
        } else {
            rebuilt.wrong.push(*index);
        }
    }
    Ok(rebuilt)
}

#[cfg(test)]
mod tests {
    use erasure::{Codec, Encoder};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Against the encoder, for lengths around units and for both codes.
        #[test]
        fn rebuilt_pieces_are_the_encoded_ones(
            codec in prop_oneof![Just(Codec::Gf8), Just(Codec::Rs16)],
            len in prop_oneof![1_usize..2000, 500_000_usize..600_000],
            order in Just((0_u8..20).collect::<Vec<_>>()).prop_shuffle(),
            lie in 0_usize..24,
        ) {
            let scheme = Scheme::new(codec, 8, 20).unwrap();
            let segment: Vec<u8> = (0..=250_u8).cycle().take(len).collect();
            let pieces = Encoder::new(scheme).encode(&segment).unwrap();
            let (sources, missing) = order.split_at(8);
            let present: Vec<(u8, Vec<u8>)> =
                sources.iter().map(|index| (*index, pieces[usize::from(*index)].clone())).collect();
            let mut wanted: Vec<(u8, PieceHash)> =
                missing.iter().map(|index| (*index, PieceHash::of(&pieces[usize::from(*index)]))).collect();
            if let Some((_, hash)) = wanted.get_mut(lie) {
                hash.0[0] ^= 1;
            }
            let rebuilt = rebuild(scheme, &present, &wanted).unwrap();
            prop_assert_eq!(rebuilt.wrong.len(), usize::from(lie < wanted.len()));
            prop_assert_eq!(rebuilt.pieces.len() + rebuilt.wrong.len(), 12);
            for piece in &rebuilt.pieces {
                prop_assert_eq!(&piece.slices[0][..], &pieces[usize::from(piece.index)][..]);
            }
        }
    }
}
