//! The decoder configuration of AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

use bytes::Bytes;

use crate::avc::ConfigError;
use crate::bitwise::{BadBits, Bits};

/// Sample rates by index.
pub(crate) const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What an AAC sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig {
    /// The whole configuration, as MP4 files keep it.
    pub record: Bytes,
    /// Object type of the core: 2 is LC, 42 xHE-AAC. That of what is around it (SBR, PS) is not kept.
    pub object_type: u8,
    /// Index of the core's sample rate, 0 to 12, where it is one of those.
    pub rate_index: Option<u8>,
    /// The core's sample rate in Hz.
    pub sample_rate: u32,
    /// Channel configuration: 1 to 7 (7 means 8 channels), 11 to 14, or 0: the channels are described one by one.
    pub channel_config: u8,
    /// That description as an element of a frame (`program_config_element` with its identifier), whole bytes; of the numbers above
    /// 7, which are too large for the headers of frames, what they mean. Empty where there is none.
    pub description: Bytes,
    /// Channels that it describes.
    described: u16,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// [`ConfigError`] when it can't be what a decoder needs.
    pub fn parse(record: &Bytes) -> Result<Self, ConfigError> {
        let mut bits = Bits::new(record);
        let object = |bits: &mut Bits<'_>| {
            let kind = bits.take(5)?;
            if kind == 31 { bits.take(6).map(|more| 32 + more) } else { Ok(kind) }
        };
        let rate = |bits: &mut Bits<'_>| {
            let index = bits.take(4)?;
            if index == 15 {
                return bits.take(24);
            }
            Ok(SAMPLE_RATES.get(index as usize).copied().unwrap_or(0))
        };
        let mut object_type = object(&mut bits)?;
        let sample_rate = rate(&mut bits)?;
        let channels = bits.take(4)?;
        if matches!(object_type, 5 | 29) {
            rate(&mut bits)?;
            object_type = object(&mut bits)?;
        }
        let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        let is_known = matches!(channels, 0..=7 | 11..=14);
        if !matches!(object_type, 1..=30 | 32..=45) || sample_rate == 0 || !is_known {
            let (object_type, channels) = (byte(object_type), byte(channels));
            return Err(ConfigError::Audio { object_type, sample_rate, channels });
        }
        let is_general = matches!(object_type, 1..=4);
        let index = SAMPLE_RATES.iter().position(|known| *known == sample_rate);
        let rate_index = index.and_then(|index| u32::try_from(index).ok());
        let (described, description) = match (channels, rate_index) {
            (0, _) if is_general => description(&mut bits)?,
            (channels, Some(rate_index)) if is_general => {
                let layout = Layout::of(channels);
                (0, layout.map_or_else(Vec::new, |layout| layout.write(object_type, rate_index)))
            }
            _ => (0, Vec::new()),
        };
        Ok(Self {
            record: record.clone(),
            object_type: byte(object_type),
            rate_index: index.and_then(|index| u8::try_from(index).ok()),
            sample_rate,
            channel_config: byte(channels),
            description: description.into(),
            described,
        })
    }

    /// Channels that are heard.
    #[must_use]
    pub fn channels(&self) -> u16 {
        match self.channel_config {
            0 if self.described == 0 => 2,
            0 => self.described,
            7 | 12 | 14 => 8,
            11 => 7,
            13 => 24,
            config => u16::from(config),
        }
    }

    /// Whether the header of ADTS can say all of it: three bits for the channels, or their description in each frame.
    #[must_use]
    pub fn fits_adts(&self) -> bool {
        let says_channels = matches!(self.channel_config, 1..=7) || !self.description.is_empty();
        matches!(self.object_type, 1..=4) && self.rate_index.is_some() && says_channels
    }
}

/// An element of a frame: a pair of channels or one, its number among those of its kind, and whether it is above (1) or below (2)
/// the others.
#[derive(Debug, Clone, Copy)]
struct Element {
    is_pair: bool,
    number: u32,
    height: u32,
}

const fn one(number: u32) -> Element {
    Element { is_pair: false, number, height: 0 }
}

const fn pair(number: u32) -> Element {
    Element { is_pair: true, number, height: 0 }
}

const fn at(height: u32, element: Element) -> Element {
    Element { height, ..element }
}

/// What a channel configuration means (ISO/IEC 14496-3, table 1.19): which elements are in front, at the sides and behind. Numbers
/// count elements of a kind in the order of a frame, as encoders number them.
#[derive(Debug, Clone, Copy)]
struct Layout {
    front: &'static [Element],
    side: &'static [Element],
    back: &'static [Element],
    /// Elements of low frequencies.
    low: u32,
}

