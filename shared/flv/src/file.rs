//! The FLV file: a 9-byte header, then tags, each followed by its own size (FLV 10.1, E.2–E.4).
//!
//! ```text
//! 46 4c 56 01 flags 00 00 00 09 | 00 00 00 00 | type size:3 time:3 time_high:1 stream:3 body… | size:4 | …
//! ```

use bytes::{Buf, Bytes, BytesMut};
use media::Kind;
use media::number::as_len;

/// Largest tag body the format can express.
pub const MAX_TAG_BYTES: usize = 0x00ff_ffff;

/// Bytes of the file header with the first previous-tag size.
pub const HEADER_BYTES: usize = 13;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What the body is.
    pub kind: Kind,
    /// DTS in ms, 32 bits.
    pub timestamp_ms: u32,
    /// The body.
    pub body: Bytes,
}

/// Why a file can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// Not an FLV file.
    #[error("the file does not begin with \"FLV\" and version 1: it is no FLV file")]
    Signature,
    /// The header says that it is shorter than a header.
    #[error("the header's data offset is {0}, less than 9")]
    DataOffset(u32),
    /// An encrypted tag, or a tag type that the format does not know.
    #[error("unknown tag type {tag_type} at byte {at}")]
    TagType {
        /// The type byte.
        tag_type: u8,
        /// Offset in the file.
        at: u64,
    },
}

/// Reads tags from bytes as they come. "Need more bytes" is `Ok(None)`.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    at: u64,
    header_read: bool,
    skip: usize,
}

impl Reader {
    /// A reader at the beginning of a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the file's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for more.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    fn advance(&mut self, count: usize) {
        self.buffer.advance(count);
        self.at += count as u64;
    }

    /// The next tag, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FlvError`] when the bytes can't be FLV; the reader is of no further use then.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, FlvError> {
        if !self.header_read {
            let Some(head) = self.buffer.first_chunk::<9>() else {
                return Ok(None);
            };
            if !head.starts_with(b"FLV\x01") {
                return Err(FlvError::Signature);
            }
            let [.., a, b, c, d] = *head;
            let offset = u32::from_be_bytes([a, b, c, d]);
            if offset < 9 {
                return Err(FlvError::DataOffset(offset));
            }
            self.skip = as_len(offset).saturating_add(4);
            self.header_read = true;
        }
        let skip = self.skip.min(self.buffer.len());
        self.advance(skip);
        self.skip -= skip;
        if self.skip > 0 {
            return Ok(None);
        }
        let Some(head) = self.buffer.first_chunk::<11>() else {
            return Ok(None);
        };
        let [tag_type, s0, s1, s2, t0, t1, t2, t3, ..] = *head;
        let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
        let Some(kind) = Kind::from_type_id(tag_type) else {
            return Err(FlvError::TagType { tag_type, at: self.at });
        };
        if self.buffer.len() < 11 + size + 4 {
            return Ok(None);
        }
        self.advance(11);
        let body = self.buffer.split_to(size).freeze();
        self.at += size as u64;
        self.advance(4);
        Ok(Some(Tag { kind, timestamp_ms: u32::from_be_bytes([t3, t0, t1, t2]), body }))
    }
}

/// The file header with the first previous-tag size, flags set for what the file holds.
#[must_use]
pub fn header(audio: bool, video: bool) -> [u8; HEADER_BYTES] {
    let flags = if audio { 4 } else { 0 } | if video { 1 } else { 0 };
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// What stands in front of a tag's body of `size` bytes (24 bits).
#[must_use]
pub fn tag_head(kind: Kind, timestamp_ms: u32, size: u32) -> [u8; 11] {
    let [_, s0, s1, s2] = size.to_be_bytes();
    let [t3, t0, t1, t2] = timestamp_ms.to_be_bytes();
    [kind.type_id(), s0, s1, s2, t0, t1, t2, t3, 0, 0, 0]
}

/// What stands behind a tag's body of `size` bytes: the size of the tag.
#[must_use]
pub fn tag_end(size: u32) -> [u8; 4] {
    (size + 11).to_be_bytes()
}

/// Appends one tag and its size. Bodies beyond [`MAX_TAG_BYTES`] are not FLV and are left out (`false`).
pub fn write_tag(out: &mut Vec<u8>, kind: Kind, timestamp_ms: u32, body: &[u8]) -> bool {
    let Some(size) = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_TAG_BYTES) else {
        return false;
    };
    out.extend_from_slice(&tag_head(kind, timestamp_ms, size));
    out.extend_from_slice(body);
    out.extend_from_slice(&tag_end(size));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_however_it_is_cut() {
        let mut file = header(true, true).to_vec();
        let tags: Vec<Tag> = (0..20_u8)
            .map(|n| Tag {
                kind: [Kind::Audio, Kind::Video, Kind::Data][usize::from(n) % 3],
                timestamp_ms: u32::from(n).wrapping_mul(0x1234_5678),
                body: Bytes::from(vec![n; usize::from(n) * 37]),
            })
            .collect();
        for tag in &tags {
            assert!(write_tag(&mut file, tag.kind, tag.timestamp_ms, &tag.body));
        }
        for cut in 1..60 {
            let mut reader = Reader::new();
            let mut got = Vec::new();
            for piece in file.chunks(cut) {
                reader.push(piece);
                while let Some(tag) = reader.next_tag().unwrap() {
                    got.push(tag);
                }
            }
            assert_eq!(got, tags, "cut {cut}");
            assert_eq!(reader.unread(), 0);
        }
    }

    #[test]
    fn what_is_no_flv_is_refused() {
        let mut reader = Reader::new();
        reader.push(b"not an flv file");
        assert_eq!(reader.next_tag(), Err(FlvError::Signature));
        let mut reader = Reader::new();
        reader.push(b"FLV\x01\x05\0\0\0\x08\0\0\0\0");
        assert_eq!(reader.next_tag(), Err(FlvError::DataOffset(8)));
        let mut reader = Reader::new();
        reader.push(&header(true, true));
        reader.push(&[0x29; 11]);
        assert_eq!(reader.next_tag(), Err(FlvError::TagType { tag_type: 0x29, at: 13 }));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let mut reader = Reader::new();
            reader.push(&header(true, false));
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_tag() {}
        }
    }
}
