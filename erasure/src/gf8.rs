//! The code "gf8": a systematic Cauchy matrix over GF(2^8).
//!
//! `field` is the arithmetic, `matrix` says what each piece is made of, and `kernel` multiplies bytes by a
//! matrix as fast as the processor can. Nothing here knows about segments or rows.

mod field;
mod kernel;
pub(crate) mod matrix;

pub use kernel::Kernel;
