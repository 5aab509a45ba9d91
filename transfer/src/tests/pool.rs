//! Buffers come back, the fitting one first, and no more than allowed are kept.

use crate::Pool;

#[test]
fn a_buffer_is_used_again_once_nobody_reads_it() {
    let pool = Pool::new(1);
    let mut buffer = pool.take(1000);
    buffer.vec().extend_from_slice(b"first");
    let place = buffer.as_ref().as_ptr();
    let bytes = buffer.freeze();
    let part = bytes.slice(1..3);
    drop(bytes);
    assert_ne!(pool.take(10).as_ref().as_ptr(), place, "a part of it is still read");
    assert_eq!(part, "ir");
    // The pool is full with the buffer of the line above: this one is not kept.
    drop(part);
    let again = pool.take(10);
    assert_ne!(again.as_ref().as_ptr(), place);
    assert!(again.as_ref().is_empty());
}

#[test]
fn the_buffer_that_fits_best_is_taken() {
    let pool = Pool::new(3);
    let [small, middle, large] = [100, 10_000, 1_000_000].map(|capacity| {
        let buffer = pool.take(capacity);
        (buffer.as_ref().as_ptr(), buffer)
    });
    let [small, middle, large] = [small, middle, large].map(|(place, buffer)| (place, drop(buffer)).0);
    assert_eq!(pool.take(5_000).as_ref().as_ptr(), middle);
    assert_eq!(pool.take(50).as_ref().as_ptr(), small);
    assert_eq!(pool.take(10_001).as_ref().as_ptr(), large);
    let mut grown = pool.take(2_000_000);
    assert!(grown.vec().capacity() >= 2_000_000, "the largest grows when none fits");
}

#[test]
fn a_dirty_buffer_has_the_length_asked_for() {
    let pool = Pool::new(1);
    for len in [10, 1000, 3, 0, 5000] {
        let mut buffer = pool.take_dirty(len);
        assert_eq!(buffer.as_ref().len(), len);
        buffer.vec().fill(9);
    }
    assert!(pool.take(0).as_ref().is_empty(), "a buffer that is not asked for dirty is empty");
}
