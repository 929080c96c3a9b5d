//! Where to cut.

use media::Kind;

/// A segment that would be shorter is not cut off, ms.
const SHORTEST_MS: i64 = 100;
/// How often a change of decoder configuration may begin a segment, ms.
const CHANGE_EVERY_MS: i64 = 1000;
/// What a target duration may be exceeded by: it is compared with rounded seconds.
const ROUNDING_MS: i64 = 499;
/// Pictures that do not come for so long have paused, ms; or for three of their usual steps, up to so long.
const PAUSE_MS: i64 = 1000;
const LONGEST_PAUSE_MS: i64 = 10_000;
/// How long a single packet lasts of which nothing is known, ms.
const USUAL_STEP_MS: i64 = 40;

/// How a stream is to be cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Wanted length of a segment, ms.
    pub fragment_ms: i64,
    /// Where a segment ends without a key frame, ms.
    pub longest_ms: i64,
    /// Cut at key frames only, up to that length.
    pub wait_keyframe: bool,
    /// Factor on the target duration, at least 1.
    pub target_ratio: f64,
    /// The stream's time is absolute: cut at the first key frame behind each multiple of the wanted length, so that every
    /// server that gets the stream cuts at the same places.
    pub absolute: bool,
}

/// What of a packet matters for cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Picture or sound.
    pub kind: Kind,
    /// DTS, ms.
    pub dts_ms: i64,
    /// A decoder can begin here.
    pub is_key: bool,
    /// Something has ended before it: another publisher, another configuration.
    pub is_break: bool,
    /// The stream has pictures.
    pub has_video: bool,
}

/// What to do before a packet is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing has begun yet: leave the packet out.
    Skip,
    /// It belongs to the segment that is open.
    Stay,
    /// It begins a segment; the one that is open, if any, ends.
    Begin {
        /// Nothing that came before belongs to it.
        is_break: bool,
        /// When the one that is open ends on the stream's timeline, ms: here, or where its last packet ends when nothing came for
        /// longer than any segment may be.
        end_ms: i64,
    },
}

/// Says where to cut.
#[derive(Debug, Clone)]
pub struct Segmenter {
    rules: Rules,
    open_ms: Option<i64>,
    /// The segment that is open has pictures.
    has_pictures: bool,
    /// This publish has shown a key frame: what comes before it can't be decoded.
    has_key: bool,
    last_key_ms: Option<i64>,
    gop_ms: i64,
    last_picture_ms: Option<i64>,
    picture_step_ms: i64,
    newest_ms: i64,
    /// Between the last two packets of the track that decides.
    step_ms: i64,
    last_ms: Option<i64>,
    owes_break: bool,
}

