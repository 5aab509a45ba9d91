//! Files that come in pieces are the files that come at once.

use axum::http::StatusCode;
use store::SegmentState;

use super::{Client, MIB, broken, cid_of, location, offset_of};
use crate::tests::world::{World, patterned};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_one_piece() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(1, 3 * MIB + 5);
    let uri = client.upload(&[("upload-metadata", "filename cGhvdG8ucG5n")], &bytes).await;
    let cid = cid_of(&bytes);
    assert_eq!(client.cid(&uri).await, cid);
    world.assert_reads(&cid, &bytes).await;
    let file = world.get(&format!("/v1/files/{cid}")).await.json();
    assert_eq!(
        (file["name"].as_str(), file["size_bytes"].as_u64()),
        (Some("photo.png"), Some(3 * 1_048_576 + 5))
    );
    assert_eq!(world.used_bytes().await, bytes.len() as u64);
    // As any other way in makes it.
    assert!(world.upload("", bytes).await.status.is_success());
    assert_eq!(world.get("/v1/files").await.json()["files"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_any_length_at_two_gateways_are_one_file() {
    let world = World::with(20, |config| config.uploads.segment_bytes = 2 * MIB).await;
    let other = Client { router: crate::router(&world.another_gateway().await), key: world.key.clone() };
    let client = Client::new(&world);
    let bytes = patterned(2, 9 * MIB + 77);
    let uri = client.begin_of(bytes.len()).await;
    let lengths = [1, 99, MIB - 100, MIB, 1, 3 * MIB, 700_000, MIB + 1, 2 * MIB - 1];
    let mut offset = 0;
    for (round, len) in lengths.into_iter().cycle().enumerate() {
        let end = (offset + len).min(bytes.len());
        let at = if round % 2 == 0 { &client } else { &other };
        offset = at.write(&uri, offset, &bytes[offset..end]).await;
        assert_eq!(client.offset(&uri).await, offset);
        if offset == bytes.len() {
            break;
        }
        assert_eq!(
            world.read(&cid_of(&bytes[..MIB])).await.status,
            StatusCode::NOT_FOUND,
            "not before it is whole"
        );
        assert_eq!(world.segments().await[1], 0, "nothing is live before");
    }
    let cid = cid_of(&bytes);
    assert_eq!(other.cid(&uri).await, cid);
    world.assert_reads(&cid, &bytes).await;
    let ids = world.db.root_segments(&cid.parse().unwrap()).await.unwrap();
    let all = world.db.segments_after(None, 100).await.unwrap();
    let live = all.iter().filter(|(id, state)| *state == SegmentState::Live && ids.contains(id)).count();
    assert_eq!((live, all.len()), (ids.len(), ids.len()), "every segment is kept by the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_begins_with_its_first_bytes() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(3, 2_000_000);
    let bytes_type = ("content-type", "application/offset+octet-stream");
    let all = [("upload-length", "2000000"), bytes_type];
    let answer = client.send(axum::http::Method::POST, "/tus/", &all, bytes.clone()).await;
    assert_eq!(offset_of(&answer), 2_000_000);
    assert_eq!(answer.headers["upload-cid"], cid_of(&bytes).as_str());
    assert_eq!(client.cid(&location(&answer)).await, cid_of(&bytes));

    let answer = client.send(axum::http::Method::POST, "/tus", &all, bytes[..1_500_000].to_vec()).await;
    let uri = location(&answer);
    assert_eq!((offset_of(&answer), answer.headers.contains_key("upload-cid")), (1_500_000, false));
    assert_eq!(client.offset(&uri).await, 1_500_000);
    client.write(&uri, 1_500_000, &bytes[1_500_000..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_bytes() {
    let world = World::new().await;
    let client = Client::new(&world);
    let answer = client.post(&[("upload-length", "0")]).await;
    assert_eq!(answer.headers["upload-cid"], cid_of(b"").as_str());
    assert_eq!(client.offset(&location(&answer)).await, 0);
    world.assert_reads(&cid_of(b""), b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_said_later() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(4, 2 * MIB + 9);
    let uri = client.begin(&[("upload-defer-length", "1")]).await;
    let head = client.head(&uri).await;
    assert_eq!(
        (head.headers["upload-defer-length"].as_bytes(), head.headers.get("upload-length")),
        (&b"1"[..], None)
    );
    let offset = client.write(&uri, 0, &bytes[..MIB]).await;
    let length = bytes.len().to_string();
    let short = client.patch_with(&uri, offset, &[("upload-length", "9")], "x").await;
    assert_eq!(short.error(), (400, "bad_length".into()));
    let last = client.patch_with(&uri, offset, &[("upload-length", &length)], bytes[MIB..].to_vec()).await;
    assert_eq!(last.headers["upload-cid"], cid_of(&bytes).as_str());

    // Said with a piece in the middle, and without any bytes at the end.
    let uri = client.begin(&[("upload-defer-length", "1")]).await;
    client.patch_with(&uri, 0, &[("upload-length", &length)], bytes[..9].to_vec()).await;
    assert_eq!(client.head(&uri).await.headers["upload-length"], length.as_str());
    let other = client.patch_with(&uri, 9, &[("upload-length", "10")], "x").await;
    assert_eq!(other.error(), (400, "bad_length".into()));
    let uri = client.begin(&[("upload-defer-length", "1")]).await;
    let offset = client.write(&uri, 0, &bytes).await;
    let last = client.patch_with(&uri, offset, &[("upload-length", &length)], "").await;
    assert_eq!(last.headers["upload-cid"], cid_of(&bytes).as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_connection_broke_is_kept() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(5, 4 * MIB);
    let uri = client.begin_of(bytes.len()).await;
    let cut = client.patch(&uri, 0, broken(&bytes[..2_500_000])).await;
    assert_eq!(cut.error(), (400, "body_incomplete".into()));
    assert_eq!(client.offset(&uri).await, 2_500_000);
    let cut = client.patch(&uri, 2_500_000, broken(&[])).await;
    assert_eq!(cut.error(), (400, "body_incomplete".into()));
    assert_eq!(client.offset(&uri).await, 2_500_000);
    client.write(&uri, 2_500_000, &bytes[2_500_000..]).await;
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
    // When everything had come the connection does not matter.
    let uri = client.begin_of(bytes.len()).await;
    assert_eq!(client.patch(&uri, 0, broken(&bytes)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.cid(&uri).await, cid_of(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_stored_is_not_stored_again() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(6, 5 * MIB + 1);
    let file = world.upload("", bytes.clone()).await.file();
    let before = world.segments().await;
    let uri = client.begin_of(bytes.len()).await;
    let offset = client.write(&uri, 0, &bytes[..3 * MIB + 7]).await;
    // What it relies on is nobody's file in between.
    world.delete(&format!("/v1/files/{}", file.cid)).await;
    client.write(&uri, offset, &bytes[offset..]).await;
    assert_eq!(client.cid(&uri).await, file.cid);
    world.assert_reads(&file.cid, &bytes).await;
    assert_eq!(
        world.segments().await[1],
        before[1] + 1,
        "the second half was stored anew, when nobody had it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hashes_and_names() {
    let world = World::new().await;
    let client = Client::new(&world);
    let bytes = patterned(7, 2 * MIB);
    let uri = client.upload(&[("upload-metadata", "name eA==,hash Ymxha2Uz")], &bytes).await;
    let file = world.upload("?hash=blake3", bytes).await.file();
    assert!(file.duplicate);
    assert_eq!((client.cid(&uri).await, file.name.as_str()), (file.cid, "x"));
    let unknown = client.post(&[("upload-length", "1"), ("upload-metadata", "hash bWQ1")]).await;
    assert_eq!(unknown.error(), (400, "bad_parameter".into()));
}
