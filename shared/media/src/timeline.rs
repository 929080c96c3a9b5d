//! How a publisher's timestamps become the one continuous timeline of a stream.
//!
//! The correction runs once, where a message enters the stream, so that every viewer, segmenter and recorder sees the
//! same time. It works on the *stream*, not on single messages: audio and video keep the offset that the encoder gave
//! them, and a clock jump (an encoder that restarts, a wrap, a step of its clock) moves the origin of both together.
//!
//! Rules of [`Jitter::Full`]:
//! * the first audio or video message of a stream is at 0 (a track that begins later may lie before it);
//! * a step of a track between 0 and its bound (500 ms, or three of its usual steps where those are longer) is kept as
//!   it is; a larger step, or one that goes back by more than 500 ms, is a jump: the track goes on one usual step
//!   after its last message, its origin moves, and the other track takes the same origin when it jumps by the same amount;
//! * where packets are missing, because the way to the server was broken for a while, the larger step is true: it is kept when with
//!   it the stream is no further ahead of the wall clock than it was before (250 ms are allowed for the way), up to ten minutes.
//!   So recordings are as long as what they show, and times of day stay true. Who sends faster than time passes has no such gaps;
//! * a track with a hole that comes back where the other one is now has not jumped: it keeps its place beside the other;
//! * a track that steps back by up to 500 ms is held (one millisecond per message) until its time catches up;
//! * a track that joins late keeps its offset to the other one up to ten seconds;
//! * a new publish goes on one usual step after the last message.

use serde::{Deserialize, Serialize};

use crate::Kind;

/// How timestamps are corrected (`time_jitter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Jitter {
    /// Continuous and monotonic from 0.
    Full,
    /// Rebased to 0 at the first message (and at a publisher that restarts), otherwise untouched.
    Zero,
    /// Untouched (also what `atc on` means).
    Off,
}

/// Largest step that is believed without further evidence, in ms.
const MAX_STEP_MS: i64 = 500;
/// The step assumed where nothing is known, in ms.
const DEFAULT_STEP_MS: i64 = 40;
/// Largest offset between audio and video that is taken for intended, in ms.
const MAX_TRACK_OFFSET_MS: i64 = 10_000;
/// The longest usual step that evidence can establish, in ms.
const MAX_USUAL_STEP_MS: i64 = 10_000;

/// Longest gap that is believed, in ms.
const MAX_GAP_MS: i64 = 600_000;
/// How much sooner than ever before a packet may arrive, in ms, for its time to be believed behind a gap.
const SOONER_MS: i64 = 250;

/// One track's past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Track {
    /// out = in + offset, in this publish.
    offset: Option<i64>,
    /// Last output time, if the track has had one since the stream began.
    last_out: Option<i64>,
    /// Last input time of this publish.
    last_in: Option<i64>,
    /// The last plausible input step; 0 = unknown.
    step: i64,
    /// The step that metadata or repetition establish; 0 = unknown.
    rhythm: i64,
    /// The last input step that was too long to be believed: one that repeats itself is the track's rhythm.
    wide: i64,
}

/// The timeline of one stream. A plain value: it is part of what survives a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    jitter: Jitter,
    /// For [`Jitter::Zero`]: out = in + offset.
    offset: Option<i64>,
    audio: Track,
    video: Track,
    jumps: u64,
    /// The least that arrivals were behind output times in this publish: wall clock minus stream, in ms.
    least_lag: Option<i64>,
}

impl Timeline {
    /// A timeline that has seen nothing.
    #[must_use]
    pub fn new(jitter: Jitter) -> Self {
        Self {
            jitter,
            offset: None,
            audio: Track::default(),
            video: Track::default(),
            jumps: 0,
            least_lag: None,
        }
    }

    /// A timeline that goes on after `last_audio` and `last_video` (output times), for a successor that has only the
    /// ring of a stream.
    #[must_use]
    pub fn resume(jitter: Jitter, last_audio: Option<i64>, last_video: Option<i64>) -> Self {
        let mut timeline = Self::new(jitter);
        timeline.audio.last_out = last_audio;
        timeline.video.last_out = last_video;
        timeline
    }

    /// Changes the algorithm; the output stays monotonic where the new one promises it.
    pub fn set_jitter(&mut self, jitter: Jitter) {
        if self.jitter != jitter {
            self.jitter = jitter;
            self.offset = None;
            self.audio.offset = None;
            self.video.offset = None;
        }
    }

