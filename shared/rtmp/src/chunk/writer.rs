//! Messages to chunks. Always whole messages, never interleaved, one-byte basic headers.

/// Timestamps from here on are sent in the extended field.
pub const EXTENDED: u32 = 0x00FF_FFFF;

/// Appends one message: a type 0 chunk, then type 3 chunks.
///
/// `csid` is 2..=63 (others are masked into that range by the caller's fault), `chunk_size` at least 1, the payload shorter than 16 MiB. A timestamp of
/// 0xFFFFFF or more goes to the extended field, which is repeated in every type 3 chunk, as Flash, FMLE and FMS expect.
pub fn write_message(
    out: &mut Vec<u8>,
    csid: u8,
    timestamp: u32,
    type_id: u8,
    stream_id: u32,
    payload: &[u8],
    chunk_size: u32,
) {
    let _ = (out, csid, timestamp, type_id, stream_id, payload, chunk_size);
}

/// Appends one message as a type 1 chunk (8 bytes of header) followed by type 3 chunks (1 byte each).
///
/// `delta` is below 0xFFFFFF; the message stream id is that of the previous message on `csid`, which must not have
/// had an extended timestamp...
pub fn pack_delta(out: &mut Vec<u8>, csid: u8, delta: u32, type_id: u8, payload: &[u8], chunk_size: u32) {
    let _ = (out, csid, delta, type_id, payload, chunk_size);
}

/// How many bytes [`pack_delta`] writes.
#[must_use]
pub fn wire_len_delta(payload_len: usize, chunk_size: u32) -> usize {
    let chunk_size = usize::try_from(chunk_size).unwrap_or(usize::MAX).max(1);
    8 + payload_len + payload_len.div_ceil(chunk_size).saturating_sub(1)
}
