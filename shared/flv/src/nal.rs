//! Pictures of H.264 and HEVC as FLV and MP4 have them: each NAL unit behind its length (ISO/IEC 14496-15, 4.3.3). Some
//! encoders send them behind start codes instead (Annex B), or with units that are empty: what such a packet should have been.

use bytes::Bytes;
use media::Kind;

use crate::avc::AvcConfig;
use crate::hvcc::HevcConfig;
use crate::unit::{Body, H264, HEVC, take_apart};

/// Most NAL units of one picture that are looked at.
const MAX_UNITS: usize = 1024;
/// Longest parameter set that a record can say the length of.
const MAX_SET: usize = 0xffff;

/// What is known of a stream's pictures: how many bytes say a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    length_bytes: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self { length_bytes: 4 }
    }
}

impl Framing {
    /// Looks at a packet of pictures. Returns the packet as it should have been where it is not as it should be.
    pub fn mend(&mut self, payload: &Bytes) -> Option<Bytes> {
        let unit = take_apart(Kind::Video, payload).filter(|unit| matches!(unit.codec, H264 | HEVC))?;
        let (data, record) = match &unit.body {
            Body::Coded { data, .. } => (data, None),
            Body::Config(record) => (record, Some(unit.codec)),
            Body::OtherTrack(_) | Body::Metadata(_) | Body::Nothing => return None,
        };
        let mended = match record {
            None => self.picture(data)?,
            Some(H264) if starts_with_code(data) => record_of(data)?,
            Some(codec) => {
                self.length_bytes = match codec {
                    H264 => AvcConfig::parse(data).ok()?.nal_length_bytes,
                    _ => HevcConfig::parse(data).ok()?.nal_length_bytes,
                };
                return None;
            }
        };
        if record.is_some() {
            self.length_bytes = 4;
        }
        // Of a packet with several tracks the bytes of the first do not end where the packet ends.
        let (head, behind) = payload.split_at_checked(payload.len() - data.len())?;
        if behind != data.as_ref() {
            return None;
        }
        Some([head, &mended].concat().into())
    }

    fn picture(self, data: &[u8]) -> Option<Vec<u8>> {
        let units = match whole(data, self.length_bytes) {
            Some(units) if units.iter().all(|unit| !unit.is_empty()) => return None,
            Some(units) => units,
            None if starts_with_code(data) => split(data),
            // Something else that makes no sense: whoever packs it says so.
            None => return None,
        };
        let units: Vec<&[u8]> = units.into_iter().filter(|unit| !unit.is_empty()).collect();
        let mut out = Vec::with_capacity(data.len() + units.len());
        for unit in &units {
            let len = u32::try_from(unit.len()).ok()?.to_be_bytes();
            let (zeros, len) = len.split_at_checked(4 - self.length_bytes)?;
            if zeros.iter().any(|byte| *byte != 0) {
                return None;
            }
            out.extend_from_slice(len);
            out.extend_from_slice(unit);
        }
        (!units.is_empty()).then_some(out)
    }
}

fn starts_with_code(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])
}

/// The units behind their lengths; `None` when the last does not end where the data end, or they are too many.
fn whole(data: &[u8], length_bytes: usize) -> Option<Vec<&[u8]>> {
    let (mut rest, mut units) = (data, Vec::new());
    while !rest.is_empty() {
        let (len, behind) = rest.split_at_checked(length_bytes)?;
        let len = len.iter().fold(0_usize, |len, byte| len << 8 | usize::from(*byte));
        let (unit, behind) = behind.split_at_checked(len)?;
        if units.len() >= MAX_UNITS {
            return None;
        }
        units.push(unit);
        rest = behind;
    }
    Some(units)
}

/// The units behind start codes, without the zeros that belong to the next code.
fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let (mut from, mut at) = (None, 0);
    let trimmed = |from: usize, to: usize| {
        let unit = data.get(from..to).unwrap_or(&[]);
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        unit.get(..end).unwrap_or(&[])
    };
    while let Some(found) = data.get(at..).and_then(|rest| rest.windows(3).position(|code| code == [0, 0, 1]))
    {
        if let Some(from) = from {
            units.push(trimmed(from, at + found));
        }
        if units.len() >= MAX_UNITS {
            return units;
        }
        at += found + 3;
        from = Some(at);
    }
    units.extend(from.map(|from| trimmed(from, data.len())));
    units
}

