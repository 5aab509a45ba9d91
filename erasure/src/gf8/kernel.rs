//! Bytes times a matrix: `outputs[o] = sum over i of coefficients[o][i] * inputs[i]`, column by column.
//!
//! All the time of the code "gf8" goes here, so there are several kernels, one of which is chosen when the
//! program runs. Each takes a few outputs at a time through all inputs, so that an input byte is loaded once
//! for several products, and sums stay in registers.
//!
//! This file checks everything the kernels rely on; they check nothing.

use std::fmt;

use crate::{COLUMN, NEEDED_MAX};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod gfni_avx2;
#[cfg(target_arch = "x86_64")]
mod gfni_avx512;
mod portable;
#[cfg(target_arch = "x86_64")]
mod tables;
#[cfg(test)]
mod tests;

/// A way to multiply that this machine can run. A value of this type exists only after the processor said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(Isa);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    GfniAvx512,
    #[cfg(target_arch = "x86_64")]
    GfniAvx2,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// Fastest first.
const ISAS: &[Isa] = &[
    #[cfg(target_arch = "x86_64")]
    Isa::GfniAvx512,
    #[cfg(target_arch = "x86_64")]
    Isa::GfniAvx2,
    #[cfg(target_arch = "x86_64")]
    Isa::Avx2,
    Isa::Portable,
];

impl Isa {
    fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::GfniAvx512 => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::GfniAvx2 => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Portable => true,
        }
    }
}

impl Kernel {
    /// The kernels of this machine, fastest first; the last is "portable", which is everywhere.
    pub fn available() -> impl Iterator<Item = Self> {
        ISAS.iter().copied().filter(|isa| isa.is_supported()).map(Self)
    }

    /// The fastest kernel of this machine.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self(Isa::Portable))
    }

    /// Name for logs and measurements.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::GfniAvx512 => "gfni-avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::GfniAvx2 => "gfni-avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Overwrites each output with its row of `coefficients` (`inputs.len()` bytes per row) times the inputs.
    ///
    /// # Panics
    /// If there is no input or more than [`NEEDED_MAX`], if the slices differ in length or that is not whole
    /// columns, or if `coefficients` does not match: all broken promises of this crate, not of its callers.
    pub(crate) fn multiply(self, coefficients: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert!((1..=NEEDED_MAX).contains(&inputs.len()), "1 to 32 inputs");
        assert_eq!(coefficients.len(), inputs.len() * outputs.len(), "one coefficient per input and output");
        let len = inputs[0].len();
        assert!(len.is_multiple_of(COLUMN), "whole columns");
        assert!(inputs.iter().all(|input| input.len() == len), "inputs of one length");
        assert!(outputs.iter().all(|output| output.len() == len), "outputs of one length");
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::GfniAvx512 => {
                #[expect(unsafe_code, reason = "calls code for a processor that may lack it")]
                // SAFETY: a `Kernel` of this kind is only made after `is_supported` found GFNI and AVX-512F,
                // and the number and lengths of slices and coefficients were checked above.
                unsafe {
                    gfni_avx512::multiply(coefficients, inputs, outputs);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::GfniAvx2 => {
                #[expect(unsafe_code, reason = "calls code for a processor that may lack it")]
                // SAFETY: as above, with GFNI and AVX2.
                unsafe {
                    gfni_avx2::multiply(coefficients, inputs, outputs);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                #[expect(unsafe_code, reason = "calls code for a processor that may lack it")]
                // SAFETY: as above, with AVX2.
                unsafe {
                    avx2::multiply(coefficients, inputs, outputs);
                }
            }
            Isa::Portable => portable::multiply(coefficients, inputs, outputs),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Size of the groups into which `outputs` outputs are cut when at most `most` fit the registers: as even as
/// can be, so that 8 are taken 4 + 4 and not 6 + 2.
#[cfg(target_arch = "x86_64")]
fn group_len(outputs: usize, most: usize) -> usize {
    outputs.div_ceil(outputs.div_ceil(most).max(1)).max(1)
}
