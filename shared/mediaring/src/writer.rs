//! The writing end of a ring.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use media::Kind;

use crate::RingError;
use crate::layout::{
    Flags, HeaderKind, MAGIC, MAX_PAYLOAD, NOTES, Record, STATE_CLOSED, STATE_SUPERSEDED, Shape,
    W_CHUNK_BEFORE, W_CHUNK_SEQ, W_CHUNK_SIZE, W_DATA_BYTES, W_GENERATION, W_HEAD, W_KEY, W_MAGIC, W_NOTES,
    W_RECORDS, W_STATE, W_STREAM_ID, W_TAIL, W_TAIL_POS,
};
use crate::map::Map;
use crate::reader;

/// Sequence numbers and positions beyond this are no writer's: a stream of 100 Gbit/s needs ten years for so many bytes.
const FURTHEST: u64 = 1 << 62;

/// What the writer says of a packet; the ring adds sequence number and position.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it carries.
    pub kind: Kind,
    /// Its properties.
    pub flags: Flags,
    /// Time on the stream's timeline, ms.
    pub dts_ms: i64,
    /// When it was complete, monotonic ns.
    pub arrival_ns: u64,
    /// Payload bytes (without chunk headers).
    pub payload_len: u32,
}

/// The only writer of a ring. Not `Clone`: two of them would tear the stream.
#[derive(Debug)]
pub struct RingWriter {
    map: Map,
    shape: Shape,
    head: u64,
    head_pos: u64,
    tail: u64,
    tail_pos: u64,
    key: Option<u64>,
}

impl RingWriter {
    /// A new, empty ring. `chunk_size` is what the wire bytes were cut with, for the readers.
    ///
    /// # Errors
    /// [`RingError`] when the shape is out of range or the kernel has no memory.
    pub fn create(shape: Shape, stream_id: u32, generation: u32, chunk_size: u32) -> Result<Self, RingError> {
        let shape = shape.check()?;
        let map = Map::create(&format!("srs-ring-{stream_id}"), shape.total_bytes())?;
        for (at, len) in shape.reserved() {
            map.reserve(at, len)?;
        }
        for (word, value) in [
            (W_GENERATION, u64::from(generation)),
            (W_RECORDS, shape.records),
            (W_DATA_BYTES, shape.data_bytes),
            (W_CHUNK_SIZE, u64::from(chunk_size)),
            (W_STREAM_ID, u64::from(stream_id)),
        ] {
            map.store(word, value, Ordering::Relaxed);
        }
        map.store(W_MAGIC, MAGIC, Ordering::Release);
        Ok(Self { map, shape, head: 0, head_pos: 0, tail: 0, tail_pos: 0, key: None })
    }

    /// Takes over the ring of a writer that is gone. A packet that it had not published is forgotten. A generation that was
    /// superseded goes on: give only the newest that is known.
    ///
    /// # Errors
    /// [`RingError`] when the descriptor is no ring.
    pub fn adopt(fd: OwnedFd) -> Result<Self, RingError> {
        let map = Map::writable(fd)?;
        let shape = reader::shape_of(&map)?;
        let head = map.load(W_HEAD, Ordering::Acquire);
        if head > FURTHEST {
            return Err(RingError::Format("its head is further than a stream comes"));
        }
        let mut ring = Self {
            head,
            head_pos: 0,
            tail: map.load(W_TAIL, Ordering::Relaxed).min(head),
            tail_pos: map.load(W_TAIL_POS, Ordering::Relaxed),
            key: map.load(W_KEY, Ordering::Relaxed).checked_sub(1).filter(|key| *key < head),
            map,
            shape,
        };
        ring.tail = ring.tail.max(head.saturating_sub(shape.records));
        // The newest record stays in its slot even when its bytes had to go, so that it tells where the bytes go on. A
        // generation that began empty has none; there the tail is where it began.
        let last = head.checked_sub(1).and_then(|seq| reader::load_record(&ring.map, shape, seq));
        ring.head_pos = last.map_or(ring.tail_pos, |last| last.end().max(ring.tail_pos));
        if ring.head_pos > FURTHEST {
            return Err(RingError::Format("its bytes go further than a stream comes"));
        }
        // The dead writer may have stopped between the two words of its announcement.
        ring.tail_pos = ring.record(ring.tail).map_or(ring.head_pos, |oldest| oldest.position);
        ring.map.store(W_TAIL, ring.tail, Ordering::Relaxed);
        ring.map.store(W_TAIL_POS, ring.tail_pos, Ordering::Relaxed);
        ring.key = ring.key.filter(|key| *key >= ring.tail);
        // Whoever gives us this generation has no later one: its successor, if there was one, died with the writer.
        let state = ring.map.load(W_STATE, Ordering::Relaxed);
        ring.map.store(W_STATE, state & !STATE_SUPERSEDED, Ordering::Release);
        Ok(ring)
    }

