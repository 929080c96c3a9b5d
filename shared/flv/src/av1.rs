//! The picture size in an AV1 configuration (AV1-ISOBMFF 2.3; AV1 bitstream specification 5.5.1).

use crate::bitwise::{BadBits, Bits};

/// Bytes of a record in front of its units.
const HEAD: usize = 4;
/// Kind of the unit that begins a sequence.
const SEQUENCE_HEADER: u8 = 1;

/// Whether it can be a configuration record.
#[must_use]
pub fn is_record(record: &[u8]) -> bool {
    record.len() >= HEAD && record.first() == Some(&0x81)
}

/// Width and height, where the sequence header stands in the record. A label: nothing is sized by it.
#[must_use]
pub fn size_of(record: &[u8]) -> Option<(u32, u32)> {
    size_in(record.get(HEAD..)?)
}

/// The same of the units of a picture that a decoder can begin with: a record may be without them.
#[must_use]
pub fn size_in(mut units: &[u8]) -> Option<(u32, u32)> {
    for _ in 0..8 {
        let (first, mut rest) = units.split_first()?;
        if first & 4 != 0 {
            rest = rest.get(1..)?;
        }
        let len = if first & 2 != 0 { leb128(&mut rest)? } else { rest.len() };
        let (unit, behind) = rest.split_at_checked(len)?;
        if first >> 3 & 0x0f == SEQUENCE_HEADER {
            return sequence(&mut Bits::new(unit)).ok();
        }
        units = behind;
    }
    None
}

/// A number of seven bits a byte, the lowest first.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for n in 0..4 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn sequence(bits: &mut Bits<'_>) -> Result<(u32, u32), BadBits> {
    bits.skip(4)?;
    if bits.bit()? {
        // A picture that stands alone has a short header.
        bits.skip(5)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            bits.skip(64)?;
            if bits.bit()? {
                bits.ue()?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.take(5)? as usize + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_delay = bits.bit()?;
        for _ in 0..=bits.take(5)? {
            bits.skip(12)?;
            if bits.take(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(count) = delay_bits
                && bits.bit()?
            {
                bits.skip(2 * count + 1)?;
            }
            if has_delay && bits.bit()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    Ok((bits.take(width_bits)? + 1, bits.take(height_bits)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From SVT-AV1 and libaom: Main profile, 322x182.
    const RECORDS: [&[u8]; 2] = [
        b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\x02\xf8\x00\x40",
        b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\xda\xf9\x00\x40",
    ];

    #[test]
    fn the_size_is_found_and_broken_records_have_none() {
        for record in RECORDS {
            assert!(is_record(record));
            assert_eq!(size_of(record), Some((322, 182)));
            for len in 0..record.len() {
                let _ = size_of(&record[..len]);
            }
        }
        assert_eq!(size_of(b"\x81\x00\x0c\x00"), None);
        // The same behind a temporal delimiter, in a picture.
        assert_eq!(size_in(&[b"\x12\0", &RECORDS[0][4..]].concat()), Some((322, 182)));
        assert!(!is_record(b"\x01\x00\x0c\x00"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = size_of(&[b"\x81\0\0\0\x0a", bytes.as_slice()].concat());
            let _ = size_of(&bytes);
        }
    }
}
