//! Ring bytes back to payloads: what a writer packed with `rtmp::chunk::writer::pack_delta`, without the chunk headers.

/// Bytes of the header in front of a packed message (basic header 1, delta 3, length 3, type 1).
pub(crate) const HEADER_BYTES: usize = 8;

/// Appends the payload of one packed message to `out`: the header is skipped, and the one-byte headers that stand every
/// `chunk_size` bytes. `false` when `wire` is too short for that.
pub fn unpack(wire: &[u8], payload_len: usize, chunk_size: u32, out: &mut Vec<u8>) -> bool {
    let chunk = (chunk_size as usize).max(1);
    let mut rest = wire.get(HEADER_BYTES..).unwrap_or(&[]);
    let mut left = payload_len;
    out.reserve(left);
    while left > 0 {
        let take = left.min(chunk);
        let Some((payload, behind)) = rest.split_at_checked(take) else {
            return false;
        };
        out.extend_from_slice(payload);
        left -= take;
        rest = behind.get(1..).unwrap_or(&[]);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_whatever_the_chunk_size() {
        for len in [0_usize, 1, 127, 128, 129, 256, 1000, 60_000, 60_001] {
            for chunk_size in [128, 4096, 60_000] {
                let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
                let mut wire = Vec::new();
                rtmp::chunk::writer::pack_delta(&mut wire, 6, 40, 9, &payload, chunk_size);
                let mut out = Vec::new();
                assert!(unpack(&wire, len, chunk_size, &mut out));
                assert_eq!(out, payload, "{len} bytes in chunks of {chunk_size}");
            }
        }
    }

    #[test]
    fn what_is_too_short_is_refused() {
        assert!(!unpack(&[0; 20], 100, 128, &mut Vec::new()));
    }
}
