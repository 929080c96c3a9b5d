//! How the pictures and sounds of [`crate::marked`] are coded: decoder configurations and packets of every codec that the server
//! has a word for, well-formed as far as a server looks. Of each there are two configurations, for streams that change.
//!
//! Sources: FLV 10.1 (E.4.2, E.4.3) for AVC and AAC, Enhanced RTMP v2 for all others.

use crate::marked::Unit;
use crate::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION};

/// Codecs of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Video {
    /// H.264, in packets as they always were.
    Avc,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
}

/// Codecs of sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio {
    /// AAC, in packets as they always were.
    Aac,
    /// MP3.
    Mp3,
    /// Opus.
    Opus,
    /// FLAC.
    Flac,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
}

/// How a stream, or a part of one, is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    /// Pictures.
    pub video: Video,
    /// Sounds.
    pub audio: Audio,
    /// Pictures have the second configuration: another profile, level or size.
    pub is_other_video: bool,
    /// Sounds have the second configuration: another rate, or number of channels.
    pub is_other_audio: bool,
}

impl Default for Coding {
    fn default() -> Self {
        Self::of(Video::Avc, Audio::Aac)
    }
}

const OTHER_AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x02\x68\xee";
const OTHER_AAC: &[u8] = b"\xaf\0\x11\x90";

