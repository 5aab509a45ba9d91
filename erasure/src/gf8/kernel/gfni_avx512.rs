//! The kernel for processors with GFNI and AVX-512: 64 products an instruction.
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::{
    __m512i, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_xor_si512,
};

use super::{group_len, tables::AFFINE};
use crate::NEEDED_MAX;

/// Outputs taken at once: with two columns each, 12 sums, 2 inputs and a matrix fit the 32 registers, and
/// there are independent sums enough to hide the latency of product and sum.
const MOST: usize = 6;
const LANE: usize = size_of::<__m512i>();

/// See [`Kernel::multiply`](super::Kernel::multiply).
///
/// # Safety
/// The processor has GFNI and AVX-512F. There are 1 to 32 inputs; inputs and outputs have one length, a
/// multiple of 64; there are `inputs.len() * outputs.len()` coefficients.
#[target_feature(enable = "gfni,avx512f")]
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
                4 => group::<4>(rows, inputs, outputs),
                5 => group::<5>(rows, inputs, outputs),
                _ => group::<MOST>(rows, inputs, outputs),
            }
        }
    }
}

/// All columns of `OUT` outputs.
///
/// # Safety
/// As [`multiply`], and there are exactly `OUT` outputs.
#[target_feature(enable = "gfni,avx512f")]
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
    // SAFETY: each call stays below `len`, the length of every input and every target.
    unsafe {
        while at + 2 * LANE <= len {
            sum::<OUT, 2>(&matrices, inputs, &targets, at);
            at += 2 * LANE;
        }
        if at < len {
            sum::<OUT, 1>(&matrices, inputs, &targets, at);
        }
    }
}

/// `LANES` columns of `OUT` outputs from byte `at` on.
///
/// # Safety
/// The processor has GFNI and AVX-512F. `at + LANES * 64` is within every input, and within what each target
/// may write; targets overlap neither each other nor an input.
#[inline]
#[target_feature(enable = "gfni,avx512f")]
unsafe fn sum<const OUT: usize, const LANES: usize>(
    matrices: &[[i64; OUT]; NEEDED_MAX],
    inputs: &[&[u8]],
    targets: &[*mut u8; OUT],
    at: usize,
) {
    let mut sums = [[_mm512_setzero_si512(); LANES]; OUT];
    for (input, matrices) in inputs.iter().zip(matrices) {
        let mut columns = [_mm512_setzero_si512(); LANES];
        for (lane, column) in columns.iter_mut().enumerate() {
            // SAFETY: within the input, by contract; the load needs no alignment.
            *column = unsafe { _mm512_loadu_si512(input.as_ptr().add(at + lane * LANE).cast()) };
        }
        for (sums, &matrix) in sums.iter_mut().zip(matrices) {
            let matrix = _mm512_set1_epi64(matrix);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(column, matrix));
            }
        }
    }
    for (sums, target) in sums.iter().zip(targets) {
        for (lane, &sum) in sums.iter().enumerate() {
            // SAFETY: within the target, by contract; the store needs no alignment.
            unsafe { _mm512_storeu_si512(target.add(at + lane * LANE).cast(), sum) };
        }
    }
}
