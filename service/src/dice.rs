//! Where randomness comes from: the operating system, or a seed in tests and simulations.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// A source of random generators.
#[derive(Clone, Debug, Default)]
pub enum Dice {
    /// Seeded by the operating system each time.
    #[default]
    System,
    /// One seeded stream, from which each generator takes its own seed.
    Seeded(Arc<Mutex<ChaCha12Rng>>),
}

impl Dice {
    /// The same seed gives the same generators in the same order.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))))
    }

    /// A generator for one decision; fit for keys and names when the source is [`Dice::System`].
    pub fn rng(&self) -> ChaCha12Rng {
        match self {
            Self::System => ChaCha12Rng::from_rng(&mut rand::rng()),
            Self::Seeded(stream) => ChaCha12Rng::from_rng(&mut *stream.lock()),
        }
    }

    /// Random bytes, for names and nonces.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }
}
