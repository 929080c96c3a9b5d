//! Chunks in, messages out: by hand, from our writer, and hostile.

use super::*;
use crate::chunk::writer::{pack_delta, write_message};
use proptest::prelude::*;

fn read_all(reader: &mut ChunkReader, bytes: &[u8], step: usize) -> Result<Vec<Message>, ChunkError> {
    let mut messages = Vec::new();
    for mut piece in bytes.chunks(step) {
        while let Some(message) = reader.read(&mut piece)? {
            if message.type_id == 1 {
                reader.set_chunk_size(u32::from_be_bytes(message.payload[..4].try_into().unwrap()))?;
            }
            messages.push(message);
        }
        assert!(piece.is_empty());
    }
    Ok(messages)
}

/// The messages in `bytes`, the same for every way of cutting them.
fn messages(bytes: &[u8]) -> Vec<(u32, u32, u8, Vec<u8>)> {
    let whole = read_all(&mut ChunkReader::new(&Limits::default()), bytes, bytes.len()).unwrap();
    for step in 1..20.min(bytes.len()) {
        assert_eq!(read_all(&mut ChunkReader::new(&Limits::default()), bytes, step).unwrap(), whole);
    }
    whole.into_iter().map(|m| (m.csid, m.timestamp, m.type_id, m.payload.to_vec())).collect()
}

fn reason(bytes: &[u8]) -> &'static str {
    read_all(&mut ChunkReader::new(&Limits::default()), bytes, 7).unwrap_err().reason()
}

fn full(csid: u8, time: u32, len: u32, type_id: u8) -> Vec<u8> {
    let ([_, t @ ..], [_, l @ ..]) = (time.min(0xFF_FFFF).to_be_bytes(), len.to_be_bytes());
    let mut out = [&[csid][..], &t, &l, &[type_id, 1, 0, 0, 0]].concat();
    if time >= 0xFF_FFFF {
        out.extend_from_slice(&time.to_be_bytes());
    }
    out
}

#[test]
fn type_three_repeats_the_last_delta() {
    let bytes = [
        &full(4, 1_000, 1, 8)[..],
        b"a",
        &[0x44, 0, 0, 23, 0, 0, 1, 8],
        b"b",
        &[0xC4],
        b"c",
        &[0x84, 0, 0, 7],
        b"d",
    ];
    let times: Vec<_> = messages(&bytes.concat()).iter().map(|message| message.1).collect();
    assert_eq!(times, [1_000, 1_023, 1_046, 1_053]);
    let bytes = [&full(4, 20, 1, 8)[..], b"a", &[0xC4], b"b"].concat();
    assert_eq!(messages(&bytes)[1].1, 40);
}

#[test]
fn librtmp_begins_with_type_one() {
    let bytes = [&[0x42, 0, 0, 0, 0, 0, 4, 3], &[0, 0, 0, 9][..]].concat();
    assert_eq!(messages(&bytes), [(2, 0, 3, vec![0, 0, 0, 9])]);
}

#[test]
fn both_habits_of_extended_timestamps() {
    for tail in [0, 1, 2, 3, 4, 5, 127, 128] {
        let len = 128 * 2 + tail;
        for first in [0x00, 0x01, 0xFF] {
            let mut payload: Vec<u8> = (0..=255).cycle().take(len).collect();
            payload.iter_mut().step_by(128).for_each(|byte| *byte = first);
            for time in [0xFF_FFFF, 0x0100_0000, 0x0123_4567, u32::MAX] {
                for repeats in [true, false] {
                    let mut bytes = Vec::new();
                    for (index, piece) in payload.chunks(128).enumerate() {
                        if index == 0 {
                            bytes.extend(full(6, time, u32::try_from(len).unwrap(), 9));
                        } else {
                            bytes.push(0xC6);
                            if repeats {
                                bytes.extend_from_slice(&time.to_be_bytes());
                            }
                        }
                        bytes.extend_from_slice(piece);
                    }
                    bytes.extend(full(7, 5, 1, 8));
                    bytes.push(b'x');
                    let expected = [(6, time, 9, payload.clone()), (7, 5, 8, b"x".to_vec())];
                    let got = messages(&bytes);
                    assert!(got == expected, "tail {tail} first {first} time {time:#x} repeats {repeats}");
                }
            }
        }
    }
}

