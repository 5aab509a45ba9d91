//! Trees of directories from paths.

use proptest::prelude::*;

use crate::cid::{Cid, Codec, HashFn};
use crate::tests::store::{Found, Store};
use crate::unixfs::Target;
use crate::unixfs::directory::NameError;
use crate::unixfs::profile::{Parameters, Profile};
use crate::unixfs::tree::{DEPTH_MAX, TreeBuilder, TreeError};

/// A file whose content is in its CID, so that no store needs to hold it.
fn file(content: &str) -> Target {
    let cid = Cid::identity(Codec::Raw, content.as_bytes()).unwrap();
    Target { cid, dag_size_bytes: content.len() as u64 }
}

#[test]
fn everything_added_is_there() {
    let mut tree = TreeBuilder::new(Profile::default());
    tree.add("a/b/c.txt", file("c")).unwrap();
    tree.add("a/d.txt", file("d")).unwrap();
    tree.add("top", file("t")).unwrap();
    tree.add_directory("a/b").unwrap();
    tree.add_directory("empty/inside").unwrap();
    tree.add_symlink("a/link", "../top").unwrap();
    let done = tree.finish().unwrap();
    assert_eq!(done.blocks.last().unwrap().cid, done.root.cid);
    let found = Store::new(done.blocks).tree(&done.root.cid);
    let expected = [
        ("", Found::Directory),
        ("/a", Found::Directory),
        ("/a/b", Found::Directory),
        ("/a/b/c.txt", Found::File(b"c".to_vec())),
        ("/a/d.txt", Found::File(b"d".to_vec())),
        ("/a/link", Found::Symlink("../top".into())),
        ("/empty", Found::Directory),
        ("/empty/inside", Found::Directory),
        ("/top", Found::File(b"t".to_vec())),
    ];
    assert!(found.into_iter().eq(expected.map(|(path, found)| (path.to_owned(), found))));
}

#[test]
fn nothing_is_replaced() {
    let mut tree = TreeBuilder::new(Profile::default());
    tree.add("a/file", file("1")).unwrap();
    let duplicate = |path: &str| Err(TreeError::Duplicate(path.to_owned()));
    assert_eq!(tree.add("a/file", file("1")), duplicate("a/file"));
    assert_eq!(tree.add("a", file("1")), duplicate("a"));
    assert_eq!(tree.add("a/file/below", file("1")), duplicate("a/file/below"));
    assert_eq!(tree.add_directory("a/file"), duplicate("a/file"));
    assert_eq!(tree.add_symlink("a/file", "x"), duplicate("a/file"));
    let same = |tree: TreeBuilder| tree.finish().unwrap().root;
    let mut other = TreeBuilder::new(Profile::default());
    other.add("a/file", file("1")).unwrap();
    assert_eq!(same(tree), same(other), "what failed left no trace");
}

#[test]
fn paths_stay_inside() {
    let mut tree = TreeBuilder::new(Profile::default());
    for path in ["", "/", "/a", "a/", "a//b", ".", "a/./b", "..", "a/../b", "a/\0"] {
        assert!(matches!(tree.add(path, file("")), Err(TreeError::Name { .. })), "{path:?}");
    }
    let error = tree.add("a//b", file("")).unwrap_err();
    assert_eq!(error, TreeError::Name { path: "a//b".into(), source: NameError::Empty });
    tree.add(&vec!["d"; DEPTH_MAX].join("/"), file("")).unwrap();
    let deep = vec!["d"; DEPTH_MAX + 1].join("/");
    assert_eq!(tree.add(&deep, file("")), Err(TreeError::TooDeep(DEPTH_MAX + 1)));
    assert!(tree.add_symlink("long", &"x".repeat(5000)).is_err());
    tree.finish().unwrap();
}

proptest! {
    #[test]
    fn order_does_not_matter(paths in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,3}", 1..30)) {
        let parameters = Parameters { hash_fn: HashFn::Blake3, ..Profile::default().parameters() };
        let blake3 = Profile::new(parameters).unwrap();
        let mut forward = TreeBuilder::new(blake3);
        let accepted: Vec<_> = paths.iter().filter(|path| forward.add(path, file(path)).is_ok()).collect();
        let mut backward = TreeBuilder::new(blake3);
        for path in accepted.iter().rev() {
            backward.add(path, file(path)).unwrap();
        }
        let done = forward.finish().unwrap();
        prop_assert_eq!(&backward.finish().unwrap().root, &done.root);
        let found = Store::new(done.blocks).tree(&done.root.cid);
        for path in accepted {
            prop_assert_eq!(&found[&format!("/{path}")], &Found::File(path.as_bytes().to_vec()));
        }
    }
}
