//! How fast rows are coded and rebuilt on one thread, beside a plain copy of the same bytes.
//!
//! Throughput is in bytes of the segment (GB = 10^9), whatever the number of pieces made or rebuilt. A
//! segment of 16 MiB is gone through row by row, so that inputs come from beyond the second-level cache as
//! they do when a segment has just arrived; outputs go to one row's memory that is used again, as a streaming
//! caller does.

use std::{hint::black_box, time::Duration};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use erasure::{Codec, Decoder, Encoder, Kernel, Scheme, UNIT};

const SEGMENT_LEN: usize = 16 << 20;
const SHAPES: [(u8, u8); 3] = [(8, 20), (10, 20), (8, 16)];

/// Pieces of a segment without pattern.
fn coded(scheme: Scheme) -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let segment: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(SEGMENT_LEN)
    .collect();
    Encoder::new(scheme).encode(&segment).expect("a segment within the limits")
}

/// The rows of some pieces, each as one slice per piece.
fn rows(pieces: &[Vec<u8>]) -> Vec<Vec<&[u8]>> {
    (0..pieces[0].len())
        .step_by(UNIT)
        .map(|at| pieces.iter().map(|piece| &piece[at..piece.len().min(at + UNIT)]).collect())
        .collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(SEGMENT_LEN as u64));
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

fn copy(criterion: &mut Criterion) {
    let segment = vec![7_u8; SEGMENT_LEN];
    let mut row = vec![0_u8; 8 * UNIT];
    group(criterion, "copy").bench_function("rows of 8 units", |bench| {
        bench.iter(|| {
            for source in segment.chunks_exact(8 * UNIT) {
                row.copy_from_slice(source);
                black_box(&mut row);
            }
        });
    });
}

fn encode_with(bench: &mut criterion::Bencher<'_>, mut encoder: Encoder) {
    let scheme = encoder.scheme();
    let pieces = coded(scheme);
    let rows = rows(&pieces[..usize::from(scheme.needed())]);
    let mut outputs = vec![vec![0_u8; UNIT]; usize::from(scheme.recovery())];
    bench.iter(|| {
        for row in &rows {
            let mut slices: Vec<&mut [u8]> =
                outputs.iter_mut().map(|output| &mut output[..row[0].len()]).collect();
            encoder.encode_row(row, &mut slices).expect("rows of equal units");
        }
        black_box(&mut outputs);
    });
}

fn encode(criterion: &mut Criterion) {
    let mut group = group(criterion, "encode");
    for (needed, total) in SHAPES {
        for codec in Codec::ALL {
            let scheme = Scheme::new(codec, needed, total).expect("a valid scheme");
            group.bench_function(format!("{codec} {needed} of {total}"), |bench| {
                encode_with(bench, Encoder::new(scheme));
            });
        }
    }
    let scheme = Scheme::new(Codec::Gf8, 8, 20).expect("a valid scheme");
    for kernel in Kernel::available() {
        group.bench_function(format!("gf8 8 of 20 by {kernel}"), |bench| {
            encode_with(bench, Encoder::with_kernel(scheme, kernel));
        });
    }
}

fn rebuild_with(bench: &mut criterion::Bencher<'_>, mut decoder: Decoder, missing: u8) {
    let scheme = decoder.scheme();
    let pieces = coded(scheme);
    let present: Vec<u8> = (missing..scheme.needed() + missing).collect();
    let rows = rows(&pieces);
    let mut outputs = vec![vec![0_u8; UNIT]; usize::from(missing)];
    bench.iter(|| {
        for row in &rows {
            let present: Vec<(u8, &[u8])> =
                present.iter().map(|&piece| (piece, row[usize::from(piece)])).collect();
            let mut wanted: Vec<(u8, &mut [u8])> =
                (0..).zip(outputs.iter_mut().map(|output| &mut output[..row[0].len()])).collect();
            decoder.rebuild(&present, &mut wanted).expect("rows of equal units");
        }
        black_box(&mut outputs);
    });
}

fn rebuild(criterion: &mut Criterion) {
    let mut group = group(criterion, "rebuild data pieces");
    for (needed, total) in SHAPES {
        for missing in [1, 4, 8] {
            for codec in Codec::ALL {
                let scheme = Scheme::new(codec, needed, total).expect("a valid scheme");
                group.bench_function(format!("{codec} {needed} of {total}, {missing} missing"), |bench| {
                    rebuild_with(bench, Decoder::new(scheme), missing);
                });
            }
        }
    }
    let scheme = Scheme::new(Codec::Gf8, 8, 20).expect("a valid scheme");
    for kernel in Kernel::available() {
        group.bench_function(format!("gf8 8 of 20, 8 missing, by {kernel}"), |bench| {
            rebuild_with(bench, Decoder::with_kernel(scheme, kernel), 8);
        });
    }
}

criterion_group!(benches, copy, encode, rebuild);
criterion_main!(benches);
