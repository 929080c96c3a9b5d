//! Which tracks a stream has and what they are coded with, as its packets tell it.

use bytes::Bytes;
use flv::Codec;
use flv::aac::AacConfig;
use flv::ac3::Ac3Config;
use flv::avc::{AvcConfig, ConfigError};
use flv::hvcc::HevcConfig;
use flv::unit::{self, Body, Unit, by_track};
use media::Kind;
use mp4::Colours;
use ts::TRACKS;
use ts::annexb::NalError;

use crate::{colours, mpeg_audio};

mod carried;

pub use carried::mp4_id;

/// Why a packet can't be packed. It is the packet that is left out, never the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemuxError {
    /// A decoder configuration that can't be one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The container has no place for the codec.
    #[error("{0} can't be packed in this container")]
    Codec(Codec),
    /// Coded bytes came before any usable configuration.
    #[error("there is no decoder configuration yet")]
    NoConfig,
    /// A picture whose NAL units make no sense.
    #[error(transparent)]
    Nal(#[from] NalError),
    /// A frame that is empty or too long for its container.
    #[error("a frame of {0} bytes")]
    Frame(usize),
    /// A track whose number is too high.
    #[error("track {0}: of those of a kind numbers 0 to 7 are carried")]
    Track(u8),
    /// Too short for its own header, or of a layout that nobody knows.
    #[error("a packet of unknown layout")]
    Layout,
}

/// Pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoTrack {
    /// H.264.
    Avc(AvcConfig),
    /// HEVC.
    Hevc(HevcConfig),
    /// AV1.
    Av1 {
        /// AV1CodecConfigurationRecord.
        record: Bytes,
        /// Pixels, where the record says so.
        size: Option<(u32, u32)>,
    },
    /// VP9.
    Vp9 {
        /// VPCodecConfigurationRecord.
        record: Bytes,
        /// Pixels, once there was a key frame.
        size: Option<(u32, u32)>,
    },
}

/// Sounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioTrack {
    /// AAC.
    Aac(AacConfig),
    /// MP3.
    Mp3 {
        /// Hz.
        sample_rate: u32,
        /// How many.
        channels: u16,
    },
    /// Opus, with the identification header behind its magic.
    Opus(Bytes),
    /// FLAC.
    Flac {
        /// The metadata block STREAMINFO without its header.
        info: Bytes,
        /// Hz.
        sample_rate: u32,
        /// How many.
        channels: u16,
    },
    /// AC-3 and E-AC-3.
    Ac3(Ac3Config),
}

impl AudioTrack {
    /// The codec.
    pub(crate) const fn codec(&self) -> Codec {
        match self {
            Self::Aac(_) => unit::AAC,
            Self::Mp3 { .. } => unit::MP3,
            Self::Opus(_) => unit::OPUS,
            Self::Flac { .. } => unit::FLAC,
            Self::Ac3(config) if config.is_enhanced => unit::EAC3,
            Self::Ac3(_) => unit::AC3,
        }
    }
}

/// Coded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Picture or sound.
    pub kind: Kind,
    /// Number of its track among those of its kind, 0 being the first.
    pub track: u8,
    /// A picture that a decoder can begin with.
    pub is_key: bool,
    /// How much later than its DTS it is shown, ms.
    pub composition_ms: i32,
    /// The bytes as FLV has them.
    pub data: Bytes,
}

impl AccessUnit {
    /// Whether it is of the first track of a kind.
    #[must_use]
    pub fn is_first(&self, kind: Kind) -> bool {
        self.kind == kind && self.track == 0
    }

    /// Whether somebody who comes can begin with it: a key frame of the first pictures.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.is_key && self.is_first(Kind::Video)
    }
}

/// What a packet was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A configuration; whether it is another than before (the first is, too).
    Config {
        /// It differs from what held so far.
        changed: bool,
    },
    /// Something to pack.
    AccessUnit(AccessUnit),
    /// Something to pack, of a track that nothing but its packets describes: it was not there before, or is another now.
    Began(AccessUnit),
    /// Nothing to pack.
    Nothing,
}