/// What the comment of a description begins with that says how high elements are (ISO/IEC 14496-3, 4.5.1.2).
const HEIGHTS: u32 = 0xac;

impl Layout {
    /// Of the numbers that three bits can't say.
    const fn of(channels: u32) -> Option<Self> {
        Some(match channels {
            11 => Self::ELEVEN,
            12 => Self::TWELVE,
            13 => Self::THIRTEEN,
            14 => Self::FOURTEEN,
            _ => return None,
        })
    }

    const FRONT: &'static [Element] = &[one(0), pair(0)];
    const ELEVEN: Self = Self { front: Self::FRONT, side: &[], back: &[pair(1), one(1)], low: 1 };
    const TWELVE: Self = Self { front: Self::FRONT, side: &[pair(1)], back: &[pair(2)], low: 1 };
    const THIRTEEN: Self = Self {
        front: &[one(0), pair(0), pair(1), at(1, one(2)), at(1, pair(4)), at(2, one(5)), at(2, pair(7))],
        side: &[pair(2), at(1, pair(5)), at(1, one(3))],
        back: &[pair(3), one(1), at(1, pair(6)), at(1, one(4))],
        low: 2,
    };
    const FOURTEEN: Self =
        Self { front: &[one(0), pair(0), at(1, pair(2))], side: &[pair(1)], back: &[], low: 1 };

    /// `program_config_element` (ISO/IEC 14496-3, 4.4.1.1) with its identifier.
    fn write(self, object_type: u32, rate_index: u32) -> Vec<u8> {
        let groups = [self.front, self.side, self.back];
        let count = |group: &[Element]| u32::try_from(group.len()).unwrap_or(0);
        let mut out = Written::default();
        // The identifier; number 0 of its kind.
        out.put(5, 3);
        out.put(0, 4);
        out.put(object_type - 1, 2);
        out.put(rate_index, 4);
        groups.iter().for_each(|group| out.put(count(group), 4));
        out.put(self.low, 2);
        // No data, nothing coupled, nothing mixed down.
        out.put(0, 3 + 4 + 3);
        for element in groups.into_iter().flatten() {
            out.put(u32::from(element.is_pair), 1);
            out.put(element.number, 4);
        }
        (0..self.low).for_each(|number| out.put(number, 4));
        let mut bytes = out.bytes;
        let heights = self.heights();
        bytes.push(u8::try_from(heights.len()).unwrap_or(0));
        bytes.extend_from_slice(&heights);
        bytes
    }

    /// The comment that says how high elements are; empty where all are as high.
    fn heights(self) -> Vec<u8> {
        let all = || [self.front, self.side, self.back].into_iter().flatten();
        if all().all(|element| element.height == 0) {
            return Vec::new();
        }
        let mut out = Written::default();
        out.put(HEIGHTS, 8);
        all().for_each(|element| out.put(element.height, 2));
        let mut bytes = out.bytes;
        bytes.push(checksum(&bytes));
        bytes
    }
}

/// CRC-8 of polynomial x^8 + x^2 + x + 1 that begins with ones.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(u8::MAX, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum, _| if sum & 0x80 != 0 { sum << 1 ^ 0x07 } else { sum << 1 })
    })
}

/// Bits that are put together to bytes.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    count: usize,
}

impl Written {
    fn put(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut().filter(|_| value >> bit & 1 != 0) {
                *last |= 0x80 >> (self.count % 8);
            }
            self.count += 1;
        }
    }
}

