//! AC-3 and E-AC-3: what the first bytes of a frame say (ETSI TS 102 366, 5.3 and E.1), and how MP4 says it (F.4, F.6).

use crate::bitwise::{BadBits, Bits};

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ac3Config {
    /// E-AC-3.
    pub is_enhanced: bool,
    /// Hz.
    pub sample_rate: u32,
    /// How many, the one for low frequencies among them.
    pub channels: u16,
    /// The content of the box `dac3` or `dec3`, and how long it is.
    record: ([u8; 5], usize),
}

impl Ac3Config {
    /// What a sample entry says; `record` is the content of its box, of which the first bytes are kept.
    #[must_use]
    pub fn of_box(is_enhanced: bool, (sample_rate, channels): (u32, u16), record: &[u8]) -> Self {
        let mut bytes = [0; 5];
        bytes.iter_mut().zip(record).for_each(|(place, byte)| *place = *byte);
        Self { is_enhanced, sample_rate, channels, record: (bytes, record.len().min(5)) }
    }

    /// The content of the box `dac3` or `dec3`.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.record.0.get(..self.record.1).unwrap_or(&[])
    }
}

/// Reads the beginning of a frame. `None` when it is none.
#[must_use]
pub fn describe(frame: &[u8], is_enhanced: bool) -> Option<Ac3Config> {
    let mut bits = Bits::new(frame);
    if bits.take(16).ok()? != 0x0b77 {
        return None;
    }
    if is_enhanced { enhanced(&mut bits) } else { plain(&mut bits) }.ok()?
}

const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Channels of each mode, without the one for low frequencies.
const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

fn counted(mode: u32, has_low: bool) -> u16 {
    CHANNELS.get(mode as usize).copied().unwrap_or(2) + u16::from(has_low)
}

/// The bytes of a number that has so many of them.
fn packed(value: u64, len: usize) -> ([u8; 5], usize) {
    let [_, _, _, all @ ..] = (value << (8 * (5 - len))).to_be_bytes();
    (all, len)
}

fn plain(bits: &mut Bits<'_>) -> Result<Option<Ac3Config>, BadBits> {
    bits.skip(16)?;
    let (rate, size) = (bits.take(2)?, bits.take(6)?);
    let (version, service, mode) = (bits.take(5)?, bits.take(3)?, bits.take(3)?);
    if mode & 1 != 0 && mode != 1 {
        bits.skip(2)?;
    }
    if mode & 4 != 0 {
        bits.skip(2)?;
    }
    if mode == 2 {
        bits.skip(2)?;
    }
    let has_low = bits.bit()?;
    let Some(sample_rate) = RATES.get(rate as usize).copied().filter(|_| version <= 8) else {
        return Ok(None);
    };
    let fields =
        [(rate, 2), (version, 5), (service, 3), (mode, 3), (u32::from(has_low), 1), (size >> 1, 5), (0, 5)];
    let value = fields.into_iter().fold(0_u64, |value, (field, count)| value << count | u64::from(field));
    let channels = counted(mode, has_low);
    Ok(Some(Ac3Config { is_enhanced: false, sample_rate, channels, record: packed(value, 3) }))
}

fn enhanced(bits: &mut Bits<'_>) -> Result<Option<Ac3Config>, BadBits> {
    bits.skip(5)?;
    let bytes = (bits.take(11)? + 1) * 2;
    let rate = bits.take(2)?;
    let more = bits.take(2)?;
    let (sample_rate, blocks) = if rate == 3 {
        (RATES.get(more as usize).map(|rate| rate / 2), 6)
    } else {
        (RATES.get(rate as usize).copied(), [1_u32, 2, 3, 6].get(more as usize).copied().unwrap_or(6))
    };
    let (mode, has_low, version) = (bits.take(3)?, bits.bit()?, bits.take(5)?);
    let Some(sample_rate) = sample_rate.filter(|_| (9..=16).contains(&version)) else { return Ok(None) };
    let kbps = u64::from(bytes) * 8 * u64::from(sample_rate) / (u64::from(blocks) * 256) / 1000;
    // Data rate, one substream: rate, version, reserved and no associated service, main service, mode, low, nothing dependent.
    let fields = [
        (u32::try_from(kbps).unwrap_or(0) & 0x1fff, 13),
        (0, 3),
        (rate, 2),
        (version, 5),
        (0, 2),
        (0, 3),
        (mode, 3),
        (u32::from(has_low), 1),
        (0, 3),
        (0, 4),
        (0, 1),
    ];
    let value = fields.into_iter().fold(0_u64, |value, (field, count)| value << count | u64::from(field));
    let channels = counted(mode, has_low);
    Ok(Some(Ac3Config { is_enhanced: true, sample_rate, channels, record: packed(value, 5) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_kinds_are_described() {
        // From ffmpeg: 192 kbit/s, two channels; 448 kbit/s, six channels; and the boxes that it writes for them.
        let config = describe(b"\x0b\x77\xfe\x95\x14\x40\x43\xe1", false).unwrap();
        assert_eq!((config.sample_rate, config.channels, config.record()), (48_000, 2, &b"\x10\x11\x40"[..]));
        let config = describe(b"\x0b\x77\x03\x7f\x3f\x87\xc0\x00", true).unwrap();
        let record = &b"\x0e\x00\x20\x0f\x00"[..];
        assert_eq!((config.sample_rate, config.channels, config.record()), (48_000, 6, record));
        assert_eq!(describe(b"\x0b\x78\x12\x34\x14\x40\x43\xe0", false), None);
        assert_eq!(describe(b"\x0b\x77\x12\x34\xff\x40\x43\xe0", false), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..16), both: bool) {
            let _ = describe(&[b"\x0b\x77", bytes.as_slice()].concat(), both);
        }
    }
}