/// The tracks of a stream: one of each kind, and further ones. Of a kind that has no track 0 another can take its place
/// ([`Self::with_firsts`]): here it is number 0, as everywhere behind this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackSet {
    /// Pictures, once their configuration is known.
    pub video: Option<VideoTrack>,
    /// Sounds, once their configuration is known.
    pub audio: Option<AudioTrack>,
    /// What the publisher says of the colours of the pictures beside their configuration.
    colours: Option<Colours>,
    /// What there is of tracks with other numbers than 0, in the order of the numbers; none of them has further ones.
    further: Vec<(u8, Self)>,
    /// What the first pictures, and the first sounds, are called in the stream.
    firsts: [u8; 2],
}

fn set<T: PartialEq>(place: &mut Option<T>, track: T) -> Probe {
    let changed = place.as_ref() != Some(&track);
    *place = Some(track);
    Probe::Config { changed }
}

impl TrackSet {
    /// No tracks yet; those of these numbers are the first pictures and sounds of a stream, and have changed places with number 0.
    #[must_use]
    pub fn with_firsts(firsts: [u8; 2]) -> Self {
        let firsts = firsts.map(|first| if usize::from(first) < TRACKS { first } else { 0 });
        Self { firsts, ..Self::default() }
    }

    /// The number in the stream of a track here, and the reverse.
    fn swapped(&self, kind: Kind, track: u8) -> u8 {
        let [video, audio] = self.firsts;
        let first = if kind == Kind::Video { video } else { audio };
        match track {
            0 => first,
            track if track == first => 0,
            track => track,
        }
    }

    /// Looks at the next packet, and says of each track in it what that was.
    ///
    /// # Errors
    /// [`RemuxError`]: leave it out, or what there is of that track.
    pub fn see_all(
        &mut self,
        kind: Kind,
        payload: &Bytes,
    ) -> Result<Vec<Result<Probe, RemuxError>>, RemuxError> {
        if kind == Kind::Data {
            return Ok(Vec::new());
        }
        let units = by_track(kind, payload).ok_or(RemuxError::Layout)?;
        let units = units.into_iter();
        Ok(units.map(|(track, unit)| self.see_unit(kind, self.swapped(kind, track), unit)).collect())
    }

    /// Looks at the next packet, and says what it was of the first track that is in it.
    ///
    /// # Errors
    /// [`RemuxError`]: leave it out.
    pub fn see(&mut self, kind: Kind, payload: &Bytes) -> Result<Probe, RemuxError> {
        let mut seen = self.see_all(kind, payload)?;
        if seen.is_empty() { Ok(Probe::Nothing) } else { seen.swap_remove(0) }
    }

    fn see_unit(&mut self, kind: Kind, track: u8, unit: Unit) -> Result<Probe, RemuxError> {
        if track == 0 {
            return self.see_own(kind, track, unit);
        }
        if usize::from(track) >= TRACKS {
            return Err(RemuxError::Track(track));
        }
        let at = self.further.partition_point(|(number, _)| *number < track);
        if let Some((_, known)) = self.further.get_mut(at).filter(|(number, _)| *number == track) {
            return known.see_own(kind, track, unit);
        }
        let mut new = Self::default();
        let seen = new.see_own(kind, track, unit);
        if new != Self::default() {
            self.further.insert(at, (track, new));
        }
        seen
    }

    /// What a packet has of the track that is the first here, and has this number in the stream.
    fn see_own(&mut self, kind: Kind, track: u8, unit: Unit) -> Result<Probe, RemuxError> {
        match unit.body {
            Body::Nothing => Ok(Probe::Nothing),
            Body::Metadata(metadata) => {
                let Some(colours) = colours::read(&metadata) else { return Ok(Probe::Nothing) };
                let is_other = std::mem::replace(&mut self.colours, colours) != colours;
                // Before there are pictures nothing has been said of them yet.
                Ok(Probe::Config { changed: is_other && self.video.is_some() })
            }
            Body::OtherTrack(track) => Err(RemuxError::Track(track)),
            Body::Config(record) => self.configure(unit.codec, record),
            Body::Coded { composition_ms, data } => {
                if data.is_empty() {
                    return Err(RemuxError::Frame(0));
                }
                let begins = self.accept(unit.codec, &data)?;
                let coded = AccessUnit { kind, track, is_key: unit.key_frame, composition_ms, data };
                Ok(if begins { Probe::Began(coded) } else { Probe::AccessUnit(coded) })
            }
        }
    }

