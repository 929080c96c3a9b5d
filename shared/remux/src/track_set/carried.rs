//! Which of the tracks a container carries, and as what.

use bytes::Bytes;
use flv::unit;
use media::Kind;
use mp4::{Entry, TrackInfo};
use ts::{AudioType, Tracks, VideoType};

use super::{AudioTrack, TrackSet, VideoTrack};

impl VideoTrack {
    /// The codec.
    const fn codec(&self) -> flv::Codec {
        match self {
            Self::Avc(_) => unit::H264,
            Self::Hevc(_) => unit::HEVC,
            Self::Av1 { .. } => unit::AV1,
            Self::Vp9 { .. } => unit::VP9,
        }
    }

    const fn ts_type(&self) -> Option<VideoType> {
        match self {
            Self::Avc(_) => Some(VideoType::H264),
            Self::Hevc(_) => Some(VideoType::Hevc),
            Self::Av1 { .. } | Self::Vp9 { .. } => None,
        }
    }

    /// The codec as RFC 6381 has it; `None` where that takes more than a few bytes of the configuration.
    fn rfc6381(&self) -> Option<String> {
        match self {
            Self::Avc(config) => {
                let [profile, constraints, level] = *config.record.get(1..)?.first_chunk()?;
                Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
            }
            Self::Hevc(_) | Self::Av1 { .. } | Self::Vp9 { .. } => None,
        }
    }

    /// Whether these are the pictures of `former`, of which less may have been known.
    fn extends(&self, former: &Self) -> bool {
        match (former, self) {
            (Self::Av1 { record, size: None }, Self::Av1 { record: now, .. })
            | (Self::Vp9 { record, size: None }, Self::Vp9 { record: now, .. }) => record == now,
            (former, now) => former == now,
        }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Avc(config) => {
                Entry::Avc { record: config.record.clone(), size: config.size.unwrap_or_default() }
            }
            Self::Hevc(config) => {
                Entry::Hevc { record: config.record.clone(), size: config.size.unwrap_or_default() }
            }
            Self::Av1 { record, size } => {
                Entry::Av1 { record: record.clone(), size: size.unwrap_or_default() }
            }
            Self::Vp9 { record, size } => {
                Entry::Vp9 { record: record.clone(), size: size.unwrap_or_default() }
            }
        }
    }
}

impl AudioTrack {
    /// The codec as RFC 6381 has it.
    fn rfc6381(&self) -> Option<String> {
        Some(match self {
            Self::Aac(config) => format!("mp4a.40.{}", config.object_type),
            Self::Mp3 { .. } => "mp4a.40.34".to_owned(),
            Self::Opus(_) => "opus".to_owned(),
            Self::Flac { .. } => "fLaC".to_owned(),
            Self::Ac3(config) => if config.is_enhanced { "ec-3" } else { "ac-3" }.to_owned(),
        })
    }

    fn channels(&self) -> u16 {
        match self {
            Self::Aac(config) => config.channels(),
            Self::Opus(head) => head.get(1).copied().map_or(2, u16::from),
            Self::Mp3 { channels, .. } | Self::Flac { channels, .. } => *channels,
            Self::Ac3(config) => config.channels,
        }
    }

    fn ts_type(&self) -> Option<AudioType> {
        match self {
            Self::Aac(config) => config.fits_adts().then_some(AudioType::Aac),
            Self::Mp3 { .. } => Some(AudioType::Mp3),
            Self::Opus(head) => {
                head.get(1).filter(|channels| (1..=8).contains(*channels)).map(|it| AudioType::Opus(*it))
            }
            Self::Flac { .. } => None,
            Self::Ac3(config) if config.is_enhanced => Some(AudioType::Eac3),
            Self::Ac3(_) => Some(AudioType::Ac3),
        }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Aac(config) => Entry::Aac {
                record: config.record.clone(),
                channels: config.channels(),
                sample_rate: config.sample_rate,
            },
            Self::Mp3 { sample_rate, channels } => {
                Entry::Mp3 { channels: *channels, sample_rate: *sample_rate }
            }
            Self::Opus(head) => {
                Entry::Opus { head: head.clone(), channels: head.get(1).copied().map_or(2, u16::from) }
            }
            Self::Flac { info, sample_rate, channels } => {
                Entry::Flac { info: info.clone(), channels: *channels, sample_rate: *sample_rate }
            }
            Self::Ac3(config) => Entry::Ac3 {
                record: Bytes::copy_from_slice(config.record()),
                is_enhanced: config.is_enhanced,
                channels: config.channels,
                sample_rate: config.sample_rate,
            },
        }
    }
}

