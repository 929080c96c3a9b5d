//! Messages to chunks. Always whole messages, never interleaved, one-byte basic headers.

use super::header::EXTENDED;

/// Appends one message: a fmt 0 chunk, then fmt 3 chunks.
///
/// `csid` must be 2..=63, `chunk_size` at least 1 and the payload shorter than 16 MiB (asserted in debug builds; a
/// longer payload is cut). A timestamp of 0xFFFFFF ms or more goes to the extended field, which is repeated in every
/// fmt 3 chunk, as Flash, FMLE and FMS expect.
pub fn write_message(
    out: &mut Vec<u8>,
    csid: u8,
    timestamp: u32,
    type_id: u8,
    stream_id: u32,
    payload: &[u8],
    chunk_size: u32,
) {
    let payload = checked(csid, payload);
    let extended = (timestamp >= EXTENDED).then(|| timestamp.to_be_bytes());
    out.reserve(payload.len() + 16 + payload.len() / chunk_len(chunk_size) * 5);
    out.push(csid & 0x3F);
    put_u24(out, timestamp.min(EXTENDED));
    put_u24(out, length(payload));
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes());
    if let Some(extended) = extended {
        out.extend_from_slice(&extended);
    }
    let mut pieces = payload.chunks(chunk_len(chunk_size));
    out.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.push(0xC0 | (csid & 0x3F));
        if let Some(extended) = extended {
            out.extend_from_slice(&extended);
        }
        out.extend_from_slice(piece);
    }
}

/// Appends one message as a fmt 1 chunk (8 bytes of header), then fmt 3 chunks (1 byte each).
///
/// The message has the message stream id of the previous one on `csid`, and its timestamp plus `delta`. `delta` must
/// be below 0xFFFFFF, `csid` 2..=63, `chunk_size` at least 1 (asserted in debug builds).
pub fn pack_delta(out: &mut Vec<u8>, csid: u8, delta: u32, type_id: u8, payload: &[u8], chunk_size: u32) {
    debug_assert!(delta < EXTENDED, "delta {delta} needs an extended timestamp");
    let payload = checked(csid, payload);
    out.reserve(wire_len_delta(payload.len(), chunk_size));
    out.push(0x40 | (csid & 0x3F));
    put_u24(out, delta.min(EXTENDED - 1));
    put_u24(out, length(payload));
    out.push(type_id);
    let mut pieces = payload.chunks(chunk_len(chunk_size));
    out.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.push(0xC0 | (csid & 0x3F));
        out.extend_from_slice(piece);
    }
}

/// How many bytes [`pack_delta`] appends.
#[must_use]
pub fn wire_len_delta(payload_len: usize, chunk_size: u32) -> usize {
    8 + payload_len + payload_len.div_ceil(chunk_len(chunk_size)).saturating_sub(1)
}

fn checked(csid: u8, payload: &[u8]) -> &[u8] {
    debug_assert!((2..=63).contains(&csid), "csid {csid} has no one-byte form");
    debug_assert!(payload.len() <= 0x00FF_FFFF, "{} bytes do not fit the length field", payload.len());
    payload.get(..0x00FF_FFFF).unwrap_or(payload)
}

fn chunk_len(chunk_size: u32) -> usize {
    usize::try_from(chunk_size).unwrap_or(usize::MAX).max(1)
}

fn length(payload: &[u8]) -> u32 {
    u32::try_from(payload.len()).unwrap_or(0x00FF_FFFF)
}

fn put_u24(out: &mut Vec<u8>, value: u32) {
    let [_, bytes @ ..] = value.to_be_bytes();
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_message() {
        let mut out = Vec::new();
        write_message(&mut out, 5, 0x0102_0304, 9, 1, b"abcde", 2);
        let expected = b"\x05\xFF\xFF\xFF\0\0\x05\x09\x01\0\0\0\x01\x02\x03\x04ab\xC5\x01\x02\x03\x04cd\xC5\x01\x02\x03\x04e";
        assert_eq!(out, expected);
        out.clear();
        pack_delta(&mut out, 6, 40, 9, b"abcde", 2);
        assert_eq!(out, b"\x46\0\0\x28\0\0\x05\x09ab\xC6cd\xC6e");
    }

    #[test]
    fn the_announced_length_is_the_written_one() {
        for chunk_size in [1, 2, 7, 128, 60_000] {
            for len in [0, 1, 2, 6, 7, 8, 127, 128, 129, 1_000] {
                let mut out = Vec::new();
                pack_delta(&mut out, 6, 0, 9, &vec![0; len], chunk_size);
                assert_eq!(
                    out.len(),
                    wire_len_delta(len, chunk_size),
                    "{len} bytes in chunks of {chunk_size}"
                );
            }
        }
    }
}
