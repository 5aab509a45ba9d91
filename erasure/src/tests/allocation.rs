//! Coders that have done one row do the next without asking for memory.
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use super::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is being taken down has no counter any more, and none is needed.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: our caller's promise is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: our caller's promise is the one asked for, and `memory` came from there.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn rows_after_the_first_allocate_nothing() {
    for codec in Codec::ALL {
        let scheme = scheme(codec, 8, 20);
        let pieces = Encoder::new(scheme).encode(&noise(8 * 4096, 7)).unwrap();
        let data: Vec<&[u8]> = pieces[..8].iter().map(Vec::as_slice).collect();
        let present: Vec<(u8, &[u8])> = pick(&pieces, &[1, 2, 3, 4, 5, 8, 9, 19], &(0..4096));
        let mut outputs = vec![vec![0; 4096]; 12];
        let mut recovery: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut encoder = Encoder::new(scheme);
        encoder.encode_row(&data, &mut recovery).unwrap();
        assert_eq!(allocations(|| encoder.encode_row(&data, &mut recovery).unwrap()), 0, "{codec} encoding");

        let mut rebuilt = vec![vec![0; 4096]; 4];
        let mut wanted: Vec<(u8, &mut [u8])> =
            [0, 6, 7, 15].into_iter().zip(rebuilt.iter_mut().map(Vec::as_mut_slice)).collect();
        let mut decoder = Decoder::new(scheme);
        decoder.rebuild(&present, &mut wanted).unwrap();
        assert_eq!(allocations(|| decoder.rebuild(&present, &mut wanted).unwrap()), 0, "{codec} rebuilding");
        // Another loss asks for another matrix, which goes into the same memory.
        wanted.swap(0, 3);
        assert_eq!(
            allocations(|| decoder.rebuild(&present, &mut wanted).unwrap()),
            0,
            "{codec} another loss"
        );
    }
}
