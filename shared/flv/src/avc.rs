//! The decoder configuration of H.264 (ISO/IEC 14496-15, 5.2.4.1) and the picture size in it (ITU-T H.264, 7.3.2.1.1).

use bytes::Bytes;
use media::cursor::{Cursor, Short};

use crate::bitwise::{BadBits, Bits, unescape};

/// Most bytes of all parameter sets of one configuration: several times what real encoders send.
pub const MAX_PARAMETER_BYTES: usize = 16 << 10;

/// Why a decoder configuration is of no use to a muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It ends in the middle.
    #[error("the decoder configuration is too short: {0}")]
    Short(#[from] Short),
    /// Bits that make no sense.
    #[error("the decoder configuration makes no sense: {0}")]
    Bits(#[from] BadBits),
    /// Not version 1.
    #[error("the decoder configuration has version {0}, not 1")]
    Version(u8),
    /// A parameter set that every stream needs is missing, or one is empty.
    #[error("the decoder configuration has no parameter sets, or an empty one")]
    NoParameterSets,
    /// More parameter sets than [`MAX_PARAMETER_BYTES`].
    #[error("the decoder configuration has more than {MAX_PARAMETER_BYTES} bytes of parameter sets")]
    TooLarge,
    /// AAC: an object type, sample rate or channel count that no decoder knows.
    #[error("object type {object_type}, {sample_rate} Hz and {channels} channels can't be AAC")]
    Audio {
        /// Audio object type.
        object_type: u8,
        /// Hz.
        sample_rate: u32,
        /// Channel configuration.
        channels: u8,
    },
}

/// What an H.264 sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvcConfig {
    /// The whole record, as MP4 files keep it (`avcC`).
    pub record: Bytes,
    /// Bytes in front of each NAL unit that say how long it is: 1 to 4.
    pub nal_length_bytes: usize,
    /// Sequence parameter sets, none of them empty.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, none of them empty.
    pub pps: Vec<Bytes>,
    /// Width and height in pixels, where the first SPS says so. A label: nothing is sized by it.
    pub size: Option<(u32, u32)>,
}

/// Takes `count` parameter sets, each behind its length.
pub(crate) fn parameter_sets(
    cursor: &mut Cursor<'_>,
    record: &Bytes,
    count: usize,
    budget: &mut usize,
) -> Result<Vec<Bytes>, ConfigError> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let len = usize::from(cursor.u16()?);
        let set = cursor.take(len)?;
        if set.is_empty() {
            return Err(ConfigError::NoParameterSets);
        }
        *budget = budget.checked_sub(len).ok_or(ConfigError::TooLarge)?;
        sets.push(record.slice_ref(set));
    }
    Ok(sets)
}

impl AvcConfig {
    /// Reads an AVCDecoderConfigurationRecord.
    ///
    /// # Errors
    /// [`ConfigError`] when it can't be what a decoder needs.
    pub fn parse(record: &Bytes) -> Result<Self, ConfigError> {
        let mut cursor = Cursor::new(record);
        let [version, _profile, _compatibility, _level] = cursor.take_array()?;
        if version != 1 {
            return Err(ConfigError::Version(version));
        }
        let nal_length_bytes = usize::from(cursor.u8()? & 3) + 1;
        let mut budget = MAX_PARAMETER_BYTES;
        let count = usize::from(cursor.u8()? & 0x1f);
        let sps = parameter_sets(&mut cursor, record, count, &mut budget)?;
        let count = usize::from(cursor.u8()?);
        let pps = parameter_sets(&mut cursor, record, count, &mut budget)?;
        let (Some(first), false) = (sps.first(), pps.is_empty()) else {
            return Err(ConfigError::NoParameterSets);
        };
        let size = size_of(first).ok();
        Ok(Self { record: record.clone(), nal_length_bytes, size, sps, pps })
    }
}

