//! What takes too long, is too large, or never ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use content::{BLOCK_MAX, Block, Cid, car::header};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;

use super::{
    config,
    dags::{bytes_of, car_of, cids, directory, file, in_order, node, raw, section},
    fetch, fetcher,
    memory::{Full, Memory},
    server::{Server, by_cid, endless, serve, stalled},
};
use crate::{FetchConfig, FetchError, Sink, Stage};

const SHORT: Duration = Duration::from_millis(100);

/// Where the time of a source that lets one wait ends is said.
#[tokio::test]
async fn a_source_that_stalls_is_left() {
    let block = raw("a");
    let silent = Server::start(async |_| std::future::pending().await).await;
    let halfway = Server::start(async |_| stalled(Bytes::from_static(b"on")).into_response()).await;
    let trickling = Server::start(async |_| {
        let drops = stream::repeat(Bytes::from_static(b".")).then(async |drop| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, std::io::Error>(drop)
        });
        Body::from_stream(drops).into_response()
    })
    .await;
    for (server, stage) in [(&silent, Stage::FirstByte), (&halfway, Stage::Idle), (&trickling, Stage::Block)]
    {
        let mut config = FetchConfig { passes_max: 2, ..config(&[server]) };
        match stage {
            Stage::FirstByte => config.first_byte_timeout = SHORT,
            Stage::Idle => config.idle_timeout = SHORT,
            _ => config.block_timeout = SHORT,
        }
        let (outcome, _) = fetch(config.clone(), &block.cid, &[server]).await;
        let failure = outcome.unwrap_err();
        assert!(matches!(failure, FetchError::Timeout { stage: said, .. } if said == stage), "{failure:?}");
        assert!(failure.to_string().ends_with("0.1s"), "{failure}");
        assert_eq!(server.asked().len(), 2);

        // Another one helps out.
        let whole = Server::whole(std::slice::from_ref(&block)).await;
        config.ports.push(whole.port);
        let (outcome, memory) = fetch(config, &block.cid, &[server, &whole]).await;
        assert_eq!((outcome.unwrap().blocks, memory.put.len()), (1, 1));
    }
}

#[tokio::test]
async fn the_deadline_ends_everything() {
    let (blocks, root) = directory(5);
    let all = by_cid(&blocks);
    let server = Server::start(move |asked| {
        let all = Arc::clone(&all);
        async move {
            if asked.cid.codec() == content::Codec::Raw {
                return std::future::pending().await;
            }
            let refusal = axum::http::StatusCode::NOT_ACCEPTABLE.into_response();
            if asked.is_car { refusal } else { serve(&all, &asked) }
        }
    })
    .await;
    let deadline = Duration::from_millis(500);
    let (outcome, memory) = fetch(FetchConfig { deadline, ..config(&[&server]) }, &root, &[&server]).await;
    let failure = outcome.unwrap_err();
    let FetchError::Deadline { after, blocks } = failure else { panic!("{failure:?}") };
    assert_eq!((after, blocks as usize), (deadline, memory.put.len()));
    assert_eq!(failure.to_string(), format!("not complete within 0.5s: {blocks} blocks came"));
}

#[tokio::test]
async fn a_block_without_end_is_left() {
    let zeros = Bytes::from(vec![0; 64 << 10]);
    let server =
        Server::start(move |_| std::future::ready(endless(Bytes::new(), zeros.clone()).into_response()))
            .await;
    let (outcome, _) = fetch(config(&[&server]), &raw("a").cid, &[&server]).await;
    let failure = outcome.unwrap_err();
    assert!(failure.to_string().ends_with(": 127.0.0.1 gave wrong bytes"), "{failure}");

    // One byte more than a block may have is too much, even if it has that hash.
    let bytes = Bytes::from(vec![1; BLOCK_MAX + 1]);
    let large = Block { cid: Cid::of(content::Codec::Raw, content::HashFn::Sha2_256, &bytes), bytes };
    let server = Server::whole(std::slice::from_ref(&large)).await;
    assert!(fetch(config(&[&server]), &large.cid, &[&server]).await.0.is_err());
}

