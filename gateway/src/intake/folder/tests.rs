//! Any paths: the directory is what a slow reader makes of them, or they are refused. Nothing ever has a name that leads
//! out of it.

use std::collections::{BTreeMap, HashMap};

use content::{
    Block, Cid, Codec,
    unixfs::{
        Target,
        walk::{Kind, kind, list},
    },
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    File,
    Directory,
    Link,
}

/// Everything in a directory by the names that lead to it.
type Tree = BTreeMap<Vec<String>, What>;

fn entry(what: What) -> Entry {
    match what {
        // The content is in the CID, so that no block needs to hold it.
        What::File => Entry::File(Root {
            target: Target { cid: Cid::identity(Codec::Raw, b"file").unwrap(), dag_size_bytes: 4 },
            size_bytes: 4,
        }),
        What::Directory => Entry::Directory,
        What::Link => Entry::Link("../elsewhere".into()),
    }
}

/// The name that the upload gets, and what is in it; `None` where it is refused.
fn slow(sent: &[(String, What)], unwrap: bool) -> Option<(Option<String>, Tree)> {
    let mut sent: Vec<(Vec<&str>, What)> =
        sent.iter().map(|(path, what)| (path.split('/').collect(), *what)).collect();
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..") && name.len() <= 1024 && !name.contains('\0') && !name.contains('/')
    };
    let top = sent[0].0[0];
    let is_below =
        |(names, what): &(Vec<&str>, What)| names[0] == top && (names.len() > 1 || *what == What::Directory);
    let name = (unwrap && is_name(top) && sent.iter().all(is_below)).then(|| top.to_string());
    if name.is_some() {
        sent.retain(|(names, _)| names.len() > 1);
        for (names, _) in &mut sent {
            names.remove(0);
        }
    }
    let mut tree = Tree::new();
    for (names, what) in sent {
        if names.len() > 128 || !names.iter().all(|name| is_name(name)) {
            return None;
        }
        let names: Vec<String> = names.into_iter().map(str::to_string).collect();
        let (above, own) = (1..names.len(), names.len());
        for depth in above {
            if *tree.entry(names[..depth].to_vec()).or_insert(What::Directory) != What::Directory {
                return None;
            }
        }
        let before = tree.insert(names[..own].to_vec(), what);
        if before.is_some_and(|before| (before, what) != (What::Directory, What::Directory)) {
            return None;
        }
    }
    Some((name, tree))
}

/// Reads the blocks of a directory.
fn read(blocks: &HashMap<Cid, Block>, root: &Cid, above: &[String], tree: &mut Tree) {
    for entry in list(&blocks[root]).unwrap().entries {
        assert_eq!(check_name(entry.name), Ok(()), "a name that leads elsewhere");
        let names = [above, &[entry.name.to_string()]].concat();
        let cid = &entry.target.cid;
        let what = match blocks.get(cid).map(|block| kind(block).unwrap()) {
            None => What::File,
            Some(Kind::Symlink("../elsewhere")) => What::Link,
            Some(Kind::Directory) => {
                read(blocks, cid, &names, tree);
                What::Directory
            }
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!(tree.insert(names, what), None, "a name twice");
    }
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "(a|b|é|\"|\\\\|\\.\\.|\\.|a b)(/(a|b|c|\\.\\.)){0,3}",
        4 => "[ab./]{0,7}",
        1 => any::<String>(),
        1 => (126_usize..131).prop_map(|depth| vec!["d"; depth].join("/")),
        1 => (1_022_usize..1_027).prop_map(|length| "n".repeat(length)),
    ]
}

proptest! {
    #[test]
    fn any_paths_are_the_tree_that_they_name_or_are_refused(
        sent in vec((path(), select(vec![What::File, What::File, What::Directory, What::Link])), 1..7),
        unwrap: bool,
    ) {
        let mut folder = Folder::default();
        for (path, what) in &sent {
            folder.add(path.clone(), entry(*what));
        }
        let name = if unwrap { folder.unwrap() } else { None };
        let made = folder.build(Profile::UNIXFS_V1_2025).ok().map(|finished| {
            let blocks: HashMap<Cid, Block> =
                finished.blocks.into_iter().map(|block| (block.cid.clone(), block)).collect();
            let mut tree = Tree::new();
            read(&blocks, &finished.root.cid, &[], &mut tree);
            (name, tree)
        });
        prop_assert_eq!(made, slow(&sent, unwrap));
    }
}
