//! The header in front of each AAC frame outside of MP4 and FLV (ISO/IEC 13818-7, 6.2).

/// Bytes of a header.
pub const HEADER_BYTES: usize = 7;
/// Longest frame with its header.
const MAX_FRAME_BYTES: usize = 0x1fff;

/// What the headers of a stream have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adts<'a> {
    /// MPEG-4 object type of the core: 1 Main, 2 LC, 3 SSR, 4 LTP; others are written as LC, which decoders go by.
    pub object_type: u8,
    /// Index of the sample rate, 0 to 12.
    pub rate_index: u8,
    /// Channel configuration, 1 to 7; 0: the description says.
    pub channel_config: u8,
    /// What describes the channels in front of each frame, whole bytes.
    pub description: &'a [u8],
}

impl Adts<'_> {
    /// Appends a frame with its header; `false` when no header can say its length.
    pub fn write(self, out: &mut Vec<u8>, frame: &[u8]) -> bool {
        let len = frame.len() + self.description.len() + HEADER_BYTES;
        if frame.is_empty() || len > MAX_FRAME_BYTES {
            return false;
        }
        let profile = if (1..=4).contains(&self.object_type) { self.object_type - 1 } else { 1 };
        let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
        let channels = self.channel_config & 7;
        out.extend_from_slice(&[
            0xff,
            0xf1,
            profile << 6 | (self.rate_index & 0x0f) << 2 | channels >> 2,
            (channels & 3) << 6 | byte(len >> 11),
            byte(len >> 3),
            byte((len & 7) << 5) | 0x1f,
            0xfc,
        ]);
        out.extend_from_slice(self.description);
        out.extend_from_slice(frame);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_laid_out_as_the_specification_says() {
        let lc = Adts { object_type: 2, rate_index: 4, channel_config: 2, description: &[] };
        let mut out = Vec::new();
        assert!(lc.write(&mut out, &[0; 200]));
        assert_eq!(out[..7], [0xff, 0xf1, 0x50, 0x80, 0x19, 0xff, 0xfc]);
        assert_eq!(out.len(), 207);
        assert!(!lc.write(&mut out, &[]));
        assert!(lc.write(&mut out, &[0; 0x1fff - 7]));
        assert!(!lc.write(&mut out, &[0; 0x1fff - 6]));
    }
}
