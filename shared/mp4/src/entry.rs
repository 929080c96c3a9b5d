//! What a track is coded with: the sample entry (ISO/IEC 14496-12, 8.5.2; -14 for AAC and MP3; -15 for H.264 and HEVC; the
//! bindings of AV1 and VP9; the encapsulations of Opus and FLAC; ETSI TS 102 366, annex F, for AC-3).

use bytes::Bytes;

use crate::Colours;
use crate::boxes::{boxed, full, u16, u32, zeros};

/// The codec of a track with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// H.264.
    Avc {
        /// AVCDecoderConfigurationRecord.
        record: Bytes,
        /// Pixels.
        size: (u32, u32),
    },
    /// HEVC.
    Hevc {
        /// HEVCDecoderConfigurationRecord.
        record: Bytes,
        /// Pixels.
        size: (u32, u32),
    },
    /// AV1.
    Av1 {
        /// AV1CodecConfigurationRecord.
        record: Bytes,
        /// Pixels.
        size: (u32, u32),
    },
    /// VP9.
    Vp9 {
        /// VPCodecConfigurationRecord.
        record: Bytes,
        /// Pixels.
        size: (u32, u32),
    },
    /// AAC.
    Aac {
        /// AudioSpecificConfig.
        record: Bytes,
        /// How many.
        channels: u16,
        /// Hz.
        sample_rate: u32,
    },
    /// MP3.
    Mp3 {
        /// How many.
        channels: u16,
        /// Hz.
        sample_rate: u32,
    },
    /// Opus.
    Opus {
        /// The identification header (RFC 7845, 5.1) behind its magic of eight bytes.
        head: Bytes,
        /// How many.
        channels: u16,
    },
    /// FLAC.
    Flac {
        /// The metadata block STREAMINFO without its header.
        info: Bytes,
        /// How many.
        channels: u16,
        /// Hz.
        sample_rate: u32,
    },
    /// AC-3 and E-AC-3.
    Ac3 {
        /// The content of `dac3` or `dec3`.
        record: Bytes,
        /// E-AC-3.
        is_enhanced: bool,
        /// How many.
        channels: u16,
        /// Hz.
        sample_rate: u32,
    },
}

impl Entry {
    /// Whether it is a track of pictures.
    #[must_use]
    pub const fn is_video(&self) -> bool {
        matches!(self, Self::Avc { .. } | Self::Hevc { .. } | Self::Av1 { .. } | Self::Vp9 { .. })
    }

    /// Width and height of pictures.
    pub(crate) const fn size(&self) -> (u32, u32) {
        match self {
            Self::Avc { size, .. } | Self::Hevc { size, .. } => *size,
            Self::Av1 { size, .. } | Self::Vp9 { size, .. } => *size,
            _ => (0, 0),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, colours: Option<&Colours>) {
        let picture = |out: &mut Vec<u8>, name, size, config, record: &[u8]| {
            picture(out, name, (size, colours), config, record)
        };
        match self {
            Self::Avc { record, size } => picture(out, *b"avc1", *size, *b"avcC", record),
            Self::Hevc { record, size } => picture(out, *b"hvc1", *size, *b"hvcC", record),
            Self::Av1 { record, size } => picture(out, *b"av01", *size, *b"av1C", record),
            Self::Vp9 { record, size } => {
                // The only one of these boxes that has a version and flags.
                let config = [&[1, 0, 0, 0][..], record].concat();
                picture(out, *b"vp09", *size, *b"vpcC", &config);
            }
            Self::Flac { info, channels, sample_rate } => {
                sound(out, *b"fLaC", *channels, *sample_rate, |out| flac(out, info));
            }
            Self::Ac3 { record, is_enhanced, channels, sample_rate } => {
                let (name, config) = if *is_enhanced { (*b"ec-3", *b"dec3") } else { (*b"ac-3", *b"dac3") };
                sound(out, name, *channels, *sample_rate, |out| {
                    boxed(out, config, |out| out.extend_from_slice(record));
                });
            }
            Self::Aac { record, channels, sample_rate } => {
                sound(out, *b"mp4a", *channels, *sample_rate, |out| {
                    descriptors(out, 0x40, Some(record));
                })
            }
            Self::Mp3 { channels, sample_rate } => sound(out, *b"mp4a", *channels, *sample_rate, |out| {
                descriptors(out, 0x6b, None);
            }),
            Self::Opus { head, channels } => sound(out, *b"Opus", *channels, 48_000, |out| opus(out, head)),
        }
    }
}

fn picture(
    out: &mut Vec<u8>,
    name: [u8; 4],
    (size, colours): ((u32, u32), Option<&Colours>),
    config: [u8; 4],
    record: &[u8],
) {
    boxed(out, name, |out| {
        zeros(out, 6);
        u16(out, 1);
        zeros(out, 16);
        u16(out, u16::try_from(size.0).unwrap_or(u16::MAX));
        u16(out, u16::try_from(size.1).unwrap_or(u16::MAX));
        u32(out, 72 << 16);
        u32(out, 72 << 16);
        u32(out, 0);
        u16(out, 1);
        zeros(out, 32);
        u16(out, 24);
        u16(out, u16::MAX);
        boxed(out, config, |out| out.extend_from_slice(record));
        colours.into_iter().for_each(|colours| colours.write(out));
    });
}

fn sound(
    out: &mut Vec<u8>,
    name: [u8; 4],
    channels: u16,
    sample_rate: u32,
    config: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, name, |out| {
        zeros(out, 6);
        u16(out, 1);
        zeros(out, 8);
        u16(out, channels);
        u16(out, 16);
        u32(out, 0);
        // 16.16; rates that do not fit are written as none, decoders go by the configuration.
        u32(out, u16::try_from(sample_rate).map_or(0, |rate| u32::from(rate) << 16));
        config(out);
    });
}

/// The elementary stream descriptor of MPEG-4 (ISO/IEC 14496-1, 7.2.6).
fn descriptors(out: &mut Vec<u8>, object_type: u8, specific: Option<&Bytes>) {
    let mut config = vec![object_type, 0x15];
    zeros(&mut config, 11);
    if let Some(specific) = specific {
        descriptor(&mut config, 5, specific);
    }
    let mut stream = vec![0, 1, 0];
    descriptor(&mut stream, 4, &config);
    descriptor(&mut stream, 6, &[2]);
    full(out, *b"esds", 0, 0, |out| descriptor(out, 3, &stream));
}

fn descriptor(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let len = content.len();
    let part = |shift: usize| u8::try_from(len >> shift & 0x7f).unwrap_or(0);
    out.extend_from_slice(&[0x80 | part(21), 0x80 | part(14), 0x80 | part(7), part(0)]);
    out.extend_from_slice(content);
}

/// `dOps`: the identification header with its numbers the other way round.
fn opus(out: &mut Vec<u8>, head: &[u8]) {
    let at = |n: usize| head.get(n).copied().unwrap_or(0);
    boxed(out, *b"dOps", |out| {
        out.extend_from_slice(&[0, at(1), at(3), at(2), at(7), at(6), at(5), at(4), at(9), at(8), at(10)]);
        if at(10) != 0 {
            out.extend_from_slice(head.get(11..).unwrap_or(&[]));
        }
    });
}

/// `dfLa`: metadata blocks, of which one is enough; it is the last.
fn flac(out: &mut Vec<u8>, info: &[u8]) {
    full(out, *b"dfLa", 0, 0, |out| {
        u32(out, 0x8000_0000 | u32::try_from(info.len()).unwrap_or(0) & 0x00ff_ffff);
        out.extend_from_slice(info);
    });
}