/// The number that a track has in an MP4 file: 1 and 2 for the first pictures and sounds, then two for each number.
#[must_use]
pub fn mp4_id(kind: Kind, track: u8) -> u32 {
    1 + 2 * u32::from(track) + u32::from(kind == Kind::Audio)
}

impl TrackSet {
    /// What there is of the tracks with this number: it is the first of what is returned, which has no further ones.
    #[must_use]
    pub fn of(&self, track: u8) -> Option<&Self> {
        if track == 0 {
            return Some(self);
        }
        self.further.iter().find(|(number, _)| *number == track).map(|(_, of)| of)
    }

    /// All tracks: what there is of each number.
    fn all(&self) -> impl Iterator<Item = (u8, &Self)> {
        [(0, self)].into_iter().chain(self.further.iter().map(|(number, of)| (*number, of)))
    }

    /// The numbers of the further tracks of a kind.
    pub fn further(&self, kind: Kind) -> impl Iterator<Item = u8> {
        let has = move |of: &Self| if kind == Kind::Video { of.video.is_some() } else { of.audio.is_some() };
        self.further.iter().filter(move |(_, of)| has(of)).map(|(number, _)| *number)
    }

    /// Whether there are further tracks.
    #[must_use]
    pub fn has_further(&self) -> bool {
        !self.further.is_empty()
    }

    /// What the first pictures, and the first sounds, are called in the stream.
    #[must_use]
    pub fn firsts(&self) -> [u8; 2] {
        self.firsts
    }

    /// What they would be called if of a kind without them the lowest number took their place.
    #[must_use]
    pub fn lowest(&self) -> [u8; 2] {
        let [video, audio] = self.firsts;
        let lowest =
            |kind, has: bool, first| if has { first } else { self.further(kind).next().unwrap_or(first) };
        [lowest(Kind::Video, self.video.is_some(), video), lowest(Kind::Audio, self.audio.is_some(), audio)]
    }

    /// Whether there are tracks, but none of them is a first one.
    #[must_use]
    pub fn lacks_first(&self) -> bool {
        self.video.is_none() && self.audio.is_none() && self.has_further()
    }

    /// Whether there are pictures, but none of the first track.
    #[must_use]
    pub fn lacks_first_pictures(&self) -> bool {
        self.video.is_none() && self.further(Kind::Video).next().is_some()
    }

    /// The tracks but for those of a kind.
    #[must_use]
    pub fn without(&self, kind: Kind) -> Self {
        let of = |track_set: &Self| Self {
            video: track_set.video.clone().filter(|_| kind != Kind::Video),
            audio: track_set.audio.clone().filter(|_| kind != Kind::Audio),
            colours: track_set.colours.filter(|_| kind != Kind::Video),
            further: Vec::new(),
            firsts: track_set.firsts,
        };
        let further = self.further.iter().map(|(number, further)| (*number, of(further)));
        let further = further.filter(|(_, of)| *of != Self::default()).collect();
        Self { further, ..of(self) }
    }

    /// One track of a kind at most, those of these numbers, as the only ones of a transport stream, which says nothing of colours.
    #[must_use]
    pub fn only(&self, video: Option<u8>, audio: Option<u8>) -> Self {
        let of = |number: Option<u8>| number.and_then(|number| self.of(number));
        Self {
            video: of(video).and_then(|of| of.video.clone()),
            audio: of(audio).and_then(|of| of.audio.clone()),
            colours: None,
            further: Vec::new(),
            firsts: [0; 2],
        }
    }

    /// Takes over what is known of sounds of which nothing but their packets tells.
    pub fn take_sounds_of(&mut self, other: &Self) {
        self.audio = self.audio.take().or_else(|| other.audio.clone());
        for (number, of) in &other.further {
            match self.further.iter_mut().find(|(known, _)| known == number) {
                Some((_, known)) => known.take_sounds_of(of),
                None if of.audio.is_some() => {
                    let at = self.further.partition_point(|(known, _)| known < number);
                    self.further.insert(at, (*number, of.without(Kind::Video)));
                }
                None => {}
            }
        }
    }

