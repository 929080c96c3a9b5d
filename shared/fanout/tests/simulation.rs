//! A stream, a viewer and its socket, played by seed: whatever the stream does, whatever the socket takes and whatever the
//! peer asks for, what comes out is a valid RTMP stream of what was published; and wherever the viewer's process dies, the
//! last cursor that was kept and the number of bytes that were taken give the rest of the stream to the byte.
//!
//! `SRS_SIMULATION_RUNS=N` plays N seeds instead of some hundred, `SRS_SIMULATION_SEED=N` begins at another one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests panic when they fail")]

use fanout::{
    Cursor, NOTE_BEGAN_NS, NOTE_FIRST_SEQ, PeerRequest, QueueLimits, RestoreError, Step, Stream, Window, Wire,
};
use media::Kind;
use mediaring::{Entry, Flags, HeaderKind, RingReader, RingWriter, Shape};
use rtmp::chunk::reader::ChunkReader;
use rtmp::chunk::writer::{pack_delta, write_message};

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// The publisher's side, as a back-source writes it.
struct Publisher {
    ring: RingWriter,
    last: [Option<i64>; 2],
    clock_ms: i64,
    has_video: bool,
    has_audio: bool,
    gop: u64,
    count: u64,
    steps_back: u64,
}

fn csid(kind: Kind) -> u8 {
    match kind {
        Kind::Data => rtmp::message::CSID_DATA,
        Kind::Video => rtmp::message::CSID_VIDEO,
        Kind::Audio => rtmp::message::CSID_AUDIO,
    }
}

impl Publisher {
    fn new(random: &mut Random) -> Self {
        let (data_bytes, records) = random.one_of(&[(8192, 64), (32 << 10, 128), (64 << 10, 4096)]);
        let chunk_size = random.one_of(&[128, 300, 60_000]);
        let ring = RingWriter::create(Shape { data_bytes, records }, 1, 0, chunk_size).unwrap();
        let tracks = random.below(4);
        let mut publisher = Self {
            ring,
            last: [None, None],
            // Close to where 24 and 32 bits end, too.
            clock_ms: random.one_of(&[0, 10_000, 0x00ff_f000, 0xffff_f000]),
            has_video: tracks != 1,
            has_audio: tracks != 2,
            gop: 1 + random.below(30),
            count: 0,
            steps_back: 0,
        };
        publisher.ring.set_note(NOTE_BEGAN_NS, 1);
        publisher.ring.set_note(NOTE_FIRST_SEQ, 1);
        publisher.headers();
        publisher
    }

    fn headers(&mut self) {
        if self.has_video {
            self.put(Kind::Video, Flags::SEQUENCE_HEADER, 20, Some(HeaderKind::Video));
        }
        if self.has_audio {
            self.put(Kind::Audio, Flags::SEQUENCE_HEADER, 4, Some(HeaderKind::Audio));
        }
    }

    fn put(&mut self, kind: Kind, flags: Flags, len: usize, header: Option<HeaderKind>) {
        let is_header = u8::from(header.is_some());
        let mut payload = if kind == Kind::Video { vec![0x17, is_header] } else { vec![0xaf, is_header] };
        payload.extend_from_slice(&self.count.to_be_bytes());
        payload.extend_from_slice(&self.clock_ms.to_be_bytes());
        payload.resize(payload.len() + len, self.count.to_le_bytes()[0]);
        let track = usize::from(kind == Kind::Video);
        let last = if kind == Kind::Data { None } else { self.last[track] };
        let delta = last.map(|last| self.clock_ms - last).filter(|delta| (0..0x00ff_ffff).contains(delta));
        let mut flags = flags;
        if kind != Kind::Data && (delta.is_none() || self.ring.head() == self.ring.chunk_seq()) {
            flags = flags.with(Flags::ABSOLUTE);
        }
        let mut wire = Vec::new();
        let delta = u32::try_from(delta.unwrap_or(0)).unwrap();
        pack_delta(&mut wire, csid(kind), delta, kind.type_id(), &payload, self.ring.chunk_size());
        if let Some(header) = header {
            self.ring.store_header(header, self.ring.head(), self.clock_ms, &payload);
        }
        let payload_len = u32::try_from(payload.len()).unwrap();
        let entry = Entry { kind, flags, dts_ms: self.clock_ms, arrival_ns: 0, payload_len };
        if self.ring.append(entry, &[&wire]).is_some() && kind != Kind::Data {
            self.last[track] = Some(self.clock_ms);
        }
        self.count += 1;
    }

