//! Tests of the crate as a whole against what other implementations made.

mod fixtures;
mod importer;
pub(crate) mod store;
mod vectors;
