//! The media ring: how one writer process gives the packets of a stream to any number of reader processes without
//! waiting for any of them.
//!
//! A ring is a sealed memfd that the writer maps writable and every reader maps read-only. It has an index of
//! fixed-size records and a data area; positions and sequence numbers only grow. The writer announces what it will
//! overwrite (tail), writes, then publishes (head); a reader uses what it found and checks afterwards that the tail has
//! not passed it (the seqlock rule). A reader that was lapped is told so and begins again at a key frame.
//!
//! This crate carries packets it does not understand: kinds, flags and times are the writer's words. All `unsafe` stands
//! in `map.rs`. What a reader finds in memory is treated as hostile: every length and position is checked against the
//! sizes that were read once, when the ring was opened.

mod layout;
mod map;
mod reader;
mod scoreboard;
mod tally;
mod work;
mod writer;

pub use layout::{Flags, HeaderKind, Record, Shape};
pub use reader::{Lapped, RingReader, Sent, StoredHeader};
pub use scoreboard::{Counter, SLOTS, Scoreboard};
pub use tally::{STREAMS, StreamCount, Tally};
pub use work::{Work, WorkRecord};
pub use writer::{Entry, RingWriter};

/// Why a ring can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refused.
    #[error("{step}: {source}")]
    Os {
        /// The system call.
        step: &'static str,
        /// Its error.
        source: std::io::Error,
    },
    /// The descriptor is no ring, or one of another version.
    #[error("not a media ring of this version: {0}")]
    Format(&'static str),
    /// A size that this version can't make.
    #[error("a ring of {data_bytes} bytes and {records} records is out of range")]
    Size {
        /// Data area.
        data_bytes: u64,
        /// Index.
        records: u64,
    },
}

impl RingError {
    fn os(step: &'static str, source: impl Into<std::io::Error>) -> Self {
        Self::Os { step, source: source.into() }
    }
}

impl From<RingError> for std::io::Error {
    /// The kernel's error where it was one, so that a lack of descriptors or memory is still seen as such.
    fn from(error: RingError) -> Self {
        match error {
            RingError::Os { source, .. } => source,
            other => Self::new(std::io::ErrorKind::InvalidData, other),
        }
    }
}
