//! The ring against a model that forgets nothing: whatever is done to a writer, its readers find exactly what the model
//! says is still there, and nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::fd::AsFd;

use media::Kind;
use mediaring::{Entry, Flags, HeaderKind, Lapped, Record, RingReader, RingWriter, Shape, StoredHeader};
use proptest::prelude::*;

const HEADERS: [HeaderKind; 3] = [HeaderKind::Metadata, HeaderKind::Video, HeaderKind::Audio];
const SHAPES: [Shape; 4] = [
    Shape { data_bytes: 4096, records: 16 },
    Shape { data_bytes: 4096, records: 100 },
    Shape { data_bytes: 8192, records: 37 },
    Shape { data_bytes: 64 << 10, records: 512 },
];

#[derive(Debug, Clone)]
enum Step {
    Append { len: usize, cut: usize, kind: Kind, key: bool, dts_ms: i64 },
    StoreHeader { kind: usize, len: usize },
    ClearHeaders,
    ClearKey,
    NextGeneration { shape: usize },
    Adopt,
    Note { n: usize, value: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![8 => 0..300_usize, 2 => 400..520_usize, 1 => 500..9000_usize];
    let kind = prop_oneof![Just(Kind::Audio), Just(Kind::Video), Just(Kind::Data)];
    prop_oneof![
        20 => (len, 0..300_usize, kind, prop::bool::weighted(0.1), any::<i64>())
            .prop_map(|(len, cut, kind, key, dts_ms)| Step::Append { len, cut: cut.min(len), kind, key, dts_ms }),
        3 => (0..3_usize, prop_oneof![0..200_usize, 4000..4200_usize])
            .prop_map(|(kind, len)| Step::StoreHeader { kind, len }),
        1 => Just(Step::ClearHeaders),
        1 => Just(Step::ClearKey),
        2 => (0..SHAPES.len()).prop_map(|shape| Step::NextGeneration { shape }),
        2 => Just(Step::Adopt),
        1 => (0..20_usize, any::<u64>()).prop_map(|(n, value)| Step::Note { n, value }),
    ]
}

/// All that ever went in, and what must still be there.
#[derive(Debug, Default)]
struct Model {
    records: Vec<(Record, Vec<u8>)>,
    tail: usize,
    key: Option<usize>,
    /// Per kind, the newest two, oldest first.
    headers: [Vec<StoredHeader>; 3],
    notes: [u64; 16],
    generation: u32,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.last().map_or(0, |(record, _)| record.end())
    }

    fn position(&self, seq: usize) -> u64 {
        self.records.get(seq).map_or_else(|| self.end(), |(record, _)| record.position)
    }

    fn append(&mut self, shape: Shape, entry: Entry, bytes: Vec<u8>) -> Option<u64> {
        let wire_len = bytes.len() as u64;
        if wire_len > shape.data_bytes / 8 {
            return None;
        }
        let (seq, position) = (self.records.len(), self.end());
        while seq + 1 - self.tail > usize::try_from(shape.records).unwrap()
            || self.position(self.tail) + shape.data_bytes < position + wire_len
        {
            self.tail += 1;
        }
        self.key = self.key.filter(|key| *key >= self.tail);
        if entry.flags.contains(Flags::KEY) {
            self.key = Some(seq);
        }
        let record = Record {
            seq: seq as u64,
            position,
            wire_len: u32::try_from(wire_len).unwrap(),
            payload_len: entry.payload_len,
            dts_ms: entry.dts_ms,
            arrival_ns: entry.arrival_ns,
            kind: entry.kind,
            flags: entry.flags,
        };
        self.records.push((record, bytes));
        Some(seq as u64)
    }

    fn next_generation(&mut self, shape: Shape) {
        let head = self.records.len();
        let end = self.end();
        while head - self.tail >= usize::try_from(shape.records).unwrap()
            || end - self.position(self.tail) > shape.data_bytes
        {
            self.tail += 1;
        }
        self.key = self.key.filter(|key| *key >= self.tail);
        self.generation += 1;
    }

    fn store_header(&mut self, kind: usize, dts_ms: i64, bytes: Vec<u8>) -> bool {
        if bytes.len() > HEADERS[kind].max_bytes() {
            return false;
        }
        let kept = &mut self.headers[kind];
        kept.pop_if(|newest| newest.seq == self.records.len() as u64);
        kept.push(StoredHeader { seq: self.records.len() as u64, dts_ms, bytes });
        if kept.len() > 2 {
            kept.remove(0);
        }
        true
    }

    fn header(&self, kind: usize, seq: u64) -> Option<&StoredHeader> {
        let kept = &self.headers[kind];
        kept.iter().rev().find(|header| header.seq <= seq).or_else(|| kept.first())
    }