/// Main profile, 320x180, as x265 writes them: video, sequence and picture parameter set.
const HEVC_SETS: [(u8, &[u8]); 3] = [
    (32, b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09"),
    (33, b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0a\x08\x0b\x9f\x79\x65\x66\x92\x4c\xaf\x01\x68\x08\x00\x00\x03\x00\x08\x00\x00\x03\x00\xc8\x40"),
    (34, b"\x44\x01\xc1\x72\xb4\x62\x40"),
];

/// An HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) of this level.
fn hevc_record(level: u8) -> Vec<u8> {
    let mut record = b"\x01\x01\x60\0\0\0\x90\0\0\0\0\0".to_vec();
    record.extend([level, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]);
    for (kind, set) in HEVC_SETS {
        record.extend([0x80 | kind, 0, 1]);
        record.extend(u16::try_from(set.len()).expect("a short set").to_be_bytes());
        record.extend(set);
    }
    record
}

/// STREAMINFO (RFC 9639, 8.2) of a stereo stream of 16 bits, behind the magic of a file and the head of its block.
fn flac_record(rate_hz: u32) -> Vec<u8> {
    let mut record = b"fLaC\x80\0\0\x22\x12\0\x12\0\0\0\0\0\0\0".to_vec();
    let facts = u64::from(rate_hz) << 44 | 1 << 41 | 15 << 36;
    record.extend(facts.to_be_bytes());
    record.extend([0; 16]);
    record
}

impl Coding {
    /// Both with their first configuration.
    #[must_use]
    pub const fn of(video: Video, audio: Audio) -> Self {
        Self { video, audio, is_other_video: false, is_other_audio: false }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:?}-{:?}", self.video, self.audio).to_lowercase()
    }

    /// The FourCC of pictures or sounds that have one.
    const fn code(&self, is_video: bool) -> Option<&'static [u8; 4]> {
        match (is_video, self.video, self.audio) {
            (true, Video::Avc, _) | (false, _, Audio::Aac) => None,
            (true, Video::Hevc, _) => Some(b"hvc1"),
            (true, Video::Av1, _) => Some(b"av01"),
            (true, Video::Vp9, _) => Some(b"vp09"),
            (false, _, Audio::Mp3) => Some(b".mp3"),
            (false, _, Audio::Opus) => Some(b"Opus"),
            (false, _, Audio::Flac) => Some(b"fLaC"),
            (false, _, Audio::Ac3) => Some(b"ac-3"),
            (false, _, Audio::Eac3) => Some(b"ec-3"),
        }
    }

    /// The decoder configuration, behind the head of its packet; `None` where frames say for themselves what they are.
    #[must_use]
    pub fn record(&self, is_video: bool) -> Option<Vec<u8>> {
        let is_other = if is_video { self.is_other_video } else { self.is_other_audio };
        let pick = |first: &[u8], other: &[u8]| if is_other { other } else { first }.to_vec();
        match (is_video, self.video, self.audio) {
            (true, Video::Avc, _) => Some(pick(&VIDEO_CONFIGURATION[5..], &OTHER_AVC[5..])),
            (true, Video::Hevc, _) => Some(hevc_record(if is_other { 0x5d } else { 0x3c })),
            (true, Video::Av1, _) => Some(pick(
                b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\x02\xf8\x00\x40",
                b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\xda\xf9\x00\x40",
            )),
            (true, Video::Vp9, _) => Some(pick(b"\0\x0a\x82\x02\x02\x02\0\0", b"\0\x14\x82\x02\x02\x02\0\0")),
            (false, _, Audio::Aac) => Some(pick(&AUDIO_CONFIGURATION[2..], &OTHER_AAC[2..])),
            (false, _, Audio::Opus) => Some(pick(
                b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0",
                b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0",
            )),
            (false, _, Audio::Flac) => Some(flac_record(if is_other { 44_100 } else { 48_000 })),
            (false, _, Audio::Mp3 | Audio::Ac3 | Audio::Eac3) => None,
        }
    }

    /// The packet with the decoder configuration, where there is one.
    #[must_use]
    pub fn header(&self, is_video: bool) -> Option<Vec<u8>> {
        let record = self.record(is_video)?;
        let head: &[u8] = match (is_video, self.code(is_video)) {
            (true, None) => &VIDEO_CONFIGURATION[..5],
            (false, None) => &AUDIO_CONFIGURATION[..2],
            (true, Some(code)) => &[&[0x90][..], code].concat(),
            (false, Some(code)) => &[&[0x90][..], code].concat(),
        };
        Some([head, &record].concat())
    }

    /// What the coded bytes of a picture or sound begin with.
    fn head(&self, unit: &Unit) -> &'static [u8] {
        let is_key = unit.is_key;
        let other = if unit.is_video { self.is_other_video } else { self.is_other_audio };
        match (unit.is_video, self.video, self.audio) {
            (true, Video::Avc, _) => {
                if is_key {
                    b"\x65"
                } else {
                    b"\x41"
                }
            }
            (true, Video::Hevc, _) => {
                if is_key {
                    b"\x26\x01"
                } else {
                    b"\x02\x01"
                }
            }
            // A frame, behind the header of its sequence where it is a key frame.
            (true, Video::Av1, _) if is_key => {
                b"\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\x02\xf8\x00\x40\x32\x15\x10"
            }
            (true, Video::Av1, _) => b"\x32\x15\x30",
            (true, Video::Vp9, _) if is_key => b"\x82\x49\x83\x42\x00\x13\xf0\x0b\x30",
            (true, Video::Vp9, _) => b"\x86",
            (false, _, Audio::Aac) => b"",
            (false, _, Audio::Mp3) => {
                if other {
                    b"\xff\xfb\x94\x00"
                } else {
                    b"\xff\xfb\x90\x00"
                }
            }
            (false, _, Audio::Opus) => b"\xfc",
            (false, _, Audio::Flac) => b"\xff\xf8\xca\x18",
            (false, _, Audio::Ac3) if other => b"\x0b\x77\x12\x34\x54\x40\x43\xe1",
            (false, _, Audio::Ac3) => b"\x0b\x77\x12\x34\x14\x40\x43\xe1",
            (false, _, Audio::Eac3) if other => b"\x0b\x77\x03\x7f\x7f\x87\xc0\x00",
            (false, _, Audio::Eac3) => b"\x0b\x77\x03\x7f\x3f\x87\xc0\x00",
        }
    }

    /// A picture or sound as its packet has it.
    ///
    /// # Panics
    /// When it is shown hours behind its DTS.
    #[must_use]
    pub fn body(&self, unit: &Unit) -> Vec<u8> {
        let mut coded = [self.head(unit), &unit.mark()].concat();
        if unit.is_video && matches!(self.video, Video::Avc | Video::Hevc) {
            let len = u32::try_from(coded.len()).expect("short").to_be_bytes();
            coded.splice(0..0, len);
        }
        let [_, composition @ ..] = i32::try_from(unit.composition_ms).expect("a short time").to_be_bytes();
        let frame_type = if unit.is_key { 0x10 } else { 0x20 };
        let head = match (unit.is_video, self.code(unit.is_video)) {
            (true, None) => [&[frame_type | 7, 1][..], &composition].concat(),
            (false, None) => vec![0xaf, 1],
            // A picture that is shown at its DTS says so by the kind of its packet.
            (true, Some(code)) if self.video == Video::Hevc && unit.composition_ms != 0 => {
                [&[0x80 | frame_type | 1][..], code, &composition].concat()
            }
            (true, Some(code)) if self.video == Video::Hevc => [&[0x80 | frame_type | 3][..], code].concat(),
            (true, Some(code)) => [&[0x80 | frame_type | 1][..], code].concat(),
            (false, Some(code)) => [&[0x91][..], code].concat(),
        };
        [head, coded].concat()
    }

    /// Whether a picture may be shown later than it is decoded.
    #[must_use]
    pub fn reorders(&self) -> bool {
        matches!(self.video, Video::Avc | Video::Hevc)
    }

    /// Whether MPEG-TS has a place for the pictures, or the sounds.
    #[must_use]
    pub fn fits_ts(&self, is_video: bool) -> bool {
        if is_video { matches!(self.video, Video::Avc | Video::Hevc) } else { self.audio != Audio::Flac }
    }
}