    /// The writable descriptor: what the keeper holds for a successor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd()
    }

    /// A read-only descriptor of the same memory: what readers are given.
    ///
    /// # Errors
    /// [`RingError::Os`] when no descriptor is left.
    pub fn reader_fd(&self) -> Result<OwnedFd, RingError> {
        self.map.reopen_read_only()
    }

    /// Sizes.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Generation number.
    #[must_use]
    pub fn generation(&self) -> u32 {
        u32::try_from(self.map.load(W_GENERATION, Ordering::Relaxed)).unwrap_or(0)
    }

    /// Chunk size of the wire bytes.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        u32::try_from(self.map.load(W_CHUNK_SIZE, Ordering::Relaxed)).unwrap_or(0)
    }

    /// Sequence number of the first packet that is cut with [`Self::chunk_size`]; those before it are cut otherwise.
    #[must_use]
    pub fn chunk_seq(&self) -> u64 {
        self.map.load(W_CHUNK_SEQ, Ordering::Relaxed)
    }

    /// Sequence number of the next packet.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Sequence number of the oldest packet that is still whole.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The newest key frame that is still in the ring.
    #[must_use]
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// Position behind the newest packet.
    #[must_use]
    pub fn head_position(&self) -> u64 {
        self.head_pos
    }

    /// Bytes between the oldest packet and the newest.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.head_pos - self.tail_pos
    }

    /// The record `seq`, if it is still in the ring.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<Record> {
        if seq >= self.head || seq < self.tail {
            return None;
        }
        reader::load_record(&self.map, self.shape, seq)
    }

    /// The first sequence number that would still be in the ring after a packet of `wire_len` bytes were appended; `None`
    /// when the packet is larger than an eighth of the ring and must not go in.
    #[must_use]
    pub fn tail_after(&self, wire_len: u32) -> Option<u64> {
        if u64::from(wire_len) > self.shape.data_bytes / 8 {
            return None;
        }
        let keep_from = (self.head_pos + u64::from(wire_len)).saturating_sub(self.shape.data_bytes);
        let mut tail = self.tail.max((self.head + 1).saturating_sub(self.shape.records));
        while tail < self.head {
            match reader::load_record(&self.map, self.shape, tail) {
                Some(record) if record.position >= keep_from => break,
                _ => tail += 1,
            }
        }
        Some(tail)
    }

    /// Appends a packet: `parts` are its wire bytes. Returns its sequence number, or `None` when it is larger than an
    /// eighth of the ring (nothing is written then).
    pub fn append(&mut self, entry: Entry, parts: &[&[u8]]) -> Option<u64> {
        let wire_len = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
        let tail = self.tail_after(wire_len)?;
        if tail != self.tail {
            self.tail_pos = match reader::load_record(&self.map, self.shape, tail) {
                Some(record) if tail < self.head => record.position,
                _ => self.head_pos,
            };
            self.tail = tail;
            // Partner of the reader's fence in `RingReader::intact`: whoever sees one of the words stored below also
            // sees this tail.
            self.map.store(W_TAIL, self.tail, Ordering::Relaxed);
            self.map.store(W_TAIL_POS, self.tail_pos, Ordering::Relaxed);
            fence(Ordering::Release);
            if self.key.is_some_and(|key| key < self.tail) {
                self.key = None;
                self.map.store(W_KEY, 0, Ordering::Relaxed);
            }
        }
        let mut at = self.head_pos;
        for part in parts {
            let [(first, first_len), (second, _)] = self.shape.spans(at, part.len() as u64);
            let (head, rest) = part.split_at_checked(first_len).unwrap_or((part, &[]));
            self.map.copy_in(first, head);
            self.map.copy_in(second, rest);
            at += part.len() as u64;
        }
        let record = Record {
            seq: self.head,
            position: self.head_pos,
            wire_len,
            payload_len: entry.payload_len.min(MAX_PAYLOAD),
            dts_ms: entry.dts_ms,
            arrival_ns: entry.arrival_ns,
            kind: entry.kind,
            flags: entry.flags,
        };
        self.publish(record);
        Some(record.seq)
    }

    fn publish(&mut self, record: Record) {
        let slot = self.shape.slot(record.seq);
        for (n, word) in record.to_words().into_iter().enumerate() {
            self.map.store(slot + n, word, Ordering::Relaxed);
        }
        self.head = record.seq + 1;
        self.head_pos = record.end();
        // Partner: the acquire load of the head in `RingReader::head`. Record and bytes are visible with it.
        self.map.store(W_HEAD, self.head, Ordering::Release);
        if record.flags.contains(Flags::KEY) {
            self.key = Some(record.seq);
            self.map.store(W_KEY, record.seq + 1, Ordering::Release);
        }
    }

    /// Keeps a header for those who join later: valid for packets from `seq` on. The version before stays readable for
    /// those who begin earlier. Headers beyond [`HeaderKind::max_bytes`], or for which there is no memory, are not kept
    /// (`false`).
    pub fn store_header(&mut self, kind: HeaderKind, seq: u64, dts_ms: i64, bytes: &[u8]) -> bool {
        if bytes.len() > kind.max_bytes() {
            return false;
        }
        let newest = reader::newest_version(&self.map, kind);
        // A second one for the same packets replaces the first.
        let replaces = reader::load_header(&self.map, kind, newest).is_some_and(|header| header.seq == seq);
        let version = if replaces { newest } else { 1 - newest };
        self.write_header(kind, version, seq, dts_ms, bytes)
    }

    fn write_header(&self, kind: HeaderKind, version: usize, seq: u64, dts_ms: i64, bytes: &[u8]) -> bool {
        if self.map.reserve(kind.at(version as u64), bytes.len() as u64).is_err() {
            return false;
        }
        let words = kind.words(version);
        let lock = self.map.load(words, Ordering::Relaxed);
        // Odd: being written. Partner: the lock loads in `RingReader::header`.
        self.map.store(words, lock | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.map.store(words + 1, seq, Ordering::Relaxed);
        self.map.store(words + 2, dts_ms.cast_unsigned(), Ordering::Relaxed);
        self.map.store(words + 3, bytes.len() as u64 + 1, Ordering::Relaxed);
        self.map.copy_in(kind.at(version as u64), bytes);
        self.map.store(words, (lock | 1).wrapping_add(1), Ordering::Release);
        true
    }

    /// Forgets the kept headers (the publisher has gone).
    pub fn clear_headers(&mut self) {
        for kind in [HeaderKind::Metadata, HeaderKind::Video, HeaderKind::Audio] {
            for version in 0..2 {
                let words = kind.words(version);
                let lock = self.map.load(words, Ordering::Relaxed);
                self.map.store(words, lock | 1, Ordering::Relaxed);
                fence(Ordering::Release);
                self.map.store(words + 3, 0, Ordering::Relaxed);
                self.map.store(words, (lock | 1).wrapping_add(1), Ordering::Release);
            }
        }
    }

    /// Forgets the newest key frame: who joins now begins at the live edge (`gop_cache off`, or nobody publishes).
    pub fn clear_key(&mut self) {
        self.key = None;
        self.map.store(W_KEY, 0, Ordering::Release);
    }

    /// A word that the owner keeps for its successor, `n` below 16.
    #[must_use]
    pub fn note(&self, n: usize) -> u64 {
        if n < NOTES { self.map.load(W_NOTES + n, Ordering::Relaxed) } else { 0 }
    }

    /// Sets a word for the successor.
    pub fn set_note(&self, n: usize, value: u64) {
        if n < NOTES {
            self.map.store(W_NOTES + n, value, Ordering::Relaxed);
        }
    }

    /// The next generation of this ring with another shape. It holds the same newest packets at the same sequence
    /// numbers and positions, so a reader's cursor is valid in both; then this generation is marked as superseded.
    ///
    /// # Errors
    /// [`RingError`] when the shape is out of range or the kernel has no memory; this ring goes on unchanged.
    pub fn next_generation(&mut self, shape: Shape) -> Result<Self, RingError> {
        let before = u32::try_from(self.map.load(W_CHUNK_BEFORE, Ordering::Relaxed)).unwrap_or(0);
        self.generation_with(shape, self.chunk_size(), before, self.chunk_seq())
    }

    /// The next generation of this ring for packets that are cut with another chunk size from now on. Those that are there
    /// stay as they are; while some of them are older than the change before, there is no other (`None`).
    ///
    /// # Errors
    /// As [`Self::next_generation`].
    pub fn with_chunk_size(&mut self, chunk_size: u32) -> Result<Option<Self>, RingError> {
        if self.chunk_seq() > self.tail {
            return Ok(None);
        }
        self.generation_with(self.shape, chunk_size, self.chunk_size(), self.head).map(Some)
    }

    fn generation_with(
        &mut self,
        shape: Shape,
        chunk_size: u32,
        chunk_before: u32,
        chunk_seq: u64,
    ) -> Result<Self, RingError> {
        let stream_id = u32::try_from(self.map.load(W_STREAM_ID, Ordering::Relaxed)).unwrap_or(0);
        let mut next = Self::create(shape, stream_id, self.generation().wrapping_add(1), chunk_size)?;
        next.map.store(W_CHUNK_BEFORE, u64::from(chunk_before), Ordering::Relaxed);
        next.map.store(W_CHUNK_SEQ, chunk_seq, Ordering::Relaxed);
        // What fits: whole packets, newest first.
        let mut first = self.head;
        while first > self.tail && self.head - first < next.shape.records - 1 {
            match self.record(first - 1) {
                Some(record) if self.head_pos - record.position <= next.shape.data_bytes => first -= 1,
                _ => break,
            }
        }
        let start = self.record(first).map_or(self.head_pos, |record| record.position);
        (next.head, next.tail) = (first, first);
        (next.head_pos, next.tail_pos) = (start, start);
        next.map.store(W_TAIL, first, Ordering::Relaxed);
        next.map.store(W_TAIL_POS, start, Ordering::Relaxed);
        next.map.store(W_HEAD, first, Ordering::Release);
        let mut bytes = Vec::new();
        for seq in first..self.head {
            let Some(record) = self.record(seq) else { break };
            bytes.clear();
            for (at, len) in self.shape.spans(record.position, u64::from(record.wire_len)) {
                self.map.copy_out(at, len, &mut bytes);
            }
            let [(one, one_len), (two, _)] = next.shape.spans(record.position, bytes.len() as u64);
            let (head, rest) = bytes.split_at_checked(one_len).unwrap_or((&bytes, &[]));
            next.map.copy_in(one, head);
            next.map.copy_in(two, rest);
            next.publish(record);
        }
        next.key = self.key.filter(|key| *key >= next.tail);
        next.map.store(W_KEY, next.key.map_or(0, |key| key + 1), Ordering::Release);
        for kind in [HeaderKind::Metadata, HeaderKind::Video, HeaderKind::Audio] {
            for version in 0..2 {
                if let Some(header) = reader::load_header(&self.map, kind, version) {
                    next.write_header(kind, version, header.seq, header.dts_ms, &header.bytes);
                }
            }
        }
        for n in 0..NOTES {
            next.set_note(n, self.note(n));
        }
        self.map.store(W_STATE, STATE_SUPERSEDED, Ordering::Release);
        Ok(next)
    }

    /// Tells the readers that the stream is gone.
    pub fn close(&mut self) {
        let state = self.map.load(W_STATE, Ordering::Relaxed);
        self.map.store(W_STATE, state | STATE_CLOSED, Ordering::Release);
    }
}

