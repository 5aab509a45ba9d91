//! Buffers come back, the fitting one first, and no more than allowed are kept.

use crate::Pool;

#[test]
fn a_buffer_is_used_again_once_nobody_reads_it() {
    let pool = Pool::new(1500);
    let mut buffer = pool.take(1000);
    buffer.vec().extend_from_slice(b"first");
    let place = buffer.as_ref().as_ptr();
    let bytes = buffer.freeze();
    let part = bytes.slice(1..3);
    drop(bytes);
    let other = pool.take(900);
    assert_ne!(other.as_ref().as_ptr(), place, "a part of it is still read");
    assert_eq!(part, "ir");
    drop(part);
    let again = pool.take(900);
    assert_eq!(again.as_ref().as_ptr(), place);
    assert!(again.as_ref().is_empty());
    drop(again);
    // There is no room for both: the one that came back last stays.
    let place = other.as_ref().as_ptr();
    drop(other);
    assert_eq!(pool.idle_bytes(), 900);
    assert_eq!(pool.take(900).as_ref().as_ptr(), place);
}

#[test]
fn the_buffer_that_fits_best_is_taken_and_none_that_is_far_too_large() {
    let pool = Pool::new(2_000_000);
    let [small, middle, large] = [100, 10_000, 1_000_000].map(|capacity| {
        let buffer = pool.take(capacity);
        (buffer.as_ref().as_ptr(), buffer)
    });
    let [small, middle, large] = [small, middle, large].map(|(place, buffer)| (place, drop(buffer)).0);
    assert_eq!(pool.take(5_000).as_ref().as_ptr(), middle);
    assert_eq!(pool.take(50).as_ref().as_ptr(), small);
    assert_eq!(pool.take(600_000).as_ref().as_ptr(), large);
    let fresh = pool.take(10_001);
    assert!(fresh.as_ref().as_ptr() != large && (10_001..20_000).contains(&{ fresh }.vec().capacity()));
    assert!(pool.take(2_000_001).vec().capacity() > 2_000_000);
    assert!(pool.idle_bytes() < 2_000_000, "a buffer that is larger than the pool is not kept");
}

#[test]
fn a_dirty_buffer_has_the_length_asked_for() {
    let pool = Pool::new(20_000);
    for len in [10, 1000, 3, 0, 5000, 4000, 4999] {
        let mut buffer = pool.take_dirty(len);
        assert_eq!(buffer.as_ref().len(), len);
        buffer.vec().fill(9);
    }
    assert!(pool.take(4000).as_ref().is_empty(), "a buffer that is not asked for dirty is empty");
}