    fn check(&self, writer: &RingWriter, reader: &RingReader) {
        let head = self.records.len() as u64;
        assert_eq!((writer.head(), reader.head()), (head, head));
        assert_eq!((writer.tail(), reader.tail()), (self.tail as u64, self.tail as u64));
        assert_eq!(writer.used_bytes(), self.end() - self.position(self.tail));
        let key = self.key.map(|key| key as u64);
        assert_eq!((writer.key(), reader.key()), (key, key));
        assert_eq!(reader.generation(), self.generation);
        assert!(!reader.superseded() && !reader.closed());
        for seq in [self.tail.checked_sub(1), Some(self.records.len())].into_iter().flatten() {
            assert_eq!(reader.record(seq as u64), Err(Lapped));
            assert_eq!(writer.record(seq as u64), None);
        }
        let mut bytes = Vec::new();
        for (record, expected) in &self.records[self.tail..] {
            assert_eq!(reader.record(record.seq), Ok(*record));
            assert_eq!(writer.record(record.seq), Some(*record));
            bytes.clear();
            reader.copy(record.position, record.wire_len, &mut bytes).unwrap();
            assert_eq!(&bytes, expected, "message {}", record.seq);
            if record.wire_len > 0 {
                assert_eq!(reader.find(record.position), Ok(*record));
                assert_eq!(reader.find(record.end() - 1), Ok(*record));
            }
        }
        assert_eq!(reader.find(self.end()), Err(Lapped));
        if let Some(before) = self.position(self.tail).checked_sub(1) {
            assert_eq!(reader.find(before), Err(Lapped));
            assert_eq!(reader.copy(before, 1, &mut bytes), Err(Lapped));
        }
        for (n, kind) in HEADERS.into_iter().enumerate() {
            let around = self.headers[n].iter().flat_map(|kept| [kept.seq.saturating_sub(1), kept.seq]);
            for seq in around.chain([0, self.tail as u64, head]) {
                assert_eq!(reader.header(kind, seq).as_ref(), self.header(n, seq), "{kind:?} for {seq}");
            }
        }
        for (n, value) in self.notes.into_iter().enumerate() {
            assert_eq!((writer.note(n), reader.note(n)), (value, value));
        }
    }
}

fn open(writer: &RingWriter) -> RingReader {
    RingReader::open(writer.reader_fd().unwrap()).unwrap()
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (seed.wrapping_mul(251) ^ n.wrapping_mul(seed | 1)).to_le_bytes()[0]).collect()
}

fn run(first: usize, steps: Vec<Step>) {
    let mut writer = RingWriter::create(SHAPES[first], 3, 0, 128).unwrap();
    let mut reader = open(&writer);
    let mut model = Model::default();
    for (turn, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append { len, cut, kind, key, dts_ms } => {
                let flags = if key { Flags::KEY.with(Flags::ABSOLUTE) } else { Flags::METADATA };
                let payload_len = u32::try_from(len / 2).unwrap();
                let entry = Entry { kind, flags, dts_ms, arrival_ns: turn as u64, payload_len };
                let bytes = content(turn as u64, len);
                let (one, two) = bytes.split_at(cut);
                let seq = writer.append(entry, &[one, &[], two]);
                assert_eq!(seq, model.append(writer.shape(), entry, bytes));
            }
            Step::StoreHeader { kind, len } => {
                let (seq, bytes) = (writer.head(), content(turn as u64, len));
                let dts_ms = i64::try_from(turn).unwrap() - 5;
                let stored = writer.store_header(HEADERS[kind], seq, dts_ms, &bytes);
                assert_eq!(stored, model.store_header(kind, dts_ms, bytes));
            }
            Step::ClearHeaders => {
                writer.clear_headers();
                model.headers = Default::default();
            }
            Step::ClearKey => {
                writer.clear_key();
                model.key = None;
            }
            Step::NextGeneration { shape } => {
                let next = writer.next_generation(SHAPES[shape]).unwrap();
                assert!(reader.superseded());
                assert_eq!(reader.head(), next.head(), "readers change over at an exact message");
                writer = next;
                reader = open(&writer);
                model.next_generation(SHAPES[shape]);
            }
            Step::Adopt => {
                let fd = writer.fd().try_clone_to_owned().unwrap();
                drop(writer);
                writer = RingWriter::adopt(fd).unwrap();
            }
            Step::Note { n, value } => {
                writer.set_note(n, value);
                if let Some(note) = model.notes.get_mut(n) {
                    *note = value;
                }
            }
        }
        model.check(&writer, &reader);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_find_what_the_model_holds(first in 0..SHAPES.len(), steps in prop::collection::vec(step(), 1..120)) {
        run(first, steps);
    }
}

/// The writer dies after it ended a generation and before anybody was given the next one: the old one goes on.
#[test]
fn a_generation_whose_successor_was_lost_goes_on() {
    let mut writer = RingWriter::create(SHAPES[0], 1, 0, 128).unwrap();
    let reader = open(&writer);
    let entry = Entry { kind: Kind::Video, flags: Flags::KEY, dts_ms: 0, arrival_ns: 0, payload_len: 3 };
    writer.append(entry, &[b"one"]).unwrap();
    let keeper = writer.as_fd().try_clone_to_owned().unwrap();
    drop(writer.next_generation(SHAPES[3]).unwrap());
    drop(writer);
    assert!(reader.superseded());
    let mut writer = RingWriter::adopt(keeper).unwrap();
    writer.append(entry, &[b"two"]).unwrap();
    assert!(!reader.superseded(), "readers would wait for a generation that does not exist");
    let record = reader.record(1).unwrap();
    let mut bytes = Vec::new();
    reader.copy(record.position, record.wire_len, &mut bytes).unwrap();
    assert_eq!(bytes, b"two");
}

/// A ring that holds nothing any more still knows where its stream of bytes is.
#[test]
fn positions_go_on_when_the_last_packet_had_to_go() {
    let mut writer = RingWriter::create(SHAPES[3], 1, 0, 128).unwrap();
    let entry = Entry { kind: Kind::Video, flags: Flags::KEY, dts_ms: 0, arrival_ns: 0, payload_len: 3 };
    writer.append(entry, &[&[7; 8000]]).unwrap();
    let mut writer = writer.next_generation(SHAPES[0]).unwrap();
    assert_eq!(writer.tail(), 1, "8000 bytes do not fit into 4096");
    writer = RingWriter::adopt(writer.fd().try_clone_to_owned().unwrap()).unwrap();
    writer.append(entry, &[b"next"]).unwrap();
    assert_eq!(writer.record(1).unwrap().position, 8000);
}
