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

/// How many tracks of a kind a stream may have.
pub const TRACKS: usize = 8;

/// A track, with its number among those of its kind, below [`TRACKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video(u8),
    /// Sounds.
    Audio(u8),
}

impl Track {
    /// Two for each number, pictures first.
    pub(crate) const fn pid(self) -> u16 {
        match self {
            Self::Video(number) => 0x100 + 2 * number as u16,
            Self::Audio(number) => 0x101 + 2 * number as u16,
        }
    }
}

/// The tracks that a stream has, each at the place of its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracks {
    /// Pictures.
    pub video: [Option<VideoType>; TRACKS],
    /// Sounds.
    pub audio: [Option<AudioType>; TRACKS],
}

impl Tracks {
    /// A stream of one track of a kind.
    #[must_use]
    pub fn of(video: Option<VideoType>, audio: Option<AudioType>) -> Self {
        let mut tracks = Self::default();
        (tracks.video[0], tracks.audio[0]) = (video, audio);
        tracks
    }

    /// Whether there are pictures.
    #[must_use]
    pub fn has_video(&self) -> bool {
        self.video.iter().any(Option::is_some)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_video() && self.audio.iter().all(Option::is_none)
    }

    /// What sounds the track of this number has.
    #[must_use]
    pub fn audio(&self, number: u8) -> Option<AudioType> {
        self.audio.get(usize::from(number)).copied().flatten()
    }

    /// The track that carries the clock: the first of the pictures where there are any.
    #[must_use]
    pub fn clock(&self) -> Track {
        let first = |place: Option<usize>| place.and_then(|place| u8::try_from(place).ok());
        let audio = || first(self.audio.iter().position(Option::is_some)).unwrap_or(0);
        let video = first(self.video.iter().position(Option::is_some));
        video.map_or_else(|| Track::Audio(audio()), Track::Video)
    }

    /// The entries of the program map: types of streams, tracks, and what tells more of them.
    fn entries(&self) -> impl Iterator<Item = (u8, Track, Vec<u8>)> {
        (0..).zip(self.video.iter().zip(&self.audio)).flat_map(|(number, (video, audio))| {
            let video = video.map(|video| match video {
                VideoType::H264 => (0x1b, Track::Video(number), Vec::new()),
                VideoType::Hevc => (0x24, Track::Video(number), Vec::new()),
            });
            let audio = audio.map(|audio| {
                let (stream_type, descriptors) = audio.described();
                (stream_type, Track::Audio(number), descriptors)
            });
            [video, audio].into_iter().flatten()
        })
    }
}

impl AudioType {
    /// The type of the stream, and the descriptors that tell more of it.
    fn described(self) -> (u8, Vec<u8>) {
        match self {
            Self::Aac => (0x0f, Vec::new()),
            Self::Mp3 => (0x03, Vec::new()),
            // Private data. Registration; extension of DVB with the channels.
            Self::Opus(channels) => (0x06, [&b"\x05\x04Opus\x7f\x02\x80"[..], &[channels]].concat()),
            Self::Ac3 => (0x81, b"\x05\x04AC-3".to_vec()),
            Self::Eac3 => (0x87, b"\x05\x04EAC3".to_vec()),
        }
    }

    /// Whether MPEG has a name for it; what has none is private.
    pub(crate) const fn is_mpeg(self) -> bool {
        matches!(self, Self::Aac | Self::Mp3)
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

    /// Writes both, in two packets (three, where there are very many tracks).
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, tracks: &Tracks, discontinuity: bool) {
        let [pmt_high, pmt_low] = (0xe000 | PMT_PID).to_be_bytes();
        let [program_high, program_low] = PROGRAM.to_be_bytes();
        let pat = [program_high, program_low, pmt_high, pmt_low];
        let first = Adaptation { discontinuity, ..Adaptation::default() };
        let section = section(0x00, 1, self.version, &pat);
        write_unit(out, PAT_PID, &mut self.pat, first, &section, &[]);

        let [clock_high, clock_low] = (0xe000 | tracks.clock().pid()).to_be_bytes();
        let mut pmt = vec![clock_high, clock_low, 0xf0, 0];
        for (stream_type, track, descriptors) in tracks.entries() {
            let [high, low] = (0xe000 | track.pid()).to_be_bytes();
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
            Tables::default().write(&mut out, &tracks, false);
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
        assert_eq!(types(Tracks::of(h264, aac)), (0x100, vec![0x1b, 0x0f]));
        assert_eq!(types(Tracks::of(None, aac)), (0x101, vec![0x0f]));
        // One entry, and its descriptors in pieces of the same length.
        let (_, opus) = types(Tracks::of(None, Some(AudioType::Opus(2))));
        assert_eq!((opus.len(), opus[0]), (3, 0x06));
        assert_eq!(types(Tracks::of(Some(VideoType::Hevc), Some(AudioType::Mp3))), (0x100, vec![0x24, 0x03]));
        // Further ones behind the first, each with its number.
        let mut several = Tracks::of(h264, aac);
        (several.video[2], several.audio[1]) = (Some(VideoType::Hevc), Some(AudioType::Mp3));
        assert_eq!(types(several), (0x100, vec![0x1b, 0x0f, 0x03, 0x24]));
        assert_eq!([Track::Audio(1).pid(), Track::Video(2).pid()], [0x103, 0x104]);
        several.video[0] = None;
        assert_eq!(types(several).0, 0x104);
    }

    #[test]
    fn as_many_tracks_as_there_can_be_are_announced() {
        let most =
            Tracks { video: [Some(VideoType::H264); TRACKS], audio: [Some(AudioType::Opus(2)); TRACKS] };
        let mut out = Vec::new();
        Tables::default().write(&mut out, &most, true);
        assert!(out.len().is_multiple_of(crate::PACKET_BYTES));
        assert_eq!(out.windows(4).filter(|window| *window == b"Opus").count(), TRACKS);
    }
}