    /// A packet of whatever kind comes next.
    fn publish(&mut self, random: &mut Random) {
        self.clock_ms += i64::try_from(random.below(40)).unwrap();
        let len = usize::try_from(random.below(900)).unwrap();
        match random.below(40) {
            0 => self.put(Kind::Data, Flags::METADATA, len / 9, Some(HeaderKind::Metadata)),
            1 => self.put(Kind::Data, Flags::default(), len / 9, None),
            2 => self.headers(),
            // The clock jumps.
            3 if random.one_in(2) => self.clock_ms += 100_000,
            3 => {
                self.clock_ms -= 5000;
                self.steps_back += 1;
            }
            4..=20 if self.has_audio => self.put(Kind::Audio, Flags::default(), len / 10, None),
            _ if self.has_video => {
                let is_key = self.count.is_multiple_of(self.gop);
                let flags = if is_key { Flags::KEY } else { Flags::default() };
                self.put(Kind::Video, flags, len, None);
            }
            _ => {}
        }
    }
}

/// What is kept of a viewer elsewhere: the cursor at its last change, and what waited for the socket then.
#[derive(Clone)]
struct Kept {
    cursor: Cursor,
    waiting: Vec<u8>,
    chunk_size: u32,
    /// Bytes that the socket took since.
    taken: u64,
}

/// A viewer, its connection and what its peer has got.
struct Connection {
    cursor: Cursor,
    outbox: Vec<u8>,
    chunk_size: u32,
    kept: Kept,
    peer: Vec<u8>,
}

fn stream<'a>(ring: &'a RingReader, window: &'a Window) -> Stream<'a, RingReader> {
    Stream { packets: ring, window, gop_cache: true, has_publisher: true, now_ms: 1_000_000 }
}

/// What a successor sees of the stream.
fn seen_anew(ring: &RingReader) -> Window {
    let mut window = Window::default();
    window.restart(ring);
    window.scan(ring);
    window
}

impl Connection {
    fn new(random: &mut Random, ring_chunk: u32) -> Self {
        let duration = random.one_in(10).then(|| 500 + random.below(3000));
        let cursor = Cursor::new(1, 0, random.below(3)).for_duration(duration);
        let chunk_size = if random.one_in(3) { 128 } else { ring_chunk };
        let kept = Kept { cursor: cursor.clone(), waiting: Vec::new(), chunk_size, taken: 0 };
        // The peer is told before that.
        let mut peer = Vec::new();
        write_message(&mut peer, 2, 0, 1, 0, &chunk_size.to_be_bytes(), 128);
        Self { cursor, outbox: Vec::new(), chunk_size, kept, peer }
    }

    fn keep(&mut self) {
        if self.kept.cursor.changes() != self.cursor.changes() {
            self.kept = Kept {
                cursor: self.cursor.clone(),
                waiting: self.outbox.clone(),
                chunk_size: self.chunk_size,
                taken: 0,
            };
        }
    }

    fn take_outbox(&mut self, room: &mut u64) {
        let count = (*room).min(self.outbox.len() as u64);
        self.peer.extend(self.outbox.drain(..usize::try_from(count).unwrap()));
        self.kept.taken += count;
        *room -= count;
    }

