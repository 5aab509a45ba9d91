//! Speed of the decisions on hot paths: ranking a read, placing a segment, proving and checking ranges, audits.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::{
    audit::{Answers, Batch, Challenge, Reply, judge},
    ids::NodeId,
    placement::{Candidate, Net, Operator, Request, choose},
    proof::{OutboardBuilder, SliceDecoder, encode_slice, outboard},
    ranking::{Health, RankingRules, RouteNode, rank_into},
    region::{Place, Region},
    time::UnixMillis,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const REGIONS: [Region; 3] = [Region::EU, Region::NA, Region::AS];

fn node_id(number: u32) -> NodeId {
    NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn ranking(c: &mut Criterion) {
    let rules = RankingRules::default();
    for count in [7, 20, 30] {
        let node = |number: u32| {
            let mut health = Health::new();
            health.succeeded(Duration::from_millis(u64::from(number) * 3), NOW, &rules);
            let region = REGIONS[number as usize % 3];
            RouteNode {
                node: node_id(number),
                region,
                online: true,
                in_flight: number,
                capacity: 1.0,
                health,
            }
        };
        let nodes: Vec<_> = (0..count).map(node).collect();
        let (mut out, reader, mut key) = (Vec::new(), Place::of_region(Region::EU), [7_u8; 36]);
        c.bench_function(&format!("rank {count} nodes"), |b| {
            b.iter(|| {
                key[9] = key[9].wrapping_add(1);
                rank_into(black_box(&key), &reader, &nodes, NOW + Duration::from_secs(3), &rules, &mut out);
                out[0].index
            });
        });
    }
}

fn placement(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (count, operators, name) in [
        (20, 20, "apart"),
        (1000, 300, "apart"),
        (10_000, 3000, "apart"),
        (1000, 5, "five operators"),
        (10_000, 1, "one operator"),
    ] {
        let candidate = |number: u32| Candidate {
            node: node_id(number),
            net: Net::V6(u64::from(number).to_le_bytes()),
            operator: Operator(u64::from(number % operators)),
            region: REGIONS[number as usize % 3],
            free_bytes: 1 << 40,
            score: 0.5 + f64::from(number % 50) / 100.0,
        };
        let candidates: Vec<_> = (0..count).map(candidate).collect();
        let request = Request { wanted: 20, spares: 5, piece_len: 8 << 20, holders: &[] };
        c.bench_function(&format!("choose 20 and 5 spares of {count}, {name}"), |b| {
            b.iter(|| choose(black_box(&candidates), &request, &mut rng));
        });
    }
}

fn proofs(c: &mut Criterion) {
    let len = 8 << 20;
    let data: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
    let (hash, tree) = outboard(&data);
    let mut group = c.benchmark_group("piece of 8 MiB");
    group.throughput(Throughput::Bytes(len.into()));
    group.bench_function("blake3 alone", |b| b.iter(|| blake3::hash(black_box(&data))));
    group.bench_function("copy", |b| {
        let mut out = vec![0; data.len()];
        b.iter(|| out.copy_from_slice(black_box(&data)));
    });
    group.bench_function("outboard, frames of 64 KiB", |b| {
        b.iter(|| {
            let mut builder = OutboardBuilder::new();
            data.chunks(64 << 10).for_each(|frame| builder.update(frame));
            builder.finish()
        });
    });
    let range = 0..u64::from(len);
    let mut slice = Vec::new();
    encode_slice(&data[..], &tree[..], hash, len.into(), &range, &mut slice).unwrap();
    group.bench_function("encode all", |b| {
        b.iter(|| {
            slice.clear();
            encode_slice(&data[..], &tree[..], hash, len.into(), &range, &mut slice).unwrap();
        });
    });
    group.bench_function("check all, frames of 64 KiB", |b| {
        let mut out = vec![0; data.len()];
        b.iter(|| {
            let mut decoder = SliceDecoder::new(hash, len.into(), range.clone(), &mut out[..]).unwrap();
            slice.chunks(64 << 10).try_for_each(|frame| decoder.push(frame)).unwrap();
            assert!(decoder.finish().is_ok());
        });
    });
    group.finish();
}

fn audits(c: &mut Criterion) {
    let data: Vec<u8> = (0..6_u32 << 20).map(|at| (at % 251) as u8).collect();
    let (hash, tree) = outboard(&data);
    let challenge = Challenge { hash, piece_len: data.len() as u64 };
    let batch = Batch { nonce: [3; 32], challenges: vec![challenge; 100] };
    let answer = || {
        let mut answers = Answers::new(100).unwrap();
        for challenge in &batch.challenges {
            answers.answer(&batch.nonce, challenge, &data[..], &tree[..]).unwrap();
        }
        answers.into_body()
    };
    let body = answer();
    let mut group = c.benchmark_group("audit");
    group.throughput(Throughput::Elements(100));
    group.bench_function("answer 100 challenges", |b| b.iter(answer));
    group.bench_function("judge 100 answers", |b| b.iter(|| judge(&batch, Reply::Body(black_box(&body)))));
    group.finish();
}

criterion_group! {
    name = decisions;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = ranking, placement, proofs, audits
}
criterion_main!(decisions);
