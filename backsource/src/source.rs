//! One stream: its ring, its timeline, and what is known of its publisher.

use std::collections::VecDeque;

use bytes::Bytes;
use flv::PacketInfo;
use media::timeline::{Jitter, Timeline};
use media::{Kind, StreamKey};
use mediaring::{Entry, Flags, HeaderKind, RingError, RingWriter, Shape, Tally};

use crate::metadata::{self, DataMessage};
use crate::tracks::Tracks;

/// Notes in the ring for a successor: last DTS of each track, biased by one (0: none yet).
const NOTE_LAST_AUDIO: usize = 1;
const NOTE_LAST_VIDEO: usize = 2;
/// A step that a packed header can't carry.
const MAX_DELTA: i64 = 0x00ff_ffff;
/// The ring always holds at least this much, ms.
const MIN_HOLD_MS: u64 = 1000;
/// How long a viewer's wish for a larger ring counts, ms.
const HOLD_FOR_MS: u64 = 15_000;
/// Most frames of a group of pictures that the ring grows for.
const MAX_GOP_RECORDS: u64 = 20_000;

/// Bounds of one stream's ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) initial: u64,
    pub(crate) max: u64,
}

/// What the vhost says of its streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) jitter: Jitter,
    pub(crate) absolute: bool,
    pub(crate) auto_absolute: bool,
    pub(crate) gop_cache: bool,
    pub(crate) max_gop_frames: u64,
    pub(crate) queue_ms: u64,
    pub(crate) chunk_size: u32,
    /// The server's version.
    pub(crate) version: &'static str,
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publisher {
    pub(crate) connection: endpoint::ConnectionId,
    pub(crate) msid: u32,
    pub(crate) cid: u64,
    pub(crate) since_ms: u64,
    /// Stands for the parameters of the stream name, a key among them perhaps.
    pub(crate) params: u64,
}

/// A process that reads a stream's ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    /// Key among the readers.
    pub(crate) reader: usize,
    /// It wants to be woken at most once in so many ms.
    pub(crate) pace_ms: u64,
    woken_ms: u64,
    /// Position of the ring's head when it was woken.
    woken_at: u64,
    /// It is to be woken when its time has come.
    pending: bool,
}

impl Subscription {
    pub(crate) fn new(reader: usize) -> Self {
        Self { reader, pace_ms: 0, woken_ms: 0, woken_at: 0, pending: false }
    }
}

/// Whom to wake of a stream's readers.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// Now.
    pub(crate) now: Vec<usize>,
    /// When somebody is due later, ms; only for what was not said before.
    pub(crate) later_ms: Option<u64>,
}

/// What putting a packet in came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// Nothing for viewers.
    Nothing,
    /// It is in the ring.
    InRing,
    /// It is in the ring, which is a new generation now.
    InNewRing,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) id: u32,
    pub(crate) key: StreamKey,
    pub(crate) ring: RingWriter,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) rules: Rules,
    pub(crate) readers: Vec<Subscription>,
    timeline: Timeline,
    /// Last DTS in the ring by track: what packed deltas refer to.
    last_audio: Option<i64>,
    last_video: Option<i64>,
    begins: bool,
    absolute: bool,
    hold_ms: u64,
    hold_until_ms: u64,
    /// When nobody published and nobody read any more, ms.
    pub(crate) idle_since_ms: Option<u64>,
    pub(crate) tracks: Tracks,
    /// Packets and bytes from all its publishers, and how many there were when this publish began.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) begun: (u64, u64),
    /// Its counters in shared memory.
    pub(crate) tally: Option<Tally>,
    /// What was received and sent at earlier times: when (ms), bytes, bytes.
    pub(crate) rates: VecDeque<(u64, u64, u64)>,
    /// What is kept of pictures and of sounds for those who join later.
    kept: [Option<Bytes>; 2],
    /// How its pictures are laid out.
    framing: flv::nal::Framing,
    /// Packets that were laid out as no packet should be.
    pub(crate) mended: u64,
    /// Packets that were too large for the largest ring.
    pub(crate) oversized: u64,
    /// Key frames that left the ring early because it could not grow.
    pub(crate) truncated: u64,
    /// Whether it was said in this publish that data messages are left out or shortened.
    data_told: bool,
}