#[test]
fn an_extended_delta_is_a_delta() {
    let mut bytes =
        [&full(6, 1_000, 1, 9)[..], b"a", &[0x46, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0], b"b"].concat();
    assert_eq!(messages(&bytes)[1].1, 0x0100_0000 + 1_000);
    bytes.extend_from_slice(&[0x86, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, b'c']);
    assert_eq!(messages(&bytes)[2].1, 0x0100_0000 + 999, "time wraps");
}

#[test]
fn messages_interleave() {
    let bytes =
        [&full(6, 1, 200, 9)[..], &[1; 128], &full(7, 2, 3, 8), &[2; 3], &[0xC6], &[1; 72], &[0xC7, 2, 2, 2]];
    let read = messages(&bytes.concat());
    assert_eq!(read, [(7, 2, 8, vec![2; 3]), (6, 1, 9, vec![1; 200]), (7, 4, 8, vec![2; 3])]);
}

#[test]
fn every_chunk_size_of_the_specification_is_taken() {
    let payload: Vec<u8> = (0..3_000_u32).map(|n| n as u8).collect();
    for size in [1, 2, 127, 128, 65_536, 65_537, 1 << 20, 0x00FF_FFFF, 0x0100_0000, 128 << 20, 0x7FFF_FFFF] {
        let mut bytes = full(2, 0, 4, 1);
        bytes.extend_from_slice(&u32::to_be_bytes(size));
        write_message(&mut bytes, 5, 7, 9, 1, &payload, size);
        write_message(&mut bytes, 4, 8, 8, 1, &payload[..300], size);
        let mut reader = ChunkReader::new(&Limits::default());
        let read = read_all(&mut reader, &bytes, 1_000).unwrap();
        let payloads: Vec<&[u8]> = read.iter().skip(1).map(|message| &message.payload[..]).collect();
        assert_eq!(payloads, [&payload[..], &payload[..300]], "chunk size {size}");
        assert_eq!(reader.chunk_size(), size);
        assert_eq!(reader.buffered(), 0);
    }
    for size in [0_u32, 0x8000_0000, u32::MAX] {
        let bytes = [full(2, 0, 4, 1), size.to_be_bytes().to_vec()].concat();
        assert_eq!(reason(&bytes), "chunk_size_out_of_range");
    }
    let limits = Limits { chunk_size_max: 4_096, ..Limits::default() };
    let mut reader = ChunkReader::new(&limits);
    assert_eq!(reader.set_chunk_size(4_097).unwrap_err().to_string(), "chunk size 4097, 1 to 4096 allowed");
    let mut reader = ChunkReader::new(&Limits { tolerate_large_chunk_size: true, ..limits });
    assert_eq!((reader.set_chunk_size(1 << 20), reader.chunk_size()), (Ok(()), 1 << 20));
}

#[test]
fn a_chunk_size_holds_from_the_next_chunk() {
    let set = |size: u32| [&full(2, 0, 4, 1)[..], &size.to_be_bytes()].concat();
    let bytes = [
        &full(6, 1, 500, 9)[..],
        &[1; 128],
        &set(200),
        &[0xC6],
        &[2; 200],
        &set(128),
        &[0xC6],
        &[3; 128],
        &[0xC6],
        &[4; 44],
    ];
    let read = messages(&bytes.concat());
    assert_eq!(read.last().unwrap().3, [&[1; 128][..], &[2; 200], &[3; 128], &[4; 44]].concat());
}

#[test]
fn empty_messages_are_delivered() {
    let bytes = [full(6, 1, 0, 9), full(6, 0x0100_0000, 0, 9), full(7, 1, 0, 8)].concat();
    assert_eq!(messages(&bytes).len(), 3);
}

