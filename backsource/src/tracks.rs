//! What is told of a stream's tracks: their codecs, what their sequence headers say, and how much of them comes.

use std::collections::VecDeque;

use api::{Audio, Video};
use bytes::Bytes;
use flv::unit::{Body, by_track};
use flv::{AudioFacts, Codec, PacketInfo, VideoFacts};
use media::Kind;

/// Rates are those of so long, ms.
const WINDOW_MS: u64 = 30_000;
/// Most tracks that are told of.
const MOST: usize = 32;

/// One track.
#[derive(Debug)]
struct Track {
    kind: Kind,
    /// Among those of its kind.
    number: u8,
    codec: Option<Codec>,
    video: VideoFacts,
    audio: AudioFacts,
    bytes: u64,
    /// How many bytes it had at earlier times, ms.
    rates: VecDeque<(u64, u64)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Tracks(Vec<Track>);

impl Track {
    fn configure(&mut self, codec: Codec, record: &[u8]) {
        self.codec = Some(codec);
        match self.kind {
            Kind::Video => self.video = flv::describe::video_facts(codec, record),
            _ => self.audio = flv::describe::audio_facts(codec, record),
        }
    }

    fn video(&self) -> Option<Video> {
        Some(Video {
            codec: self.codec?.to_string(),
            profile: self.video.profile.clone(),
            level: self.video.level.clone(),
            width: self.video.width,
            height: self.video.height,
        })
    }

    fn audio(&self) -> Option<Audio> {
        Some(Audio {
            codec: self.codec?.to_string(),
            sample_rate: self.audio.sample_rate,
            channel: self.audio.channels,
            profile: self.audio.profile.clone(),
        })
    }

    /// kbit/s.
    fn kbps(&self, now_ms: u64) -> u64 {
        let of = |(at_ms, bytes): &(u64, u64)| {
            let ms = now_ms.saturating_sub(*at_ms);
            (self.bytes - bytes).saturating_mul(8).checked_div(ms).unwrap_or(0)
        };
        self.rates.front().map_or(0, of)
    }
}

impl Tracks {
    fn at(&mut self, kind: Kind, number: u8) -> Option<&mut Track> {
        let order = |track: &Track| (track.kind != Kind::Video, track.number);
        let at = self.0.partition_point(|track| order(track) < (kind != Kind::Video, number));
        if self.0.get(at).is_none_or(|track| order(track) != (kind != Kind::Video, number)) {
            if self.0.len() >= MOST {
                return None;
            }
            let (video, audio) = (VideoFacts::default(), AudioFacts::default());
            let mut rates = VecDeque::new();
            rates.push_back((reactor::now_ms(), 0));
            self.0.insert(at, Track { kind, number, codec: None, video, audio, bytes: 0, rates });
        }
        self.0.get_mut(at)
    }

    /// Keeps what a packet says. One that holds several tracks counts for the first that it names.
    pub(crate) fn describe(&mut self, kind: Kind, info: PacketInfo, payload: &[u8]) {
        let Some(track) = self.at(kind, info.track) else { return };
        track.bytes += payload.len() as u64;
        if info.beside {
            return;
        }
        if info.sequence_header {
            return self.configure(kind, payload);
        }
        let is_new = info.codec.is_some() && info.codec != track.codec;
        track.codec = info.codec.or(track.codec);
        if is_new
            && kind == Kind::Audio
            && let Some(facts) = flv::describe_audio(payload)
        {
            track.audio = facts;
        }
    }

    fn configure(&mut self, kind: Kind, payload: &[u8]) {
        for (number, unit) in by_track(kind, &Bytes::copy_from_slice(payload)).unwrap_or_default() {
            if let (Some(track), Body::Config(record)) = (self.at(kind, number), unit.body) {
                track.configure(unit.codec, &record);
            }
        }
    }

    /// Notes how much has come until now; to be called every few seconds.
    pub(crate) fn note_rates(&mut self, now_ms: u64) {
        for track in &mut self.0 {
            track.rates.push_back((now_ms, track.bytes));
            while track.rates.get(1).is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= WINDOW_MS) {
                track.rates.pop_front();
            }
        }
    }

    fn first(&self, kind: Kind) -> Option<&Track> {
        self.0.iter().find(|track| track.kind == kind && track.number == 0)
    }

    /// The first pictures.
    pub(crate) fn video(&self) -> Option<Video> {
        self.first(Kind::Video).and_then(Track::video)
    }

    /// The first sounds.
    pub(crate) fn audio(&self) -> Option<Audio> {
        self.first(Kind::Audio).and_then(Track::audio)
    }

    /// All tracks, pictures first.
    pub(crate) fn report(&self, now_ms: u64) -> Vec<api::Track> {
        let told = self.0.iter().map(|track| {
            let is_video = track.kind == Kind::Video;
            api::Track {
                number: track.number,
                video: track.video().filter(|_| is_video),
                audio: track.audio().filter(|_| !is_video),
                kbps: track.kbps(now_ms),
            }
        });
        told.filter(|track| track.video.is_some() || track.audio.is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_track_is_told_with_its_codec() {
        let mut tracks = Tracks::default();
        let packets: [(Kind, &[u8]); 6] = [
            (Kind::Audio, b"\xaf\x00\x12\x10"),
            (Kind::Audio, b"\x95\x00mp4a\x02\x11\x88"),
            (Kind::Audio, b"\x95\x01Opus\x01abc"),
            (Kind::Audio, b"\xaf\x01abc"),
            (Kind::Video, b"\x17\x00\x00\x00\x00\x01\x4d\x00\x1f\xff\xe0"),
            // Several in one packet.
            (
                Kind::Video,
                b"\x96\x10avc1\x01\0\0\x06\x01\x64\0\x1f\xff\xe0\x02\0\0\x06\x01\x42\0\x1e\xff\xe0",
            ),
        ];
        for (kind, payload) in packets {
            tracks.describe(kind, flv::classify(kind, payload), payload);
        }
        let told = tracks.report(reactor::now_ms() + 1000);
        let of = |track: &api::Track| {
            let video = track.video.as_ref().map(|video| (video.codec.clone(), video.profile.clone()));
            let audio =
                track.audio.as_ref().map(|audio| (audio.codec.clone(), audio.sample_rate.to_string()));
            (track.number, video.or(audio).unwrap())
        };
        let told: Vec<_> = told.iter().map(of).collect();
        let wanted = [
            (0, "H264", "Main"),
            (1, "H264", "High"),
            (2, "H264", "Baseline"),
            (0, "AAC", "44100"),
            (1, "Opus", "0"),
            (2, "AAC", "48000"),
        ];
        let wanted = wanted.map(|(number, codec, more)| (number, (codec.to_owned(), more.to_owned())));
        assert_eq!(told, wanted);
    }
}