impl Source {
    pub(crate) fn create(id: u32, key: StreamKey, rules: Rules, bounds: Bounds) -> Result<Self, RingError> {
        let shape = Shape::for_bytes(bounds.initial);
        let ring = RingWriter::create(shape, id, 0, rules.chunk_size)?;
        ring.set_note(endpoint::NOTE_BORN_NS, reactor::now_ns());
        let timeline = Timeline::new(jitter_of(rules));
        Ok(Self::with(id, key, ring, timeline, rules))
    }

    /// Takes over the ring of a back-source that is gone.
    pub(crate) fn adopt(id: u32, key: StreamKey, mut ring: RingWriter, rules: Rules) -> Self {
        let note = |n| ring.note(n).checked_sub(1).map(u64::cast_signed);
        let (audio, video) = (note(NOTE_LAST_AUDIO), note(NOTE_LAST_VIDEO));
        let timeline = Timeline::resume(jitter_of(rules), audio, video);
        // Nobody publishes: a newcomer waits for the next picture, as after any unpublish.
        ring.clear_key();
        ring.clear_headers();
        let mut source = Self::with(id, key, ring, timeline, rules);
        (source.last_audio, source.last_video) = (audio, video);
        source
    }

    fn with(id: u32, key: StreamKey, ring: RingWriter, timeline: Timeline, rules: Rules) -> Self {
        Self {
            id,
            key,
            ring,
            publisher: None,
            rules,
            readers: Vec::new(),
            timeline,
            last_audio: None,
            last_video: None,
            begins: true,
            absolute: rules.absolute,
            hold_ms: MIN_HOLD_MS,
            hold_until_ms: 0,
            idle_since_ms: None,
            tracks: Tracks::default(),
            frames: 0,
            bytes: 0,
            begun: (0, 0),
            tally: None,
            rates: VecDeque::new(),
            kept: [None, None],
            framing: flv::nal::Framing::default(),
            mended: 0,
            oversized: 0,
            truncated: 0,
            data_told: false,
        }
    }

    pub(crate) fn time_jumps(&self) -> u64 {
        self.timeline.jumps()
    }

    /// A publisher begins.
    pub(crate) fn begin(&mut self, publisher: Publisher, rules: Rules) {
        self.publisher = Some(publisher);
        self.rules = rules;
        self.absolute = rules.absolute;
        self.timeline.set_jitter(jitter_of(rules));
        self.timeline.begin_publish();
        self.begins = true;
        self.idle_since_ms = None;
        self.note_absolute();
        self.ring.set_note(endpoint::NOTE_BEGAN_NS, reactor::now_ns());
        self.ring.set_note(endpoint::NOTE_FIRST_SEQ, self.ring.head() + 1);
        self.tracks = Tracks::default();
        self.begun = (self.frames, self.bytes);
        (self.framing, self.mended) = (flv::nal::Framing::default(), 0);
        self.data_told = false;
        self.kept = [None, None];
    }

