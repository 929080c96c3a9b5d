//! The size of pictures in an H.265 sequence parameter set (ITU-T H.265, 7.3.2.2).

use crate::bits::Bits;

/// Largest size that is believed, pixels.
const MAX_PIXELS: u32 = 65_536;

/// Width and height of a NAL unit of type 33, its two header bytes in front.
pub(crate) fn size(nal: &[u8]) -> Option<(u32, u32)> {
    let (header, body) = nal.split_first_chunk::<2>()?;
    if header[0] >> 1 & 0x3f != 33 {
        return None;
    }
    let mut bits = Bits::of_nal(body);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.number(3)?;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    profile_tier_level(&mut bits, sub_layers)?;
    bits.golomb()?; // sps_seq_parameter_set_id
    let chroma = bits.golomb()?;
    let planes = chroma == 3 && bits.bit()?;
    let (mut width, mut height) = (bits.golomb()?, bits.golomb()?);
    if bits.bit()? {
        let (left, right, top, bottom) = (bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?);
        let (unit_x, unit_y) = match chroma {
            _ if planes => (1, 1),
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    }
    let fits = |pixels: u32| (1..=MAX_PIXELS).contains(&pixels).then_some(pixels);
    Some((fits(width)?, fits(height)?))
}

fn profile_tier_level(bits: &mut Bits, sub_layers: u32) -> Option<()> {
    bits.skip(88)?; // profile
    bits.skip(8)?; // general_level_idc
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.bit()?, bits.bit()?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}