    fn configure(&mut self, codec: Codec, record: Bytes) -> Result<Probe, RemuxError> {
        match codec {
            unit::H264 => Ok(set(&mut self.video, VideoTrack::Avc(AvcConfig::parse(&record)?))),
            unit::HEVC => Ok(set(&mut self.video, VideoTrack::Hevc(HevcConfig::parse(&record)?))),
            unit::AAC => Ok(set(&mut self.audio, AudioTrack::Aac(AacConfig::parse(&record)?))),
            unit::OPUS => match record.strip_prefix(b"OpusHead") {
                Some(head) if head.len() >= 11 => {
                    Ok(set(&mut self.audio, AudioTrack::Opus(record.slice_ref(head))))
                }
                _ => Err(RemuxError::Layout),
            },
            unit::AV1 if flv::av1::is_record(&record) => {
                // Repeated, it is the same configuration.
                let known = match &self.video {
                    Some(VideoTrack::Av1 { record: known, size }) if *known == record => *size,
                    _ => None,
                };
                let size = flv::av1::size_of(&record).or(known);
                Ok(set(&mut self.video, VideoTrack::Av1 { record, size }))
            }
            unit::VP9 => {
                let record = record.slice_ref(flv::vp9::record(&record).ok_or(RemuxError::Layout)?);
                // The size is not in it: the same record is the same configuration.
                let size = match &self.video {
                    Some(VideoTrack::Vp9 { record: known, size }) if *known == record => *size,
                    _ => None,
                };
                Ok(set(&mut self.video, VideoTrack::Vp9 { record, size }))
            }
            unit::FLAC => Ok(set(&mut self.audio, flac(&record).ok_or(RemuxError::Layout)?)),
            // These have none, and need none.
            unit::AC3 | unit::EAC3 => Ok(Probe::Nothing),
            unit::AV1 => Err(RemuxError::Layout),
            codec => Err(RemuxError::Codec(codec)),
        }
    }

    /// Coded bytes of this codec: whether the track begins with them, or is another from them on.
    fn accept(&mut self, codec: Codec, data: &[u8]) -> Result<bool, RemuxError> {
        let known = match codec {
            unit::H264 => matches!(self.video, Some(VideoTrack::Avc(_))),
            unit::HEVC => matches!(self.video, Some(VideoTrack::Hevc(_))),
            unit::AAC => matches!(self.audio, Some(AudioTrack::Aac(_))),
            unit::OPUS => matches!(self.audio, Some(AudioTrack::Opus(_))),
            // MP3 has no configuration of its own: each frame says what it is.
            unit::MP3 => {
                let (sample_rate, channels) = mpeg_audio::describe(data).ok_or(RemuxError::Layout)?;
                return Ok(self.sounds_are(AudioTrack::Mp3 { sample_rate, channels }));
            }
            // Where the configuration does not say how large pictures are, the first one does.
            unit::AV1 => match &mut self.video {
                Some(VideoTrack::Av1 { size: size @ None, .. }) => {
                    *size = flv::av1::size_in(data);
                    return Ok(size.is_some());
                }
                known => matches!(known, Some(VideoTrack::Av1 { .. })),
            },
            unit::VP9 => match &mut self.video {
                Some(VideoTrack::Vp9 { size, .. }) => {
                    let before = std::mem::replace(size, flv::vp9::size_of(data).or(*size));
                    return Ok(before.is_none() && size.is_some());
                }
                _ => false,
            },
            unit::FLAC => matches!(self.audio, Some(AudioTrack::Flac { .. })),
            unit::AC3 | unit::EAC3 => {
                let config = flv::ac3::describe(data, codec == unit::EAC3).ok_or(RemuxError::Layout)?;
                return Ok(self.sounds_are(AudioTrack::Ac3(config)));
            }
            codec => return Err(RemuxError::Codec(codec)),
        };
        if known { Ok(false) } else { Err(RemuxError::NoConfig) }
    }

