//! The ring of one stream: packets as viewers get them, and how large it has to be.

use media::Kind;
use mediaring::{Entry, Flags, HeaderKind, RingError, RingWriter, Shape};

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

/// What a ring has to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// The current group of pictures, up to so many packets; `None` when nobody wants it.
    pub(crate) gop_frames: Option<u64>,
    /// The longest queue of a viewer, ms.
    pub(crate) queue_ms: u64,
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

/// The ring of one stream.
#[derive(Debug)]
pub(crate) struct StreamRing {
    /// Number of the stream.
    id: u32,
    writer: RingWriter,
    pub(crate) need: Need,
    /// Last DTS in the ring by track: what packed deltas refer to.
    last_audio: Option<i64>,
    last_video: Option<i64>,
    /// The next packet is the first of a publish.
    begins: bool,
    hold_ms: u64,
    hold_until_ms: u64,
    /// Packets that were too large for the largest ring.
    pub(crate) oversized: u64,
    /// Key frames that left the ring early because it could not grow.
    pub(crate) truncated: u64,
}

impl StreamRing {
    /// An empty ring, for stream `id`.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn create(id: u32, initial: u64, chunk_size: u32, need: Need) -> Result<Self, RingError> {
        let writer = RingWriter::create(Shape::for_bytes(initial), id, 0, chunk_size)?;
        writer.set_note(endpoint::NOTE_BORN_NS, reactor::now_ns());
        Ok(Self::with(id, writer, need))
    }

    /// The ring of a back-source that is gone.
    pub(crate) fn adopt(id: u32, mut writer: RingWriter, need: Need) -> Self {
        // Nobody publishes: a newcomer waits for the next picture, as after any unpublish.
        writer.clear_key();
        writer.clear_headers();
        let note = |n| writer.note(n).checked_sub(1).map(u64::cast_signed);
        let (last_audio, last_video) = (note(NOTE_LAST_AUDIO), note(NOTE_LAST_VIDEO));
        Self { last_audio, last_video, ..Self::with(id, writer, need) }
    }

    fn with(id: u32, writer: RingWriter, need: Need) -> Self {
        Self {
            id,
            writer,
            need,
            last_audio: None,
            last_video: None,
            begins: true,
            hold_ms: MIN_HOLD_MS,
            hold_until_ms: 0,
            oversized: 0,
            truncated: 0,
        }
    }

    /// Last DTS of sounds and of pictures in the ring, ms.
    pub(crate) fn last(&self) -> (Option<i64>, Option<i64>) {
        (self.last_audio, self.last_video)
    }

    /// The writer, to be read.
    pub(crate) fn writer(&self) -> &RingWriter {
        &self.writer
    }

    pub(crate) fn shape(&self) -> Shape {
        self.writer.shape()
    }

    /// A publisher begins.
    pub(crate) fn begin(&mut self) {
        self.begins = true;
        self.writer.set_note(endpoint::NOTE_BEGAN_NS, reactor::now_ns());
        self.writer.set_note(endpoint::NOTE_FIRST_SEQ, self.writer.head() + 1);
    }

    /// The publisher has gone: what it left is not for newcomers.
    pub(crate) fn rest(&mut self) {
        self.writer.clear_key();
        self.writer.clear_headers();
    }

    /// Says whether times are those of a clock, not of the stream.
    pub(crate) fn note_absolute(&self, absolute: bool) {
        self.writer.set_note(endpoint::NOTE_ABSOLUTE_TIME, u64::from(absolute));
    }

    /// Another need from now on.
    pub(crate) fn set_need(&mut self, need: Need) {
        if self.need.gop_frames.is_some() && need.gop_frames.is_none() {
            self.writer.clear_key();
        }
        self.need = need;
    }

    /// Packets are cut like this from now on. Returns whether the ring is a new generation; it stays as it is while packets
    /// from before the last change are in it.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn follow_chunk_size(&mut self, chunk_size: u32) -> Result<bool, RingError> {
        if self.writer.chunk_size() == chunk_size {
            return Ok(false);
        }
        let Some(next) = self.writer.with_chunk_size(chunk_size)? else { return Ok(false) };
        self.writer = next;
        Ok(true)
    }

    /// A viewer lags: hold more for a while.
    pub(crate) fn hold(&mut self, lag_ms: u64, now_ms: u64) {
        let want = lag_ms.saturating_mul(2).clamp(MIN_HOLD_MS, self.need.queue_ms.max(MIN_HOLD_MS));
        if now_ms >= self.hold_until_ms || want > self.hold_ms {
            self.hold_ms = want;
        }
        self.hold_until_ms = now_ms + HOLD_FOR_MS;
    }

    /// Keeps a header for those who join later. `false` when it has no room.
    pub(crate) fn store_header(&mut self, header: HeaderKind, dts_ms: i64, bytes: &[u8]) -> bool {
        self.writer.store_header(header, self.writer.head(), dts_ms, bytes)
    }

    /// No packet comes after this one: where it ends, nothing more.
    pub(crate) fn close(&mut self) {
        self.writer.close();
    }

    /// Puts a packet in, in the form in which viewers get it.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        flags: Flags,
        dts_ms: i64,
        payload: &[u8],
        bounds: Bounds,
    ) -> Put {
        let chunk_size = self.writer.chunk_size();
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
        let changes = self.writer.head() == self.writer.chunk_seq();
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
        if self.writer.append(entry, &parts).is_none() {
            self.oversized += 1;
            return if grown { Put::InNewRing } else { Put::Nothing };
        }
        self.note_last(kind, dts_ms);
        if grown { Put::InNewRing } else { Put::InRing }
    }

    fn note_last(&mut self, kind: Kind, dts_ms: i64) {
        let note = dts_ms.cast_unsigned().wrapping_add(1);
        match kind {
            Kind::Audio => {
                self.last_audio = Some(dts_ms);
                self.writer.set_note(NOTE_LAST_AUDIO, note);
            }
            Kind::Video => {
                self.last_video = Some(dts_ms);
                self.writer.set_note(NOTE_LAST_VIDEO, note);
            }
            Kind::Data => {}
        }
    }

    /// Grows the ring where the packet would push out what is still needed. Returns whether it is a new generation.
    fn make_room(&mut self, wire_len: u32, now_ns: u64, bounds: Bounds) -> bool {
        let capacity = self.writer.shape().data_bytes;
        let wanted = match self.writer.tail_after(wire_len) {
            // No ring that is allowed could take it.
            None if u64::from(wire_len) * 8 > bounds.max => return false,
            None => (u64::from(wire_len) * 8).max(capacity),
            Some(tail) if tail == self.writer.tail() => return false,
            Some(tail) => {
                let held_ns = self.hold_ms * 1_000_000;
                let is_young = self
                    .writer
                    .record(tail)
                    .is_some_and(|oldest| now_ns.saturating_sub(oldest.arrival_ns) < held_ns);
                let gop = self.need.gop_frames.is_some_and(|most| {
                    let key = self.writer.key().filter(|key| *key < tail);
                    key.is_some_and(|key| self.writer.head() - key < MAX_GOP_RECORDS.min(most))
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
        match self.writer.next_generation(shape) {
            Ok(next) => {
                self.writer = next;
                true
            }
            Err(error) => {
                let id = self.id;
                tracing::error!("the ring of stream {id} can't become {} bytes: {error}", shape.data_bytes);
                false
            }
        }
    }

    /// Lets go of room that is no longer needed; called now and then. Returns whether the ring is a new generation.
    pub(crate) fn relax(&mut self, now_ms: u64, bounds: Bounds) -> bool {
        if now_ms >= self.hold_until_ms {
            self.hold_ms = MIN_HOLD_MS;
        }
        let capacity = self.writer.shape().data_bytes;
        if capacity <= bounds.initial {
            return false;
        }
        let first = self
            .writer
            .key()
            .into_iter()
            .chain(self.young_from(now_ms))
            .min()
            .unwrap_or_else(|| self.writer.head());
        let last = self.writer.head().checked_sub(1).and_then(|seq| self.writer.record(seq));
        let needed = match (self.writer.record(first), last) {
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
        let (mut low, mut high) = (self.writer.tail(), self.writer.head());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.writer.record(middle).is_some_and(|record| record.arrival_ns >= since) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low < self.writer.head()).then_some(low)
    }
}

/// The header of a packed message (fmt 1, RTMP 5.3.1.2.2), as `rtmp::chunk::writer::pack_delta` writes it; apart, so that
/// the payload goes into the ring without another copy.
fn delta_header(csid: u8, delta: u32, type_id: u8, len: usize) -> [u8; 8] {
    let [_, d0, d1, d2] = delta.to_be_bytes();
    let [_, l0, l1, l2] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [0x40 | csid, d0, d1, d2, l0, l1, l2, type_id]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { initial: 64 << 10, max: 1 << 20 };

    fn ring() -> StreamRing {
        let need = Need { gop_frames: Some(2500), queue_ms: 30_000 };
        StreamRing::create(1, BOUNDS.initial, 60_000, need).unwrap()
    }

    fn video(ring: &mut StreamRing, key: bool, dts_ms: i64, len: usize) -> Put {
        let flags = if key { Flags::default().with(Flags::KEY) } else { Flags::default() };
        ring.append(Kind::Video, flags, dts_ms, &vec![0xab; len], BOUNDS)
    }

    #[test]
    fn the_packed_header_is_the_one_of_the_chunk_writer() {
        let mut packed = Vec::new();
        rtmp::chunk::writer::pack_delta(&mut packed, 7, 23, 8, &[1, 2, 3], 128);
        assert_eq!(packed.get(..8), Some(&delta_header(7, 23, 8, 3)[..]));
    }

    #[test]
    fn the_ring_grows_for_the_group_of_pictures_and_no_further_than_allowed() {
        let mut ring = ring();
        video(&mut ring, true, 0, 1000);
        let mut grown = 0;
        for n in 1..400 {
            if video(&mut ring, false, n * 40, 1000) == Put::InNewRing {
                grown += 1;
            }
        }
        assert!(grown > 2);
        assert_eq!(ring.writer.key(), Some(0), "the key frame is kept");
        for n in 400..4000 {
            video(&mut ring, false, n * 40, 1000);
        }
        assert!(ring.shape().data_bytes <= BOUNDS.max);
        assert!(ring.writer.key().is_none() && ring.truncated > 0);
    }

    #[test]
    fn a_packet_larger_than_any_ring_is_counted_and_dropped() {
        let mut ring = ring();
        video(&mut ring, true, 0, 200_000);
        assert_eq!(ring.oversized, 1);
        assert_eq!(video(&mut ring, true, 40, 100_000), Put::InNewRing);
    }

    #[test]
    fn the_ring_shrinks_when_nobody_needs_its_size() {
        let mut ring = ring();
        video(&mut ring, true, 0, 1000);
        for n in 1..600 {
            video(&mut ring, false, n * 40, 1000);
        }
        let large = ring.shape().data_bytes;
        video(&mut ring, true, 600 * 40, 1000);
        assert!(ring.relax(reactor::now_ms() + 60_000, BOUNDS));
        assert!(ring.shape().data_bytes < large / 2);
        assert_eq!(ring.writer.key(), Some(600));
    }
}