impl AsFd for RingWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writer died between the two words of its announcement, and the announcement was that nothing is left.
    #[test]
    fn positions_never_go_back_in_an_emptied_ring() {
        let shape = Shape { data_bytes: 4096, records: 16 };
        let entry =
            Entry { kind: Kind::Video, flags: Flags::default(), dts_ms: 0, arrival_ns: 0, payload_len: 100 };
        let mut writer = RingWriter::create(shape, 1, 0, 128).unwrap();
        for _ in 0..3 {
            writer.append(entry, &[&[7; 100]]).unwrap();
        }
        writer.map.store(W_TAIL, 3, Ordering::Relaxed);
        let mut writer = RingWriter::adopt(writer.fd().try_clone_to_owned().unwrap()).unwrap();
        writer.append(entry, &[b"next"]).unwrap();
        assert_eq!(writer.record(3).unwrap().position, 300);
        assert_eq!((writer.tail(), writer.used_bytes()), (3, 4));
    }

    #[test]
    fn a_ring_whose_numbers_make_no_sense_is_not_gone_on_with() {
        for word in [W_HEAD, W_TAIL_POS] {
            let writer = RingWriter::create(Shape { data_bytes: 4096, records: 16 }, 1, 1, 4096).unwrap();
            writer.map.store(word, u64::MAX - 3, Ordering::Relaxed);
            let adopted = RingWriter::adopt(writer.fd().try_clone_to_owned().unwrap());
            assert!(matches!(adopted, Err(RingError::Format(_))), "{adopted:?}");
        }
    }
}
