//! What stands in the ring: all of it follows from sequence numbers and positions.

use media::Kind;
use mediaring::{Entry, Flags, Record};

/// A well-mixed number (splitmix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Bytes of message `seq`: mostly small, now and then large.
pub(crate) fn length(seq: u64) -> u32 {
    let random = mix(seq);
    let length =
        if random.is_multiple_of(512) { 2000 + (random >> 32) % 6000 } else { 1 + (random >> 32) % 200 };
    u32::try_from(length).unwrap()
}

/// The bytes that stand at the positions from `from` on.
pub(crate) fn bytes(from: u64, len: u32, out: &mut Vec<u8>) {
    out.clear();
    let lead = usize::try_from(from % 8).unwrap();
    let end = lead + len as usize;
    let mut word = from / 8;
    while out.len() < end {
        out.extend_from_slice(&mix(word).to_le_bytes());
        word += 1;
    }
    out.truncate(end);
    out.drain(..lead);
}

/// What the writer says of message `seq`.
pub(crate) fn entry(seq: u64) -> Entry {
    let flags = if seq.is_multiple_of(300) { Flags::KEY } else { Flags::default() };
    Entry {
        kind: [Kind::Audio, Kind::Video, Kind::Data][usize::try_from(seq % 3).unwrap()],
        flags,
        dts_ms: i64::try_from(seq).unwrap() - 1000,
        arrival_ns: mix(!seq),
        payload_len: length(seq),
    }
}

/// Whether a record is the one that was written.
pub(crate) fn check(record: &Record) {
    let entry = entry(record.seq);
    assert_eq!(record.wire_len, length(record.seq), "{record:?}");
    assert_eq!(record.kind, entry.kind, "{record:?}");
    assert_eq!(record.flags, entry.flags, "{record:?}");
    assert_eq!(record.dts_ms, entry.dts_ms, "{record:?}");
    assert_eq!(record.arrival_ns, entry.arrival_ns, "{record:?}");
    assert_eq!(record.payload_len, entry.payload_len, "{record:?}");
}
