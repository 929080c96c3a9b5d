//! Aggregate messages (specification 7.1.6): several FLV tags in one message, each followed by its size.
//!
//! ```text
//! type(1) size(3) timestamp(3) timestamp high byte(1) stream id(3) data(size) back pointer(4)   repeated
//! ```
//!
//! The tags' timestamps are rebased on that of the message: the first tag has the message's, later ones keep their
//! distance to the first.

use crate::message::{self, Message};
use media::cursor::{Cursor, Short};

/// The aggregate is not what it should be; always the peer's doing. Offsets count within the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// A tag, or the size behind it, is cut off.
    #[error("aggregate: {0}")]
    Short(#[from] Short),
    /// A tag without data.
    #[error("aggregate: empty tag at byte {at}")]
    Empty {
        /// Offset of the tag.
        at: usize,
    },
    /// An aggregate within an aggregate.
    #[error("aggregate: nested at byte {at}")]
    Nested {
        /// Offset of the tag.
        at: usize,
    },
    /// The size behind a tag is not that of the tag.
    #[error("aggregate: back pointer {found} instead of {expected} at byte {at}")]
    BackPointer {
        /// Offset of the back pointer.
        at: usize,
        /// As it stood.
        found: u32,
        /// Size of the tag and its header in bytes.
        expected: u32,
    },
    /// More tags than allowed.
    #[error("aggregate: more than {max} tags")]
    TooMany {
        /// Most allowed.
        max: usize,
    },
}

impl AggregateError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Short(_) => "aggregate_short",
            Self::Empty { .. } => "aggregate_empty_tag",
            Self::Nested { .. } => "aggregate_nested",
            Self::BackPointer { .. } => "aggregate_back_pointer",
            Self::TooMany { .. } => "aggregate_too_many",
        }
    }
}

/// Splits an aggregate into at most `max` messages, which share its memory, its chunk stream and its stream id.
///
/// # Errors
/// See [`AggregateError`]. A back pointer of 0 is accepted, as some encoders do not fill it in; the last one may be
/// missing.
pub fn split(aggregate: &Message, max: usize) -> Result<Vec<Message>, AggregateError> {
    let mut cursor = Cursor::new(&aggregate.payload);
    let mut messages: Vec<Message> = Vec::new();
    let mut first = None;
    while !cursor.is_empty() {
        let at = cursor.position();
        if messages.len() >= max {
            return Err(AggregateError::TooMany { max });
        }
        let type_id = cursor.u8()? & 0x1F;
        let size = cursor.u24()?;
        let low = cursor.u24()?;
        let time = u32::from(cursor.u8()?) << 24 | low;
        cursor.u24()?;
        if type_id == message::AGGREGATE {
            return Err(AggregateError::Nested { at });
        }
        if size == 0 {
            return Err(AggregateError::Empty { at });
        }
        let start = cursor.position();
        cursor.take(usize::try_from(size).unwrap_or(usize::MAX))?;
        let payload = aggregate.payload.slice(start..cursor.position());
        if !cursor.is_empty() {
            let at = cursor.position();
            let (found, expected) = (cursor.u32()?, size + 11);
            if found != 0 && found != expected && found != size {
                return Err(AggregateError::BackPointer { at, found, expected });
            }
        }
        let first = *first.get_or_insert(time);
        let timestamp = aggregate.timestamp.wrapping_add(time.wrapping_sub(first));
        let (csid, stream_id) = (aggregate.csid, aggregate.stream_id);
        messages.push(Message { csid, timestamp, type_id, stream_id, payload });
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn tag(type_id: u8, time: u32, data: &[u8], back: u32) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap().to_be_bytes();
        let [high, a, b, c] = time.to_be_bytes();
        let mut out = vec![type_id, size[1], size[2], size[3], a, b, c, high, 0, 0, 0];
        out.extend_from_slice(data);
        out.extend_from_slice(&back.to_be_bytes());
        out
    }

    fn split_bytes(payload: Vec<u8>) -> Result<Vec<Message>, AggregateError> {
        let payload = Bytes::from(payload);
        split(&Message { csid: 6, timestamp: 1_000, type_id: 22, stream_id: 1, payload }, 8)
    }

    #[test]
    fn timestamps_are_rebased() {
        let bytes =
            [tag(8, 0x0100_0000, b"a", 12), tag(9, 0x0100_0028, b"bc", 13), tag(18, 0x00FF_FFFF, b"d", 0)];
        let messages = split_bytes(bytes.concat()).unwrap();
        let seen: Vec<_> =
            messages.iter().map(|part| (part.type_id, part.timestamp, part.payload.len())).collect();
        assert_eq!(seen, [(8, 1_000, 1), (9, 1_040, 2), (18, 999, 1)]);
    }

    #[test]
    fn hostile_aggregates() {
        let cases = [
            (tag(8, 0, b"", 11), "aggregate_empty_tag"),
            (tag(22, 0, b"a", 12), "aggregate_nested"),
            (tag(8, 0, b"a", 99), "aggregate_back_pointer"),
            (tag(8, 0, b"a", 12).repeat(9), "aggregate_too_many"),
            (vec![8, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1], "aggregate_short"),
            (tag(8, 0, b"a", 12)[..14].to_vec(), "aggregate_short"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(split_bytes(bytes).unwrap_err().reason(), reason);
        }
        assert_eq!(split_bytes(Vec::new()), Ok(Vec::new()));
        assert_eq!(split_bytes(tag(8, 0, b"a", 12)[..12].to_vec()).unwrap().len(), 1);
    }
}
