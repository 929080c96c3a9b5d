//! What a vhost says of its live streams over HTTP (`http_remux`): which kinds of packets there are to be, and how much sound is
//! kept for newcomers.

use conf::Config;
use conf::vhost::HttpRemux;
use media::{Kind, StreamKey};
use remux::TrackSet;

use super::packet_queue::{Format, StreamHeaders};

/// The rules of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    audio: bool,
    video: bool,
    /// Packets of a kind that is denied are dropped from FLV, too. In the other formats there is no place for them.
    drops: bool,
    /// What the stream has decides what is announced.
    guesses: bool,
    /// Sound that is kept for those who listen to nothing else, ms.
    pub(crate) cache_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self::of(&HttpRemux::default())
    }
}

impl Rules {
    fn of(remux: &HttpRemux) -> Self {
        Self {
            audio: remux.has_audio,
            video: remux.has_video,
            drops: remux.drop_if_not_match,
            guesses: remux.guess_has_av,
            cache_ms: i64::try_from(remux.fast_cache_ms).unwrap_or(i64::MAX),
        }
    }

    /// The rules that a stream has.
    pub(crate) fn of_stream(config: &Config, key: &StreamKey) -> Self {
        match config.vhost(&key.vhost) {
            conf::Lookup::Found(vhost) => Self::of(&vhost.http_remux),
            _ => Self::default(),
        }
    }

    /// Whether packets of a kind are left out of a format.
    pub(crate) fn leaves_out(self, kind: Kind, format: Format) -> bool {
        let is_denied = match kind {
            Kind::Video => !self.video,
            Kind::Audio => !self.audio,
            Kind::Data => false,
        };
        is_denied && (self.drops || format != Format::Flv)
    }

    /// The tracks without those that are left out; `None` when none is.
    pub(crate) fn track_set(self, track_set: &TrackSet, format: Format) -> Option<TrackSet> {
        let (video, audio) = (self.leaves_out(Kind::Video, format), self.leaves_out(Kind::Audio, format));
        match (video, audio) {
            (false, false) => None,
            (true, true) => Some(TrackSet::default()),
            _ => Some(track_set.without(if video { Kind::Video } else { Kind::Audio })),
        }
    }

    /// The headers without those that are left out.
    pub(crate) fn stream_headers(self, stream_headers: StreamHeaders, format: Format) -> StreamHeaders {
        if stream_headers.iter().any(|(kind, _)| self.leaves_out(*kind, format)) {
            stream_headers
                .iter()
                .filter(|(kind, _)| !self.leaves_out(*kind, format))
                .cloned()
                .collect::<Vec<_>>()
                .into()
        } else {
            stream_headers
        }
    }

    /// Whether the header of an FLV file says that there are pictures, and sounds; `seen` is what the stream has.
    pub(crate) fn announced(self, seen: [bool; 2]) -> [bool; 2] {
        let [video, audio] = if self.guesses { seen } else { [true; 2] };
        [video && self.video, audio && self.audio]
    }

    /// How much is kept of a format for newcomers, ms; 0: they begin with what is newest.
    pub(crate) fn kept_ms(self, format: Format) -> i64 {
        if format == Format::RawAudio { self.cache_ms } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_and_what_is_left_out() {
        let rules = |audio, drops, guesses| Rules { audio, video: true, drops, guesses, cache_ms: 0 };
        for (rules, seen, announced, left_out) in [
            (rules(true, true, true), [true, false], [true, false], [false, false]),
            (rules(true, true, false), [true, false], [true, true], [false, false]),
            (rules(false, true, true), [true, true], [true, false], [true, true]),
            (rules(false, false, true), [true, true], [true, false], [false, true]),
            (rules(false, true, false), [false, true], [true, false], [true, true]),
        ] {
            assert_eq!(rules.announced(seen), announced, "{rules:?}");
            let of = |format| rules.leaves_out(Kind::Audio, format);
            assert_eq!([of(Format::Flv), of(Format::Ts)], left_out, "{rules:?}");
            assert!(!rules.leaves_out(Kind::Video, Format::Ts) && !rules.leaves_out(Kind::Data, Format::Ts));
        }
    }
}
