//! Bodies whose length nobody knows beforehand (RFC 9112, 7.1).

/// Behind each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Behind the last chunk.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// In front of a chunk of `len` bytes, which must not be 0: that would be the last.
///
/// ```
/// assert_eq!(http1::chunked::chunk_head(300), b"12c\r\n");
/// ```
#[must_use]
pub fn chunk_head(len: usize) -> Vec<u8> {
    format!("{len:x}\r\n").into_bytes()
}