impl Segmenter {
    /// Begins with nothing open.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            open_ms: None,
            has_pictures: false,
            has_key: false,
            last_key_ms: None,
            gop_ms: 0,
            last_picture_ms: None,
            picture_step_ms: 0,
            newest_ms: 0,
            step_ms: 0,
            last_ms: None,
            owes_break: false,
        }
    }

    /// Whether a segment is open, and since when on the stream's timeline.
    #[must_use]
    pub fn open(&self) -> Option<i64> {
        self.open_ms
    }

    /// What to do with a packet, in the order of the stream.
    pub fn look(&mut self, facts: &Facts) -> Cut {
        let is_picture = facts.kind == Kind::Video;
        self.owes_break |= facts.is_break;
        // Where pictures have paused, or have not begun, sounds decide.
        let decides = is_picture || !facts.has_video || self.pictures_rest(facts.dts_ms);
        let can_begin = decides && (facts.is_key || !is_picture);
        self.has_key |= facts.is_key;
        // What another server may have in the same segment is not known: with absolute times it begins with a key frame.
        let is_alone = self.rules.absolute && facts.has_video && self.open_ms.is_none();
        if (is_picture || is_alone) && !self.has_key {
            return Cut::Skip;
        }
        if is_picture && facts.is_key {
            if let Some(last) = self.last_key_ms.filter(|last| *last < facts.dts_ms) {
                self.gop_ms = facts.dts_ms - last;
            }
            self.last_key_ms = Some(facts.dts_ms);
        }
        let Some(open) = self.open_ms else { return self.begin(facts, facts.dts_ms) };
        let length = facts.dts_ms - open;
        let broken = self.owes_break && can_begin && (length >= CHANGE_EVERY_MS || facts.is_break);
        // The first picture behind a pause.
        let returns = facts.is_key && !self.has_pictures && length >= PAUSE_MS;
        let cuts = broken || returns || self.is_long_enough(facts.dts_ms, open, can_begin, decides);
        // Time that runs backwards within a segment leaves it alone: the timeline sees to that.
        if cuts && length >= SHORTEST_MS {
            let last_ms = self.newest_ms + self.step_ms.max(1);
            let is_gap = length > self.longest() && last_ms < facts.dts_ms;
            self.owes_break |= is_gap;
            return self.begin(facts, if is_gap { last_ms } else { facts.dts_ms });
        }
        self.note(facts, decides);
        Cut::Stay
    }

    fn pictures_rest(&self, dts_ms: i64) -> bool {
        let pause = (3 * self.picture_step_ms).clamp(PAUSE_MS, LONGEST_PAUSE_MS);
        self.last_picture_ms.is_none_or(|last| dts_ms - last > pause)
    }

    /// How long a segment may be, ms.
    fn longest(&self) -> i64 {
        self.rules.target() * 1000 + ROUNDING_MS
    }

    fn is_long_enough(&self, dts_ms: i64, open_ms: i64, can_begin: bool, decides: bool) -> bool {
        let length = dts_ms - open_ms;
        let fragment = self.rules.fragment_ms.max(1);
        let longest = self.longest();
        // The next packet would make it longer than any may be.
        if decides && length + self.step_ms > longest {
            return true;
        }
        if self.rules.absolute {
            return can_begin && dts_ms.div_euclid(fragment) > open_ms.div_euclid(fragment);
        }
        let at_a_good_place = can_begin || decides && !self.rules.wait_keyframe;
        let next_would_be_late =
            self.rules.wait_keyframe && can_begin && self.gop_ms > 0 && length + self.gop_ms > longest;
        at_a_good_place && (length >= fragment || next_would_be_late && length >= SHORTEST_MS)
    }

    fn begin(&mut self, facts: &Facts, end_ms: i64) -> Cut {
        self.open_ms = Some(facts.dts_ms);
        (self.has_pictures, self.newest_ms) = (false, facts.dts_ms);
        self.note(facts, true);
        Cut::Begin { is_break: std::mem::take(&mut self.owes_break), end_ms }
    }

    fn note(&mut self, facts: &Facts, decides: bool) {
        self.newest_ms = self.newest_ms.max(facts.dts_ms);
        if facts.kind == Kind::Video {
            if let Some(last) = self.last_picture_ms {
                self.picture_step_ms = (facts.dts_ms - last).max(0);
            }
            self.last_picture_ms = Some(facts.dts_ms);
            self.has_pictures = true;
        }
        if decides {
            if let Some(last) = self.last_ms {
                self.step_ms = (facts.dts_ms - last).clamp(0, 1000);
            }
            self.last_ms = Some(facts.dts_ms);
        }
    }

    /// The publisher has gone. Returns how long the segment that was open has become, ms; `None` when there is none.
    pub fn end(&mut self) -> Option<i64> {
        let open = self.open_ms.take()?;
        (self.last_ms, self.last_key_ms, self.last_picture_ms) = (None, None, None);
        (self.has_key, self.gop_ms, self.picture_step_ms) = (false, 0, 0);
        self.owes_break = true;
        let length = self.newest_ms - open + std::mem::take(&mut self.step_ms);
        Some(if length > 0 { length } else { USUAL_STEP_MS })
    }
}

