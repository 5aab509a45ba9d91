//! Tests of the crate as a whole against what other implementations made.

pub(crate) mod damage;
mod fixtures;
mod importer;
pub(crate) mod store;
mod vectors;

pub(crate) use self::fixtures::fixture_cars;
