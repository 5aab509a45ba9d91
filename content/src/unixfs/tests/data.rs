//! The message.

use proptest::prelude::*;

use crate::unixfs::{Data, DataError, DataType, Mtime};

fn decode(hex: &str) -> Result<Data<'static>, DataError> {
    Data::decode(Box::leak(hex::decode(hex).unwrap().into_boxed_slice()))
}

#[test]
fn what_others_write_is_read() {
    assert_eq!(decode("0801"), Ok(Data::new(DataType::Directory)));
    let file = Data { data: Some(b"content"), filesize: Some(7), ..Data::new(DataType::File) };
    assert_eq!(decode("08021207636f6e74656e741807"), Ok(file.clone()));
    assert_eq!(hex::encode(file.encode()), "08021207636f6e74656e741807");
    // The last of a repeated field counts, unknown fields of every wire type are skipped.
    assert_eq!(
        decode("0801080218071802500059000000000000000062016165000000001807").unwrap().filesize,
        Some(7)
    );
    // Block sizes in one packed field, or in several.
    for sizes in ["20052006200720ac02", "22050506 07ac02", "2205050607ac02", "2005220406 07ac02"] {
        let sizes = sizes.replace(' ', "");
        assert_eq!(decode(&format!("0802{sizes}")).unwrap().blocksizes, [5, 6, 7, 300], "{sizes}");
    }
}

#[test]
fn decoration_is_never_fatal() {
    let time = |hex: &str| decode(&format!("0801{hex}")).unwrap().mtime;
    assert_eq!(time("4202080a"), Some(Mtime { seconds: 10, nanos: 0 }));
    assert_eq!(time("420b08ffffffffffffffffff01"), Some(Mtime { seconds: -1, nanos: 0 }));
    assert_eq!(time("4207080a1501000000"), Some(Mtime { seconds: 10, nanos: 1 }));
    assert_eq!(time("4207080a15ffffffff"), None, "more than a second of nanoseconds");
    assert_eq!(time("42051501000000"), None, "no seconds");
    assert_eq!(time("420108"), None, "malformed");
    assert_eq!(time("4001"), None, "not a message");
    let mode = |hex: &str| decode(&format!("0801{hex}")).unwrap().mode;
    assert_eq!(mode("38a403"), Some(0o644));
    assert_eq!(mode("38ffffffffffffffffff01"), None, "wider than 32 bits");
}

#[test]
fn malformed_messages_are_refused() {
    assert_eq!(decode(""), Err(DataError::NoType));
    assert_eq!(decode("1807"), Err(DataError::NoType));
    assert_eq!(decode("0806"), Err(DataError::Type(6)));
    assert_eq!(decode("0a00"), Err(DataError::Field(1)));
    assert_eq!(decode("08021005"), Err(DataError::Field(2)));
    for bad in ["08", "080212", "08021202", "0802220180", "00", "0b", "08028000"] {
        assert!(decode(bad).is_err(), "{bad}");
    }
}

fn mtime() -> impl Strategy<Value = Mtime> {
    (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Mtime { seconds, nanos })
}

proptest! {
    #[test]
    fn round_trip(
        code in 0..6_u64,
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
        numbers in (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u32>>()),
        blocksizes in proptest::collection::vec(any::<u64>(), 0..20),
        mtime in proptest::option::of(mtime()),
    ) {
        let (filesize, hash_type, fanout, mode) = numbers;
        let data_type = DataType::from_code(code).unwrap();
        let data = Data { data_type, data: data.as_deref(), filesize, blocksizes, hash_type, fanout, mode, mtime };
        let bytes = data.encode();
        prop_assert_eq!(Data::decode(&bytes), Ok(data));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(data) = Data::decode(&bytes) {
            prop_assert!(data.blocksizes.len() <= bytes.len());
        }
    }
}