impl Rules {
    /// The target duration in whole seconds: it stands in a list before its first segment and never changes (RFC 8216, 6.2.1),
    /// so it is that of the longest segment that these rules allow.
    #[must_use]
    pub fn target(&self) -> i64 {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a length in ms")]
        let wanted = (self.fragment_ms as f64 * self.target_ratio.clamp(1.0, 100.0)) as i64;
        let waited =
            if self.wait_keyframe { self.longest_ms.max(self.fragment_ms) } else { self.fragment_ms };
        // The first key frame behind a multiple may be as far behind the one before it as that was from its own.
        let longest = if self.absolute { self.fragment_ms + waited } else { waited };
        (longest.max(wanted) + 999 - ROUNDING_MS).div_euclid(1000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        fragment_ms: 2000,
        longest_ms: 4200,
        wait_keyframe: true,
        target_ratio: 1.0,
        absolute: false,
    };

    fn video(dts_ms: i64, gop_ms: i64) -> Facts {
        Facts { kind: Kind::Video, dts_ms, is_key: dts_ms % gop_ms == 0, is_break: false, has_video: true }
    }

    /// Where it is cut, over so many ms at 25 pictures per second.
    fn cuts(segmenter: &mut Segmenter, times: impl Iterator<Item = Facts>) -> Vec<i64> {
        times
            .filter(|facts| matches!(segmenter.look(facts), Cut::Begin { .. }))
            .map(|facts| facts.dts_ms)
            .collect()
    }

    #[test]
    fn key_frames_are_waited_for_and_the_target_is_large_enough() {
        assert_eq!(RULES.target(), 4);
        let mut segmenter = Segmenter::new(RULES);
        assert_eq!(segmenter.look(&video(40, 1000)), Cut::Skip);
        let found = cuts(&mut segmenter, (25..400).map(|n| video(n * 40, 1000)));
        assert_eq!(found, [1000, 3000, 5000, 7000, 9000, 11_000, 13_000, 15_000]);
        // Groups of one second, then of three.
        let mut segmenter = Segmenter::new(RULES);
        let mut found = cuts(&mut segmenter, (0..150).map(|n| video(n * 40, 1000)));
        found.extend(cuts(&mut segmenter, (150..525).map(|n| video(n * 40, 3000))));
        assert_eq!(found, [0, 2000, 4000, 6000, 9000, 12_000, 15_000, 18_000]);
        let at_once = Rules { wait_keyframe: false, ..RULES };
        assert_eq!(at_once.target(), 2);
        assert_eq!(Rules { target_ratio: 1.5, ..at_once }.target(), 3);
        let found = cuts(&mut Segmenter::new(at_once), (0..260).map(|n| video(n * 40, 3000)));
        assert_eq!(found, [0, 2000, 4000, 6000, 8000, 10_000]);
    }

    #[test]
    fn no_segment_is_longer_than_the_target_whatever_the_encoder_does() {
        for rules in [RULES, Rules { absolute: true, ..RULES }, Rules { wait_keyframe: false, ..RULES }] {
            let mut segmenter = Segmenter::new(rules);
            let mut all = cuts(&mut segmenter, (0..100).map(|n| video(n * 40, 1000)));
            // Then key frames every 60 seconds, then at odd places.
            all.extend(cuts(&mut segmenter, (100..3000).map(|n| video(n * 40, 60_000))));
            all.extend(cuts(&mut segmenter, (3000..6000).map(|n| video(n * 40, 1720))));
            let target = rules.target();
            for pair in all.windows(2) {
                assert!((pair[1] - pair[0] + 500) / 1000 <= target, "{pair:?}, target {target}");
            }
        }
    }

    /// A camera that is off for fourteen seconds while its microphone is on.
    #[test]
    fn where_pictures_pause_segments_are_cut_on_sound() {
        let sound =
            |dts_ms| Facts { kind: Kind::Audio, dts_ms, is_key: false, is_break: false, has_video: true };
        let mut all: Vec<Facts> = (0..100).map(|n| video(n * 40, 1000)).collect();
        all.extend((450..600).map(|n| video(n * 40, 1000)));
        all.extend((0..1000).map(|n| sound(n * 23 + 1)));
        all.sort_by_key(|facts| facts.dts_ms);
        let mut segmenter = Segmenter::new(RULES);
        let found = cuts(&mut segmenter, all.into_iter());
        assert!(found.windows(2).all(|pair| (1000..3000).contains(&(pair[1] - pair[0]))), "{found:?}");
        assert!(found.contains(&18_000), "the first picture behind the pause begins a segment: {found:?}");
    }

    #[test]
    fn what_comes_before_the_first_picture_and_a_short_end_are_in_segments() {
        let sound =
            |dts_ms| Facts { kind: Kind::Audio, dts_ms, is_key: false, is_break: false, has_video: true };
        let mut segmenter = Segmenter::new(RULES);
        assert_eq!(segmenter.look(&sound(0)), Cut::Begin { is_break: false, end_ms: 0 });
        assert_eq!(segmenter.look(&Facts { is_key: false, ..video(10, 1000) }), Cut::Skip);
        assert_eq!(segmenter.look(&Facts { is_key: true, ..video(30, 1000) }), Cut::Stay);
        let found = cuts(&mut segmenter, (1..52).map(|n| Facts { is_key: n == 51, ..video(30 + n * 40, 1) }));
        assert_eq!(found, [2070]);
        assert_eq!(segmenter.end(), Some(40), "one picture");
        assert_eq!(segmenter.look(&video(5000, 1000)), Cut::Begin { is_break: true, end_ms: 5000 });
        assert_eq!(segmenter.end(), Some(40), "a whole publish of one picture");
    }

    #[test]
    fn sounds_alone_are_cut_by_length() {
        let mut segmenter = Segmenter::new(RULES);
        let sound = |n: i64| Facts {
            kind: Kind::Audio,
            dts_ms: n * 23,
            is_key: false,
            is_break: false,
            has_video: false,
        };
        let found = cuts(&mut segmenter, (0..400).map(sound));
        assert!(found.windows(2).all(|pair| (2000..2030).contains(&(pair[1] - pair[0]))), "{found:?}");
    }

    #[test]
    fn another_publisher_begins_a_segment_that_says_so() {
        let mut segmenter = Segmenter::new(RULES);
        for n in 0..30 {
            segmenter.look(&video(n * 40, 1000));
        }
        assert_eq!(segmenter.end(), Some(1200));
        assert_eq!(segmenter.end(), None);
        assert_eq!(segmenter.look(&video(1240, 1000)), Cut::Skip);
        assert_eq!(segmenter.look(&video(2000, 1000)), Cut::Begin { is_break: true, end_ms: 2000 });
        // Changes of configuration: not more than one a second cuts.
        let change = Facts { is_break: true, ..video(2040, 1000) };
        assert_eq!(segmenter.look(&Facts { is_key: true, ..change }), Cut::Stay);
        assert_eq!(segmenter.look(&video(3000, 1000)), Cut::Begin { is_break: true, end_ms: 3000 });
    }

    /// The way to the server was broken for eight seconds.
    #[test]
    fn a_gap_is_no_part_of_a_segment() {
        let mut segmenter = Segmenter::new(RULES);
        let found = cuts(&mut segmenter, (0..75).map(|n| video(n * 40, 1000)));
        assert_eq!(found, [0, 2000]);
        assert_eq!(segmenter.look(&video(11_000, 1000)), Cut::Begin { is_break: true, end_ms: 3000 });
        let found = cuts(&mut segmenter, (276..350).map(|n| video(n * 40, 1000)));
        assert_eq!(found, [13_000]);
    }

    #[test]
    fn absolute_time_cuts_at_the_same_places_wherever_one_joins() {
        let rules = Rules { absolute: true, ..RULES };
        let whole = cuts(&mut Segmenter::new(rules), (0..2000).map(|n| video(n * 40, 600)));
        let late = cuts(&mut Segmenter::new(rules), (777..2000).map(|n| video(n * 40, 600)));
        assert!(late.len() > 20 && whole.ends_with(&late[1..]));
    }

    proptest::proptest! {
        #[test]
        fn any_times_are_looked_at_without_harm(times in proptest::collection::vec((proptest::num::i32::ANY, proptest::bool::ANY), 0..200)) {
            let mut segmenter = Segmenter::new(RULES);
            for (dts, is_key) in times {
                let _ = segmenter.look(&Facts { kind: Kind::Video, dts_ms: i64::from(dts), is_key, is_break: false, has_video: true });
            }
            let _ = segmenter.end();
        }
    }
}
