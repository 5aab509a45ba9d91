use proptest::prelude::*;

use super::*;

const NODE: NodeId = NodeId([3; 32]);
const ISSUED: UnixMillis = UnixMillis(1_700_000_000_123);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn ticket() -> Ticket {
    Ticket {
        node: NODE,
        serial: Serial([4; 16]),
        issued: ISSUED,
        expires: ISSUED + Duration::from_mins(10),
        bytes_max: 5 << 30,
        cid: [&[1, 0x70, 0x12, 32][..], &[0xab; 32]].concat(),
    }
}

#[test]
fn a_ticket_survives_signing_and_is_short() {
    let token = ticket().sign(&key());
    assert_eq!(token.len(), 176);
    assert_eq!(Ticket::verify(&key().verifying_key(), NODE, &token), Ok(ticket()));
}

#[test]
fn a_ticket_is_refused_elsewhere_and_out_of_time() {
    let token = ticket().sign(&key());
    let verify = |node| Ticket::verify(&key().verifying_key(), node, &token);
    assert_eq!(verify(NodeId([9; 32])), Err(TokenError::BadSignature));
    let other_key = SigningKey::from_bytes(&[6; 32]).verifying_key();
    assert_eq!(Ticket::verify(&other_key, NODE, &token), Err(TokenError::BadSignature));

    let ticket = verify(NODE).unwrap();
    let cid = ticket.cid.clone();
    assert_eq!(ticket.check(&cid, ISSUED), Ok(()));
    assert_eq!(ticket.check(&cid[1..], ISSUED), Err(TicketError::WrongCid));
    let end = ticket.expires;
    assert_eq!(ticket.check(&cid, UnixMillis(end.0 - 1)), Ok(()));
    assert_eq!(ticket.check(&cid, end), Err(TicketError::Expired(end)));
    assert_eq!(ticket.check(&cid, ISSUED - CLOCK_SKEW_MAX), Ok(()));
    let early = ISSUED - CLOCK_SKEW_MAX - Duration::from_millis(1);
    assert_eq!(ticket.check(&cid, early), Err(TicketError::FromTheFuture(ISSUED)));
}

#[test]
fn an_order_is_no_ticket() {
    let order = token::sign(&key(), "pinstripe order v1", &[0; 100]);
    assert_eq!(Ticket::verify(&key().verifying_key(), NODE, &order), Err(TokenError::BadSignature));
}

#[test]
fn numbers_that_do_not_fit_allow_less() {
    let long = Ticket { expires: UnixMillis(i64::MAX), bytes_max: u64::MAX, ..ticket() };
    let read = Ticket::verify(&key().verifying_key(), NODE, &long.sign(&key())).unwrap();
    assert_eq!((read.expires, read.bytes_max), (ISSUED + LIFETIME_MAX, SIX_BYTES_MAX));
    for cid in [vec![], vec![1; CID_LEN_MAX + 1]] {
        let token = Ticket { cid, ..ticket() }.sign(&key());
        assert_eq!(Ticket::verify(&key().verifying_key(), NODE, &token), Err(TokenError::Malformed));
    }
}

proptest! {
    #[test]
    fn tickets_round_trip(
        serial: [u8; 16], issued in 0_i64..1 << 48, lifetime: u32, bytes_max in 0..=SIX_BYTES_MAX,
        cid in proptest::collection::vec(any::<u8>(), 1..=CID_LEN_MAX)
    ) {
        let issued = UnixMillis(issued);
        let expires = issued + Duration::from_millis(lifetime.into());
        let ticket = Ticket { node: NODE, serial: Serial(serial), issued, expires, bytes_max, cid };
        let token = ticket.sign(&key());
        prop_assert_eq!(Ticket::verify(&key().verifying_key(), NODE, &token), Ok(ticket));
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let token = token::sign(&key(), &domain(NODE), &payload);
        if let Ok(ticket) = Ticket::verify(&key().verifying_key(), NODE, &token) {
            prop_assert_eq!(ticket.sign(&key()), token);
        }
    }
}
