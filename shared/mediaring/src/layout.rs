//! Where everything lies in a ring's memory.
//!
//! ```text
//! 0      header page: words, see the W_* constants
//! 4096   stored headers: metadata 2 × 64 KiB, video 2 × 16 KiB, audio 2 × 4 KiB
//! 176128 index: records of 32 bytes; slot = sequence number mod records
//! …      data: bytes; offset = position mod data bytes
//! ```
//!
//! A record of the index:
//!
//! ```text
//! word 0  position of its first byte in the data stream
//! word 1  DTS in ms, two's complement
//! word 2  arrival, monotonic ns
//! word 3  bits 0–31 wire length, 32–55 payload length, 56–57 kind, 58–63 flags
//! ```

use media::Kind;
use media::number::{as_len, low_u32};
use serde::{Deserialize, Serialize};

use crate::RingError;

pub(crate) const MAGIC: u64 = 0x5352_5352_494e_4731; // "SRSRING1"

pub(crate) const W_MAGIC: usize = 0;
pub(crate) const W_GENERATION: usize = 1;
pub(crate) const W_RECORDS: usize = 2;
pub(crate) const W_DATA_BYTES: usize = 3;
pub(crate) const W_CHUNK_SIZE: usize = 4;
pub(crate) const W_STREAM_ID: usize = 5;
/// The packets before this one were cut with another chunk size, and with which.
pub(crate) const W_CHUNK_SEQ: usize = 6;
pub(crate) const W_CHUNK_BEFORE: usize = 7;
/// Published by the writer after each record (a cache line of its own).
pub(crate) const W_HEAD: usize = 8;
pub(crate) const W_KEY: usize = 9;
pub(crate) const W_STATE: usize = 10;
/// Announced by the writer before it overwrites (a cache line of its own).
pub(crate) const W_TAIL: usize = 16;
pub(crate) const W_TAIL_POS: usize = 17;
/// Stored headers: per kind and version 4 words: lock, sequence number, DTS, length.
pub(crate) const W_HEADERS: usize = 24;
pub(crate) const HEADER_WORDS: usize = 4;
/// Words that the writer's owner keeps for its successor.
pub(crate) const W_NOTES: usize = 64;
pub(crate) const NOTES: usize = 16;

const HEADERS_AT: u64 = 4096;
const INDEX_AT: u64 = HEADERS_AT + 2 * (65536 + 16384 + 4096);
pub(crate) const RECORD_WORDS: u64 = 4;
/// A record as it lies in the index.
pub(crate) type RecordWords = [u64; 4];

/// The ring was replaced by its next generation: nothing more is written to this one.
pub(crate) const STATE_SUPERSEDED: u64 = 1;
/// The stream is gone.
pub(crate) const STATE_CLOSED: u64 = 2;

/// Largest payload a record can describe.
pub(crate) const MAX_PAYLOAD: u32 = 0x00ff_ffff;
const MAX_DATA_BYTES: u64 = 1 << 32;
const MAX_RECORDS: u64 = 1 << 24;

/// Sizes of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Data area in bytes, a multiple of 4096.
    pub data_bytes: u64,
    /// Records in the index.
    pub records: u64,
}

impl Shape {
    /// A shape for `data_bytes` of media (rounded up to whole pages), with one record for each 256 bytes: an
    /// eighth of the data's size for the index, enough for small audio packets.
    #[must_use]
    pub fn for_bytes(data_bytes: u64) -> Self {
        let data_bytes = data_bytes.clamp(4096, MAX_DATA_BYTES).next_multiple_of(4096);
        Self { data_bytes, records: (data_bytes / 256).clamp(64, MAX_RECORDS) }
    }

    pub(crate) fn check(self) -> Result<Self, RingError> {
        let whole = self.data_bytes.is_multiple_of(4096);
        if whole
            && (4096..=MAX_DATA_BYTES).contains(&self.data_bytes)
            && (16..=MAX_RECORDS).contains(&self.records)
        {
            Ok(self)
        } else {
            Err(RingError::Size { data_bytes: self.data_bytes, records: self.records })
        }
    }

    /// Bytes of memory that a ring of this shape can touch at most.
    #[must_use]
    pub fn total_bytes(self) -> u64 {
        INDEX_AT + self.records * RECORD_WORDS * 8 + self.data_bytes
    }

    /// What every ring touches: its first page, the index, and the media. Kept headers take memory when they come.
    pub(crate) fn reserved(self) -> [(u64, u64); 2] {
        [(0, HEADERS_AT), (INDEX_AT, self.total_bytes() - INDEX_AT)]
    }

