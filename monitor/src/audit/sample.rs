//! Which of a node's pieces are challenged: a run of hashes from a random one on (hashes are random, so that is a fair
//! sample), and a draw from it weighted by size, so that every stored byte is as likely to be asked for as any other.

use protocol::ids::{NodeId, PieceHash};
use rand::{Rng, RngExt as _};
use store::HeldPiece;

use crate::monitor::Inner;

/// Draws the pieces for one visit.
pub(super) async fn draw(inner: &Inner, node: NodeId) -> anyhow::Result<Vec<HeldPiece>> {
    let batch = inner.config.audit.batch;
    let limit = u32::try_from(batch.saturating_mul(inner.config.visits.sample_factor)).unwrap_or(u32::MAX);
    let start = PieceHash(inner.dice.bytes());
    let mut held = inner.db.held_pieces(node, start, limit).await?;
    let left = limit.saturating_sub(u32::try_from(held.len()).unwrap_or(u32::MAX));
    if left > 0 {
        // Past the last hash it goes on at the first.
        let wrapped = inner.db.held_pieces(node, PieceHash([0; PieceHash::LEN]), left).await?;
        held.extend(wrapped.into_iter().filter(|piece| piece.hash < start));
    }
    Ok(choose(held, batch, &mut inner.dice.rng()))
}

/// Draws `count` of them without replacement, weighted by size (Efraimidis and Spirakis, 2006: the `count` smallest of
/// `-ln(u) / size`).
fn choose(held: Vec<HeldPiece>, count: usize, rng: &mut impl Rng) -> Vec<HeldPiece> {
    let mut keyed: Vec<(f64, HeldPiece)> = held
        .into_iter()
        .map(|piece| {
            // 1 - [0, 1) is never 0, so the logarithm is finite.
            let uniform: f64 = 1.0 - rng.random::<f64>();
            (-uniform.ln() / piece.piece_bytes.max(1) as f64, piece)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    keyed.truncate(count);
    keyed.into_iter().map(|(_, piece)| piece).collect()
}

#[cfg(test)]
mod tests {
    use erasure::{Codec, Scheme};
    use protocol::{ids::SegmentId, time::UnixMillis};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use store::PieceSlot;

    use super::*;

    fn piece(number: u8, piece_bytes: u64) -> HeldPiece {
        HeldPiece {
            slot: PieceSlot { segment: SegmentId([number; 16]), index: 0 },
            hash: PieceHash([number; 32]),
            scheme: Scheme::new(Codec::Gf8, 8, 20).unwrap(),
            segment_bytes: piece_bytes * 8,
            piece_bytes,
            stored: UnixMillis(0),
            verified: UnixMillis(0),
        }
    }

    #[test]
    fn the_draw_is_weighted_by_size_and_without_repetition() {
        let held = vec![piece(0, 1000), piece(1, 2000), piece(2, 3000), piece(3, 4000)];
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let rounds = 20_000_u32;
        let mut first = [0_u32; 4];
        for _ in 0..rounds {
            let drawn = choose(held.clone(), 2, &mut rng);
            assert!(drawn.len() == 2 && drawn[0].hash != drawn[1].hash);
            first[usize::from(drawn[0].hash.0[0])] += 1;
        }
        for (count, share) in first.into_iter().zip([0.1, 0.2, 0.3, 0.4]) {
            let got = f64::from(count) / f64::from(rounds);
            // Four standard deviations of a share of 20,000 draws are at most 0.014.
            assert!((got - share).abs() < 0.015, "{got} {share}");
        }
        assert_eq!(choose(held, 9, &mut rng).len(), 4);
    }
}