/// CARs that never end, each in its way: they are broken off, and the rest comes block by block.
#[tokio::test]
async fn a_car_without_end_is_left() {
    let file = file(20);
    let (order, _) = in_order(&by_cid(&file.blocks), &file.root);
    let begin = car_of(&file.root, &order[..5]);
    // A header of version 2 whose data begins far away.
    let numbers = [u64::MAX >> 8, 1, 0].map(u64::to_le_bytes).concat();
    let far = [&b"\x0a\xa1\x67version\x02"[..], &[0; 16], &numbers].concat();
    let identity = Block::from_identity(Cid::identity(content::Codec::Raw, b"").unwrap()).unwrap();
    // Bytes that bring nothing new are counted, and where there are no blocks at all the time is.
    let by_bytes =
        FetchConfig { repeats_bytes_max: 100_000, block_timeout: Duration::from_hours(1), ..config(&[]) };
    let by_time = FetchConfig { block_timeout: Duration::from_millis(500), ..config(&[]) };
    for (limits, begin, again) in [
        (&by_bytes, begin.clone(), Bytes::from(section(&order[2]))),
        (&by_bytes, begin.clone(), Bytes::from(section(&identity))),
        (&by_bytes, begin, Bytes::from(vec![0])),
        (&by_bytes, Bytes::from(header(&[])), Bytes::from(section(&raw("nobody asked for this")))),
        (&by_time, Bytes::from(far), Bytes::from(vec![0; 4096])),
    ] {
        let all = by_cid(&file.blocks);
        let server = Server::start(move |asked| {
            let car = endless(begin.clone(), again.clone()).into_response();
            std::future::ready(if asked.is_car { car } else { serve(&all, &asked) })
        })
        .await;
        let limits = FetchConfig { ports: vec![server.port], ..limits.clone() };
        let (outcome, memory) = fetch(limits, &file.root, &[&server]).await;
        assert_eq!(outcome.unwrap().bytes, bytes_of(&file.blocks));
        assert_eq!(memory.cids(), cids(&file.blocks));
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_in_the_middle() {
    let (blocks, root) = directory(9);
    for server in [Server::whole(&blocks).await, Server::without_cars(&blocks).await] {
        let count = u32::try_from(cids(&blocks).len()).unwrap();
        let bytes = bytes_of(&blocks);
        let fits = FetchConfig { bytes_max: bytes, blocks_max: count, ..config(&[&server]) };
        fetch(fits.clone(), &root, &[&server]).await.0.unwrap();

        let few_bytes = FetchConfig { bytes_max: bytes - 1, ..fits.clone() };
        let (outcome, memory) = fetch(few_bytes, &root, &[&server]).await;
        assert!(matches!(outcome, Err(FetchError::TooLarge(max)) if max == bytes - 1), "{outcome:?}");
        assert!(bytes_of(&memory.put) < bytes);

        let few_blocks = FetchConfig { blocks_max: count - 1, ..fits.clone() };
        let (outcome, _) = fetch(few_blocks, &root, &[&server]).await;
        assert!(matches!(outcome, Err(FetchError::TooManyBlocks(max)) if max == count - 1), "{outcome:?}");

        let (outcome, _) = fetch(FetchConfig { links_max: 5, ..fits }, &root, &[&server]).await;
        assert!(matches!(outcome, Err(FetchError::TooManyLinks(5))), "{outcome:?}");
    }
}

/// What is named and cannot fit is not waited for.
#[tokio::test]
async fn a_wide_node_is_refused_before_its_links_are_fetched() {
    let links: Vec<Cid> = (0..1000_u32).map(|i| raw(i.to_le_bytes()).cid).collect();
    let root = node(&links);
    let server = Server::whole(std::slice::from_ref(&root)).await;
    let (outcome, _) =
        fetch(FetchConfig { blocks_max: 1000, ..config(&[&server]) }, &root.cid, &[&server]).await;
    assert!(matches!(outcome, Err(FetchError::TooManyBlocks(1000))), "{outcome:?}");
    assert_eq!(server.asked().len(), 1);
}

/// Two links to the same in each of sixty nodes: two to the sixtieth paths, sixty-one blocks.
#[tokio::test]
async fn a_bomb_is_only_as_large_as_its_blocks() {
    let mut blocks = vec![raw("boom")];
    for _ in 0..60 {
        let below = blocks[blocks.len() - 1].cid.clone();
        blocks.push(node(&[below.clone(), below]));
    }
    let root = blocks[60].cid.clone();
    for server in [Server::whole(&blocks).await, Server::without_cars(&blocks).await] {
        let (outcome, memory) = fetch(config(&[&server]), &root, &[&server]).await;
        assert_eq!((outcome.unwrap().blocks, memory.cids()), (61, cids(&blocks)));
    }
}

#[tokio::test]
async fn depth_costs_no_stack() {
    let mut blocks = vec![raw("the bottom")];
    for _ in 0..20_000 {
        blocks.push(node(std::slice::from_ref(&blocks[blocks.len() - 1].cid)));
    }
    let root = blocks[20_000].cid.clone();
    let server = Server::whole(&blocks).await;
    let (outcome, _) = fetch(config(&[&server]), &root, &[&server]).await;
    assert_eq!(outcome.unwrap().blocks, 20_001);
}

#[tokio::test]
async fn no_more_is_asked_for_at_once_than_allowed() {
    let file = file(40);
    let all = by_cid(&file.blocks);
    // Each waits for the next one, so that there are as many as are let in.
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let leaves = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |asked| {
        let (all, barrier, leaves) = (Arc::clone(&all), Arc::clone(&barrier), Arc::clone(&leaves));
        async move {
            if asked.is_car {
                return axum::http::StatusCode::NOT_ACCEPTABLE.into_response();
            }
            // Of forty leaves thirteen times three meet.
            if asked.cid.codec() == content::Codec::Raw && leaves.fetch_add(1, Ordering::SeqCst) < 39 {
                barrier.wait().await;
            }
            serve(&all, &asked)
        }
    })
    .await;
    let (outcome, _) = fetch(FetchConfig { at_once: 3, ..config(&[&server]) }, &file.root, &[&server]).await;
    assert_eq!(outcome.unwrap().bytes, bytes_of(&file.blocks));
    assert_eq!(server.most_at_once(), 3);
}

/// A sink that stands still in one of its calls until more was sent than connections hold, or it is clear that it is not.
struct Slow {
    memory: Memory,
    sent: watch::Receiver<usize>,
    ahead: usize,
}

impl Sink for Slow {
    type Error = Full;

    async fn holds(&mut self, cids: &[Cid]) -> Result<Vec<Option<u32>>, Full> {
        self.memory.holds(cids).await
    }

    async fn read(&mut self, cid: &Cid) -> Result<Option<Bytes>, Full> {
        self.memory.read(cid).await
    }

    async fn put(&mut self, block: Block) -> Result<(), Full> {
        if self.memory.put.len() == 5 {
            let too_much = self.sent.wait_for(|sent| *sent >= 60);
            let _ = tokio::time::timeout(Duration::from_millis(500), too_much).await;
            self.ahead = *self.sent.borrow() - self.memory.put.len();
        }
        self.memory.put(block).await
    }
}

#[tokio::test]
async fn a_slow_sink_slows_the_source() {
    let leaves: Vec<_> = (0..64).map(|i| raw(vec![i; 1 << 20])).collect();
    let links: Vec<_> = leaves.iter().map(|leaf| leaf.cid.clone()).collect();
    let blocks = [vec![node(&links)], leaves].concat();
    let root = blocks[0].cid.clone();
    let (counter, sent) = watch::channel(0);
    let sections = blocks.clone();
    let server = Server::of_car(&blocks, move || {
        let counter = counter.clone();
        let begin = header(std::slice::from_ref(&sections[0].cid));
        let rest = sections.clone().into_iter().map(move |block| {
            counter.send_modify(|sent| *sent += 1);
            section(&block)
        });
        Body::from_stream(stream::iter(
            std::iter::once(begin).chain(rest).map(|part| Ok::<_, std::io::Error>(Bytes::from(part))),
        ))
    })
    .await;
    let mut slow = Slow { memory: Memory::default(), sent, ahead: 0 };
    fetcher(config(&[&server])).fetch(&root, &[server.url()], &mut slow).await.unwrap();
    assert_eq!(slow.memory.cids(), cids(&blocks));
    assert!(slow.ahead < 40, "{} MiB were taken in while nothing was stored", slow.ahead);
}
