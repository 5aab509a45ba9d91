use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::time::UnixMillis;

const NONCE: [u8; 32] = [9; 32];

fn piece(number: u8, len: usize) -> (Challenge, Vec<u8>, Vec<u8>) {
    let data: Vec<u8> = (0..len).map(|at| u8::try_from(at / 7 % 251).unwrap() ^ number).collect();
    let (hash, outboard) = proof::outboard(&data);
    (Challenge { hash, piece_len: len as u64 }, data, outboard)
}

fn answered(batch: &Batch, body: &[u8]) -> Vec<Verdict> {
    match judge(batch, Reply::Body(body)) {
        Outcome::Answered(verdicts) => verdicts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_chunk_follows_from_nonce_and_piece() {
    let (challenge, ..) = piece(1, 100 * 1024 + 1);
    let mut starts = BTreeSet::new();
    for n in 0..=255 {
        let range = challenge.range(&[n; 32]);
        assert_eq!(range, challenge.range(&[n; 32]));
        assert_eq!(range.start % 1024, 0);
        assert_eq!(range.end, (range.start + 1024).min(challenge.piece_len));
        assert!(range.start < range.end);
        starts.insert(range.start);
    }
    // 256 draws of 101 chunks: 93 distinct ones are expected.
    assert!(starts.len() > 80, "{}", starts.len());
    let longer = Challenge { piece_len: challenge.piece_len + 1, ..challenge };
    let same = (0..=255).filter(|&n| challenge.range(&[n; 32]) == longer.range(&[n; 32])).count();
    assert!(same < 20, "{same}");
    // The format: another implementation must come to the same chunk.
    let known = Challenge { hash: PieceHash([5; 32]), piece_len: 1 << 20 };
    assert_eq!(known.range(&NONCE), 184 * 1024..185 * 1024);
}

#[test]
fn a_visit_is_judged_piece_by_piece() {
    let pieces: Vec<_> = [(1, 1), (2, 1024), (3, 70_000), (4, 200_000), (5, 33_000), (6, 40_000)]
        .map(|(number, len)| piece(number, len))
        .into_iter()
        .collect();
    let batch = Batch { nonce: NONCE, challenges: pieces.iter().map(|piece| piece.0).collect() };
    let received = Batch::decode(&batch.encode().unwrap()).unwrap();
    assert_eq!(received, batch);

    let mut answers = Answers::new(pieces.len()).unwrap();
    for (number, (challenge, data, outboard)) in pieces.iter().enumerate() {
        let mut data = data.clone();
        match number {
            // One that has gone bad where it is asked.
            3 => data[usize::try_from(challenge.range(&NONCE).start).unwrap()] ^= 1,
            4 => {
                answers.push(&Answer::NotFound);
                continue;
            }
            5 => {
                answers.push(&Answer::Error);
                continue;
            }
            _ => {}
        }
        let result = answers.answer(&received.nonce, challenge, &data[..], &outboard[..]);
        assert_eq!(result.is_ok(), number != 3);
    }
    let body = answers.into_body();
    assert!(body.len() <= batch.answers_len_max());
    let (pass, fail) = (Verdict::Passed, Verdict::Failed);
    let expected = [pass, pass, pass, fail(Fault::Admitted), fail(Fault::NotFound), Verdict::Unknown];
    assert_eq!(answered(&batch, &body), expected);

    // The same answers to another nonce prove nothing, but for pieces of one chunk.
    let other = Batch { nonce: [8; 32], ..batch.clone() };
    let verdicts = answered(&other, &body);
    assert_eq!(verdicts[..2], [pass, pass]);
    assert_eq!(verdicts[2], fail(Fault::WrongBytes));
}

#[test]
fn what_is_not_an_answer_costs_no_pin() {
    let (challenge, ..) = piece(1, 5000);
    let batch = Batch { nonce: NONCE, challenges: vec![challenge; 3] };
    assert_eq!(judge(&batch, Reply::Unreachable), Outcome::Offline);
    assert_eq!(judge(&batch, Reply::TimedOut), Outcome::Contained);
    for reply in
        [Reply::Broken, Reply::Status(500), Reply::Status(404), Reply::Status(429), Reply::Body(b"<html>")]
    {
        assert_eq!(judge(&batch, reply), Outcome::Unknown);
    }
    let mut two = Answers::new(2).unwrap();
    (0..2).for_each(|_| two.push(&Answer::NotFound));
    assert_eq!(judge(&batch, Reply::Body(&two.into_body())), Outcome::Unknown);
}

#[test]
fn the_longest_proof_fits() {
    // The tree of the longest piece is full: every chunk is 16 levels down.
    let challenge = Challenge { hash: PieceHash([1; 32]), piece_len: PIECE_LEN_MAX };
    let len = proof::encoded_len(PIECE_LEN_MAX, &challenge.range(&NONCE));
    assert_eq!(len, PROOF_LEN_MAX as u64);
    let mut answers = Answers::new(2).unwrap();
    answers.push(&Answer::Proof(&[1; PROOF_LEN_MAX]));
    answers.push(&Answer::Proof(&[1; PROOF_LEN_MAX + 1]));
    let body = answers.into_body();
    assert_eq!(decode_answers(&body, 2).unwrap(), [Answer::Proof(&[1; PROOF_LEN_MAX]), Answer::Error]);
}

#[test]
fn impossible_batches_are_refused() {
    let challenge = Challenge { hash: PieceHash([1; 32]), piece_len: 1 };
    let encode = |challenges| Batch { nonce: NONCE, challenges }.encode();
    assert_eq!(encode(vec![challenge; CHALLENGES_MAX]).unwrap().len(), Batch::body_len_max());
    assert_eq!(encode(vec![challenge; CHALLENGES_MAX + 1]), Err(FrameError::Count(CHALLENGES_MAX + 1)));
    for piece_len in [0, PIECE_LEN_MAX + 1, u64::MAX] {
        assert_eq!(encode(vec![Challenge { piece_len, ..challenge }]), Err(FrameError::Entry(0)));
    }
    let good = encode(vec![challenge; 2]).unwrap();
    let mut zero = good.clone();
    let last = zero.len() - 4;
    zero[last..].fill(0);
    assert_eq!(Batch::decode(&zero), Err(FrameError::Entry(1)));
    for len in 0..good.len() {
        assert!(Batch::decode(&good[..len]).is_err());
    }
    assert_eq!(Batch::decode(&[&good[..], &[0]].concat()), Err(FrameError::Length));
    assert!(Answers::new(CHALLENGES_MAX + 1).is_err());
}

#[test]
fn a_stalling_node_fails_after_some_tries_and_an_absent_one_never() {
    let rules = AuditRules::default();
    rules.validate().unwrap();
    let start = UnixMillis(1_000_000);
    let contained = Containment::new(PieceHash([1; 32]), start);
    assert_eq!(contained.checked(WholeCheck::Right, start, &rules), Ok(Verdict::Passed));
    let wrong = contained.checked(WholeCheck::Wrong(Fault::NotFound), start, &rules);
    assert_eq!(wrong, Ok(Verdict::Failed(Fault::NotFound)));
    let mut now = start;
    let mut piece = contained;
    for tries in 1..=2 {
        piece = piece.checked(WholeCheck::TimedOut, now, &rules).unwrap_err();
        assert_eq!((piece.tries, piece.next), (tries, now + Duration::from_hours(6)));
        for _ in 0..100 {
            piece = piece.checked(WholeCheck::Unknown, now, &rules).unwrap_err();
            now = piece.next;
        }
        assert_eq!(piece.tries, tries);
    }
    assert_eq!(piece.checked(WholeCheck::TimedOut, now, &rules), Ok(Verdict::Failed(Fault::TimedOut)));
}

#[test]
fn rules_refuse_typos_and_nonsense() {
    let text = r#"{"interval": "90s", "batch": 7}"#;
    let rules: AuditRules = serde_json::from_str(text).unwrap();
    assert_eq!((rules.interval, rules.batch), (Duration::from_secs(90), 7));
    assert!(serde_json::from_str::<AuditRules>(r#"{"intervall": "90s"}"#).is_err());
    let bad = AuditRules { batch: 0, contained_tries_max: 0, interval: Duration::ZERO, ..rules };
    assert_eq!(bad.validate().unwrap_err().problems().len(), 3);
}

fn answer() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    #[test]
    fn batches_round_trip(
        nonce: [u8; 32], pieces in proptest::collection::vec((any::<[u8; 32]>(), 1..=PIECE_LEN_MAX), 0..50)
    ) {
        let challenge = |(hash, piece_len)| Challenge { hash: PieceHash(hash), piece_len };
        let challenges = pieces.into_iter().map(challenge);
        let batch = Batch { nonce, challenges: challenges.collect() };
        prop_assert_eq!(Batch::decode(&batch.encode().unwrap()), Ok(batch));
    }

    #[test]
    fn answers_round_trip(proofs in proptest::collection::vec(answer(), 0..50)) {
        let proofs = proofs.iter().map(Option::as_deref);
        let list: Vec<_> = proofs.map(|proof| proof.map_or(Answer::Corrupt, Answer::Proof)).collect();
        let mut answers = Answers::new(list.len()).unwrap();
        for answer in &list {
            answers.push(answer);
        }
        let body = answers.into_body();
        prop_assert_eq!(decode_answers(&body, list.len()), Ok(list.clone()));
        prop_assert!(decode_answers(&body[..body.len() - 1], list.len()).is_err());
        prop_assert!(decode_answers(&body, list.len() + 1).is_err());
    }

    /// Whatever bytes arrive, parsing ends, and what is accepted is written in exactly one way.
    #[test]
    fn parsing_is_total(
        body in proptest::collection::vec(any::<u8>(), 0..400), kind: bool, count in 0_u16..4
    ) {
        let magic: &[u8] = if kind { b"par1" } else { b"paq1" };
        let framed = [magic, &count.to_le_bytes(), &body].concat();
        for bytes in [&body, &framed] {
            if let Ok(batch) = Batch::decode(bytes) {
                prop_assert_eq!(&batch.encode().unwrap(), bytes);
            }
            if let Ok(answers) = decode_answers(bytes, count.into()) {
                let mut again = Answers::new(answers.len()).unwrap();
                for answer in &answers {
                    again.push(answer);
                }
                prop_assert_eq!(&again.into_body(), bytes);
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_a_proof_passes(len in 1_usize..100_000, at: usize, bit in 0_u8..8) {
        let (challenge, data, outboard) = piece(1, len);
        let batch = Batch { nonce: NONCE, challenges: vec![challenge] };
        let mut answers = Answers::new(1).unwrap();
        answers.answer(&NONCE, &challenge, &data[..], &outboard[..]).unwrap();
        let mut body = answers.into_body();
        prop_assert_eq!(answered(&batch, &body), [Verdict::Passed]);
        let at = 9 + at % (body.len() - 9);
        body[at] ^= 1 << bit;
        prop_assert_eq!(answered(&batch, &body), [Verdict::Failed(Fault::WrongBytes)]);
    }
}
