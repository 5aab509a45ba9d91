//! The kernel for processors with GFNI and AVX2 but no AVX-512: 32 products an instruction.
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::{
    __m256i, _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::{group_len, tables::AFFINE};
use crate::NEEDED_MAX;

/// Outputs taken at once: with two half columns each, 8 sums, 2 inputs and a matrix fit the 16 registers.
const MOST: usize = 4;
const LANE: usize = size_of::<__m256i>();

/// See [`Kernel::multiply`](super::Kernel::multiply).
///
/// # Safety
/// The processor has GFNI and AVX2. There are 1 to 32 inputs; inputs and outputs have one length, a
/// multiple of 64; there are `inputs.len() * outputs.len()` coefficients.
#[target_feature(enable = "gfni,avx2")]
pub(super) unsafe fn multiply(coefficients: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let outputs_max = group_len(outputs.len(), MOST);
    let rows = coefficients.chunks(outputs_max * inputs.len());
    for (rows, outputs) in rows.zip(outputs.chunks_mut(outputs_max)) {
        // SAFETY: `rows` holds `inputs.len()` coefficients for each of these outputs, whose number is the
        // constant passed; all else is our own contract.
        unsafe {
            match outputs.len() {
                1 => group::<1>(rows, inputs, outputs),
                2 => group::<2>(rows, inputs, outputs),
                3 => group::<3>(rows, inputs, outputs),
                _ => group::<MOST>(rows, inputs, outputs),
            }
        }
    }
}

/// All columns of `OUT` outputs.
///
/// # Safety
/// As [`multiply`], and there are exactly `OUT` outputs.
#[target_feature(enable = "gfni,avx2")]
unsafe fn group<const OUT: usize>(rows: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let len = inputs[0].len();
    let mut matrices = [[0; OUT]; NEEDED_MAX];
    for (output, row) in rows.chunks_exact(inputs.len()).enumerate() {
        for (matrices, &factor) in matrices.iter_mut().zip(row) {
            matrices[output] = AFFINE[usize::from(factor)].cast_signed();
        }
    }
    let targets: [*mut u8; OUT] = std::array::from_fn(|output| outputs[output].as_mut_ptr());
    let mut at = 0;
    // SAFETY: each call stays below `len`, a multiple of 64 and the length of every input and every target.
    unsafe {
        while at < len {
            sum::<OUT, 2>(&matrices, inputs, &targets, at);
            at += 2 * LANE;
        }
    }
}

/// `LANES` half columns of `OUT` outputs from byte `at` on.
///
/// # Safety
/// The processor has GFNI and AVX2. `at + LANES * 32` is within every input, and within what each target
/// may write; targets overlap neither each other nor an input.
#[inline]
#[target_feature(enable = "gfni,avx2")]
unsafe fn sum<const OUT: usize, const LANES: usize>(
    matrices: &[[i64; OUT]; NEEDED_MAX],
    inputs: &[&[u8]],
    targets: &[*mut u8; OUT],
    at: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); LANES]; OUT];
    for (input, matrices) in inputs.iter().zip(matrices) {
        let mut columns = [_mm256_setzero_si256(); LANES];
        for (lane, column) in columns.iter_mut().enumerate() {
            // SAFETY: within the input, by contract; the load needs no alignment.
            *column = unsafe { _mm256_loadu_si256(input.as_ptr().add(at + lane * LANE).cast()) };
        }
        for (sums, &matrix) in sums.iter_mut().zip(matrices) {
            let matrix = _mm256_set1_epi64x(matrix);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = _mm256_xor_si256(*sum, _mm256_gf2p8affine_epi64_epi8::<0>(column, matrix));
            }
        }
    }
    for (sums, target) in sums.iter().zip(targets) {
        for (lane, &sum) in sums.iter().enumerate() {
            // SAFETY: within the target, by contract; the store needs no alignment.
            unsafe { _mm256_storeu_si256(target.add(at + lane * LANE).cast(), sum) };
        }
    }
}
