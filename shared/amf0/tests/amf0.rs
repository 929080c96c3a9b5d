//! Values to bytes and back, through serde and back, and hostile bytes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

use amf0::{Error, Limits, Value, decode_all, decode_leading, encode, encode_all, from_bytes, to_bytes};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn decode(bytes: &[u8]) -> Result<Vec<Value>, &'static str> {
    decode_all(bytes, &Limits::default()).map_err(|error| error.reason())
}

#[test]
fn bytes_of_values() {
    let object = Value::object([("b", Value::Number(1.0)), ("a", Value::Null)]);
    let cases: [(Value, &[u8]); 10] = [
        (Value::Number(-1.5), b"\x00\xBF\xF8\0\0\0\0\0\0"),
        (Value::Boolean(true), b"\x01\x01"),
        (Value::from("hi"), b"\x02\0\x02hi"),
        (object, b"\x03\0\x01b\0\x3F\xF0\0\0\0\0\0\0\0\x01a\x05\0\0\x09"),
        (Value::Undefined, b"\x06"),
        (Value::Reference(7), b"\x07\0\x07"),
        (Value::EcmaArray(vec![("k".into(), Value::Null)]), b"\x08\0\0\0\x01\0\x01k\x05\0\0\x09"),
        (Value::StrictArray(vec![Value::Null, true.into()]), b"\x0A\0\0\0\x02\x05\x01\x01"),
        (Value::Date { ms: 0.0, tz: -60 }, b"\x0B\0\0\0\0\0\0\0\0\xFF\xC4"),
        (Value::TypedObject { class: "C".into(), properties: vec![] }, b"\x10\0\x01C\0\0\x09"),
    ];
    for (value, bytes) in cases {
        let mut out = Vec::new();
        encode(&value, &mut out);
        assert_eq!(out, bytes);
        assert_eq!(decode(bytes), Ok(vec![value]));
        for len in 1..bytes.len() {
            // An array at the top may lack its end marker, and nothing but it.
            let cut = decode(&bytes[..len]);
            assert!(
                cut.is_err() || bytes[0] == 8 && (len == 5 || len == bytes.len() - 3),
                "{bytes:02x?} {len}"
            );
        }
    }
}

#[test]
fn hostile_bytes() {
    let nested: Vec<u8> = [0x03, 0x00, 0x01, b'a'].repeat(100_000);
    let arrays: Vec<u8> = [0x0A, 0, 0, 0, 1].repeat(100_000);
    let mut keys = vec![0x03];
    keys.extend([0, 1, b'k', 5].repeat(1_000));
    let long_text = [&[0x02, 0x0F, 0xFF][..], &[b'x'; 4_095]].concat();
    let too_long = [&[0x02, 0x10, 0x01][..], &[b'x'; 4_097]].concat();
    let cases: [(&[u8], &str); 18] = [
        (&nested, "amf0_depth"),
        (&arrays, "amf0_depth"),
        (&keys, "amf0_keys"),
        (&[5; 513], "amf0_nodes"),
        (&long_text.repeat(70), "amf0_total"),
        (&too_long, "amf0_string_length"),
        (b"\x02\xFF\xFFabc", "amf0_short"),
        (b"\x02\0\x09abc", "amf0_short"),
        (b"\x0C\xFF\xFF\xFF\xFFabc", "amf0_short"),
        (b"\x03\0\x01a\x05", "amf0_short"),
        (b"\x03", "amf0_short"),
        (b"\x0A\xFF\xFF\xFF\xFF\x05", "amf0_short"),
        (b"\x08\xFF\xFF\xFF\xFF\0\x01", "amf0_short"),
        (b"\x11\x01", "amf0_amf3"),
        (b"\x09", "amf0_marker"),
        (b"\x04", "amf0_marker"),
        (b"\xFF", "amf0_marker"),
        (b"\x0A\0\0\0\x01\x08\0\0\0\0", "amf0_short"),
    ];
    for (bytes, reason) in cases {
        assert_eq!(decode(bytes), Err(reason));
    }
}

