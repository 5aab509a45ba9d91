//! What the vector kernels need to know of each coefficient, computed when this crate is compiled.

use super::super::field::double;

/// For each coefficient, the 8 x 8 bit matrix that multiplies by it, as `gf2p8affineqb` wants it: byte
/// `7 - i` selects the input bits whose parity is output bit `i`. (Intel SDM, volume 2, `GF2P8AFFINEQB`.)
pub(super) static AFFINE: [u64; 256] = affine();

/// For each coefficient, its products with the 16 low nibbles, then with the 16 high nibbles, for `vpshufb`.
pub(super) static NIBBLES: [[u8; 32]; 256] = nibbles();

const fn affine() -> [u64; 256] {
    let mut table = [0; 256];
    let mut factor: u8 = 0;
    loop {
        // `column` is the image of input bit `j`; its bit `i` belongs into row `i`.
        let mut column = factor;
        let mut j = 0;
        while j < 8 {
            let mut i = 0;
            while i < 8 {
                let bit = (column >> i & 1) as u64;
                table[factor as usize] |= bit << ((7 - i) * 8 + j);
                i += 1;
            }
            column = double(column);
            j += 1;
        }
        if factor == u8::MAX {
            return table;
        }
        factor += 1;
    }
}

const fn nibbles() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut factor: u8 = 0;
    loop {
        let row = &mut table[factor as usize];
        let mut bit = 0;
        let mut power = factor;
        while bit < 8 {
            // All nibbles that have this bit gain its product; low nibbles first, high ones 16 further.
            let (half, bit_in_nibble) = if bit < 4 { (0, bit) } else { (16, bit - 4) };
            let mut nibble = 0;
            while nibble < 16 {
                if nibble >> bit_in_nibble & 1 == 1 {
                    row[half + nibble] ^= power;
                }
                nibble += 1;
            }
            power = double(power);
            bit += 1;
        }
        if factor == u8::MAX {
            return table;
        }
        factor += 1;
    }
}
