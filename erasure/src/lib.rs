//! Erasure coding: cuts a segment into `needed` data pieces and `total - needed` recovery pieces of equal
//! length, any `needed` of which give the segment back.
//!
//! Both codes are systematic (data pieces are plain slices of the segment) and work on columns: byte columns
//! `[a, b)` of any piece, with `a` and `b` multiples of [`COLUMN`], depend on the same columns of `needed`
//! other pieces and on nothing else. So a caller may code row by row while it streams, and rebuild just the
//! columns it was asked for.
//!
//! The way through this crate: [`Scheme`] says which code; [`Layout`] says which byte of the segment is
//! where; [`Encoder`] makes recovery pieces; [`Decoder`] rebuilds missing columns.
//!
//! This crate never does I/O, never starts a thread, and cannot tell a wrong piece from a right one: what
//! goes into a [`Decoder`] must have been checked against the hash of its piece before.
#![deny(unsafe_code)]

mod check;
mod codec;
mod encode;
mod error;
mod gf8;
mod layout;
mod rebuild;
mod rs16;
mod scheme;
#[cfg(test)]
mod tests;

pub use codec::{Codec, UnknownCodec};
pub use encode::Encoder;
pub use error::CodingError;
pub use gf8::Kernel;
pub use layout::{Layout, Row, Span, Spans};
pub use rebuild::Decoder;
pub use scheme::{NEEDED_MAX, ParseSchemeError, Scheme, SchemeError, TOTAL_MAX};

/// Bytes of one piece in one full row: 64 KiB, the length at which both codes run at their best (inputs and
/// outputs of a row stay in a core's second-level cache), and a multiple of Bao's 16 KiB groups.
pub const UNIT: usize = 64 * 1024;

/// Columns are coded in steps of 64 bytes: one AVX-512 register, and the step in which reed-solomon-simd
/// interleaves the halves of its 16-bit symbols.
pub const COLUMN: usize = 64;
