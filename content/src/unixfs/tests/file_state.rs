//! Builders that are kept as bytes: the file is the same, and bytes from nowhere are refused.

use proptest::prelude::*;

use crate::block::Block;
use crate::cid::HashFn;
use crate::unixfs::file::{FileBuilder, Finished, Part, StateError, leaf};
use crate::unixfs::profile::{CidVersion, Layout, Leaves, Parameters, Profile};

fn profile(layout: Layout, cid_version: CidVersion, links_max: usize) -> Profile {
    let leaves = if cid_version == CidVersion::V0 { Leaves::DagPb } else { Leaves::Raw };
    let parameters = Parameters { cid_version, leaves, layout, links_max, ..Profile::default().parameters() };
    Profile::new(parameters).unwrap()
}

fn parts(profile: &Profile, count: usize) -> Vec<Part> {
    let part = |i: usize| leaf(profile, vec![u8::try_from(i % 251).unwrap(); 1 + i % 7].into()).1;
    (0..count).map(part).collect()
}

/// Builds a file, and keeps the builder as bytes wherever `cut` says so.
fn build(profile: Profile, parts: &[Part], cut: impl Fn(usize) -> bool) -> (Finished, Vec<Block>) {
    let mut builder = FileBuilder::new(profile);
    let mut blocks = Vec::new();
    let mut size_bytes = 0;
    for (i, part) in parts.iter().enumerate() {
        if cut(i) {
            builder = FileBuilder::from_state(profile, &builder.state()).unwrap();
            assert_eq!(builder.size_bytes(), size_bytes);
        }
        size_bytes += part.size_bytes;
        blocks.extend(builder.push_leaf(part.clone()));
    }
    if cut(parts.len()) {
        builder = FileBuilder::from_state(profile, &builder.state()).unwrap();
    }
    let finished = builder.finish();
    blocks.extend(finished.blocks.clone());
    (finished, blocks)
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Balanced), Just(Layout::Trickle)]
}

fn versions() -> impl Strategy<Value = CidVersion> {
    prop_oneof![Just(CidVersion::V0), Just(CidVersion::V1)]
}

proptest! {
    #[test]
    fn a_file_built_with_cuts_is_the_file_built_at_once(
        layout in layouts(),
        version in versions(),
        links in 2..6_usize,
        cuts in proptest::collection::vec(any::<bool>(), 1..200),
    ) {
        let profile = profile(layout, version, links);
        let parts = parts(&profile, cuts.len() - 1);
        prop_assert_eq!(build(profile, &parts, |i| cuts[i]), build(profile, &parts, |_| false));
    }

    #[test]
    fn arbitrary_bytes_never_panic(layout in layouts(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let profile = profile(layout, CidVersion::V1, 3);
        let bytes = [&[1, u8::from(layout == Layout::Trickle)], &bytes[..]].concat();
        if let Ok(builder) = FileBuilder::from_state(profile, &bytes) {
            prop_assert_eq!(builder.state(), bytes);
            let _ = builder.finish();
        }
    }

    #[test]
    fn damaged_states_are_refused_or_make_a_file(
        layout in layouts(),
        count in 1..60_usize,
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let profile = profile(layout, CidVersion::V1, 3);
        let mut builder = FileBuilder::new(profile);
        for part in parts(&profile, count) {
            let _ = builder.push_leaf(part);
        }
        let state = builder.state();
        for end in 0..state.len() {
            prop_assert!(FileBuilder::from_state(profile, &state[..end]).is_err());
        }
        let mut damaged = state.clone();
        damaged[at.index(state.len())] ^= flip;
        if let Ok(mut builder) = FileBuilder::from_state(profile, &damaged) {
            prop_assert_eq!(builder.state(), damaged);
            for part in parts(&profile, 9) {
                let _ = builder.push_leaf(part);
            }
            let _ = builder.finish();
        }
    }
}

#[test]
fn a_state_of_something_else_is_refused() {
    let balanced = profile(Layout::Balanced, CidVersion::V1, 3);
    let trickle = profile(Layout::Trickle, CidVersion::V1, 3);
    let state = FileBuilder::new(balanced).state();
    let restore = |profile, state: &[u8]| FileBuilder::from_state(profile, state).map(|_| ()).unwrap_err();
    assert_eq!(restore(trickle, &state), StateError::Layout(Some(0)));
    assert_eq!(restore(balanced, &[]), StateError::Version(None));
    assert_eq!(restore(balanced, &[2, 0, 0]), StateError::Version(Some(2)));
    assert_eq!(restore(balanced, &[1]), StateError::Layout(None));
    assert_eq!(restore(balanced, &[&state[..], &[0]].concat()), StateError::Length);
    // A node of three parts is complete where a node has three.
    let mut builder = FileBuilder::new(profile(Layout::Balanced, CidVersion::V1, 4));
    for part in parts(&balanced, 3) {
        assert!(builder.push_leaf(part).is_empty());
    }
    assert_eq!(restore(balanced, &builder.state()), StateError::Shape);
}

#[test]
fn a_large_file_has_a_small_state() {
    let hash =
        Profile::new(Parameters { hash_fn: HashFn::Blake3, ..Profile::default().parameters() }).unwrap();
    let mut builder = FileBuilder::new(hash);
    let part = parts(&hash, 1).remove(0);
    // As many leaves as 32 GiB have, all but one.
    for _ in 0..32 * 1024 - 1 {
        let _ = builder.push_leaf(Part { size_bytes: 1 << 20, dag_size_bytes: 1 << 20, ..part.clone() });
    }
    assert!(builder.state().len() < 64 << 10, "{}", builder.state().len());
}