    pub(crate) fn data_at(self) -> u64 {
        INDEX_AT + self.records * RECORD_WORDS * 8
    }

    /// First word of the index slot of `seq`.
    pub(crate) fn slot(self, seq: u64) -> usize {
        as_len(INDEX_AT / 8 + (seq % self.records) * RECORD_WORDS)
    }

    /// The one or two spans of memory that hold the positions `from..from + len`.
    pub(crate) fn spans(self, from: u64, len: u64) -> [(u64, usize); 2] {
        let len = len.min(self.data_bytes);
        let offset = from % self.data_bytes;
        let first = len.min(self.data_bytes - offset);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        [(self.data_at() + offset, size(first)), (self.data_at(), size(len - first))]
    }
}

/// What is kept for those who join later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// onMetaData.
    Metadata,
    /// Video sequence header.
    Video,
    /// Audio sequence header.
    Audio,
}

impl HeaderKind {
    /// Largest header that is kept, in bytes. Larger ones are still carried, but not kept.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Metadata => 65536,
            Self::Video => 16384,
            Self::Audio => 4096,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Metadata => 0,
            Self::Video => 1,
            Self::Audio => 2,
        }
    }

    /// First word of the description of one of the two versions.
    pub(crate) const fn words(self, version: usize) -> usize {
        W_HEADERS + (self.index() * 2 + version) * HEADER_WORDS
    }

    /// Byte offset of the bytes of one of the two versions.
    pub(crate) const fn at(self, version: u64) -> u64 {
        match self {
            Self::Metadata => HEADERS_AT + version * 65536,
            Self::Video => HEADERS_AT + 2 * 65536 + version * 16384,
            Self::Audio => HEADERS_AT + 2 * (65536 + 16384) + version * 4096,
        }
    }
}

/// Properties of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(u8);

impl Flags {
    /// A decoder can begin here.
    pub const KEY: Self = Self(1);
    /// Decoder configuration.
    pub const SEQUENCE_HEADER: Self = Self(2);
    /// The wire bytes can't follow those of the record before on the same track: a reader writes its own header.
    pub const ABSOLUTE: Self = Self(4);
    /// First record of a publish.
    pub const DISCONTINUITY: Self = Self(8);
    /// A complete onMetaData.
    pub const METADATA: Self = Self(16);
    /// Beside [`Self::SEQUENCE_HEADER`]: of a further track, or what a track says beside its configuration.
    pub const FURTHER: Self = Self(32);

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One packet in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Sequence number, from 0, never reused.
    pub seq: u64,
    /// Position of its first wire byte in the stream of all wire bytes.
    pub position: u64,
    /// Wire bytes.
    pub wire_len: u32,
    /// Payload bytes (without chunk headers), at most 16,777,215.
    pub payload_len: u32,
    /// Time on the stream's timeline, ms.
    pub dts_ms: i64,
    /// When the writer had it complete, monotonic ns.
    pub arrival_ns: u64,
    /// What it carries.
    pub kind: Kind,
    /// Its properties.
    pub flags: Flags,
}

impl Record {
    /// Position behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position.wrapping_add(u64::from(self.wire_len))
    }

    pub(crate) fn to_words(self) -> RecordWords {
        let kind = match self.kind {
            Kind::Audio => 1,
            Kind::Video => 2,
            Kind::Data => 3,
        };
        let packed = u64::from(self.wire_len)
            | u64::from(self.payload_len & MAX_PAYLOAD) << 32
            | kind << 56
            | u64::from(self.flags.0 & 0x3f) << 58;
        [self.position, self.dts_ms.cast_unsigned(), self.arrival_ns, packed]
    }

    pub(crate) fn from_words(seq: u64, words: RecordWords) -> Option<Self> {
        let [position, dts, arrival_ns, packed] = words;
        let low = |value: u64| low_u32(value);
        Some(Self {
            seq,
            position,
            wire_len: low(packed),
            payload_len: low(packed >> 32) & MAX_PAYLOAD,
            dts_ms: dts.cast_signed(),
            arrival_ns,
            kind: match packed >> 56 & 3 {
                1 => Kind::Audio,
                2 => Kind::Video,
                3 => Kind::Data,
                _ => return None,
            },
            flags: Flags(u8::try_from(packed >> 58).unwrap_or(0)),
        })
    }
}

const _: () = assert!(W_HEADERS + 6 * HEADER_WORDS <= W_NOTES);
const _: () = assert!((W_NOTES + NOTES) * 8 <= 4096);
