//! The VP9 configuration (VP codec ISO media file format binding, 2.1) and the picture size in a key frame (VP9 bitstream
//! specification, 6.2).

use crate::bitwise::{BadBits, Bits};

/// Bytes of a record, without version and flags of the box that it stands in.
const RECORD_BYTES: usize = 8;

/// The record in a sequence header. Some encoders write version and flags in front of it, as in the box of a file.
#[must_use]
pub fn record(config: &[u8]) -> Option<&[u8]> {
    let record =
        config.strip_prefix(&[1, 0, 0, 0]).filter(|rest| rest.len() >= RECORD_BYTES).unwrap_or(config);
    (record.len() >= RECORD_BYTES).then_some(record)
}

/// Width and height of a key frame. A label: nothing is sized by it.
#[must_use]
pub fn size_of(frame: &[u8]) -> Option<(u32, u32)> {
    header(&mut Bits::new(frame)).ok().flatten()
}

fn header(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, BadBits> {
    if bits.take(2)? != 2 {
        return Ok(None);
    }
    let profile = bits.take(1)? | bits.take(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (is_repeat, is_inter) = (bits.bit()?, bits.bit()?);
    if is_repeat || is_inter {
        return Ok(None);
    }
    bits.skip(2)?;
    if bits.take(24)? != 0x0049_8342 {
        return Ok(None);
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    let is_rgb = bits.take(3)? == 7;
    let more = profile & 1 == 1;
    bits.skip(match (is_rgb, more) {
        (false, false) => 1,
        (false, true) => 1 + 3,
        (true, false) => 0,
        (true, true) => 1,
    })?;
    Ok(Some((bits.take(16)? + 1, bits.take(16)? + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_with_and_without_the_head_of_their_box() {
        let plain = [0, 10, 0x82, 2, 2, 2, 0, 0];
        assert_eq!(record(&plain), Some(&plain[..]));
        assert_eq!(record(&[&[1, 0, 0, 0][..], &plain].concat()), Some(&plain[..]));
        assert_eq!(record(&plain[..7]), None);
    }

    #[test]
    fn a_key_frame_says_its_size() {
        // Profile 0, shown, 4:2:0, 320x180.
        let frame = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x30];
        assert_eq!(size_of(&frame), Some((320, 180)));
        assert_eq!(size_of(&[0x86, 0, 0]), None);
        assert_eq!(size_of(&frame[..6]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..16)) {
            let _ = (size_of(&bytes), record(&bytes));
        }
    }
}
