//! GF(2^8): bytes as polynomials over GF(2), modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11D).
//!
//! The polynomial is the usual one of Reed-Solomon storage codes; 2 generates the multiplicative group, which
//! the logarithm tables rest on (it does not under 0x11B, the one polynomial that GFNI's own multiply knows).
//! The kernels use GFNI's affine instruction, to which any polynomial is equal. It is part of the format of
//! stored pieces and can never change.
//!
//! Sum and difference are both `^`.

/// The polynomial without its x^8.
pub(super) const POLYNOMIAL: u8 = 0x1D;

/// Powers of 2, twice over so that a sum of two logarithms needs no reduction.
static EXP: [u8; 510] = powers();

/// Logarithms to base 2; the entry of 0 is never used.
static LOG: [u8; 256] = logarithms();

/// The product of two elements.
pub(super) fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

/// The quotient of two elements; `b` must not be 0.
pub(super) fn div(a: u8, b: u8) -> u8 {
    debug_assert_ne!(b, 0, "division by zero in GF(2^8)");
    if a == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + 255 - usize::from(LOG[usize::from(b)])]
}

/// The product with 2.
pub(super) const fn double(a: u8) -> u8 {
    let carry = if a & 0x80 == 0 { 0 } else { POLYNOMIAL };
    (a << 1) ^ carry
}

const fn powers() -> [u8; 510] {
    let mut table = [0; 510];
    let mut power = 1;
    let mut exponent = 0;
    while exponent < table.len() {
        table[exponent] = power;
        power = double(power);
        exponent += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let mut power = 1;
    let mut exponent = 0;
    while exponent < 255 {
        table[power as usize] = exponent;
        power = double(power);
        exponent += 1;
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The slow reference: schoolbook product of polynomials, then long division by 0x11D.
    pub(in crate::gf8) fn slow_mul(a: u8, b: u8) -> u8 {
        let mut product = 0_u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11D << (bit - 8);
            }
        }
        u8::try_from(product).unwrap()
    }

    #[test]
    fn products_equal_the_slow_reference() {
        for a in 0..=255 {
            assert_eq!(double(a), slow_mul(a, 2));
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn quotients_undo_products() {
        for a in 0..=255 {
            for b in 1..=255 {
                assert_eq!(slow_mul(div(a, b), b), a, "{a} / {b}");
            }
        }
    }
}