/// Copies `program_config_element` (ISO/IEC 14496-3, 4.4.1.1) out of the rest of a configuration, behind its identifier. Returns
/// how many channels it describes.
fn description(bits: &mut Bits<'_>) -> Result<(u16, Vec<u8>), BadBits> {
    bits.skip(1)?;
    if bits.bit()? {
        bits.skip(14)?;
    }
    bits.skip(1)?;
    let mut out = Written::default();
    out.put(5, 3);
    let mut copy = |count: u32| {
        let value = bits.take(count)?;
        out.put(value, count);
        Ok::<_, BadBits>(value)
    };
    copy(10)?;
    let (front, side, back) = (copy(4)?, copy(4)?, copy(4)?);
    let (low, data, coupled) = (copy(2)?, copy(3)?, copy(4)?);
    for count in [4, 4, 3] {
        if copy(1)? == 1 {
            copy(count)?;
        }
    }
    let mut channels = low;
    for _ in 0..front + side + back {
        // A pair, or one.
        channels += 1 + copy(1)?;
        copy(4)?;
    }
    for _ in 0..low + data {
        copy(4)?;
    }
    for _ in 0..coupled {
        copy(5)?;
    }
    // Here bytes begin anew, in the configuration and in a frame; what somebody may have written there is left out.
    let mut bytes = out.bytes;
    bytes.push(0);
    Ok((u16::try_from(channels).unwrap_or(0), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<(u8, u32, u16), ConfigError> {
        let config = AacConfig::parse(&Bytes::from_static(bytes))?;
        Ok((config.object_type, config.sample_rate, config.channels()))
    }

    #[test]
    fn configurations_of_real_encoders() {
        assert_eq!(read(&[0x12, 0x10]), Ok((2, 44_100, 2)));
        assert_eq!(read(&[0x11, 0x88]), Ok((2, 48_000, 1)));
        // HE-AAC, signalled explicitly: core 22050 Hz, output 44100 Hz.
        assert_eq!(read(&[0x2b, 0x92, 0x08, 0x00]), Ok((2, 22_050, 2)));
        assert_eq!(read(&[0x12, 0x38]), Ok((2, 44_100, 8)));
    }

    #[test]
    fn impossible_ones_are_refused() {
        assert!(matches!(read(&[0x12]), Err(ConfigError::Bits(_))));
        assert!(matches!(read(&[0x17, 0x80, 0, 0, 0x10]), Err(ConfigError::Audio { sample_rate: 0, .. })));
        assert!(matches!(read(&[0x16, 0x90]), Err(ConfigError::Audio { sample_rate: 0, .. })));
        // It says that the channels are described, and ends there; channel configurations that nobody has given a meaning.
        assert!(matches!(read(&[0x12, 0x00]), Err(ConfigError::Bits(_))));
        assert!(matches!(read(&[0x12, 0x40]), Err(ConfigError::Audio { channels: 8, .. })));
        assert!(matches!(read(&[0x02, 0x10]), Err(ConfigError::Audio { object_type: 0, .. })));
    }

    #[test]
    fn channels_are_described_or_numbered() {
        // Configurations 11 to 14 of 48 kHz, which three bits can't say: the description has as many channels.
        for (second, channels) in [(0xd8, 7), (0xe0, 8), (0xe8, 24), (0xf0, 8)] {
            let config = AacConfig::parse(&vec![0x11, second].into()).unwrap();
            assert_eq!((config.channels(), config.fits_adts()), (channels, true));
            // As it is read where it stands in a configuration.
            let mut bits = Written::default();
            [(2, 5), (3, 4), (0, 4), (0, 3)].into_iter().for_each(|(value, count)| bits.put(value, count));
            let mut inner = Bits::new(&config.description);
            assert_eq!(inner.take(3).unwrap(), 5);
            while let Ok(bit) = inner.take(1) {
                bits.put(bit, 1);
            }
            let described = AacConfig::parse(&bits.bytes.into()).unwrap();
            assert_eq!((described.channels(), described.channel_config), (channels, 0));
        }
        // 960 Hz and the like have no index.
        let config = AacConfig::parse(&Bytes::from_static(&[0x17, 0x80, 0x07, 0x80, 0x60])).unwrap();
        assert_eq!((config.channels(), config.fits_adts()), (8, false));
        // Front: one and a pair; back: a pair; one for low frequencies.
        let mut bits = Written::default();
        for (value, count) in
            [(2, 5), (3, 4), (0, 4), (0, 3), (0, 4), (1, 2), (3, 4), (2, 4), (0, 4), (1, 4), (1, 2)]
        {
            bits.put(value, count);
        }
        for (value, count) in [(0, 3), (0, 4), (0, 3), (0, 5), (16, 5), (17, 5), (0, 4)] {
            bits.put(value, count);
        }
        bits.bytes.extend([3, b'a', b'b', b'c']);
        let config = AacConfig::parse(&bits.bytes.into()).unwrap();
        assert_eq!((config.channels(), config.fits_adts(), config.channel_config), (6, true, 0));
        assert!(
            config.description.len() == 8 && config.description[0] >> 5 == 5,
            "{:x?}",
            config.description
        );
        // xHE-AAC: object type 42.
        let config = AacConfig::parse(&Bytes::from_static(&[0xf9, 0x46, 0x40])).unwrap();
        assert_eq!((config.object_type, config.sample_rate, config.fits_adts()), (42, 48_000, false));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..32)) {
            let _ = AacConfig::parse(&bytes.into());
        }
    }
}