    /// What a frame of sound says of its track. Whether that is news.
    fn sounds_are(&mut self, track: AudioTrack) -> bool {
        let is_new = self.audio.as_ref() != Some(&track);
        self.audio = Some(track);
        is_new
    }
}

/// STREAMINFO (RFC 9639, 8.2) as a sequence header has it: behind the magic of a file, behind the header of its block, or bare.
fn flac(record: &Bytes) -> Option<AudioTrack> {
    const INFO_BYTES: usize = 34;
    let rest = record.strip_prefix(b"fLaC").unwrap_or(record);
    let rest = match rest {
        [0 | 0x80, 0, 0, 34, info @ ..] if info.len() >= INFO_BYTES => info,
        info => info,
    };
    let info = rest.get(..INFO_BYTES)?;
    // 20 bits of rate, 3 of channels, behind sizes of blocks and frames.
    let [a, b, c] = *info.get(10..)?.first_chunk()?;
    let sample_rate = u32::from(a) << 12 | u32::from(b) << 4 | u32::from(c) >> 4;
    let channels = u16::from(c >> 1 & 7) + 1;
    (sample_rate > 0).then(|| AudioTrack::Flac { info: record.slice_ref(info), sample_rate, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_becomes_known_makes_no_other_track() {
        let mut track_set = TrackSet::default();
        let see = |track_set: &mut TrackSet, packet: &'static [u8]| {
            track_set.see(Kind::Video, &Bytes::from_static(packet))
        };
        assert_eq!(see(&mut track_set, b"\x90av01\x81\x00\x0c\x00"), Ok(Probe::Config { changed: true }));
        let before = track_set.clone();
        assert!(!before.has_pictures());
        let picture = b"\x91av01\x0a\x0b\x00\x00\x00\x04\x3d\x06\xd4\x02\xf8\x00\x40";
        assert!(matches!(see(&mut track_set, picture), Ok(Probe::Began(_))));
        assert!(track_set.has_pictures() && track_set != before && track_set.extends(&before));
        assert_eq!(see(&mut track_set, b"\x90av01\x81\x00\x0c\x00"), Ok(Probe::Config { changed: false }));
        assert_eq!(see(&mut track_set, b"\x90av01\x81\x01\x0c\x00"), Ok(Probe::Config { changed: true }));
        assert!(!track_set.extends(&before));
    }

    #[test]
    fn the_lowest_number_takes_the_place_of_a_track_that_is_not_there() {
        let header = |track: u8| Bytes::from([&b"\x95\x00mp4a"[..], &[track, 0x13, 0x88]].concat());
        let sound = |track: u8| Bytes::from([&b"\x95\x01mp4a"[..], &[track], b"x"].concat());
        let see = |track_set: &mut TrackSet, order: &[u8]| {
            order.iter().for_each(|track| drop(track_set.see(Kind::Audio, &header(*track)).unwrap()));
            order
                .iter()
                .map(|track| track_set.see(Kind::Audio, &sound(*track)).unwrap())
                .map(|seen| match seen {
                    Probe::AccessUnit(coded) => coded.track,
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<u8>>()
        };
        let mut track_set = TrackSet::default();
        assert_eq!(see(&mut track_set, &[5, 3]), [5, 3]);
        assert_eq!((track_set.firsts(), track_set.lowest()), ([0, 0], [0, 3]));
        let mut track_set = TrackSet::with_firsts(track_set.lowest());
        assert_eq!(see(&mut track_set, &[5, 3]), [5, 0]);
        assert_eq!((track_set.lowest(), track_set.lacks_first()), ([0, 3], false));
        assert_eq!(track_set.name(Kind::Audio, 0), "its sound, track 3, AAC");
        // One that comes later gets the other's number.
        assert_eq!(see(&mut track_set, &[0, 3]), [3, 0]);
        assert_eq!(track_set.name(Kind::Audio, 3), "its sound, AAC");
        assert_eq!(TrackSet::with_firsts([200, 1]).firsts(), [0, 1]);
    }

    #[test]
    fn tracks_have_their_own_configurations() {
        let mut track_set = TrackSet::default();
        let sound = |bytes: &'static [u8]| Bytes::from_static(bytes);
        track_set.see(Kind::Audio, &sound(b"\xaf\x00\x12\x10")).unwrap();
        let before = track_set.clone();
        let header = sound(b"\x95\x00mp4a\x03\x13\x88");
        assert_eq!(track_set.see(Kind::Audio, &header), Ok(Probe::Config { changed: true }));
        assert_eq!(track_set.see(Kind::Audio, &header), Ok(Probe::Config { changed: false }));
        assert!(track_set.extends(&before) && !before.extends(&track_set));
        // A packet with something of both, and of one that has no configuration.
        let both = sound(b"\x95\x11mp4a\x00\0\0\x01x\x03\0\0\x01y\x02\0\0\x01z");
        let seen = track_set.see_all(Kind::Audio, &both).unwrap();
        let of = |seen: &Result<Probe, RemuxError>| match seen {
            Ok(Probe::AccessUnit(coded)) => Ok((coded.track, coded.data.to_vec())),
            Err(error) => Err(*error),
            other => panic!("{other:?}"),
        };
        let wanted = [Ok((0, b"x".to_vec())), Ok((3, b"y".to_vec())), Err(RemuxError::NoConfig)];
        assert_eq!(seen.iter().map(of).collect::<Vec<_>>(), wanted);
        assert_eq!(track_set.see(Kind::Audio, &sound(b"\x95\x01mp4a\x08x")), Err(RemuxError::Track(8)));
        let ids: Vec<u32> = track_set.mp4_tracks().iter().map(|track| track.id).collect();
        assert_eq!(ids, [2, 8]);
        assert_eq!(track_set.without(Kind::Audio), TrackSet::default());
        assert_eq!(track_set.only(None, Some(3)).audio, track_set.of(3).unwrap().audio);
    }

    #[test]
    fn configurations_are_followed_and_repeats_are_none() {
        let mut track_set = TrackSet::default();
        let header = Bytes::from_static(b"\xaf\x00\x12\x10");
        let frame = Bytes::from_static(b"\xaf\x01abc");
        assert_eq!(track_set.see(Kind::Audio, &frame), Err(RemuxError::NoConfig));
        assert_eq!(track_set.see(Kind::Audio, &header), Ok(Probe::Config { changed: true }));
        assert_eq!(track_set.see(Kind::Audio, &header), Ok(Probe::Config { changed: false }));
        assert!(matches!(track_set.see(Kind::Audio, &frame), Ok(Probe::AccessUnit(_))));
        // An impossible configuration leaves the old one in place.
        assert!(track_set.see(Kind::Audio, &Bytes::from_static(b"\xaf\x00\x12")).is_err());
        assert!(track_set.audio.is_some());
        let speex = Bytes::from_static(b"\xb6abc");
        assert_eq!(track_set.see(Kind::Audio, &speex), Err(RemuxError::Codec(Codec::Audio(11))));
        let mp3 = Bytes::from_static(b"\x2f\xff\xfb\x90\x00");
        assert!(matches!(track_set.see(Kind::Audio, &mp3), Ok(Probe::Began(_))));
        assert!(matches!(track_set.see(Kind::Audio, &mp3), Ok(Probe::AccessUnit(_))));
        assert_eq!(track_set.audio, Some(AudioTrack::Mp3 { sample_rate: 44_100, channels: 2 }));
        assert_eq!(track_set.see(Kind::Video, &Bytes::from_static(b"\x17\x02\0\0\0")), Ok(Probe::Nothing));
    }
}
