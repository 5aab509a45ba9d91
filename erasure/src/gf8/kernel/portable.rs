//! The kernel for any processor: safe code on 64-bit words that compilers turn into whatever vectors there
//! are.
//!
//! A product is the sum of the input's doublings that the coefficient's bits select. The doublings of a block
//! of input are made once and serve all outputs; they and the block stay in the first-level cache.

use super::super::field::POLYNOMIAL;
use crate::COLUMN;

/// Columns per block: 512 bytes, so that the eight doublings take 4 KiB.
const COLUMNS: usize = 8;
const WORD: usize = size_of::<u64>();

/// One column as words. Loops over it have a fixed length, which is what makes compilers use vectors.
type Column = [u64; COLUMN / WORD];
/// A block of input, or of its doublings.
type Block = [Column; COLUMNS];

/// See [`Kernel::multiply`](super::Kernel::multiply), which has checked the arguments.
pub(super) fn multiply(coefficients: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let len = inputs[0].len();
    let mut doublings = [[[0; COLUMN / WORD]; COLUMNS]; 8];
    for start in (0..len).step_by(COLUMNS * COLUMN) {
        let block = start..len.min(start + COLUMNS * COLUMN);
        for output in &mut *outputs {
            output[block.clone()].fill(0);
        }
        for (index, input) in inputs.iter().enumerate() {
            let factors = || coefficients.iter().skip(index).step_by(inputs.len()).copied();
            // Only what some coefficient asks for: a column of ones (plain XOR) needs no doubling at all.
            let bits = 8 - factors().fold(0, |all, factor| all | factor).leading_zeros() as usize;
            double_block(&mut doublings[..bits], &input[block.clone()]);
            for (output, factor) in outputs.iter_mut().zip(factors()) {
                add_product(&mut output[block.clone()], factor, &doublings);
            }
        }
    }
}

/// Fills `doublings[b]` with 2^b times the bytes.
fn double_block(doublings: &mut [Block], bytes: &[u8]) {
    let Some(first) = doublings.first_mut() else { return };
    for (column, bytes) in first.iter_mut().zip(bytes.as_chunks::<COLUMN>().0) {
        *column = load(bytes);
    }
    for bit in 1..doublings.len() {
        let (done, rest) = doublings.split_at_mut(bit);
        for (to, from) in rest[0].iter_mut().zip(&done[bit - 1]) {
            *to = from.map(double_bytes);
        }
    }
}

/// Adds `factor` times the doubled block to the output.
fn add_product(output: &mut [u8], factor: u8, doublings: &[Block; 8]) {
    let mut selected = [&doublings[0]; 8];
    let mut count = 0;
    for (bit, block) in doublings.iter().enumerate() {
        if factor >> bit & 1 == 1 {
            selected[count] = block;
            count += 1;
        }
    }
    // Several at a time, because loads and stores of the output cost as much as those of a summand.
    let (fours, rest) = selected[..count].as_chunks::<4>();
    for four in fours {
        add(output, *four);
    }
    match *rest {
        [a, b, c] => add(output, [a, b, c]),
        [a, b] => add(output, [a, b]),
        [a] => add(output, [a]),
        _ => {}
    }
}

/// Adds `N` blocks to the output, which may be shorter than they are.
fn add<const N: usize>(output: &mut [u8], summands: [&Block; N]) {
    for (index, bytes) in output.as_chunks_mut::<COLUMN>().0.iter_mut().enumerate() {
        let mut sum = load(bytes);
        for block in summands {
            for (sum, word) in sum.iter_mut().zip(&block[index]) {
                *sum ^= word;
            }
        }
        for (bytes, word) in bytes.as_chunks_mut::<WORD>().0.iter_mut().zip(sum) {
            *bytes = word.to_ne_bytes();
        }
    }
}

fn load(bytes: &[u8; COLUMN]) -> Column {
    let mut column = [0; COLUMN / WORD];
    for (word, bytes) in column.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    column
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
