//! The reading end of a ring.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{Ordering, fence};

use crate::RingError;
use crate::layout::{
    HeaderKind, MAGIC, NOTES, Record, STATE_CLOSED, STATE_SUPERSEDED, Shape, W_CHUNK_BEFORE, W_CHUNK_SEQ,
    W_CHUNK_SIZE, W_DATA_BYTES, W_GENERATION, W_HEAD, W_KEY, W_MAGIC, W_NOTES, W_RECORDS, W_STATE,
    W_STREAM_ID, W_TAIL, W_TAIL_POS,
};
use crate::map::Map;

/// The writer has overwritten what was being read: begin again at a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writer has overwritten what was being read")]
pub struct Lapped;

/// What became of [`RingReader::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes went out: prefix first, then ring bytes.
    Bytes(usize),
    /// The socket takes nothing now.
    WouldBlock,
    /// Nothing was sent: the bytes are not there any more.
    Gone,
    /// The bytes were overwritten while the kernel copied them: what went out is not the stream, the connection is lost.
    Lapped,
}

/// A header that the writer keeps for those who join later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeader {
    /// It holds for packets from here on.
    pub seq: u64,
    /// When it came, on the stream's timeline, ms.
    pub dts_ms: i64,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// A reader of a ring; any number of them, in any process.
#[derive(Debug)]
pub struct RingReader {
    map: Map,
    shape: Shape,
}

pub(crate) fn shape_of(map: &Map) -> Result<Shape, RingError> {
    if map.load(W_MAGIC, Ordering::Acquire) != MAGIC {
        return Err(RingError::Format("its first word is another"));
    }
    let shape = Shape {
        data_bytes: map.load(W_DATA_BYTES, Ordering::Relaxed),
        records: map.load(W_RECORDS, Ordering::Relaxed),
    }
    .check()?;
    if shape.total_bytes() > map.bytes() {
        return Err(RingError::Format("it is shorter than its shape"));
    }
    Ok(shape)
}

pub(crate) fn load_record(map: &Map, shape: Shape, seq: u64) -> Option<Record> {
    let slot = shape.slot(seq);
    let word = |n: usize| map.load(slot + n, Ordering::Relaxed);
    Record::from_words(seq, [word(0), word(1), word(2), word(3)])
        .filter(|record| u64::from(record.wire_len) <= shape.data_bytes)
}

pub(crate) fn load_header(map: &Map, kind: HeaderKind, version: usize) -> Option<StoredHeader> {
    let words = kind.words(version);
    // A writer needs microseconds; one that died in the middle leaves the lock odd for ever.
    for _ in 0..1000 {
        let lock = map.load(words, Ordering::Acquire);
        if lock & 1 == 0 {
            let len = usize::try_from(map.load(words + 3, Ordering::Relaxed).checked_sub(1)?).ok()?;
            if len > kind.max_bytes() {
                return None;
            }
            let seq = map.load(words + 1, Ordering::Relaxed);
            let dts_ms = map.load(words + 2, Ordering::Relaxed).cast_signed();
            let mut bytes = Vec::new();
            map.copy_out(kind.at(version as u64), len, &mut bytes);
            // Partner: the release fence and the last store of `RingWriter::write_header`.
            fence(Ordering::Acquire);
            if map.load(words, Ordering::Relaxed) == lock {
                return Some(StoredHeader { seq, dts_ms, bytes });
            }
        }
        std::hint::spin_loop();
    }
    None
}

/// Which of the two versions of a header is the newer one.
pub(crate) fn newest_version(map: &Map, kind: HeaderKind) -> usize {
    let seq = |version| load_header(map, kind, version).map(|header| header.seq);
    usize::from(seq(1) > seq(0))
}

impl RingReader {
    /// Opens a ring.
    ///
    /// # Errors
    /// [`RingError`] when the descriptor is no ring, or is not sealed against shrinking.
    pub fn open(fd: OwnedFd) -> Result<Self, RingError> {
        let map = Map::read_only(fd)?;
        let shape = shape_of(&map)?;
        Ok(Self { map, shape })
    }

    /// Sizes.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of the stream, as its back-source gave it.
    #[must_use]
    pub fn stream_id(&self) -> u32 {
        u32::try_from(self.map.load(W_STREAM_ID, Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Generation number.
    #[must_use]
    pub fn generation(&self) -> u32 {
        u32::try_from(self.map.load(W_GENERATION, Ordering::Relaxed)).unwrap_or(0)
    }

    /// Chunk size that the wire bytes of new packets are cut with.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        u32::try_from(self.map.load(W_CHUNK_SIZE, Ordering::Relaxed)).unwrap_or(0)
    }

    /// Chunk size that the wire bytes of the packet `seq` were cut with.
    #[must_use]
    pub fn chunk_size_at(&self, seq: u64) -> u32 {
        let word =
            if seq < self.map.load(W_CHUNK_SEQ, Ordering::Relaxed) { W_CHUNK_BEFORE } else { W_CHUNK_SIZE };
        u32::try_from(self.map.load(word, Ordering::Relaxed)).unwrap_or(0)
    }

    /// A word that the writer's owner keeps, `n` below 16.
    #[must_use]
    pub fn note(&self, n: usize) -> u64 {
        if n < NOTES { self.map.load(W_NOTES + n, Ordering::Relaxed) } else { 0 }
    }

    /// Whether the next generation has taken over: nothing more comes here.
    #[must_use]
    pub fn superseded(&self) -> bool {
        self.map.load(W_STATE, Ordering::Acquire) & STATE_SUPERSEDED != 0
    }

    /// Whether the stream is gone.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.map.load(W_STATE, Ordering::Acquire) & STATE_CLOSED != 0
    }

    /// Sequence number of the next packet: all below it and not below [`Self::tail`] can be read.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.map.load(W_HEAD, Ordering::Acquire)
    }