#[test]
fn abort_and_a_new_beginning_drop_the_partial() {
    let mut reader = ChunkReader::new(&Limits::default());
    let half = [&full(6, 1, 200, 9)[..], &[1; 128]].concat();
    read_all(&mut reader, &half, 50).unwrap();
    reader.abort(6);
    reader.abort(60);
    assert_eq!(reader.buffered(), 0);
    let read = read_all(&mut reader, &[&[0xC6][..], &[2; 128], &[0xC6], &[2; 72]].concat(), 50).unwrap();
    assert_eq!((read[0].timestamp, read[0].payload.as_ref()), (2, &[2; 200][..]), "history is kept");
    read_all(&mut reader, &half, 50).unwrap();
    let read = read_all(&mut reader, &[&full(6, 9, 1, 9)[..], b"z"].concat(), 50).unwrap();
    assert_eq!(read[0].payload, "z");
    assert_eq!(reader.dropped_partials(), 2);
}

#[test]
fn hostile_chunks() {
    let changed = [&full(6, 1, 200, 9)[..], &[1; 128], &[0x46, 0, 0, 0, 0xFF, 0, 0, 9]].concat();
    assert_eq!(reason(&changed), "chunk_header_changed");
    let flight: Vec<u8> = (3..12).flat_map(|csid| [&full(csid, 1, 200, 9)[..], &[1; 128]].concat()).collect();
    assert_eq!(reason(&flight), "too_many_messages_in_flight");
    // Many chunk streams, announcing gigabytes: only what arrived is held, and the oldest history goes.
    let mut reader = ChunkReader::new(&Limits::default());
    for csid in 0..5_000_u32 {
        let [low, high, ..] = csid.to_le_bytes();
        let chunk = [&[1, low, high, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0][..], b"a"].concat();
        assert_eq!(read_all(&mut reader, &chunk, 99).unwrap().len(), 1);
    }
    assert_eq!(reader.streams.len(), 64);
    let mut reader = ChunkReader::new(&Limits::default());
    read_all(&mut reader, &[&full(6, 1, 4 << 20, 9)[..], &[1; 100]].concat(), 99).unwrap();
    assert_eq!(reader.buffered(), 100);
    assert!(reader.streams[0].partial.as_ref().unwrap().capacity() <= 64 << 10);
}

#[test]
fn the_memory_of_all_partials_is_bounded() {
    let limits = Limits { max_reassembly: 1_000, ..Limits::default() };
    let mut reader = ChunkReader::new(&limits);
    let bytes: Vec<u8> = (3..11).flat_map(|csid| [&full(csid, 1, 200, 9)[..], &[1; 128]].concat()).collect();
    assert_eq!(read_all(&mut reader, &bytes, 99).unwrap_err().reason(), "reassembly_too_large");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read(
        parts in prop::collection::vec((2..64_u8, any::<u32>(), 8..10_u8, any::<u32>(), 0..1_000_usize, any::<bool>()), 1..8),
        chunk_size in prop_oneof![Just(128_u32), Just(129), Just(4_096), 128..65_537_u32], step in 1..400_usize,
    ) {
        let mut bytes = full(2, 0, 4, 1);
        bytes.extend_from_slice(&chunk_size.to_be_bytes());
        let mut expected = Vec::new();
        for (csid, timestamp, type_id, stream_id, len, delta) in parts {
            let payload: Bytes = (0..len).map(|at| at as u8).collect();
            write_message(&mut bytes, csid, timestamp, type_id, stream_id, &payload, chunk_size);
            let csid32 = u32::from(csid);
            expected.push(Message { csid: csid32, timestamp, type_id, stream_id, payload: payload.clone() });
            if delta {
                pack_delta(&mut bytes, csid, 33, type_id, &payload, chunk_size);
                expected.push(Message { csid: csid32, timestamp: timestamp.wrapping_add(33), type_id, stream_id, payload });
            }
        }
        let read = read_all(&mut ChunkReader::new(&Limits::default()), &bytes, step).unwrap();
        prop_assert_eq!(&read[1..], &expected[..]);
    }

    #[test]
    fn any_bytes_are_survived_alike_however_cut(bytes in prop::collection::vec(any::<u8>(), 0..600), step in 1..50_usize) {
        let whole = read_all(&mut ChunkReader::new(&Limits::default()), &bytes, 1_000);
        let cut = read_all(&mut ChunkReader::new(&Limits::default()), &bytes, step);
        prop_assert_eq!(whole.is_ok(), cut.is_ok());
        prop_assert_eq!(whole.ok(), cut.ok());
    }
}
