//! Measures how fast a gateway's group commit goes: batches of small uploads that share one segment, and the look-up of
//! their blocks. Prints one line per row; compares nothing and asserts nothing.
//!
//! `cargo run --release -p store --example commit_rate -- sqlite:///tmp/rate.db [batches] [uploads per batch]`; a size of
//! 0 draws each batch's size from 1 to 128. The database must be empty.

use std::time::{Duration, Instant};

use content::{Cid, Codec, HashFn};
use erasure::{Codec as Coding, Scheme};
use protocol::{
    ids::{NodeId, PieceHash, SegmentId},
    time::UnixMillis,
};
use store::{BlockAt, Claim, Committed, Db, DbOptions, NewPiece, NewSegment, UploadMetadata};

const NODES: u8 = 20;
const ACCOUNT: &str = "account";
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("the first argument is the database's url")?;
    let batches: u64 = args.next().map_or(Ok(500), |text| text.parse())?;
    let size: u64 = args.next().map_or(Ok(64), |text| text.parse())?;

    for durable in [true, false] {
        let mut options = DbOptions::new(url.clone());
        options.durable = durable;
        let db = Db::open(&options).await?;
        db.migrate().await?;
        if db.account(ACCOUNT).await?.is_none() {
            db.create_account(ACCOUNT, "rate", u64::MAX, NOW).await?;
        }
        let salt = u64::from(durable) << 40;
        let sizes: Vec<u64> =
            (0..batches).map(|batch| if size == 0 { 1 + batch * 37 % 128 } else { size }).collect();
        let uploads: u64 = sizes.iter().sum();
        let (took, slowest) = commit_all(&db, salt, &sizes).await?;
        println!(
            "commit durable={durable}: {uploads} uploads in {batches} batches, {:.0} uploads/s, {:.2} ms a batch, \
             slowest {:.1} ms",
            rate(uploads, took),
            1e3 / rate(batches, took),
            slowest.as_secs_f64() * 1e3,
        );
        let took = find_all(&db, salt, &sizes).await?;
        println!(
            "find_blocks: {:.0} CIDs/s, {:.2} ms a batch",
            rate(uploads, took),
            1e3 / rate(batches, took)
        );
        db.close().await;
    }
    Ok(())
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Commits every batch; gives the time spent in `commit` alone and the longest one.
async fn commit_all(
    db: &Db,
    salt: u64,
    sizes: &[u64],
) -> Result<(Duration, Duration), Box<dyn std::error::Error>> {
    let (mut took, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for (batch, size) in (salt..).zip(sizes) {
        let segment = segment(batch)?;
        let uploads: Vec<UploadMetadata> = (0..*size).map(|index| upload(batch, index)).collect();
        let start = Instant::now();
        let outcomes = db.commit(&[segment], &[], &uploads, NOW, NOW).await?;
        let one = start.elapsed();
        took += one;
        slowest = slowest.max(one);
        if outcomes.iter().any(|outcome| outcome.committed != Committed::Created) {
            return Err("an upload was refused: is the database empty?".into());
        }
    }
    Ok((took, slowest))
}

async fn find_all(db: &Db, salt: u64, sizes: &[u64]) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut took = Duration::ZERO;
    for (batch, size) in (salt..).zip(sizes) {
        let cids: Vec<Cid> = (0..*size).map(|index| cid(batch, index)).collect();
        let start = Instant::now();
        let found = db.find_blocks(&cids, false).await?;
        took += start.elapsed();
        if found.len() != cids.len() {
            return Err("a block was not found".into());
        }
    }
    Ok(took)
}

fn digest(kind: &str, batch: u64, index: u64) -> [u8; 32] {
    PieceHash::of(format!("{kind} {batch} {index}").as_bytes()).0
}

fn cid(batch: u64, index: u64) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, &digest("block", batch, index))
}

fn segment_id(batch: u64) -> SegmentId {
    let mut id = [0; 16];
    id.copy_from_slice(&digest("segment", batch, 0)[..16]);
    SegmentId(id)
}

fn segment(batch: u64) -> Result<NewSegment, Box<dyn std::error::Error>> {
    let pieces = (0..NODES)
        .map(|index| NewPiece {
            hash: PieceHash(digest("piece", batch, u64::from(index))),
            node: (index < 18).then_some(NodeId([index; 32])),
        })
        .collect();
    Ok(NewSegment {
        id: segment_id(batch),
        scheme: Scheme::new(Coding::Gf8, 8, NODES)?,
        length_bytes: 1 << 20,
        pieces,
    })
}

fn upload(batch: u64, index: u64) -> UploadMetadata {
    let segment = segment_id(batch);
    let cid = cid(batch, index);
    UploadMetadata {
        pin: format!("{batch}-{index}"),
        account: ACCOUNT.to_string(),
        name: format!("file-{index}.txt"),
        root: cid.clone(),
        size_bytes: 1024,
        dag_size_bytes: 1024,
        expires: None,
        claim: Claim::Pin,
        beside: None,
        blocks: [BlockAt { cid, segment, offset_bytes: index * 1100, length_bytes: 1024 }].into(),
        recorded: None,
        segments: vec![segment],
    }
}
