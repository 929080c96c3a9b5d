//! The decoder configuration of HEVC (ISO/IEC 14496-15, 8.3.3.1) and the picture size in it (ITU-T H.265, 7.3.2.2).

use bytes::Bytes;
use media::cursor::Cursor;

use crate::avc::{ConfigError, MAX_PARAMETER_BYTES, parameter_sets};
use crate::bitwise::{BadBits, Bits, unescape};

/// What an HEVC sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HevcConfig {
    /// The whole record, as MP4 files keep it (`hvcC`).
    pub record: Bytes,
    /// Bytes in front of each NAL unit that say how long it is: 1 to 4.
    pub nal_length_bytes: usize,
    /// Video, sequence and picture parameter sets and SEI messages in the order of the record; there is an SPS and a PPS among
    /// them.
    pub parameter_sets: Vec<Bytes>,
    /// Width and height in pixels, where the first SPS says so. A label: nothing is sized by it.
    pub size: Option<(u32, u32)>,
}

impl HevcConfig {
    /// Reads an HEVCDecoderConfigurationRecord.
    ///
    /// # Errors
    /// [`ConfigError`] when it can't be what a decoder needs.
    pub fn parse(record: &Bytes) -> Result<Self, ConfigError> {
        let mut cursor = Cursor::new(record);
        let version = cursor.u8()?;
        if version != 1 {
            return Err(ConfigError::Version(version));
        }
        cursor.take(20)?;
        let nal_length_bytes = usize::from(cursor.u8()? & 3) + 1;
        let mut budget = MAX_PARAMETER_BYTES;
        let mut sets = Vec::new();
        let (mut size, mut has_sps, mut has_pps) = (None, false, false);
        for _ in 0..cursor.u8()? {
            let nal_type = cursor.u8()? & 0x3f;
            let count = usize::from(cursor.u16()?);
            let mut of_type = parameter_sets(&mut cursor, record, count, &mut budget)?;
            match nal_type {
                33 => {
                    has_sps |= !of_type.is_empty();
                    size = size.or_else(|| of_type.first().and_then(|sps| size_of(sps).ok()));
                }
                34 => has_pps |= !of_type.is_empty(),
                // Video parameter sets; messages that hold for the whole stream, such as what colours mean.
                32 | 39 => {}
                _ => continue,
            }
            sets.append(&mut of_type);
        }
        if !has_sps || !has_pps {
            return Err(ConfigError::NoParameterSets);
        }
        Ok(Self { record: record.clone(), nal_length_bytes, parameter_sets: sets, size })
    }
}

pub(crate) fn size_of(sps: &[u8]) -> Result<(u32, u32), BadBits> {
    let bytes = unescape(sps);
    let mut bits = Bits::new(&bytes);
    bits.skip(16 + 4)?;
    let sub_layers = bits.take(3)? as usize;
    bits.skip(1 + 88 + 8)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        present += if bits.bit()? { 88 } else { 0 } + if bits.bit()? { 8 } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    bits.skip(present)?;
    bits.ue()?;
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (width, height) = (bits.ue()?, bits.ue()?);
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.bit()? {
        let mut sum = || bits.ue()?.checked_add(bits.ue()?).ok_or(BadBits);
        crop_x = sum()?.checked_mul(if matches!(chroma, 1 | 2) { 2 } else { 1 }).ok_or(BadBits)?;
        crop_y = sum()?.checked_mul(if chroma == 1 { 2 } else { 1 }).ok_or(BadBits)?;
    }
    match (width.checked_sub(crop_x), height.checked_sub(crop_y)) {
        (Some(width @ 1..=65_535), Some(height @ 1..=65_535)) => Ok((width, height)),
        _ => Err(BadBits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From x265: Main profile, 320x180.
    const VPS: &[u8] =
        b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09";
    const SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0a\x08\x0b\x9f\x79\x65\x66\x92\x4c\xaf\x01\x68\x08\x00\x00\x03\x00\x08\x00\x00\x03\x00\xc8\x40";
    const PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";

    #[test]
    fn parameter_sets_and_size_are_found() {
        let mut record = vec![1];
        record.extend([0; 20]);
        record.extend([0xff, 3]);
        for (kind, set) in [(32, VPS), (33, SPS), (34, PPS)] {
            record.extend([0x80 | kind, 0, 1]);
            record.extend(u16::try_from(set.len()).unwrap().to_be_bytes());
            record.extend_from_slice(set);
        }
        let config = HevcConfig::parse(&record.clone().into()).unwrap();
        assert_eq!(config.parameter_sets, [VPS, SPS, PPS]);
        assert_eq!((config.nal_length_bytes, config.size), (4, Some((320, 180))));
        record.truncate(60);
        assert!(HevcConfig::parse(&record.into()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..96)) {
            let _ = size_of(&bytes);
            let mut record = vec![1; 21];
            record.extend(bytes);
            let _ = HevcConfig::parse(&record.into());
        }
    }
}