    /// Other rules hold from now on. How times are read stays as it is until the next publish: a change in mid-stream would
    /// be a jump.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        if self.rules.gop_cache && !rules.gop_cache {
            self.ring.clear_key();
        }
        self.rules = Rules { jitter: self.rules.jitter, absolute: self.rules.absolute, ..rules };
    }

    /// Packets are cut as the rules say from now on. Returns whether the ring is a new generation; it stays as it is while
    /// packets from before the last change are in it.
    pub(crate) fn follow_chunk_size(&mut self) -> bool {
        if self.ring.chunk_size() == self.rules.chunk_size {
            return false;
        }
        match self.ring.with_chunk_size(self.rules.chunk_size) {
            Ok(Some(next)) => {
                self.ring = next;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!("the chunk size of {} stays: {error}", self.key);
                false
            }
        }
    }

    /// The publisher has gone: what it left is not for newcomers.
    pub(crate) fn end(&mut self) {
        self.publisher = None;
        self.ring.clear_key();
        self.ring.clear_headers();
    }

    fn note_absolute(&self) {
        let absolute = self.absolute || self.rules.jitter == Jitter::Off;
        self.ring.set_note(endpoint::NOTE_ABSOLUTE_TIME, u64::from(absolute));
    }

    /// A viewer lags: hold more for a while.
    pub(crate) fn hold(&mut self, lag_ms: u64, now_ms: u64) {
        let want = lag_ms.saturating_mul(2).clamp(MIN_HOLD_MS, self.rules.queue_ms.max(MIN_HOLD_MS));
        if now_ms >= self.hold_until_ms || want > self.hold_ms {
            self.hold_ms = want;
        }
        self.hold_until_ms = now_ms + HOLD_FOR_MS;
    }

    /// Puts a packet of the publisher into the ring.
    pub(crate) fn put(
        &mut self,
        kind: Kind,
        wire_ms: u32,
        payload: &Bytes,
        bounds: Bounds,
        limits: &amf0::Limits,
    ) -> Put {
        self.frames += 1;
        self.bytes += payload.len() as u64;
        if payload.is_empty() {
            return Put::Nothing;
        }
        if kind == Kind::Data {
            return self.put_data(wire_ms, payload, bounds, limits);
        }
        let mended = self.mend(kind, payload);
        let payload = mended.as_ref().unwrap_or(payload);
        let info = flv::classify(kind, payload);
        self.tracks.describe(kind, info, payload);
        let is_kept = info.sequence_header || info.beside;
        let aside = is_kept || info.end_of_sequence;
        let arrival_ms = i64::try_from(reactor::now_ms()).unwrap_or(i64::MAX);
        let dts_ms = if aside {
            self.timeline.aside(kind, wire_ms)
        } else {
            self.timeline.frame_at(kind, wire_ms, arrival_ms)
        };
        let flags = Self::flags(info);
        if is_kept {
            self.keep(kind, dts_ms, payload);
        }
        self.append(kind, flags, dts_ms, payload, bounds)
    }

    /// A picture as it should have been, where it has start codes or empty units: no container takes those, and no player of FLV.
    fn mend(&mut self, kind: Kind, payload: &Bytes) -> Option<Bytes> {
        let mended = if kind == Kind::Video { self.framing.mend(payload)? } else { return None };
        if self.mended == 0 {
            tracing::warn!(
                "pictures of {} come with start codes or empty units: they are laid out anew",
                self.key
            );
        }
        self.mended += 1;
        Some(mended)
    }

    /// Keeps a header, beside those of other tracks, for those who join later.
    fn keep(&mut self, kind: Kind, dts_ms: i64, payload: &Bytes) {
        let header = if kind == Kind::Video { HeaderKind::Video } else { HeaderKind::Audio };
        let Some(known) = self.kept.get_mut(usize::from(kind == Kind::Audio)) else { return };
        let all = flv::kept::with(kind, known.as_ref(), payload);
        let stored = self.ring.store_header(header, self.ring.head(), dts_ms, &all);
        if !stored && let Some(main) = flv::kept::main(&all) {
            // Too much together: the first track's goes alone.
            self.ring.store_header(header, self.ring.head(), dts_ms, &main);
        }
        *known = Some(all);
    }

    fn flags(info: PacketInfo) -> Flags {
        let mut flags = Flags::default();
        if info.key_frame {
            flags = flags.with(Flags::KEY);
        }
        if info.sequence_header || info.beside {
            flags = flags.with(Flags::SEQUENCE_HEADER);
        }
        if info.beside || info.track != 0 {
            flags = flags.with(Flags::FURTHER);
        }
        flags
    }

    fn put_data(&mut self, wire_ms: u32, payload: &[u8], bounds: Bounds, limits: &amf0::Limits) -> Put {
        match metadata::read(payload, limits, self.rules.version) {
            DataMessage::Metadata { bytes, facts } => {
                self.timeline.set_rates(facts.sample_rate, facts.frame_rate);
                if facts.absolute_time && self.rules.auto_absolute && !self.absolute {
                    self.absolute = true;
                    self.timeline.set_jitter(Jitter::Off);
                    self.note_absolute();
                }
                let dts_ms = self.timeline.aside(Kind::Data, wire_ms);
                self.keep_metadata(dts_ms, &bytes, limits);
                self.append(Kind::Data, Flags::METADATA, dts_ms, &bytes, bounds)
            }
            DataMessage::Event(bytes) => {
                let dts_ms = self.timeline.aside(Kind::Data, wire_ms);
                self.append(Kind::Data, Flags::default(), dts_ms, &bytes, bounds)
            }
            DataMessage::Ignored => Put::Nothing,
            DataMessage::Unreadable(error) => {
                self.tell_data(&format!("a data message of {} bytes is left out: {error}", payload.len()));
                Put::Nothing
            }
        }
    }

    /// Keeps metadata for those who join later.
    fn keep_metadata(&mut self, dts_ms: i64, bytes: &[u8], limits: &amf0::Limits) {
        let max = HeaderKind::Metadata.max_bytes();
        let head = self.ring.head();
        if bytes.len() <= max {
            self.ring.store_header(HeaderKind::Metadata, head, dts_ms, bytes);
            return;
        }
        let (short, left_out) = metadata::shortened(bytes, max, limits);
        let (length, left_out) = (bytes.len(), left_out.join(", "));
        self.tell_data(&format!("metadata of {length} bytes: who joins later gets it without {left_out}"));
        self.ring.store_header(HeaderKind::Metadata, head, dts_ms, &short);
    }

    /// Says once per publish what is the matter with the publisher's data messages.
    fn tell_data(&mut self, what: &str) {
        if !self.data_told {
            self.data_told = true;
            tracing::warn!(
                cid = self.publisher.map_or(0, |publisher| publisher.cid),
                "stream {}: {what}",
                self.key
            );
        }
    }

    fn append(&mut self, kind: Kind, flags: Flags, dts_ms: i64, payload: &[u8], bounds: Bounds) -> Put {
        let chunk_size = self.ring.chunk_size();
        let Ok(wire_len) = u32::try_from(rtmp::chunk::writer::wire_len_delta(payload.len(), chunk_size))
        else {
            self.oversized += 1;
            return Put::Nothing;
        };
        let arrival_ns = reactor::now_ns();
        let grown = self.make_room(wire_len, arrival_ns, bounds);
        let last = match kind {
            Kind::Audio => self.last_audio,
            Kind::Video => self.last_video,
            Kind::Data => None,
        };
        let delta = last.map(|last| dts_ms - last).filter(|delta| (0..MAX_DELTA).contains(delta));
        let mut flags = flags;
        // Where the chunk size changes, viewers have to be told it first.
        let changes = self.ring.head() == self.ring.chunk_seq();
        if (delta.is_none() || changes) && kind != Kind::Data {
            flags = flags.with(Flags::ABSOLUTE);
        }
        if std::mem::take(&mut self.begins) {
            flags = flags.with(Flags::DISCONTINUITY);
        }
        let delta = delta.and_then(|delta| u32::try_from(delta).ok()).unwrap_or(0);
        let csid = match kind {
            Kind::Audio => rtmp::message::CSID_AUDIO,
            Kind::Video => rtmp::message::CSID_VIDEO,
            Kind::Data => rtmp::message::CSID_DATA,
        };
        let header = delta_header(csid, delta, kind.type_id(), payload.len());
        let continuation = [0xc0 | csid];
        let mut parts: Vec<&[u8]> = vec![&header];
        for (n, chunk) in payload.chunks(chunk_size.max(1) as usize).enumerate() {
            if n > 0 {
                parts.push(&continuation);
            }
            parts.push(chunk);
        }
        let payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let entry = Entry { kind, flags, dts_ms, arrival_ns, payload_len };
        if self.ring.append(entry, &parts).is_none() {
            self.oversized += 1;
            return if grown { Put::InNewRing } else { Put::Nothing };
        }
        let note = dts_ms.cast_unsigned().wrapping_add(1);
        match kind {
            Kind::Audio => {
                self.last_audio = Some(dts_ms);
                self.ring.set_note(NOTE_LAST_AUDIO, note);
            }
            Kind::Video => {
                self.last_video = Some(dts_ms);
                self.ring.set_note(NOTE_LAST_VIDEO, note);
            }
            Kind::Data => {}
        }
        if grown { Put::InNewRing } else { Put::InRing }
    }

    /// Grows the ring where the packet would push out what is still needed. Returns whether it is a new generation.
    fn make_room(&mut self, wire_len: u32, now_ns: u64, bounds: Bounds) -> bool {
        let capacity = self.ring.shape().data_bytes;
        let wanted = match self.ring.tail_after(wire_len) {
            // No ring that is allowed could take it.
            None if u64::from(wire_len) * 8 > bounds.max => return false,
            None => (u64::from(wire_len) * 8).max(capacity),
            Some(tail) if tail == self.ring.tail() => return false,
            Some(tail) => {
                let held_ns = self.hold_ms * 1_000_000;
                let is_young = self
                    .ring
                    .record(tail)
                    .is_some_and(|oldest| now_ns.saturating_sub(oldest.arrival_ns) < held_ns);
                let key = self.ring.key().filter(|key| self.rules.gop_cache && *key < tail);
                let gop = key.is_some_and(|key| {
                    let records = self.ring.head() - key;
                    records < MAX_GOP_RECORDS.min(self.rules.max_gop_frames)
                });
                if !is_young && !gop {
                    return false;
                }
                capacity + capacity / 2
            }
        };
        let wanted = wanted.min(bounds.max);
        if wanted <= capacity {
            self.truncated += 1;
            return false;
        }
        self.reshape(Shape::for_bytes(wanted))
    }

    fn reshape(&mut self, shape: Shape) -> bool {
        match self.ring.next_generation(shape) {
            Ok(next) => {
                self.ring = next;
                true
            }
            Err(error) => {
                tracing::error!("the ring of {} can't become {} bytes: {error}", self.key, shape.data_bytes);
                false
            }
        }
    }

    /// Whom to wake: the ring has advanced (`is_new`), or a time that was said has come. Those who gather are woken when
    /// their time has come, or early when a quarter of the ring has been written since. `rests_ms` is what rests of the loop
    /// add: together with it nobody waits longer than was asked for.
    pub(crate) fn wakes(&mut self, now_ms: u64, is_new: bool, rests_ms: u64) -> Wakes {
        let mut wakes = Wakes::default();
        let head = self.ring.head_position();
        let quarter = self.ring.shape().data_bytes / 4;
        for reader in &mut self.readers {
            let due_ms = reader.woken_ms + reader.pace_ms.saturating_sub(rests_ms);
            let waits = is_new || reader.pending;
            if waits && (due_ms <= now_ms || head.saturating_sub(reader.woken_at) > quarter) {
                (reader.woken_ms, reader.woken_at, reader.pending) = (now_ms, head, false);
                wakes.now.push(reader.reader);
            } else if is_new && !reader.pending {
                reader.pending = true;
                wakes.later_ms = Some(wakes.later_ms.map_or(due_ms, |known: u64| known.min(due_ms)));
            } else if reader.pending && !is_new {
                wakes.later_ms = Some(wakes.later_ms.map_or(due_ms, |known: u64| known.min(due_ms)));
            }
        }
        wakes
    }

    /// Lets go of room that is no longer needed; called now and then. Returns whether the ring is a new generation.
    pub(crate) fn relax(&mut self, now_ms: u64, bounds: Bounds) -> bool {
        if now_ms >= self.hold_until_ms {
            self.hold_ms = MIN_HOLD_MS;
        }
        let capacity = self.ring.shape().data_bytes;
        if capacity <= bounds.initial {
            return false;
        }
        let first = self
            .ring
            .key()
            .into_iter()
            .chain(self.young_from(now_ms))
            .min()
            .unwrap_or_else(|| self.ring.head());
        let last = self.ring.head().checked_sub(1).and_then(|seq| self.ring.record(seq));
        let needed = match (self.ring.record(first), last) {
            (Some(first), Some(last)) => last.end() - first.position,
            _ => 0,
        };
        let largest = last.map_or(0, |last| u64::from(last.wire_len) * 8);
        let wanted = (needed * 2).max(largest).max(bounds.initial);
        wanted < capacity / 2 && self.reshape(Shape::for_bytes(wanted))
    }

    /// The first packet that is younger than what the ring is asked to hold.
    fn young_from(&self, now_ms: u64) -> Option<u64> {
        let since = now_ms.saturating_sub(self.hold_ms) * 1_000_000;
        let (mut low, mut high) = (self.ring.tail(), self.ring.head());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.ring.record(middle).is_some_and(|record| record.arrival_ns >= since) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low < self.ring.head()).then_some(low)
    }
}

