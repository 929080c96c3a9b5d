//! A ring whose writer has gone mad: readers find records and bytes, or that they were lapped.

use std::fs::File;
use std::os::unix::fs::FileExt;

use media::Kind;
use mediaring::{Entry, Flags, HeaderKind, RingReader, RingWriter, Shape};

const SHAPE: Shape = Shape { data_bytes: 4096, records: 16 };
/// Records that are looked at behind and before each end.
const NEAR: u64 = 24;

fn packet(n: u8) -> Entry {
    let flags = if n.is_multiple_of(5) { Flags::KEY } else { Flags::default() };
    let (payload_len, dts_ms) = (32, i64::from(n) * 40);
    Entry { kind: Kind::Video, flags, payload_len, dts_ms, arrival_ns: u64::from(n) }
}

/// Everything that can be asked of a ring.
fn read(reader: &RingReader) {
    let (head, tail) = (reader.head(), reader.tail());
    let mut out = Vec::new();
    for end in [head, tail, reader.key().unwrap_or(0), 0, u64::MAX] {
        for seq in end.saturating_sub(NEAR)..=end.saturating_add(NEAR) {
            let _ = reader.chunk_size_at(seq);
            let Ok(record) = reader.record(seq) else { continue };
            assert_eq!(record.seq, seq);
            let _ = reader.find(record.position);
            out.clear();
            if reader.copy(record.position, record.wire_len, &mut out).is_ok() {
                assert_eq!(out.len(), record.wire_len as usize);
            }
        }
        for kind in [HeaderKind::Metadata, HeaderKind::Video, HeaderKind::Audio] {
            if let Some(header) = reader.header(kind, end) {
                assert!(header.bytes.len() <= kind.max_bytes());
            }
        }
    }
    let _ = (reader.superseded(), reader.closed(), reader.generation(), reader.stream_id(), reader.note(0));
    for position in [reader.tail_position(), 0, u64::MAX] {
        let _ = reader.intact(position);
        let _ = reader.find(position);
    }
}

/// One input: what is written over a ring, each part two bytes of place, one byte of length, the bytes.
pub(crate) fn run(input: &[u8]) {
    let mut writer = RingWriter::create(SHAPE, 7, 1, 4096).expect("memory");
    for n in 0..40 {
        writer.append(packet(n), &[&[n; 40]]).expect("a packet");
    }
    writer.store_header(HeaderKind::Video, 3, 120, b"a header");
    let reader = RingReader::open(writer.reader_fd().expect("a descriptor")).expect("a ring");
    read(&reader);
    let memory = File::from(writer.fd().try_clone_to_owned().expect("a descriptor"));
    let size = memory.metadata().expect("its size").len();
    let mut rest = input;
    while let Some(([high, low, len], behind)) = rest.split_first_chunk() {
        let (bytes, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let at = u64::from(u16::from_be_bytes([*high, *low])) % size;
        // As far as the memory goes: it can't grow.
        let room = usize::try_from(size - at).unwrap_or(0).min(bytes.len());
        let _ = memory.write_all_at(bytes.get(..room).unwrap_or(&[]), at);
    }
    read(&reader);
    // Who opens it now, and who goes on writing it.
    if let Ok(reader) = RingReader::open(writer.reader_fd().expect("a descriptor")) {
        read(&reader);
    }
    if let Ok(mut successor) = RingWriter::adopt(memory.into()) {
        for n in 0..20 {
            successor.append(packet(n), &[&[n; 40]]);
        }
        read(&reader);
    }
}
