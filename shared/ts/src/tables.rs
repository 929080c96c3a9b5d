//! Program association and program map (ISO/IEC 13818-1, 2.4.4): what there is in a stream, and nothing else.

use crate::packet::{Adaptation, Continuity, write_unit};

const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1001;
const PROGRAM: u16 = 1;

/// Kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoType {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
}

/// Kinds of sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioType {
    /// AAC in ADTS frames.
    Aac,
    /// MPEG audio.
    Mp3,
    /// Opus, of so many channels (1 to 8), in access units with a head each.
    Opus(u8),
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
}

/// One of the two tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sounds.
    Audio,
}

impl Track {
    pub(crate) const fn pid(self) -> u16 {
        match self {
            Self::Video => 0x100,
            Self::Audio => 0x101,
        }
    }
}

/// The tracks that a stream has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracks {
    /// Pictures.
    pub video: Option<VideoType>,
    /// Sounds.
    pub audio: Option<AudioType>,
}

impl Tracks {
    /// The track that carries the clock: pictures where there are any.
    #[must_use]
    pub const fn clock(self) -> Track {
        if self.video.is_some() { Track::Video } else { Track::Audio }
    }
}

/// The tables of a stream, with their counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    version: u8,
    pat: Continuity,
    pmt: Continuity,
}

impl Tables {
    /// The tracks are others from now on.
    pub(crate) fn next_version(&mut self) {
        self.version = (self.version + 1) & 0x1f;
    }

    pub(crate) fn restart(&mut self) {
        self.version = 0;
        self.pat.restart();
        self.pmt.restart();
    }

    /// Writes both, in two packets.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, tracks: Tracks, discontinuity: bool) {
        let [pmt_high, pmt_low] = (0xe000 | PMT_PID).to_be_bytes();
        let [program_high, program_low] = PROGRAM.to_be_bytes();
        let pat = [program_high, program_low, pmt_high, pmt_low];
        let first = Adaptation { discontinuity, ..Adaptation::default() };
        let section = section(0x00, 1, self.version, &pat);
        write_unit(out, PAT_PID, &mut self.pat, first, &section, &[]);

        let [clock_high, clock_low] = (0xe000 | tracks.clock().pid()).to_be_bytes();
        let mut pmt = vec![clock_high, clock_low, 0xf0, 0];
        let video = tracks.video.map(|video| match video {
            VideoType::H264 => (0x1b, Track::Video),
            VideoType::Hevc => (0x24, Track::Video),
        });
        let audio = tracks.audio.map(|audio| match audio {
            AudioType::Aac => (0x0f, Track::Audio),
            AudioType::Mp3 => (0x03, Track::Audio),
            // Private data, which descriptors tell more of.
            AudioType::Opus(_) => (0x06, Track::Audio),
            AudioType::Ac3 => (0x81, Track::Audio),
            AudioType::Eac3 => (0x87, Track::Audio),
        });
        for (stream_type, track) in [video, audio].into_iter().flatten() {
            let [high, low] = (0xe000 | track.pid()).to_be_bytes();
            let mut descriptors = Vec::new();
            if track == Track::Audio {
                match tracks.audio {
                    // Registration; extension of DVB with the channels.
                    Some(AudioType::Opus(channels)) => {
                        descriptors.extend_from_slice(b"\x05\x04Opus\x7f\x02\x80");
                        descriptors.push(channels);
                    }
                    Some(AudioType::Ac3) => descriptors.extend_from_slice(b"\x05\x04AC-3"),
                    Some(AudioType::Eac3) => descriptors.extend_from_slice(b"\x05\x04EAC3"),
                    _ => {}
                }
            }
            let len = u8::try_from(descriptors.len()).unwrap_or(0);
            pmt.extend_from_slice(&[stream_type, high, low, 0xf0, len]);
            pmt.extend_from_slice(&descriptors);
        }
        let section = self::section(0x02, PROGRAM, self.version, &pmt);
        write_unit(out, PMT_PID, &mut self.pmt, first, &section, &[]);
    }
}

/// A table of one section, with the pointer in front and padding behind: a whole packet's payload, so that nothing has to
/// be stuffed (some demultiplexers do not expect that in tables).
fn section(table_id: u8, extension: u16, version: u8, body: &[u8]) -> Vec<u8> {
    // From behind the length to the end of the checksum.
    let len = u16::try_from(body.len() + 9).unwrap_or(0);
    let [len_high, len_low] = (0xb000 | len).to_be_bytes();
    let [high, low] = extension.to_be_bytes();
    let mut out = vec![0, table_id, len_high, len_low, high, low, 0xc1 | version << 1, 0, 0];
    out.extend_from_slice(body);
    let sum = checksum(out.get(1..).unwrap_or(&[]));
    out.extend_from_slice(&sum.to_be_bytes());
    out.resize(out.len().max(176), 0xff);
    out
}

/// CRC-32/MPEG-2.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum & 0x8000_0000 != 0 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_mpeg() {
        assert_eq!(checksum(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn only_tracks_that_exist_are_announced() {
        let types = |tracks: Tracks| {
            let mut out = Vec::new();
            Tables::default().write(&mut out, tracks, false);
            assert_eq!(out.len(), 2 * crate::PACKET_BYTES);
            // The last packet: header, adaptation field, pointer, section.
            let packet = &out[188..];
            let skip = if packet[3] & 0x20 != 0 { usize::from(packet[4]) + 1 } else { 0 };
            let section = &packet[4 + skip + 1..];
            let len = usize::from(section[2]);
            assert_eq!(checksum(&section[..3 + len]), 0, "the checksum of the whole is nothing");
            let clock = u16::from_be_bytes([section[8] & 0x1f, section[9]]);
            let list = section[12..3 + len - 4].chunks(5).map(|entry| entry[0]).collect::<Vec<u8>>();
            (clock, list)
        };
        let (h264, aac) = (Some(VideoType::H264), Some(AudioType::Aac));
        assert_eq!(types(Tracks { video: h264, audio: aac }), (0x100, vec![0x1b, 0x0f]));
        assert_eq!(types(Tracks { video: None, audio: aac }), (0x101, vec![0x0f]));
        // One entry, and its descriptors in pieces of the same length.
        let (_, opus) = types(Tracks { video: None, audio: Some(AudioType::Opus(2)) });
        assert_eq!((opus.len(), opus[0]), (3, 0x06));
        assert_eq!(
            types(Tracks { video: Some(VideoType::Hevc), audio: Some(AudioType::Mp3) }),
            (0x100, vec![0x24, 0x03])
        );
    }
}