#[test]
fn values_before_garbage_are_taken() {
    let limits = Limits::default();
    for garbage in [&b"\xFF"[..], b"\x11\x01", b"\x02\xFF\xFFabc", b"\0\0", b"\x03\0\x01a"] {
        let bytes = [&b"\x02\0\x01x\x05"[..], garbage].concat();
        let (values, error) = decode_leading(&bytes, &limits).unwrap();
        assert_eq!((values, error.is_some()), (vec![Value::from("x"), Value::Null], true), "{garbage:?}");
    }
    assert_eq!(decode_leading(b"\x05", &limits), Ok((vec![Value::Null], None)));
    assert_eq!(decode_leading(&[5; 513], &limits).unwrap_err().reason(), "amf0_nodes");
}

#[test]
fn the_count_of_an_array_is_only_a_hint_and_its_end_may_lack() {
    let array = Value::EcmaArray(vec![("k".into(), Value::Null)]);
    for count in [0, 1, 2, 0xFF] {
        let open = [&[8, 0, 0, 0, count, 0, 1, b'k', 5][..]].concat();
        assert_eq!(decode(&open), Ok(vec![array.clone()]));
        assert_eq!(decode(&[&open[..], &[0, 0, 9]].concat()), Ok(vec![array.clone()]));
    }
}

#[test]
fn text_that_is_not_utf8_is_replaced() {
    assert_eq!(decode(b"\x02\0\x02\xE9a"), Ok(vec![Value::from("\u{FFFD}a")]));
}

#[test]
fn accessors() {
    let value = Value::object([("n", Value::Number(3.0)), ("s", "x".into()), ("n", Value::Null)]);
    assert_eq!(value.get("n").and_then(Value::as_u32), Some(3));
    assert_eq!(value.count("n"), 2);
    for number in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e308] {
        assert_eq!(Value::Number(number).as_u32(), None);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    One(u8),
    Pair(i32, String),
    Named { x: f64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    name: String,
    count: u64,
    negative: i8,
    ratio: f32,
    on: bool,
    nothing: Option<u8>,
    something: Option<String>,
    list: Vec<u16>,
    map: BTreeMap<String, i64>,
    kinds: Vec<Kind>,
    letter: char,
    free: Value,
}

#[test]
fn rust_values_travel_through_serde() {
    let value = Everything {
        name: "cam".into(),
        count: 1 << 53,
        negative: -128,
        ratio: 0.5,
        on: true,
        nothing: None,
        something: Some("s".into()),
        list: vec![1, 65_535],
        map: BTreeMap::from([("a".into(), -1), ("b".into(), 2)]),
        kinds: vec![Kind::Plain, Kind::One(1), Kind::Pair(2, "p".into()), Kind::Named { x: 0.25 }],
        letter: 'é',
        free: Value::object([("k", Value::StrictArray(vec![Value::Null]))]),
    };
    let bytes = to_bytes(&value).unwrap();
    assert_eq!(from_bytes::<Everything>(&bytes, &Limits::default()).unwrap(), value);
    assert_eq!(to_bytes(&(1_u64 << 53 | 1)).err(), Some(Error::Integer));
    assert_eq!(to_bytes(&i64::MIN).err(), Some(Error::Integer));
    assert!(from_bytes::<u8>(&to_bytes(&256).unwrap(), &Limits::default()).is_err());
    assert!(from_bytes::<u8>(&to_bytes(&0.5).unwrap(), &Limits::default()).is_err());
    assert!(from_bytes::<u8>(&[5, 5], &Limits::default()).is_err(), "bytes behind the value");
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-1e9..1e9).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,12}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        any::<u16>().prop_map(Value::Reference),
        (-1e9..1e9, any::<i16>()).prop_map(|(ms, tz)| Value::Date { ms, tz }),
        ".{0,12}".prop_map(Value::LongString),
        ".{0,12}".prop_map(Value::XmlDocument),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let properties = prop::collection::vec(("[a-z]{1,5}", inner.clone()), 0..6);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.clone().prop_map(Value::EcmaArray),
            properties.prop_map(|properties| Value::TypedObject { class: "C".into(), properties }),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(values in prop::collection::vec(values(), 0..4)) {
        let mut bytes = Vec::new();
        encode_all(&values, &mut bytes);
        prop_assert_eq!(decode(&bytes), Ok(values));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}
