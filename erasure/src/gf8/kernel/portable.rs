//! The kernel for any processor: safe code on 64-bit words that compilers turn into whatever vectors there are.
//!
//! A product is the sum of the input's doublings that the coefficient's bits select. The doublings of a block
//! of input are made once and serve all outputs; they and the block stay in the first-level cache.

use super::super::field::POLYNOMIAL;

/// Words per block: 512 bytes, so that the eight doublings take 4 KiB.
const WORDS: usize = 64;
const WORD: usize = size_of::<u64>();

/// See [`Kernel::multiply`](super::Kernel::multiply), which has checked the arguments.
pub(super) fn multiply(coefficients: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let len = inputs[0].len();
    let mut doublings = [[0_u64; WORDS]; 8];
    for start in (0..len).step_by(WORDS * WORD) {
        let block = start..len.min(start + WORDS * WORD);
        for output in &mut *outputs {
            output[block.clone()].fill(0);
        }
        for (index, input) in inputs.iter().enumerate() {
            let factors = || coefficients.iter().skip(index).step_by(inputs.len()).copied();
            // A row of ones (plain XOR) needs no doubling, and most blocks need no more than the top bit asks.
            let bits = 8 - factors().fold(0, |all, factor| all | factor).leading_zeros() as usize;
            double_block(&mut doublings[..bits], &input[block.clone()]);
            for (output, factor) in outputs.iter_mut().zip(factors()) {
                add_product(&mut output[block.clone()], factor, &doublings);
            }
        }
    }
}

/// Fills `doublings[b]` with 2^b times the bytes.
fn double_block(doublings: &mut [[u64; WORDS]], bytes: &[u8]) {
    let Some(first) = doublings.first_mut() else { return };
    for (word, bytes) in first.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    for bit in 1..doublings.len() {
        let (done, rest) = doublings.split_at_mut(bit);
        for (to, from) in rest[0].iter_mut().zip(&done[bit - 1]) {
            *to = double_bytes(*from);
        }
    }
}

/// Adds `factor` times the doubled block to the output.
fn add_product(output: &mut [u8], factor: u8, doublings: &[[u64; WORDS]; 8]) {
    for (bit, words) in doublings.iter().enumerate() {
        if factor >> bit & 1 == 1 {
            for (bytes, word) in output.as_chunks_mut::<WORD>().0.iter_mut().zip(words) {
                *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
            }
        }
    }
}

/// Doubles eight field elements at once.
fn double_bytes(word: u64) -> u64 {
    const TOP: u64 = 0x8080_8080_8080_8080;
    const REDUCE: u64 = u64::from_ne_bytes([POLYNOMIAL; WORD]);
    let carry = word & TOP;
    // 0x80 - 0x01 + 0x80 = 0xFF in each byte that overflows, 0 in the others; no borrow leaves a byte.
    let mask = (carry - (carry >> 7)) | carry;
    ((word ^ carry) << 1) ^ (mask & REDUCE)
}
