//! Tests of the crate as a whole against what other implementations made.

mod fixtures;
pub(crate) mod store;
mod vectors;