    /// The socket takes up to `room` bytes. `false` when the viewer is over.
    fn serve(&mut self, ring: &RingReader, window: &Window, mut room: u64) -> bool {
        let stream = stream(ring, window);
        while room > 0 {
            let mut wire = Wire { out: &mut self.outbox, chunk_size: self.chunk_size, alone: true };
            let step = self.cursor.step(&stream, &mut wire);
            if let Step::ChunkSize(size) = step {
                write_message(&mut self.outbox, 2, 0, 1, 0, &size.to_be_bytes(), self.chunk_size);
                self.chunk_size = size;
            }
            self.keep();
            self.take_outbox(&mut room);
            match step {
                Step::Ring { from, to } if self.outbox.is_empty() => {
                    let count = room.min(to - from);
                    ring.copy(from, u32::try_from(count).unwrap(), &mut self.peer).unwrap();
                    self.cursor.take(count, to);
                    self.kept.taken += count;
                    room -= count;
                }
                Step::Ring { .. } | Step::Wait | Step::AwaitsTrack => return true,
                Step::Own | Step::Jump { .. } | Step::ChunkSize(_) => {}
                Step::Finished | Step::Lost => return false,
            }
        }
        true
    }

    /// Its process dies, and a successor goes on. `false` where the ring no longer holds what was sent.
    fn die(&mut self, ring: &RingReader) -> bool {
        let (kept, window) = (self.kept.clone(), seen_anew(ring));
        let waited = kept.waiting.len() as u64;
        if kept.taken < waited {
            self.outbox = kept.waiting[usize::try_from(kept.taken).unwrap()..].to_vec();
            self.cursor = kept.cursor.attached(0);
        } else {
            let bytes = kept.taken - waited;
            match kept.cursor.after(bytes, &stream(ring, &window), kept.chunk_size, true) {
                Ok(restored) => {
                    self.outbox = restored.rest;
                    self.cursor = restored.cursor.attached(0);
                }
                Err(error) => {
                    assert_eq!(error, RestoreError::Gone);
                    return false;
                }
            }
        }
        self.chunk_size = kept.chunk_size;
        self.keep();
        true
    }
}

/// What follows from a cursor, as far as the stream goes and nothing else has to be known.
fn continuation(mut cursor: Cursor, chunk_size: u32, ring: &RingReader, window: &Window) -> Vec<u8> {
    let (mut all, stream) = (Vec::new(), stream(ring, window));
    loop {
        let mut wire = Wire { out: &mut all, chunk_size, alone: true };
        match cursor.step(&stream, &mut wire) {
            Step::Ring { from, to } => {
                ring.copy(from, u32::try_from(to - from).unwrap(), &mut all).unwrap();
                cursor.take(to - from, to);
            }
            Step::Own => {}
            _ => return all,
        }
    }
}

/// The process dies after each byte that could have been taken: the successor goes on with exactly the next one.
fn die_everywhere(kept: &Kept, ring: &RingReader, random: &mut Random) -> usize {
    let window = seen_anew(ring);
    let text = serde_json::to_string(&kept.cursor).unwrap();
    let cursor = || serde_json::from_str::<Cursor>(&text).unwrap();
    let all = continuation(cursor().attached(0), kept.chunk_size, ring, &window);
    if cursor().is_joining() || all.is_empty() {
        return 0;
    }
    let step = 1 + all.len() / 200;
    let mut died = 0;
    let mut at = usize::try_from(random.below(step as u64)).unwrap();
    while at <= all.len() {
        let restored = cursor().after(at as u64, &stream(ring, &window), kept.chunk_size, true).unwrap();
        let mut rest = restored.rest;
        rest.extend(continuation(restored.cursor, kept.chunk_size, ring, &window));
        assert_eq!(rest.len(), all.len() - at, "after {at} of {} bytes", all.len());
        assert!(rest == all[at..], "after {at} of {} bytes", all.len());
        died += 1;
        at += step;
    }
    let more = all.len() as u64 + 1;
    let further = cursor().after(more, &stream(ring, &window), kept.chunk_size, true);
    assert!(matches!(further, Err(RestoreError::Unexplained(_) | RestoreError::Gone)), "{further:?}");
    died
}

