//! Measures the piece store.

fn main() {}