/// The header of a packed message (fmt 1, RTMP 5.3.1.2.2), as `rtmp::chunk::writer::pack_delta` writes it; apart, so that
/// the payload goes into the ring without another copy.
fn delta_header(csid: u8, delta: u32, type_id: u8, len: usize) -> [u8; 8] {
    let [_, d0, d1, d2] = delta.to_be_bytes();
    let [_, l0, l1, l2] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [0x40 | csid, d0, d1, d2, l0, l1, l2, type_id]
}

fn jitter_of(rules: Rules) -> Jitter {
    if rules.absolute { Jitter::Off } else { rules.jitter }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        jitter: Jitter::Full,
        absolute: false,
        auto_absolute: true,
        gop_cache: true,
        max_gop_frames: 2500,
        queue_ms: 30_000,
        chunk_size: 60_000,
        version: "1.2.3",
    };
    const BOUNDS: Bounds = Bounds { initial: 64 << 10, max: 1 << 20 };

    fn source() -> Source {
        let key = StreamKey { vhost: "v".into(), app: "a".into(), stream: "s".into() };
        Source::create(1, key, RULES, BOUNDS).unwrap()
    }

    fn video(source: &mut Source, key: bool, at: u32, len: usize) -> Put {
        let mut payload = vec![if key { 0x17 } else { 0x27 }, 1];
        payload.resize(len, 0xab);
        source.put(Kind::Video, at, &payload.into(), BOUNDS, &amf0::Limits::default())
    }

    #[test]
    fn the_packed_header_is_the_one_of_the_chunk_writer() {
        let mut packed = Vec::new();
        rtmp::chunk::writer::pack_delta(&mut packed, 7, 23, 8, &[1, 2, 3], 128);
        assert_eq!(packed.get(..8), Some(&delta_header(7, 23, 8, 3)[..]));
    }

    #[test]
    fn the_ring_grows_for_the_group_of_pictures_and_no_further_than_allowed() {
        let mut source = source();
        video(&mut source, true, 0, 1000);
        let mut grown = 0;
        for n in 1..400 {
            if video(&mut source, false, n * 40, 1000) == Put::InNewRing {
                grown += 1;
            }
        }
        assert!(grown > 2);
        assert_eq!(source.ring.key(), Some(0), "the key frame is kept");
        for n in 400..4000 {
            video(&mut source, false, n * 40, 1000);
        }
        assert!(source.ring.shape().data_bytes <= BOUNDS.max);
        assert!(source.ring.key().is_none() && source.truncated > 0);
    }

    #[test]
    fn a_packet_larger_than_any_ring_is_counted_and_dropped() {
        let mut source = source();
        video(&mut source, true, 0, 200_000);
        assert_eq!(source.oversized, 1);
        assert_eq!(video(&mut source, true, 40, 100_000), Put::InNewRing);
    }

    #[test]
    fn who_gathers_is_woken_when_its_time_has_come_or_the_ring_fills() {
        let mut source = source();
        source.readers = vec![Subscription::new(1), Subscription { pace_ms: 350, ..Subscription::new(2) }];
        video(&mut source, true, 0, 1000);
        assert_eq!(source.wakes(1000, true, 0).now, [1, 2]);
        video(&mut source, false, 40, 1000);
        let wakes = source.wakes(1040, true, 0);
        assert_eq!((wakes.now, wakes.later_ms), (vec![1], Some(1350)));
        assert_eq!(source.wakes(1080, true, 0).later_ms, None, "said once");
        assert_eq!(source.wakes(1350, false, 0).now, [2]);
        for n in 2..20 {
            video(&mut source, false, n * 40, 1000);
        }
        assert_eq!(source.wakes(1400, true, 0).now, [1, 2], "a quarter of the ring is there");
        // What rests of the loop add is taken off.
        assert_eq!(source.wakes(1410, true, 50).later_ms, Some(1700));
        assert_eq!(source.wakes(1700, false, 50).now, [2]);
    }

    #[test]
    fn the_ring_shrinks_when_nobody_needs_its_size() {
        let mut source = source();
        video(&mut source, true, 0, 1000);
        for n in 1..600 {
            video(&mut source, false, n * 40, 1000);
        }
        let large = source.ring.shape().data_bytes;
        video(&mut source, true, 600 * 40, 1000);
        assert!(source.relax(reactor::now_ms() + 60_000, BOUNDS));
        assert!(source.ring.shape().data_bytes < large / 2);
        assert_eq!(source.ring.key(), Some(600));
    }
}
