//! H.264 and HEVC pictures from the form of MP4 and FLV (each NAL unit behind its length) to that of Annex B (each behind
//! a start code), with what a transport stream needs: an access unit delimiter, and parameter sets at key frames.

use crate::tables::VideoType;

/// Most NAL units of one picture.
pub const MAX_NAL_UNITS: usize = 1024;

/// Why a picture can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NalError {
    /// A NAL unit says that it is longer than what is there.
    #[error("a NAL unit of {len} bytes in a picture that has {left} left")]
    Length {
        /// What it says.
        len: usize,
        /// What there is.
        left: usize,
    },
    /// More than [`MAX_NAL_UNITS`].
    #[error("a picture of more than {MAX_NAL_UNITS} NAL units")]
    TooMany,
    /// None at all.
    #[error("a picture without NAL units")]
    Empty,
}

/// How the pictures of a stream are coded.
#[derive(Debug, Clone, Copy)]
pub struct Format<'a, S> {
    /// The codec.
    pub video: VideoType,
    /// Bytes of each length, 1 to 4.
    pub nal_length_bytes: usize,
    /// Parameter sets in the order of their use.
    pub parameter_sets: &'a [S],
}

const LONG: [u8; 4] = [0, 0, 0, 1];
const SHORT: [u8; 3] = [0, 0, 1];

/// The NAL units of a picture; empty ones are passed over.
///
/// # Errors
/// [`NalError`] at the first that can't be.
pub fn nal_units(data: &[u8], nal_length_bytes: usize) -> Result<Vec<&[u8]>, NalError> {
    let mut rest = data;
    let mut units = Vec::new();
    let mut count = 0;
    while let Some((len, behind)) = rest.split_at_checked(nal_length_bytes.clamp(1, 4)) {
        count += 1;
        if count > MAX_NAL_UNITS {
            return Err(NalError::TooMany);
        }
        let len = len.iter().fold(0_usize, |len, byte| len << 8 | usize::from(*byte));
        let Some((unit, behind)) = behind.split_at_checked(len) else {
            return Err(NalError::Length { len, left: behind.len() });
        };
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = behind;
    }
    if units.is_empty() { Err(NalError::Empty) } else { Ok(units) }
}

/// Appends a picture in the form of Annex B, with the parameter sets before it where it is to have them. The encoder's own delimiters are dropped, its parameter sets where they repeat
/// those of the format. A picture that is in that form already keeps it.
///
/// # Errors
/// [`NalError`]; `out` is as before then.
pub fn write<S: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    format: &Format<'_, S>,
    with_sets: bool,
    data: &[u8],
) -> Result<(), NalError> {
    let units = match nal_units(data, format.nal_length_bytes) {
        Err(_) if data.starts_with(&LONG) || data.starts_with(&SHORT) => Vec::new(),
        other => other?,
    };
    let delimiter: &[u8] = match format.video {
        VideoType::H264 => &[0, 0, 0, 1, 0x09, 0xf0],
        VideoType::Hevc => &[0, 0, 0, 1, 0x46, 0x01, 0x50],
    };
    out.extend_from_slice(delimiter);
    if with_sets {
        for set in format.parameter_sets {
            out.extend_from_slice(&LONG);
            out.extend_from_slice(set.as_ref());
        }
    }
    if units.is_empty() {
        out.extend_from_slice(data);
        return Ok(());
    }
    for unit in units {
        let is_repeated = || format.parameter_sets.iter().any(|set| set.as_ref() == unit);
        if is_delimiter(format.video, unit) || is_repeated() {
            continue;
        }
        out.extend_from_slice(&SHORT);
        out.extend_from_slice(unit);
    }
    Ok(())
}

fn is_delimiter(video: VideoType, unit: &[u8]) -> bool {
    let first = unit.first().copied().unwrap_or(0);
    match video {
        VideoType::H264 => first & 0x1f == 9,
        VideoType::Hevc => first >> 1 & 0x3f == 35,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: [&[u8]; 3] = [b"\x67sps", b"\x68pps", b"\x68second"];

    fn format(nal_length_bytes: usize) -> Format<'static, &'static [u8]> {
        Format { video: VideoType::H264, nal_length_bytes, parameter_sets: &SETS }
    }

    fn picture(nal_length_bytes: usize, units: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in units {
            let len = u32::try_from(unit.len()).unwrap().to_be_bytes();
            out.extend_from_slice(&len[4 - nal_length_bytes..]);
            out.extend_from_slice(unit);
        }
        out
    }

    #[test]
    fn every_length_size_and_the_encoders_own_delimiters() {
        for bytes in 1..=4 {
            let data = picture(bytes, &[b"\x09\x10", b"\x67sps", b"\x68other", b"\x06sei", b"", b"\x65idr"]);
            let mut out = Vec::new();
            write(&mut out, &format(bytes), true, &data).unwrap();
            let wanted: &[&[u8]] = &[
                b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67sps\0\0\0\x01\x68pps\0\0\0\x01\x68second",
                b"\0\0\x01\x68other\0\0\x01\x06sei\0\0\x01\x65idr",
            ];
            assert_eq!(out, wanted.concat(), "{bytes}");
        }
        let mut out = Vec::new();
        write(&mut out, &format(4), false, &picture(4, &[b"\x41p"])).unwrap();
        assert_eq!(out, b"\0\0\0\x01\x09\xf0\0\0\x01\x41p");
    }

    #[test]
    fn annex_b_in_disguise_is_kept() {
        let mut out = Vec::new();
        write(&mut out, &format(4), false, b"\0\0\0\x01\x41picture").unwrap();
        assert_eq!(out, b"\0\0\0\x01\x09\xf0\0\0\0\x01\x41picture");
    }

    #[test]
    fn lengths_past_the_end_and_endless_units_are_refused() {
        let mut out = vec![1];
        let claims = [0xff, 0xff, 0xff, 0xff, 0x65];
        assert!(matches!(write(&mut out, &format(4), true, &claims), Err(NalError::Length { left: 1, .. })));
        assert_eq!(write(&mut out, &format(4), true, &[0; 4_000_000]), Err(NalError::TooMany));
        assert_eq!(write(&mut out, &format(4), true, &[]), Err(NalError::Empty));
        assert_eq!(out, [1]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_without_harm(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64), len in 0_usize..6
        ) {
            let _ = write(&mut Vec::new(), &format(len), true, &bytes);
        }
    }
}