/// Picture size of an SPS, cropped.
pub(crate) fn size_of(sps: &[u8]) -> Result<(u32, u32), BadBits> {
    let bytes = unescape(sps);
    let mut bits = Bits::new(&bytes);
    bits.skip(8)?;
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.ue()?;
    let (mut chroma, mut separate) = (1, false);
    if matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244) {
        chroma = bits.ue()?;
        separate = chroma == 3 && bits.bit()?;
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
        if bits.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.skip(1)?;
            bits.skip_se()?;
            bits.skip_se()?;
            // At most 255 by the specification.
            for _ in 0..bits.ue()?.min(255) {
                bits.skip_se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.skip(1)?;
    let width = bits.ue()?.checked_add(1).and_then(|units| units.checked_mul(16)).ok_or(BadBits)?;
    let units = bits.ue()?.checked_add(1).ok_or(BadBits)?;
    let frames_only = bits.bit()?;
    let height = units.checked_mul(if frames_only { 16 } else { 32 }).ok_or(BadBits)?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let [mut left_right, mut top_bottom] = [0_u32; 2];
    if bits.bit()? {
        let mut sum = || bits.ue()?.checked_add(bits.ue()?).ok_or(BadBits);
        (left_right, top_bottom) = (sum()?, sum()?);
    }
    let subsampled = |at: u32| u32::from(!separate && chroma != 0 && chroma <= at) + 1;
    let crop_x = left_right.checked_mul(subsampled(2)).ok_or(BadBits)?;
    let field = if frames_only { 1 } else { 2 };
    let crop_y = top_bottom.checked_mul(subsampled(1) * field).ok_or(BadBits)?;
    match (width.checked_sub(crop_x), height.checked_sub(crop_y)) {
        (Some(width @ 1..=65_535), Some(height @ 1..=65_535)) => Ok((width, height)),
        _ => Err(BadBits),
    }
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Result<(), BadBits> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.ue()?);
            let delta = if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) };
            next = (last + delta).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // High profile, 1280x720, from x264.
    const SPS: &[u8] = b"\x67\x64\x00\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x83\x19\x60";

    fn record(sps: &[&[u8]], pps: &[&[u8]]) -> Bytes {
        let mut out = vec![1, 0x64, 0, 0x1f, 0xff, 0xe0 | u8::try_from(sps.len()).unwrap()];
        let add = |out: &mut Vec<u8>, sets: &[&[u8]]| {
            for set in sets {
                out.extend(u16::try_from(set.len()).unwrap().to_be_bytes());
                out.extend_from_slice(set);
            }
        };
        add(&mut out, sps);
        out.push(u8::try_from(pps.len()).unwrap());
        add(&mut out, pps);
        out.into()
    }

    #[test]
    fn several_parameter_sets_and_the_size_are_found() {
        let config = AvcConfig::parse(&record(&[SPS, b"\x67x"], &[b"\x68a", b"\x68b"])).unwrap();
        assert_eq!((config.sps.len(), config.pps.len(), config.nal_length_bytes), (2, 2, 4));
        assert_eq!(config.size, Some((1280, 720)));
        assert_eq!(config.sps[0], SPS);
    }

    #[test]
    fn broken_records_are_refused() {
        let cases: [(&[u8], ConfigError); 3] = [
            (b"\x00\x64\x00\x1f\xff\xe1", ConfigError::Version(0)),
            (b"\x01\x64\x00\x1f\xff\xe0\x00", ConfigError::NoParameterSets),
            (b"\x01\x64\x00\x1f\xff\xe1\x00\x00\x01\x00\x01x", ConfigError::NoParameterSets),
        ];
        for (bytes, error) in cases {
            assert_eq!(AvcConfig::parse(&Bytes::from_static(bytes)), Err(error), "{bytes:x?}");
        }
        // 31 sets announced, lengths past the end.
        let claims = Bytes::from_static(b"\x01\x64\x00\x1f\xfe\xff\xff\xff\x67");
        assert!(matches!(AvcConfig::parse(&claims), Err(ConfigError::Short(_))));
        let large = vec![0x67; 9000];
        assert_eq!(AvcConfig::parse(&record(&[&large, &large], &[b"x"])), Err(ConfigError::TooLarge));
        // An SPS of zero bits is kept, its size is unknown.
        assert_eq!(AvcConfig::parse(&record(&[&[0; 40]], &[b"x"])).unwrap().size, None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..96)) {
            let _ = size_of(&bytes);
            let mut record = b"\x01\x64\x00\x1f\xff".to_vec();
            record.extend(bytes);
            let _ = AvcConfig::parse(&record.into());
        }
    }
}
