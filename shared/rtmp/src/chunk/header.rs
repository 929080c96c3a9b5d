//! The header of one chunk, as far as it can be told without knowing the chunk stream's history.
//!
//! ```text
//! basic header        fmt(2 bits) csid(6 bits)   0: one more byte, 1: two more bytes
//! message header      fmt 0: timestamp(3) length(3) type(1) stream id(4, little-endian)
//!                     fmt 1: delta(3) length(3) type(1)
//!                     fmt 2: delta(3)
//!                     fmt 3: nothing
//! extended timestamp  4 bytes when the 3-byte field is 0xFFFFFF
//! ```
//!
//! Whether a fmt 3 chunk has an extended timestamp is the reader's business: it depends on the stream's history and on
//! the peer's habits.

use media::cursor::{Cursor, Short};

/// A 3-byte timestamp field of this value says that an extended timestamp follows.
pub const EXTENDED: u32 = 0x00FF_FFFF;

/// Longest header: three bytes of basic header, eleven of message header, four of extended timestamp.
pub const MAX_HEADER: usize = 18;

/// What stands in the message header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// fmt 0: a complete header.
    Full {
        /// Absolute timestamp in milliseconds.
        timestamp: u32,
        /// Message length in bytes.
        length: u32,
        /// Message type.
        type_id: u8,
        /// Message stream id.
        stream_id: u32,
    },
    /// fmt 1: the stream id of before.
    SameStream {
        /// Milliseconds since the previous message.
        delta: u32,
        /// Message length in bytes.
        length: u32,
        /// Message type.
        type_id: u8,
    },
    /// fmt 2: everything but the time as before.
    SameLength {
        /// Milliseconds since the previous message.
        delta: u32,
    },
    /// fmt 3: everything as before, or the next piece of the message.
    Nothing,
}

/// One chunk header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chunk stream id, 2..=65599. Long forms of small ids are the same as the short form.
    pub csid: u32,
    /// The message header.
    pub fields: Fields,
    /// Whether the timestamp stood in the extended field.
    pub extended: bool,
}

impl Header {
    /// Reads a header including the extended timestamp of fmt 0 to 2.
    ///
    /// # Errors
    /// [`Short`] when more bytes are needed, which is no fault.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, Short> {
        let first = cursor.u8()?;
        let csid = match first & 0x3F {
            0 => 64 + u32::from(cursor.u8()?),
            1 => {
                let [low, high] = cursor.take_array()?;
                64 + u32::from(low) + u32::from(high) * 256
            }
            csid => u32::from(csid),
        };
        let format = first >> 6;
        if format == 3 {
            return Ok(Self { csid, fields: Fields::Nothing, extended: false });
        }
        let field = cursor.u24()?;
        let (mut length, mut type_id, mut stream_id) = (0, 0, 0);
        if format < 2 {
            length = cursor.u24()?;
            type_id = cursor.u8()?;
        }
        if format == 0 {
            stream_id = cursor.u32_le()?;
        }
        let extended = field == EXTENDED;
        let time = if extended { cursor.u32()? } else { field };
        let fields = match format {
            0 => Fields::Full { timestamp: time, length, type_id, stream_id },
            1 => Fields::SameStream { delta: time, length, type_id },
            _ => Fields::SameLength { delta: time },
        };
        Ok(Self { csid, fields, extended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_chunk_stream_id() {
        let cases: [(&[u8], u32); 9] = [
            (&[0xC2], 2),
            (&[0xFF], 63),
            (&[0xC0, 0x00], 64),
            (&[0xC0, 0xFF], 319),
            (&[0xC1, 0x00, 0x00], 64),
            (&[0xC1, 0xFF, 0x00], 319),
            (&[0xC1, 0x00, 0x01], 320),
            (&[0xC1, 0x80, 0x80], 64 + 0x80 + 0x8000),
            (&[0xC1, 0xFF, 0xFF], 65_599),
        ];
        for (bytes, csid) in cases {
            let mut cursor = Cursor::new(bytes);
            assert_eq!(Header::read(&mut cursor).unwrap().csid, csid, "{bytes:02x?}");
            assert!(cursor.is_empty());
            for len in 0..bytes.len() {
                assert!(Header::read(&mut Cursor::new(&bytes[..len])).is_err());
            }
        }
    }

    #[test]
    fn message_headers() {
        let full = [0x03, 0xFF, 0xFF, 0xFF, 0, 1, 2, 20, 1, 0, 0, 0, 0x01, 0, 0, 2];
        let fields = Fields::Full { timestamp: 0x0100_0002, length: 0x102, type_id: 20, stream_id: 1 };
        assert_eq!(Header::read(&mut Cursor::new(&full)), Ok(Header { csid: 3, fields, extended: true }));
        let delta = [0x84, 0, 0, 40];
        let fields = Fields::SameLength { delta: 40 };
        assert_eq!(Header::read(&mut Cursor::new(&delta)), Ok(Header { csid: 4, fields, extended: false }));
    }
}