/// The peer's view: whole messages, each as it was published, none twice, in order and at its time.
fn check(peer: &[u8], published: u64, mut steps_back: u64) {
    let limits = rtmp::Limits { tolerate_large_chunk_size: true, ..rtmp::Limits::default() };
    let mut reader = ChunkReader::new(&limits);
    let mut input = peer;
    let (mut newest, mut base_ms) = ([None::<u64>; 3], None);
    while let Some(message) = reader.read(&mut input).unwrap() {
        if message.type_id == 1 {
            reader.set_chunk_size(u32::from_be_bytes(message.payload[..4].try_into().unwrap())).unwrap();
            continue;
        }
        let number = u64::from_be_bytes(message.payload[2..10].try_into().unwrap());
        assert!(number < published && message.stream_id == 1);
        let filling = number.to_le_bytes()[0];
        assert!(message.payload[18..].iter().all(|byte| *byte == filling), "packet {number} is torn");
        let track = match message.type_id {
            8 => 0,
            9 => 1,
            _ => 2,
        };
        // Kept headers come again behind a jump.
        let (newest, is_header) = (&mut newest[track], message.payload[1] == 1);
        assert!(is_header || newest.is_none_or(|newest| newest < number), "{newest:?}, then {number}");
        *newest = (*newest).max(Some(number));
        // One base for both tracks, whatever header the packet has; another only where the clock steps back behind it.
        if track < 2 && !is_header {
            let dts_ms = i64::from_be_bytes(message.payload[10..18].try_into().unwrap());
            let base = (dts_ms - i64::from(message.timestamp)).rem_euclid(1 << 32);
            let known = *base_ms.get_or_insert(base);
            if base != known {
                let back = (known - base).rem_euclid(1 << 32);
                assert!(
                    steps_back > 0 && back < 1 << 31,
                    "the time of packet {number}: {known}, then {base}"
                );
                steps_back -= 1;
                base_ms = Some(base);
            }
        }
    }
    assert!(input.is_empty());
}

/// One run. Returns how often the process died.
fn run(seed: u64) -> usize {
    let random = &mut Random(seed);
    let mut publisher = Publisher::new(random);
    let ring = RingReader::open(publisher.ring.reader_fd().unwrap()).unwrap();
    let mut window = seen_anew(&ring);
    let mut connection = Connection::new(random, ring.chunk_size());
    let limits = QueueLimits { ms: 5000, bytes: u64::MAX };
    let (mut died, mut paused) = (0, false);
    for _ in 0..300 {
        match random.below(20) {
            0..=9 => {
                for _ in 0..=random.below(4) {
                    publisher.publish(random);
                    window.scan(&ring);
                    let watched = connection.cursor.watch(&stream(&ring, &window), limits, random.one_in(4));
                    connection.outbox.splice(..0, watched.rest);
                    connection.keep();
                }
            }
            10..=15 => {
                let room = random.one_of(&[1, 7, 100, 2000, 1 << 20]);
                if !connection.serve(&ring, &window, 1 + random.below(room)) {
                    break;
                }
            }
            16 if random.one_in(3) => {
                paused = !paused;
                let on = random.one_in(2);
                connection.cursor.request(
                    random.one_of(&[
                        PeerRequest::Pause(paused),
                        PeerRequest::ReceiveAudio(on),
                        PeerRequest::ReceiveVideo(on),
                    ]),
                    &window,
                );
                connection.keep();
            }
            17 => died += die_everywhere(&connection.kept, &ring, random),
            18 if !connection.kept.cursor.is_joining() => {
                if !connection.die(&ring) {
                    break;
                }
                window = seen_anew(&ring);
                died += 1;
            }
            _ => {}
        }
    }
    check(&connection.peer, publisher.count, publisher.steps_back);
    died
}

#[test]
fn whatever_happens_the_peer_gets_what_was_published() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("SRS_SIMULATION_SEED").unwrap_or(1);
    let runs = number("SRS_SIMULATION_RUNS").unwrap_or(400);
    let mut died = 0;
    for seed in first..first + runs {
        let played = std::panic::catch_unwind(|| run(seed));
        died += played.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(died > 1000, "{died} deaths in {runs} runs");
}
