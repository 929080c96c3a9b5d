//! Micro-benchmarks of what happens to bytes: chunks, AMF0, packing, the ring.

#![allow(clippy::unwrap_used)]

use amf0::Value;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use media::Kind;
use mediaring::{Entry, Flags, RingReader, RingWriter, Shape};
use rtmp::Limits;
use rtmp::chunk::reader::ChunkReader;
use rtmp::chunk::writer::{pack_delta, write_message};

const SIZES: [usize; 3] = [93, 4_600, 37_000];
const CHUNK_SIZES: [u32; 3] = [128, 4_096, 60_000];

fn main() {
    divan::main();
}

/// 100 messages as a publisher with chunks of `chunk_size` sends them.
fn publisher_bytes(size: usize, chunk_size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_message(&mut bytes, 2, 0, 1, 0, &chunk_size.to_be_bytes(), 128);
    let payload = vec![0x42; size];
    write_message(&mut bytes, 6, 0, 9, 1, &payload, chunk_size);
    for _ in 1..100 {
        pack_delta(&mut bytes, 6, 40, 9, &payload, chunk_size);
    }
    bytes
}

#[divan::bench(args = SIZES, consts = CHUNK_SIZES)]
fn chunk_reader<const CHUNK: u32>(bencher: Bencher<'_, '_>, size: usize) {
    let bytes = publisher_bytes(size, CHUNK);
    let limits = Limits::default();
    bencher.counter(BytesCount::new(bytes.len())).counter(ItemsCount::new(100_usize)).bench(|| {
        let mut reader = ChunkReader::new(&limits);
        // As much as one read of a socket brings.
        for mut piece in black_box(&bytes).chunks(65_536) {
            while let Some(message) = reader.read(&mut piece).unwrap() {
                if message.type_id == 1 {
                    reader.set_chunk_size(CHUNK).unwrap();
                }
                black_box(message);
            }
        }
    });
}

#[divan::bench(args = SIZES, consts = CHUNK_SIZES)]
fn chunk_writer<const CHUNK: u32>(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![0x42; size];
    let mut out = Vec::with_capacity(2 * size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        write_message(&mut out, 6, 1000, 9, 1, black_box(&payload), CHUNK);
        black_box(&out);
    });
}

#[divan::bench(args = SIZES)]
fn delta_packing(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![0x42; size];
    let mut out = Vec::with_capacity(2 * size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        pack_delta(&mut out, 6, 40, 9, black_box(&payload), 60_000);
        black_box(&out);
    });
}

fn connect_command() -> Vec<Value> {
    let words = ["app", "flashVer", "tcUrl", "swfUrl", "pageUrl"];
    let numbers = ["capabilities", "audioCodecs", "videoCodecs", "objectEncoding"];
    let words = words.map(|key| (key.to_owned(), Value::from("rtmp://127.0.0.1/live?vhost=example.com")));
    let numbers = numbers.map(|key| (key.to_owned(), Value::Number(239.0)));
    let object = words.into_iter().chain(numbers).collect();
    vec!["connect".into(), Value::Number(1.0), Value::Object(object)]
}

#[divan::bench]
fn amf0_decode(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    amf0::encode_all(&connect_command(), &mut bytes);
    let limits = amf0::Limits::default();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| amf0::decode_all(black_box(&bytes), &limits).unwrap());
}

#[divan::bench]
fn amf0_encode(bencher: Bencher<'_, '_>) {
    let values = connect_command();
    let mut bytes = Vec::new();
    bencher.bench_local(|| {
        bytes.clear();
        amf0::encode_all(black_box(&values), &mut bytes);
        black_box(&bytes);
    });
}

fn entry(size: usize) -> Entry {
    Entry {
        kind: Kind::Video,
        flags: Flags::default(),
        dts_ms: 40,
        arrival_ns: 1,
        payload_len: u32::try_from(size).unwrap(),
    }
}

#[divan::bench(args = SIZES)]
fn ring_append(bencher: Bencher<'_, '_>, size: usize) {
    let mut ring = RingWriter::create(Shape::for_bytes(4 << 20), 1, 0, 60_000).unwrap();
    let payload = vec![0x42; size];
    let header = [0x46, 0, 0, 40, 0, 0, 0, 9];
    // Once around, so that no page is new.
    for _ in 0..=(4 << 20) / size {
        ring.append(entry(size), &[&header, &payload]).unwrap();
    }
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| ring.append(entry(size), &[&header, black_box(&payload)]));
}

#[divan::bench(args = SIZES)]
fn ring_read(bencher: Bencher<'_, '_>, size: usize) {
    let mut ring = RingWriter::create(Shape::for_bytes(4 << 20), 1, 0, 60_000).unwrap();
    let payload = vec![0x42; size];
    for _ in 0..200 {
        ring.append(entry(size), &[&payload]).unwrap();
    }
    let reader = RingReader::open(ring.reader_fd().unwrap()).unwrap();
    let mut out = Vec::new();
    // Once around, so that no page is new to this mapping.
    for seq in reader.tail()..reader.head() {
        let record = reader.record(seq).unwrap();
        reader.copy(record.position, record.wire_len, &mut out).unwrap();
    }
    let mut seq = reader.tail();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let record = reader.record(seq).unwrap();
        out.clear();
        reader.copy(record.position, record.wire_len, &mut out).unwrap();
        seq = if seq + 1 < reader.head() { seq + 1 } else { reader.tail() };
        black_box(&out);
    });
}

/// One `sendmsg` of a batch out of the ring, the way viewers are served.
#[divan::bench(args = [4_600, 46_000])]
fn ring_send(bencher: Bencher<'_, '_>, batch: u64) {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let mut ring = RingWriter::create(Shape::for_bytes(4 << 20), 1, 0, 60_000).unwrap();
    for _ in 0..100 {
        ring.append(entry(4_600), &[&[0x42; 4_600]]).unwrap();
    }
    let reader = RingReader::open(ring.reader_fd().unwrap()).unwrap();
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut sink = vec![0; 1 << 20];
    bencher.counter(BytesCount::new(batch)).bench_local(|| {
        reader.send(near.as_raw_fd(), 0, batch).unwrap();
        black_box(far.read(&mut sink).unwrap());
    });
}
