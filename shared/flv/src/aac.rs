//! The decoder configuration of AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

use bytes::Bytes;

use crate::avc::ConfigError;
use crate::bitwise::Bits;

/// Sample rates by index.
pub(crate) const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What an AAC sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig {
    /// The whole configuration, as MP4 files keep it.
    pub record: Bytes,
    /// Object type of the core: 2 is LC. That of what is around it (SBR, PS) is not kept.
    pub object_type: u8,
    /// Index of the core's sample rate, 0 to 12.
    pub rate_index: u8,
    /// The core's sample rate in Hz.
    pub sample_rate: u32,
    /// Channel configuration, 1 to 7 (7 means 8 channels).
    pub channel_config: u8,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// [`ConfigError`] when it can't be what a decoder needs, or what the formats here can carry.
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
        let rate_index = SAMPLE_RATES.iter().position(|known| *known == sample_rate);
        let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        match (object_type, rate_index.and_then(|index| u8::try_from(index).ok()), channels) {
            (1..=30, Some(rate_index), 1..=7) => Ok(Self {
                record: record.clone(),
                object_type: byte(object_type),
                rate_index,
                sample_rate,
                channel_config: byte(channels),
            }),
            _ => Err(ConfigError::Audio {
                object_type: byte(object_type),
                sample_rate,
                channels: byte(channels),
            }),
        }
    }

    /// Channels that are heard.
    #[must_use]
    pub fn channels(&self) -> u16 {
        if self.channel_config == 7 { 8 } else { u16::from(self.channel_config) }
    }
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
        assert!(matches!(read(&[0x12, 0x00]), Err(ConfigError::Audio { channels: 0, .. })));
        assert!(matches!(read(&[0x02, 0x10]), Err(ConfigError::Audio { object_type: 0, .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..32)) {
            let _ = AacConfig::parse(&bytes.into());
        }
    }
}