/// The record of H.264 (ISO/IEC 14496-15, 5.3.3.1) of parameter sets behind start codes.
fn record_of(data: &[u8]) -> Option<Vec<u8>> {
    let of_kind = |kind: u8| {
        let all = split(data).into_iter();
        all.filter(|unit| unit.first().is_some_and(|first| first & 0x1f == kind) && unit.len() <= MAX_SET)
            .collect::<Vec<_>>()
    };
    let (sps, pps) = (of_kind(7), of_kind(8));
    let [_, profile, constraints, level] = *sps.first()?.first_chunk()?;
    let mut out = vec![1, profile, constraints, level, 0xff, 0xe0 | u8::try_from(sps.len().min(31)).ok()?];
    let add = |sets: &[&[u8]], out: &mut Vec<u8>| {
        for set in sets {
            out.extend_from_slice(&u16::try_from(set.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(set);
        }
    };
    add(sps.get(..sps.len().min(31))?, &mut out);
    out.push(u8::try_from(pps.len().min(255)).ok().filter(|count| *count > 0)?);
    add(pps.get(..pps.len().min(255))?, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce";

    fn mend(framing: &mut Framing, payload: &[u8]) -> Option<Vec<u8>> {
        framing.mend(&Bytes::copy_from_slice(payload)).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn start_codes_become_lengths_and_empty_units_go() {
        let mut framing = Framing::default();
        assert_eq!(mend(&mut framing, HEADER), None);
        let head = b"\x17\x01\0\0\x28".as_slice();
        let wanted = [head, b"\0\0\0\x02\x09\x10\0\0\0\x04\x65idr"].concat();
        for picture in [
            b"\0\0\0\x01\x09\x10\0\0\0\x01\x65idr".as_slice(),
            b"\0\0\x01\x09\x10\0\0\x01\x65idr",
            b"\0\0\0\x01\x09\x10\0\0\x01\0\0\x01\x65idr\0\0",
            b"\0\0\0\x02\x09\x10\0\0\0\0\0\0\0\x04\x65idr",
        ] {
            let mended = mend(&mut framing, &[head, picture].concat());
            assert_eq!(mended.as_deref(), Some(wanted.as_slice()), "{picture:x?}");
        }
        assert_eq!(mend(&mut framing, &wanted), None, "it is as it should be");
        // A unit of 256 to 511 bytes has a length that looks like a start code.
        let long = [head, &[0, 0, 1, 0x2c, 0x41], &[7; 299]].concat();
        assert_eq!(mend(&mut framing, &long), None);
        // Enhanced packets, and lengths of two bytes.
        let short = [&HEADER[..9], &[0xfd], &HEADER[10..]].concat();
        assert_eq!(mend(&mut framing, &short), None);
        let mended = mend(&mut framing, b"\x93avc1\0\0\x01\x65idr");
        assert_eq!(mended.as_deref(), Some(b"\x93avc1\0\x04\x65idr".as_slice()));
        // What makes no sense stays as it is, and other codecs are none of this.
        for other in
            [&b"\x17\x01\0\0\0\xff\xff\xff\xff\x65"[..], b"\x93av01\0\0\x01\x65", b"\x57\0", b"", b"\x17"]
        {
            assert_eq!(mend(&mut framing, other), None, "{other:x?}");
        }
    }

    #[test]
    fn parameter_sets_behind_start_codes_become_a_record() {
        let mut framing = Framing::default();
        let annex_b = b"\x17\0\0\0\0\0\0\0\x01\x67\x42\xc0\x1e\0\0\0\x01\x68\xce";
        assert_eq!(mend(&mut framing, annex_b).as_deref(), Some(HEADER));
        assert_eq!(mend(&mut framing, b"\x17\0\0\0\0\0\0\0\x01\x67\x42\xc0\x1e"), None, "no PPS");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_mended_without_harm_and_once(bytes in proptest::collection::vec(0_u8..3, 0..64)) {
            let mut framing = Framing::default();
            let packet = [&b"\x17\x01\0\0\0"[..], &bytes].concat();
            if let Some(mended) = mend(&mut framing, &packet) {
                assert_eq!(mend(&mut framing, &mended), None);
            }
        }
    }
}