    /// What the pictures or sounds of a track are, in words; empty where there are none.
    #[must_use]
    pub fn name(&self, kind: Kind, track: u8) -> String {
        let Some(of) = self.of(track) else { return String::new() };
        let codec = match kind {
            Kind::Video => of.video.as_ref().map(VideoTrack::codec),
            _ => of.audio.as_ref().map(AudioTrack::codec),
        };
        let Some(codec) = codec else { return String::new() };
        let what = if kind == Kind::Video { "its pictures" } else { "its sound" };
        let track = self.swapped(kind, track);
        if track == 0 { format!("{what}, {codec}") } else { format!("{what}, track {track}, {codec}") }
    }

    /// Whether these tracks are the ones of `other` and perhaps more, or more is known of them.
    #[must_use]
    pub fn extends(&self, other: &Self) -> bool {
        other.all().all(|(number, former)| {
            let Some(now) = self.of(number) else { return false };
            let video = former
                .video
                .as_ref()
                .is_none_or(|former| now.video.as_ref().is_some_and(|now| now.extends(former)));
            let colours = former.colours.is_none() || former.colours == now.colours;
            video && colours && (former.audio.is_none() || former.audio == now.audio)
        })
    }

    /// Whether there are pictures of which all is known that a container says of them.
    #[must_use]
    pub fn has_pictures(&self) -> bool {
        let is_open = matches!(
            self.video,
            Some(VideoTrack::Av1 { size: None, .. } | VideoTrack::Vp9 { size: None, .. })
        );
        self.video.is_some() && !is_open
    }

    /// The tracks as a transport stream can carry them.
    #[must_use]
    pub fn ts_tracks(&self) -> Tracks {
        let mut tracks = Tracks::default();
        for (number, of) in self.all() {
            let place = usize::from(number);
            if let (Some(video), Some(audio)) = (tracks.video.get_mut(place), tracks.audio.get_mut(place)) {
                *video = of.video.as_ref().and_then(VideoTrack::ts_type);
                *audio = of.audio.as_ref().and_then(AudioTrack::ts_type);
            }
        }
        tracks
    }

    /// The codecs of the first tracks as RFC 6381 has them; none where one has no name that is known here.
    #[must_use]
    pub fn codecs(&self) -> Option<String> {
        let video = self.video.as_ref().map(VideoTrack::rfc6381);
        let audio = self.audio.as_ref().map(AudioTrack::rfc6381);
        let all: Option<Vec<String>> = [video, audio].into_iter().flatten().collect();
        all.filter(|all| !all.is_empty()).map(|all| all.join(","))
    }

    /// Width and height of the first pictures, where they are known.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        match self.video.as_ref()? {
            VideoTrack::Avc(config) => config.size,
            VideoTrack::Hevc(config) => config.size,
            VideoTrack::Av1 { size, .. } | VideoTrack::Vp9 { size, .. } => *size,
        }
    }

    /// How many channels the first sounds have; 0 where there are none.
    #[must_use]
    pub fn channels(&self) -> u16 {
        self.audio.as_ref().map_or(0, AudioTrack::channels)
    }

    /// Whether a transport stream has a place for a track, or there is none of this number.
    #[must_use]
    pub fn fits_ts(&self, kind: Kind, track: u8) -> bool {
        let Some(of) = self.of(track) else { return true };
        match kind {
            Kind::Video => of.video.as_ref().is_none_or(|video| video.ts_type().is_some()),
            Kind::Audio => of.audio.as_ref().is_none_or(|audio| audio.ts_type().is_some()),
            Kind::Data => true,
        }
    }

    /// The tracks as an MP4 file can carry them, with the numbers of [`mp4_id`].
    #[must_use]
    pub fn mp4_tracks(&self) -> Vec<TrackInfo> {
        let tracks = self.all().flat_map(|(number, of)| {
            let video = of.video.as_ref().map(|video| (Kind::Video, video.entry()));
            let audio = of.audio.as_ref().map(|audio| (Kind::Audio, audio.entry()));
            let entries = [video, audio].into_iter().flatten();
            entries.map(move |(kind, entry)| {
                let colours = of.colours.filter(|_| kind == Kind::Video);
                TrackInfo { id: mp4_id(kind, number), entry, colours }
            })
        });
        tracks.collect()
    }
}
