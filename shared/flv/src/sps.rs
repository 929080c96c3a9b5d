//! The size of pictures in an H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1).

use crate::bits::Bits;

/// Largest size that is believed, pixels: the fields could say 2^32 macroblocks.
const MAX_PIXELS: u64 = 65_536;

/// Profiles whose parameter set says more about colours.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Width and height of a NAL unit of type 7, its header byte in front.
pub(crate) fn size(nal: &[u8]) -> Option<(u32, u32)> {
    let (header, body) = nal.split_first()?;
    if header & 0x1f != 7 {
        return None;
    }
    let mut bits = Bits::of_nal(body);
    let profile = bits.number(8)?;
    bits.skip(16)?;
    bits.golomb()?; // seq_parameter_set_id
    let mut chroma = 1;
    let mut planes = false;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            planes = bits.bit()?;
        }
        bits.golomb()?; // bit_depth_luma_minus8
        bits.golomb()?; // bit_depth_chroma_minus8
        bits.bit()?; // qpprime_y_zero_transform_bypass_flag
        if bits.bit()? {
            let lists = if chroma == 3 { 12 } else { 8 };
            for list in 0..lists {
                if bits.bit()? {
                    scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?; // log2_max_frame_num_minus4
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.bit()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            let count = bits.golomb()?;
            if count > 255 {
                return None;
            }
            for _ in 0..count {
                bits.signed_golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?; // max_num_ref_frames
    bits.bit()?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = u64::from(bits.golomb()?) + 1;
    let height_units = u64::from(bits.golomb()?) + 1;
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?; // direct_8x8_inference_flag
    let fields = if frames_only { 1 } else { 2 };
    let (mut width, mut height) = (width_mbs * 16, height_units * 16 * fields);
    if bits.bit()? {
        let mut side = || bits.golomb().map(u64::from);
        let (left, right, top, bottom) = (side()?, side()?, side()?, side()?);
        let (unit_x, unit_y) = match chroma {
            _ if planes => (1, fields),
            0 | 3 => (1, fields),
            2 => (2, fields),
            _ => (2, 2 * fields),
        };
        width = width.checked_sub((left + right) * unit_x)?;
        height = height.checked_sub((top + bottom) * unit_y)?;
    }
    let fits = |pixels: u64| (1..=MAX_PIXELS).contains(&pixels).then(|| u32::try_from(pixels).ok()).flatten();
    Some((fits(width)?, fits(height)?))
}

fn scaling_list(bits: &mut Bits, len: u32) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..len {
        if next != 0 {
            next = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}
