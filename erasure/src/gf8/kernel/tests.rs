//! The portable kernel against slow arithmetic, the others against the portable one.

use proptest::prelude::*;

use super::{super::field::tests::slow_mul, *};
use crate::tests::noise;

/// Runs a kernel over slices that start at an odd address and lie amid bytes that must not change.
fn run(kernel: Kernel, coefficients: &[u8], inputs: &[Vec<u8>], outputs: usize) -> Vec<Vec<u8>> {
    const GUARD: u8 = 0xA5;
    let len = inputs[0].len();
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|input| [&[1], input.as_slice()].concat()).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[1..]).collect();
    let mut guarded = vec![vec![GUARD; len + 2]; outputs];
    let mut slices: Vec<&mut [u8]> = guarded.iter_mut().map(|output| &mut output[1..=len]).collect();
    kernel.multiply(coefficients, &inputs, &mut slices);
    assert!(guarded.iter().all(|output| output[0] == GUARD && output[len + 1] == GUARD), "{kernel} overran");
    guarded.into_iter().map(|output| output[1..=len].to_vec()).collect()
}

fn inputs(count: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    noise(count * len, seed).chunks(len).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_kernel_knows_every_product() {
    // Column `c` of the input holds all bytes, four columns of 64 being all 256.
    let all_bytes: Vec<u8> = (0..=255).collect();
    for kernel in Kernel::available() {
        for factor in 0..=255 {
            let product = run(kernel, &[factor], std::slice::from_ref(&all_bytes), 1);
            let expected: Vec<u8> = all_bytes.iter().map(|&byte| slow_mul(factor, byte)).collect();
            assert_eq!(product[0], expected, "{kernel}, factor {factor}");
        }
    }
}

#[test]
fn portable_sums_equal_the_slow_reference() {
    let inputs = inputs(5, 192, 1);
    let coefficients = noise(5 * 3, 2);
    let outputs = run(Kernel(Isa::Portable), &coefficients, &inputs, 3);
    for (output, row) in outputs.iter().zip(coefficients.chunks(5)) {
        for (column, byte) in output.iter().enumerate() {
            let expected =
                inputs.iter().zip(row).fold(0, |sum, (input, &f)| sum ^ slow_mul(f, input[column]));
            assert_eq!(*byte, expected);
        }
    }
}

#[test]
fn every_count_of_outputs_and_inputs_works_in_every_kernel() {
    for kernel in Kernel::available() {
        for (input_count, output_count) in (1..=64).map(|n| (n.min(32), n)).chain((1..=32).map(|n| (n, 7))) {
            let inputs = inputs(input_count, 192, 3);
            let coefficients = noise(input_count * output_count, 4);
            let expected = run(Kernel(Isa::Portable), &coefficients, &inputs, output_count);
            assert_eq!(run(kernel, &coefficients, &inputs, output_count), expected, "{kernel}");
        }
    }
}

#[test]
fn no_outputs_and_no_columns_are_no_work() {
    for kernel in Kernel::available() {
        kernel.multiply(&[], &[&[7; 64]], &mut []);
        kernel.multiply(&[1], &[&[]], &mut [&mut []]);
    }
}

#[test]
fn the_best_kernel_is_the_first_and_portable_the_last() {
    assert_eq!(Some(Kernel::best()), Kernel::available().next());
    assert_eq!(Kernel::available().last().map(Kernel::as_str), Some("portable"));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn groups_are_even_and_fit() {
    let groups = |outputs: usize| outputs.div_ceil(group_len(outputs, 6));
    for outputs in 1..=64 {
        let len = group_len(outputs, 6);
        assert!(len <= 6 && groups(outputs) == outputs.div_ceil(6));
    }
    assert_eq!([0, 1, 6, 8, 10, 12, 13].map(|outputs| group_len(outputs, 6)), [1, 1, 6, 4, 5, 6, 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_kernel_equals_the_portable_one(
        input_count in 1_usize..=32, output_count in 0_usize..=24, columns in 1_usize..=40, seed: u64,
    ) {
        let inputs = inputs(input_count, columns * COLUMN, seed);
        let coefficients = noise(input_count * output_count, !seed);
        let expected = run(Kernel(Isa::Portable), &coefficients, &inputs, output_count);
        for kernel in Kernel::available() {
            prop_assert_eq!(&run(kernel, &coefficients, &inputs, output_count), &expected, "{}", kernel);
        }
    }
}
