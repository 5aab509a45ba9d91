//! TAR streams, as the conformance suite has them, and what may not be in one.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode, header};

use super::{Answer, ask, collect, fixtures::fixture, get, request, site};
use crate::{AnswerRules, respond, tests::world::patterned};

/// What an archive holds.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    File(Vec<u8>),
    Directory,
    Symlink(String),
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).unwrap()
}

/// Reads an archive as any reader of pax does.
fn unpack(answer: &Answer) -> BTreeMap<String, Held> {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/x-tar");
    assert!(answer.header("content-disposition").starts_with("attachment;"));
    assert!(answer.body.len().is_multiple_of(512));
    let (mut held, mut rest) = (BTreeMap::new(), &answer.body[..]);
    let mut pax: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let (head, after) = rest.split_at(512);
        if head.iter().all(|byte| *byte == 0) {
            assert!(after.len() == 512 && after.iter().all(|byte| *byte == 0), "two empty blocks end it");
            return held;
        }
        let sum: u32 = head
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { (*byte).into() })
            .sum();
        assert_eq!(u32::from_str_radix(&text(&head[148..155]), 8), Ok(sum));
        assert_eq!(&head[257..265], b"ustar\x0000");
        let size = usize::from_str_radix(&text(&head[124..136]), 8).unwrap();
        let (data, padded) = (&after[..size], size.next_multiple_of(512));
        rest = &after[padded..];
        if head[156] == b'x' {
            let mut records = std::str::from_utf8(data).unwrap();
            while let Some((len, _)) = records.split_once(' ') {
                let (record, more) = records.split_at(len.parse().unwrap());
                let (key, value) = record[len.len() + 1..record.len() - 1].split_once('=').unwrap();
                pax.insert(key.into(), value.into());
                records = more;
            }
            continue;
        }
        let path = pax.remove("path").unwrap_or_else(|| text(&head[..100]));
        assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
        let entry = match head[156] {
            b'0' => Held::File(data.to_vec()),
            b'5' => Held::Directory,
            b'2' => Held::Symlink(pax.remove("linkpath").unwrap_or_else(|| text(&head[157..257]))),
            other => panic!("entry of type {other}"),
        };
        assert_eq!(held.insert(path, entry), None);
    }
}

#[tokio::test]
async fn files_and_directories() {
    let fixture = fixture("path_gateway_tar/fixtures.car");
    let file = "bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm";
    let content = || Held::File(b"I am a txt file on path with utf8\n".to_vec());
    let single = get(&fixture.blocks, &format!("/ipfs/{file}?format=tar")).await;
    assert_eq!(single.header("etag"), format!("W/\"{file}.x-tar\""));
    assert_eq!(unpack(&single), [(file.to_string(), content())].into());
    let accept = [(header::ACCEPT, "application/x-tar")];
    let negotiated = ask(&fixture.blocks, Method::GET, &format!("/ipfs/{file}"), &accept).await;
    assert_eq!(negotiated.body, single.body);

    let root = &fixture.root;
    let uri = format!("/ipfs/{root}?format=tar&filename=test%D1%82%D0%B5%D1%81%D1%82.tar");
    let tree = get(&fixture.blocks, &uri).await;
    assert_eq!(
        tree.header("content-disposition"),
        "attachment; filename=\"test____.tar\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.tar"
    );
    let held = unpack(&tree);
    assert_eq!(held[&format!("{root}/ą/ę/file-źł.txt")], content());
    assert_eq!(held[root], Held::Directory);
    let below = unpack(&get(&fixture.blocks, &format!("/ipfs/{root}/%C4%85/%C4%99?format=tar")).await);
    assert_eq!(below["ę/file-źł.txt"], content(), "named as the path ends");
}

#[tokio::test]
async fn no_path_leads_out() {
    let outside = fixture("path_gateway_tar/outside-root.car");
    let refused = get(&outside.blocks, &format!("/ipfs/{}?format=tar", outside.root)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("relative UnixFS paths outside the root"), "{}", refused.text());
    let inside = fixture("path_gateway_tar/inside-root.car");
    let held = unpack(&get(&inside.blocks, &format!("/ipfs/{}?format=tar", inside.root)).await);
    assert!(held.contains_key(&format!("{}/foobar/file", inside.root)), "{held:?}");
}

#[tokio::test]
async fn no_path_leads_through_a_link_of_the_archive() {
    use content::{
        Block, Codec, HashFn,
        dagpb::{Link, Node},
        unixfs::{Data, DataType},
    };
    let node = |data: Data<'_>, links: Vec<Link<'_>>| {
        let bytes = Node { links, data: Some(&data.encode()) }.encode();
        Block::of(Codec::DagPb, HashFn::Sha2_256, bytes.into())
    };
    let link = node(Data { data: Some(b"/etc"), ..Data::new(DataType::Symlink) }, vec![]);
    let file = crate::tests::world::raw("root::0:0:::\n");
    let entry = |name, block: &Block| Link { cid: block.cid.clone(), name: Some(name), tsize: None };
    let root = node(Data::new(DataType::Directory), vec![entry("a", &link), entry("a/passwd", &file)]);
    let world = crate::tests::world::World::new();
    world.store(&[link, file, root.clone()]);
    let request = request(Method::GET, &format!("/ipfs/{}?format=tar", root.cid), &[]);
    let response = respond(&world.blocks(), &AnswerRules::default(), &request).await;
    assert!(!response.status().is_success() || collect(response).await.is_err());
}

#[tokio::test]
async fn long_names_links_and_shards() {
    let bytes = patterned(3, 5_000);
    let long = "long ".repeat(50);
    let names: Vec<String> = (0..300).map(|at| format!("shards/file number {at}")).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    files.extend([(&*long, &bytes[..]), ("empty", b"")]);
    let site = site::site(&files);
    let held = unpack(&get(&site.blocks, &format!("/ipfs/{}?format=tar", site.root)).await);
    let at = |path: &str| &held[&format!("{}/{path}", site.root)];
    assert_eq!(at(&long), &Held::File(bytes.clone()));
    assert_eq!(at("empty"), &Held::File(vec![]));
    assert_eq!(at("link"), &Held::Symlink("hello.txt".into()));
    for name in &names {
        assert_eq!(at(name), &Held::File(name.as_bytes().to_vec()));
    }
    assert_eq!(held.len(), 300 + 2 + 3, "files, and the root, its folder and its link");
}

#[tokio::test]
async fn a_missing_file_breaks_the_archive_off() {
    let bytes = patterned(4, 5_000);
    let site = site::site(&[("a", &bytes), ("b", b"small")]);
    let small = crate::tests::world::raw("small").cid;
    let broken = site.only(|block| block.cid != small);
    let request = request(Method::GET, &format!("/ipfs/{}?format=tar", site.root), &[]);
    let response = respond(&broken.blocks, &AnswerRules::default(), &request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(collect(response).await.is_err(), "an archive that breaks off must not look whole");
    let head = ask(&site.blocks, Method::HEAD, &format!("/ipfs/{}?format=tar", site.root), &[]).await;
    assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, "application/x-tar"));
}
