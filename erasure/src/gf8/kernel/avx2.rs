//! The kernel for processors with AVX2 but no GFNI: products looked up nibble by nibble with `vpshufb`.
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256,
    _mm256_xor_si256,
};

use super::{group_len, tables::NIBBLES};
use crate::NEEDED_MAX;

/// Outputs taken at once: with two half columns each, 8 sums, 4 vectors of nibbles, 2 tables and a mask still
/// fit the 16 registers.
const MOST: usize = 4;
/// Half columns taken at once.
const LANES: usize = 2;
const LANE: usize = size_of::<__m256i>();

/// See [`Kernel::multiply`](super::Kernel::multiply).
///
/// # Safety
/// The processor has AVX2. There are 1 to 32 inputs; inputs and outputs have one length, a multiple of 64;
/// there are `inputs.len() * outputs.len()` coefficients.
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
unsafe fn group<const OUT: usize>(rows: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let len = inputs[0].len();
    let mut tables = [[&NIBBLES[0]; OUT]; NEEDED_MAX];
    for (output, row) in rows.chunks_exact(inputs.len()).enumerate() {
        for (tables, &factor) in tables.iter_mut().zip(row) {
            tables[output] = &NIBBLES[usize::from(factor)];
        }
    }
    let targets: [*mut u8; OUT] = std::array::from_fn(|output| outputs[output].as_mut_ptr());
    for at in (0..len).step_by(LANES * LANE) {
        // SAFETY: the call stays below `len`, a multiple of 64 and the length of every input and every
        // target.
        unsafe { sum::<OUT>(&tables, inputs, &targets, at) };
    }
}

/// One column of `OUT` outputs, at byte `at`.
///
/// # Safety
/// The processor has AVX2. `at + 64` is within every input, and within what each target may write; targets
/// overlap neither each other nor an input.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum<const OUT: usize>(
    tables: &[[&'static [u8; 32]; OUT]; NEEDED_MAX],
    inputs: &[&[u8]],
    targets: &[*mut u8; OUT],
    at: usize,
) {
    let nibble = _mm256_set1_epi8(0x0F);
    let mut sums = [[_mm256_setzero_si256(); LANES]; OUT];
    for (input, tables) in inputs.iter().zip(tables) {
        let mut low = [_mm256_setzero_si256(); LANES];
        let mut high = [_mm256_setzero_si256(); LANES];
        for lane in 0..LANES {
            // SAFETY: within the input, by contract; the load needs no alignment.
            let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().add(at + lane * LANE).cast()) };
            low[lane] = _mm256_and_si256(bytes, nibble);
            high[lane] = _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), nibble);
        }
        for (sums, table) in sums.iter_mut().zip(tables) {
            let table: *const __m128i = table.as_ptr().cast();
            // SAFETY: a table is two loads of 16 bytes long; the loads need no alignment.
            let (low_table, high_table) = unsafe { (_mm_loadu_si128(table), _mm_loadu_si128(table.add(1))) };
            let low_table = _mm256_broadcastsi128_si256(low_table);
            let high_table = _mm256_broadcastsi128_si256(high_table);
            for ((sum, &low), &high) in sums.iter_mut().zip(&low).zip(&high) {
                let low = _mm256_shuffle_epi8(low_table, low);
                let high = _mm256_shuffle_epi8(high_table, high);
                *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(low, high));
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