    /// How many jumps were corrected since the stream began.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The latest output time of any track, in ms; `None` before the first message.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.audio.last_out.max(self.video.last_out)
    }

    /// Tells what metadata says of the usual steps: `audiosamplerate` and `framerate`.
    pub fn set_rates(&mut self, sample_rate: Option<f64>, frame_rate: Option<f64>) {
        if let Some(rate) = sample_rate.filter(|rate| (8_000.0..=192_000.0).contains(rate)) {
            self.audio.rhythm = whole_ms(1024.0 * 1000.0 / rate);
        }
        if let Some(rate) = frame_rate.filter(|rate| (0.1..=1000.0).contains(rate)) {
            self.video.rhythm = whole_ms(1000.0 / rate);
        }
    }

    /// A new publisher begins: its clock has nothing to do with the last one's.
    pub fn begin_publish(&mut self) {
        self.offset = None;
        self.least_lag = None;
        for track in [&mut self.audio, &mut self.video] {
            track.last_in = None;
            track.offset = None;
            track.step = 0;
            track.rhythm = 0;
        }
    }

    /// The time of a message that is not part of the timeline's rhythm (sequence headers, the end of a sequence, cue
    /// points), in ms: its own where that fits behind what its track had last, else that.
    #[must_use]
    pub fn aside(&self, kind: Kind, at: i64) -> i64 {
        let own = if kind == Kind::Audio { self.audio.offset } else { self.video.offset };
        let wanted = own.or(self.audio.offset).or(self.video.offset).map(|offset| at + offset);
        match self.jitter {
            Jitter::Off => at,
            Jitter::Zero => self.offset.map_or(0, |offset| at + offset).max(0),
            Jitter::Full => {
                let last = match kind {
                    Kind::Audio => self.audio.last_out.or(self.video.last_out),
                    Kind::Video => self.video.last_out.or(self.audio.last_out),
                    Kind::Data => self.last(),
                }
                .unwrap_or(0);
                wanted.filter(|wanted| (last..=last + MAX_STEP_MS).contains(wanted)).unwrap_or(last)
            }
        }
    }

    /// Maps the publisher's time of an audio or video frame, in ms, to the stream's timeline.
    pub fn frame(&mut self, kind: Kind, at: i64) -> i64 {
        self.place(kind, at, None)
    }

    /// The same for a frame that arrived at a time of a clock that never jumps, in ms.
    pub fn frame_at(&mut self, kind: Kind, at: i64, arrival_ms: i64) -> i64 {
        let out = self.place(kind, at, Some(arrival_ms));
        let lag = arrival_ms.saturating_sub(out);
        self.least_lag = Some(self.least_lag.map_or(lag, |least| least.min(lag)));
        out
    }

    /// Whether a step that is too long for a rhythm is a gap in what arrived.
    fn is_gap(&self, step: i64, out: i64, arrival_ms: Option<i64>) -> bool {
        let lag = arrival_ms.map(|arrival_ms| arrival_ms.saturating_sub(out));
        let is_in_time = lag.zip(self.least_lag).is_some_and(|(lag, least)| lag >= least - SOONER_MS);
        (0..=MAX_GAP_MS).contains(&step) && is_in_time
    }

    fn place(&mut self, kind: Kind, at: i64, arrival_ms: Option<i64>) -> i64 {
        match self.jitter {
            Jitter::Off => self.keep(kind, at),
            Jitter::Zero => {
                let offset = match self.offset {
                    Some(offset) if at + offset >= -MAX_STEP_MS => offset,
                    _ => -at,
                };
                self.offset = Some(offset);
                self.keep(kind, (at + offset).max(0))
            }
            Jitter::Full => self.full(kind, at, arrival_ms),
        }
    }

    fn keep(&mut self, kind: Kind, out: i64) -> i64 {
        self.track(kind).last_out = Some(out);
        out
    }

    fn track(&mut self, kind: Kind) -> &mut Track {
        if kind == Kind::Audio { &mut self.audio } else { &mut self.video }
    }

    fn other(&self, kind: Kind) -> &Track {
        if kind == Kind::Audio { &self.video } else { &self.audio }
    }

    fn full(&mut self, kind: Kind, at: i64, arrival_ms: Option<i64>) -> i64 {
        let other = *self.other(kind);
        let known = *if kind == Kind::Audio { &self.audio } else { &self.video };
        let is_gap = known
            .offset
            .zip(known.last_out)
            .is_some_and(|(offset, last)| self.is_gap(at + offset - last, at + offset, arrival_ms));
        let track = self.track(kind);
        let in_step = track.last_in.map(|last| at - last);
        track.last_in = Some(at);
        let bound = MAX_STEP_MS.max(track.rhythm * 3);
        let usual = [track.step, track.rhythm, DEFAULT_STEP_MS]
            .into_iter()
            .find(|step| *step > 0)
            .unwrap_or(DEFAULT_STEP_MS)
            .min(MAX_STEP_MS);
        // A step that repeats itself is the rhythm of the track, however long (one frame a second, say).
        if let Some(step) = in_step.filter(|step| (1..=MAX_USUAL_STEP_MS).contains(step)) {
            if step <= bound {
                track.step = step;
            } else {
                if (step - track.wide).abs() <= step / 4 {
                    track.rhythm = step;
                }
                track.wide = step;
            }
        }
        let out = match (track.last_out, track.offset) {
            (Some(last), Some(offset)) => {
                let step = at + offset - last;
                if (0..=bound).contains(&step) {
                    at + offset
                } else if (-MAX_STEP_MS..0).contains(&step) {
                    // Held until its time catches up; the origin stays.
                    return self.keep(kind, last + 1);
                } else if let Some(out) = other
                    .offset
                    .map(|offset| at + offset)
                    .filter(|out| Some(*out - at) != track.offset && (0..=bound).contains(&(out - last)))
                {
                    // The other track has jumped before, by the same amount.
                    out
                } else if step > 0
                    && other.last_out.is_some_and(|now| (at + offset - now).abs() <= MAX_STEP_MS)
                {
                    // Only this track has a hole: it goes on where the stream is.
                    at + offset
                } else if is_gap {
                    at + offset
                } else {
                    self.jumps += 1;
                    last + usual
                }
            }
            // The first message of this track in this publish: at the other one's origin, where the offset is believable.
            (last, _) => {
                let floor = last.map(|last| last + 1);
                match (other.offset, other.last_out) {
                    (Some(offset), Some(now)) if (at + offset - now).abs() <= MAX_TRACK_OFFSET_MS => {
                        let out = at + offset;
                        if floor.is_some_and(|floor| out < floor) {
                            return self.keep_at(kind, at, out, floor);
                        }
                        out
                    }
                    (Some(_), Some(now)) => floor.map_or(now, |floor| now.max(floor)),
                    // The first of the publish: one usual step after all that was.
                    (_, now) => last.max(now).map_or(0, |latest| latest + usual),
                }
            }
        };
        self.track(kind).offset = Some(out - at);
        self.keep(kind, out)
    }

    /// A track that begins a publish before what it had last: it keeps its origin and is held until it catches up.
    fn keep_at(&mut self, kind: Kind, at: i64, out: i64, floor: Option<i64>) -> i64 {
        self.track(kind).offset = Some(out - at);
        self.keep(kind, floor.unwrap_or(out))
    }
}

