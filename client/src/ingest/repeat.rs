//! The timeline of a file that is played over and over: where the next round begins.

use flv::file::Tag;
use media::Kind;

use super::headers::Role;

/// The step behind a track's only packet.
const LONE_STEP_MS: u64 = 40;

/// The timeline of a file that is played over and over.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    /// Added to the file's time.
    offset_ms: u64,
    loops: u64,
    audio: Option<Track>,
    video: Option<Track>,
}

/// What one track's times were in this round.
#[derive(Debug, Clone, Copy)]
struct Track {
    first_ms: u64,
    last_ms: u64,
    packets: u64,
}

impl Track {
    fn note(track: &mut Option<Self>, time_ms: u64) {
        let seen = track.get_or_insert(Self { first_ms: time_ms, last_ms: time_ms, packets: 0 });
        seen.first_ms = seen.first_ms.min(time_ms);
        seen.last_ms = seen.last_ms.max(time_ms);
        seen.packets += 1;
    }

    /// From the first packet to one step behind the last; the step is the mean one, because that of sound alternates.
    fn length_ms(&self) -> u64 {
        let span_ms = self.last_ms - self.first_ms;
        let steps = self.packets.saturating_sub(1);
        let step_ms = (span_ms + steps / 2).checked_div(steps).unwrap_or(LONE_STEP_MS);
        span_ms + step_ms.max(1)
    }
}

impl Repeat {
    /// The tag's time on the endless timeline.
    pub(super) fn time_ms(&mut self, tag: &Tag, role: Role) -> u64 {
        let time_ms = u64::from(tag.timestamp_ms);
        match (role, tag.kind) {
            (Role::KeyFrame | Role::Frame, Kind::Audio) => Track::note(&mut self.audio, time_ms),
            (Role::KeyFrame | Role::Frame, Kind::Video) => Track::note(&mut self.video, time_ms),
            _ => {}
        }
        self.offset_ms + time_ms
    }

    /// Whether nothing to see or hear came yet in this round.
    pub(super) fn is_empty(&self) -> bool {
        self.audio.is_none() && self.video.is_none()
    }

    /// Moves the offset so that, in the track that is longest, the first packet of the next round comes one step behind
    /// the last of this one. Returns how many rounds are over.
    pub(super) fn begin_again(&mut self) -> u64 {
        let tracks = [self.audio.take(), self.video.take()];
        self.offset_ms += tracks.iter().flatten().map(Track::length_ms).max().unwrap_or(0);
        self.loops += 1;
        self.loops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn play(repeat: &mut Repeat, kind: Kind, times_ms: &[u32]) -> Vec<u64> {
        let tag = |timestamp_ms| Tag { kind, timestamp_ms, body: Bytes::new() };
        times_ms.iter().map(|time_ms| repeat.time_ms(&tag(*time_ms), Role::Frame)).collect()
    }

    #[test]
    fn the_next_round_begins_one_step_behind_the_longest_track() {
        let mut repeat = Repeat::default();
        let sound: Vec<u32> = (0..100_u32).map(|n| n * 1024 * 10 / 441).collect();
        for round in 0..3 {
            let pictures = play(&mut repeat, Kind::Video, &[0, 40, 80, 2_400]);
            assert_eq!(pictures.first(), Some(&(round * 3_200)), "round {round}");
            play(&mut repeat, Kind::Audio, &sound);
            assert_eq!(repeat.begin_again(), round + 1);
        }
        let mut repeat = Repeat::default();
        play(&mut repeat, Kind::Audio, &sound);
        repeat.begin_again();
        assert_eq!(play(&mut repeat, Kind::Audio, &[0]), [2_298 + 23]);
    }

    #[test]
    fn a_file_that_does_not_begin_at_zero_leaves_no_hole() {
        let mut repeat = Repeat::default();
        assert_eq!(play(&mut repeat, Kind::Video, &[5_000, 5_040]), [5_000, 5_040]);
        repeat.begin_again();
        assert_eq!(play(&mut repeat, Kind::Video, &[5_000, 5_040]), [5_080, 5_120]);
    }

    #[test]
    fn a_lone_packet_has_a_step_too() {
        let mut repeat = Repeat::default();
        assert!(repeat.is_empty());
        play(&mut repeat, Kind::Video, &[0]);
        assert!(!repeat.is_empty());
        repeat.begin_again();
        assert_eq!(play(&mut repeat, Kind::Video, &[0]), [40]);
    }
}
