//! The form of a control datagram.
//!
//! ```text
//! magic:2 "SR"  version:1  flags:1 (bit 0: the body is in a memfd, the last descriptor)  body length:4 little-endian  body…
//! ```
//!
//! The body is a serde value in MessagePack with field names, so that fields can be added: an older reader ignores what it
//! does not know, a newer one fills in defaults.

/// Largest body, also in a memfd.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Most descriptors beside one message (the kernel allows 253).
pub const MAX_FDS: usize = 64;

/// Bodies above this go through a memfd: a datagram must fit into the socket's buffer.
pub(crate) const INLINE_BYTES: usize = 64 << 10;

pub(crate) const HEADER_BYTES: usize = 8;
const MAGIC: [u8; 2] = *b"SR";
const VERSION: u8 = 1;
const IN_MEMFD: u8 = 1;

/// What is wrong with a received datagram. The peer is to blame for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a header, or cut by the kernel.
    #[error("a datagram of {0} bytes is cut or too short")]
    Short(usize),
    /// Another protocol.
    #[error("the datagram does not begin as a control message")]
    Magic,
    /// Another version of it.
    #[error("control protocol version {0}, this is version {VERSION}")]
    Version(u8),
    /// The header's length is not the datagram's, or beyond the ceiling.
    #[error("the header says {said} bytes of body, {there} are there")]
    Length {
        /// What the header says.
        said: usize,
        /// What is there.
        there: usize,
    },
    /// The body's descriptor is no sealed memory: reading it could block, or what was checked could change.
    #[error("the body of a control message is not in sealed memory")]
    NotSealed,
    /// More or fewer descriptors than the message needs.
    #[error("{0} descriptors do not belong to this message")]
    Descriptors(usize),
}

/// Header of a body of `len` bytes.
pub(crate) fn encode_header(len: usize, in_memfd: bool) -> [u8; HEADER_BYTES] {
    let [l0, l1, l2, l3] = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    [MAGIC[0], MAGIC[1], VERSION, u8::from(in_memfd), l0, l1, l2, l3]
}

/// Reads the header of a datagram: the body's length, and whether it is in a memfd; then the bytes behind the header.
///
/// # Errors
/// [`FrameError`] for everything that is not exactly one control message.
pub fn decode_header(datagram: &[u8]) -> Result<(usize, bool, &[u8]), FrameError> {
    let Some(([m0, m1, version, flags, length @ ..], body)) = datagram.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(FrameError::Short(datagram.len()));
    };
    if [*m0, *m1] != MAGIC {
        return Err(FrameError::Magic);
    }
    if *version != VERSION {
        return Err(FrameError::Version(*version));
    }
    let said = u32::from_le_bytes(*length) as usize;
    let in_memfd = flags & IN_MEMFD != 0;
    let there = body.len();
    if said > MAX_BODY_BYTES || (!in_memfd && said != there) || (in_memfd && there != 0) {
        return Err(FrameError::Length { said, there });
    }
    Ok((said, in_memfd, body))
}