/// A positive number of ms as an integer; the callers have bounded it.
fn whole_ms(ms: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "both callers bound the value to 10 s")]
    let whole = ms.round() as i64;
    whole.clamp(1, MAX_USUAL_STEP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireClock;

    /// A timeline behind the clock of an RTMP publisher.
    struct Wired {
        timeline: Timeline,
        clock: WireClock,
    }

    impl Wired {
        fn new(jitter: Jitter) -> Self {
            Self { timeline: Timeline::new(jitter), clock: WireClock::default() }
        }

        fn frame(&mut self, kind: Kind, wire_ms: u32) -> i64 {
            let at = self.clock.read(wire_ms);
            self.clock.follow(at);
            self.timeline.frame(kind, at)
        }

        fn frame_at(&mut self, kind: Kind, wire_ms: u32, arrival_ms: i64) -> i64 {
            let at = self.clock.read(wire_ms);
            self.clock.follow(at);
            self.timeline.frame_at(kind, at, arrival_ms)
        }

        fn aside(&self, kind: Kind, wire_ms: u32) -> i64 {
            self.timeline.aside(kind, self.clock.read(wire_ms))
        }

        fn set_rates(&mut self, sample_rate: Option<f64>, frame_rate: Option<f64>) {
            self.timeline.set_rates(sample_rate, frame_rate);
        }

        fn jumps(&self) -> u64 {
            self.timeline.jumps()
        }

        fn begin_publish(&mut self) {
            self.timeline.begin_publish();
            self.clock = WireClock::default();
        }
    }

    fn run(jitter: Jitter, input: &[(Kind, u32)]) -> Vec<i64> {
        let mut timeline = Wired::new(jitter);
        input.iter().map(|(kind, at)| timeline.frame(*kind, *at)).collect()
    }

    fn video(times: &[u32]) -> Vec<(Kind, u32)> {
        times.iter().map(|at| (Kind::Video, *at)).collect()
    }

    #[test]
    fn a_stream_starts_at_zero_wherever_its_clock_starts() {
        for start in [0, 16_777_200, 0x7fff_fff0, 0xffff_fff0_u32] {
            let times: Vec<u32> = (0..10).map(|n| start.wrapping_add(n * 40)).collect();
            assert_eq!(run(Jitter::Full, &video(&times)), (0..10).map(|n| n * 40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn jumps_cost_one_step() {
        for jump in [3_600_000_u32, 0_u32.wrapping_sub(60_000), 501 + 120] {
            let times: Vec<u32> = (0..20)
                .map(|n: u32| 100_000_u32.wrapping_add(n * 40).wrapping_add(if n > 9 { jump } else { 0 }))
                .collect();
            let out = run(Jitter::Full, &video(&times));
            assert!(out.windows(2).all(|pair| (1..=500).contains(&(pair[1] - pair[0]))), "{jump}: {out:?}");
            assert_eq!(out[19], 19 * 40, "{jump}: {out:?}");
        }
    }

    #[test]
    fn audio_and_video_keep_their_offset_over_a_jump() {
        let mut input = Vec::new();
        for n in 0..200_u32 {
            let jump = if n >= 100 { 3_600_000 } else { 0 };
            input.push((Kind::Video, n * 40 + jump));
            input.push((Kind::Audio, n * 40 + 700 + jump));
        }
        let out = run(Jitter::Full, &input);
        for (n, pair) in out.chunks(2).enumerate() {
            assert_eq!(pair[1] - pair[0], 700, "pair {n}: {pair:?}");
        }
        assert_eq!(out[398] - out[0], 199 * 40);
    }

    #[test]
    fn a_track_that_begins_later_may_lie_before_the_first() {
        let out = run(Jitter::Full, &[(Kind::Video, 5000), (Kind::Audio, 4320), (Kind::Video, 5040)]);
        assert_eq!(out, [0, -680, 40]);
    }

    #[test]
    fn what_lies_beside_takes_the_time_of_its_track() {
        let mut timeline = Wired::new(Jitter::Full);
        timeline.frame(Kind::Video, 1000);
        timeline.frame(Kind::Audio, 1111);
        assert_eq!(timeline.aside(Kind::Video, 1000), 0);
        assert_eq!(timeline.aside(Kind::Video, 0), 0);
        assert_eq!(timeline.aside(Kind::Audio, 1200), 200);
        assert_eq!(timeline.aside(Kind::Data, 1200), 200);
    }

    #[test]
    fn a_hole_in_one_track_is_no_jump() {
        let mut input = Vec::new();
        for n in 0..500_u32 {
            input.push((Kind::Video, n * 40));
            if !(100..160).contains(&n) {
                input.push((Kind::Audio, n * 40 + 10));
            }
        }
        let mut timeline = Wired::new(Jitter::Full);
        for (kind, at) in input {
            assert_eq!(timeline.frame(kind, at), i64::from(at), "{kind:?}");
        }
        assert_eq!(timeline.jumps(), 0);
    }

    #[test]
    fn a_track_whose_clock_jumps_alone_does_not_shake_the_other() {
        let mut timeline = Wired::new(Jitter::Full);
        for n in 0..500_u32 {
            let jump = if n >= 250 { 3_600_000 } else { 0 };
            assert_eq!(timeline.frame(Kind::Video, n * 40), i64::from(n) * 40);
            assert_eq!(timeline.frame(Kind::Audio, n * 40 + 10 + jump), i64::from(n) * 40 + 10);
        }
        assert_eq!(timeline.jumps(), 1);
    }

    /// Pictures and sounds that arrive as time passes, but for some: `lost` says which, and `late` by how much later one arrives.
    fn arrive(
        lost: impl Fn(i64) -> bool,
        late: impl Fn(i64) -> i64,
        jump: impl Fn(i64) -> i64,
    ) -> (Vec<i64>, u64) {
        let mut timeline = Wired::new(Jitter::Full);
        let times = (0..1000).map(|n| n * 40).filter(|at| !lost(*at));
        let out = times.map(|at| {
            let wire = u32::try_from(7000 + at + jump(at)).unwrap();
            let arrival_ms = 1_000_000 + at + late(at);
            let picture = timeline.frame_at(Kind::Video, wire, arrival_ms);
            let sound = timeline.frame_at(Kind::Audio, wire + 10, arrival_ms + 1);
            assert_eq!(sound - picture, 10, "{at}");
            picture
        });
        (out.collect(), timeline.jumps())
    }

    #[test]
    fn a_gap_of_the_uplink_is_as_long_as_it_was() {
        let gap = |at: i64| (10_000..18_000).contains(&at);
        // Nothing arrived for eight seconds; or what was before the gap arrived late, with all that came behind it.
        for late in [|_| 0, |at: i64| if (6000..19_000).contains(&at) { 19_000 - at } else { 0 }] {
            let (out, jumps) = arrive(gap, late, |_| 0);
            assert_eq!((out[249], out[250], *out.last().unwrap(), jumps), (9960, 18_000, 39_960, 0));
        }
        // A clock that steps is none, whether pictures are missing or not.
        let (out, jumps) = arrive(|_| false, |_| 0, |at| if at >= 10_000 { 8000 } else { 0 });
        assert_eq!((*out.last().unwrap(), jumps), (39_960, 1));
        let (out, jumps) = arrive(gap, |_| 0, |at| if at >= 18_000 { 3_600_000 } else { 0 });
        assert_eq!((*out.last().unwrap(), jumps), (39_960 - 8000, 1));
        // Longer than is believed.
        let (out, jumps) = arrive(
            |at| (1000..39_000).contains(&at),
            |at| if at > 1000 { 700_000 } else { 0 },
            |at| {
                if at > 1000 { 700_000 } else { 0 }
            },
        );
        assert!(*out.last().unwrap() < 3000 && jumps == 1);
    }

    #[test]
    fn small_steps_back_are_held_and_caught_up() {
        let out = run(Jitter::Full, &video(&[0, 40, 80, 60, 100, 140]));
        assert_eq!(out, [0, 40, 80, 81, 100, 140]);
    }

    #[test]
    fn a_slow_rhythm_is_kept_with_metadata_and_learnt_without() {
        let times: Vec<u32> = (0..6).map(|n| n * 1000).collect();
        let mut told = Wired::new(Jitter::Full);
        told.set_rates(None, Some(1.0));
        let out: Vec<i64> = times.iter().map(|at| told.frame(Kind::Video, *at)).collect();
        assert_eq!(out, [0, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(run(Jitter::Full, &video(&times)), [0, 40, 80, 1080, 2080, 3080]);
    }

    #[test]
    fn a_republish_goes_on() {
        let mut timeline = Wired::new(Jitter::Full);
        for n in 0..10 {
            timeline.frame(Kind::Video, n * 40);
            timeline.frame(Kind::Audio, n * 40 + 5);
        }
        timeline.begin_publish();
        let audio = timeline.frame(Kind::Audio, 1_000_000);
        let video = timeline.frame(Kind::Video, 1_000_010);
        assert!(audio > 365 && audio < 500, "{audio}");
        assert_eq!(video, audio + 10);
    }

    #[test]
    fn zero_rebases_and_off_passes_on() {
        assert_eq!(run(Jitter::Zero, &video(&[5000, 5040, 6000, 100, 140])), [0, 40, 1000, 0, 40]);
        assert_eq!(run(Jitter::Off, &video(&[5000, 5040, 100])), [5000, 5040, 100]);
        assert_eq!(run(Jitter::Off, &video(&[0xffff_fff0, 0x10])), [0xffff_fff0, 0x1_0000_0010]);
    }

    #[test]
    fn one_wild_timestamp_moves_the_stream_by_two_steps_at_most() {
        let mut times: Vec<u32> = (0..50).map(|n| n * 40).collect();
        times[25] = 900_000;
        let out = run(Jitter::Full, &video(&times));
        assert!(out.windows(2).all(|pair| (0..=500).contains(&(pair[1] - pair[0]))), "{out:?}");
        assert!((out[49] - 49 * 40).abs() <= 80);
    }
}