    /// Sequence number of the oldest packet that is whole.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.map.load(W_TAIL, Ordering::Relaxed)
    }

    /// Position of the oldest byte that is whole.
    #[must_use]
    pub fn tail_position(&self) -> u64 {
        self.map.load(W_TAIL_POS, Ordering::Relaxed)
    }

    /// The newest key frame that is still in the ring.
    #[must_use]
    pub fn key(&self) -> Option<u64> {
        let key = self.map.load(W_KEY, Ordering::Acquire).checked_sub(1)?;
        (key >= self.tail() && key < self.head()).then_some(key)
    }

    /// The record `seq`.
    ///
    /// # Errors
    /// [`Lapped`] when it is no longer, or not yet, in the ring.
    pub fn record(&self, seq: u64) -> Result<Record, Lapped> {
        if seq >= self.head() {
            return Err(Lapped);
        }
        let record = load_record(&self.map, self.shape, seq);
        // Partner: the release fence in `RingWriter::append`.
        fence(Ordering::Acquire);
        if self.tail() > seq { Err(Lapped) } else { record.ok_or(Lapped) }
    }

    /// The record that holds `position`, or begins there.
    ///
    /// # Errors
    /// [`Lapped`] when no record in the ring does.
    pub fn find(&self, position: u64) -> Result<Record, Lapped> {
        let (mut low, mut high) = (self.tail(), self.head());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.record(middle) {
                Ok(record) if record.end() > position => high = middle,
                Ok(_) => low = middle + 1,
                Err(Lapped) if middle < self.tail() => low = middle + 1,
                Err(Lapped) => return Err(Lapped),
            }
        }
        let record = self.record(low)?;
        if record.position <= position && position < record.end() { Ok(record) } else { Err(Lapped) }
    }

    /// Whether everything from `position` on is still what the writer wrote there: call after using it.
    #[must_use]
    pub fn intact(&self, position: u64) -> bool {
        fence(Ordering::SeqCst);
        self.tail_position() <= position
    }

    /// Appends the bytes of the positions `from..from + len` to `out`.
    ///
    /// # Errors
    /// [`Lapped`] when they were overwritten meanwhile; `out` is as before then.
    pub fn copy(&self, from: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Lapped> {
        let before = out.len();
        for (at, len) in self.shape.spans(from, u64::from(len)) {
            self.map.copy_out(at, len, out);
        }
        if self.intact(from) {
            return Ok(());
        }
        out.truncate(before);
        Err(Lapped)
    }

    /// Sends the bytes of the positions `from..to` to a stream socket, with one system call and no copy in user space.
    ///
    /// # Errors
    /// What the socket said, `WouldBlock` excepted ([`Sent::WouldBlock`]).
    pub fn send(&self, socket: RawFd, from: u64, to: u64) -> io::Result<Sent> {
        self.send_after(socket, &[], from, to)
    }

    /// As [`Self::send`], with `prefix` before the ring's bytes.
    ///
    /// # Errors
    /// As [`Self::send`].
    #[inline]
    pub fn send_after(&self, socket: RawFd, prefix: &[u8], from: u64, to: u64) -> io::Result<Sent> {
        if !self.intact(from) {
            return Ok(Sent::Gone);
        }
        let spans = self.shape.spans(from, to.saturating_sub(from));
        let sent = loop {
            match self.map.send(socket, prefix, spans) {
                Ok(sent) => break sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::WouldBlock),
                Err(error) => return Err(error),
            }
        };
        Ok(if sent <= prefix.len() || self.intact(from) { Sent::Bytes(sent) } else { Sent::Lapped })
    }

    /// The kept header that holds for a viewer who begins at `seq`: the newest that came before it, or, when all came
    /// later, the oldest.
    #[must_use]
    pub fn header(&self, kind: HeaderKind, seq: u64) -> Option<StoredHeader> {
        let mut versions: Vec<StoredHeader> =
            (0..2).filter_map(|version| load_header(&self.map, kind, version)).collect();
        versions.sort_by_key(|header| header.seq);
        let fitting = versions.iter().rposition(|header| header.seq <= seq).unwrap_or(0);
        (fitting < versions.len()).then(|| versions.swap_remove(fitting))
    }
}
