//! Where to cut.

use media::Kind;

/// A segment that would be shorter is none, ms.
const SHORTEST_MS: i64 = 100;
/// How often a change of decoder configuration may begin a segment, ms.
const CHANGE_EVERY_MS: i64 = 1000;
/// What a target duration may be exceeded by: it is compared with rounded seconds.
const ROUNDING_MS: i64 = 499;

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
    /// It begins a segment; the one that is open, if any, ends here.
    Begin {
        /// Nothing that came before belongs to it.
        is_break: bool,
    },
}

/// Says where to cut.
#[derive(Debug, Clone)]
pub struct Segmenter {
    rules: Rules,
    open_ms: Option<i64>,
    last_key_ms: Option<i64>,
    gop_ms: i64,
    newest_ms: i64,
    /// Between the last two packets of the track that decides.
    step_ms: i64,
    last_ms: Option<i64>,
    owes_break: bool,
    /// Whole seconds, fixed with the first segment.
    target_s: Option<i64>,
}

impl Segmenter {
    /// Begins with nothing open.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            open_ms: None,
            last_key_ms: None,
            gop_ms: 0,
            newest_ms: 0,
            step_ms: 0,
            last_ms: None,
            owes_break: false,
            target_s: None,
        }
    }

    /// Takes over the target duration of a playlist that goes on.
    pub fn set_target(&mut self, target_s: i64) {
        self.target_s = Some(target_s.max(1));
    }

    /// The target duration in seconds, once it is fixed: it never changes, and no segment is longer.
    #[must_use]
    pub fn target(&self) -> Option<i64> {
        self.target_s
    }

    /// Whether a segment is open, and since when on the stream's timeline.
    #[must_use]
    pub fn open(&self) -> Option<i64> {
        self.open_ms
    }

    fn target_of(&self, first_ms: i64) -> i64 {
        let longest = if self.rules.absolute {
            2 * self.rules.fragment_ms
        } else {
            first_ms.max(self.rules.fragment_ms)
        };
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a length in ms")]
        let longest = (longest as f64 * self.rules.target_ratio.clamp(1.0, 100.0)) as i64;
        (longest + 999 - ROUNDING_MS).div_euclid(1000).max(1)
    }

    /// What to do with a packet, in the order of the stream.
    pub fn look(&mut self, facts: &Facts) -> Cut {
        let decides = if facts.has_video { facts.kind == Kind::Video } else { true };
        self.owes_break |= facts.is_break;
        let can_begin = decides && (facts.is_key || !facts.has_video);
        if can_begin && facts.has_video {
            if let Some(last) = self.last_key_ms.filter(|last| *last < facts.dts_ms) {
                self.gop_ms = facts.dts_ms - last;
            }
            self.last_key_ms = Some(facts.dts_ms);
        }
        let Some(open) = self.open_ms else {
            return if can_begin { self.begin(facts) } else { Cut::Skip };
        };
        let length = facts.dts_ms - open;
        let broken = self.owes_break && can_begin && (length >= CHANGE_EVERY_MS || facts.is_break);
        let cuts = broken || self.is_long_enough(facts.dts_ms, open, can_begin, decides);
        // Time that runs backwards within a segment leaves it alone: the timeline sees to that.
        if cuts && length >= SHORTEST_MS {
            self.close(length);
            return self.begin(facts);
        }
        self.note(facts, decides);
        Cut::Stay
    }

    fn is_long_enough(&self, dts_ms: i64, open_ms: i64, can_begin: bool, decides: bool) -> bool {
        let length = dts_ms - open_ms;
        let fragment = self.rules.fragment_ms.max(1);
        let longest = self.target_s.map_or(self.rules.longest_ms, |target| target * 1000 + ROUNDING_MS);
        // The next packet would make it longer than any may be.
        if decides && length + self.step_ms > longest && !self.rules.absolute {
            return true;
        }
        if self.rules.absolute {
            return can_begin && dts_ms.div_euclid(fragment) > open_ms.div_euclid(fragment)
                || decides && length >= 2 * self.rules.longest_ms;
        }
        let at_a_good_place = can_begin || decides && !self.rules.wait_keyframe;
        let next_would_be_late = can_begin && self.gop_ms > 0 && length + self.gop_ms > longest;
        at_a_good_place && (length >= fragment || next_would_be_late && length >= SHORTEST_MS)
    }

    fn begin(&mut self, facts: &Facts) -> Cut {
        self.open_ms = Some(facts.dts_ms);
        self.note(facts, true);
        Cut::Begin { is_break: std::mem::take(&mut self.owes_break) }
    }

    fn note(&mut self, facts: &Facts, decides: bool) {
        self.newest_ms = facts.dts_ms;
        if decides {
            if let Some(last) = self.last_ms {
                self.step_ms = (facts.dts_ms - last).clamp(0, 1000);
            }
            self.last_ms = Some(facts.dts_ms);
        }
    }

    fn close(&mut self, length_ms: i64) {
        if self.target_s.is_none() {
            self.target_s = Some(self.target_of(length_ms));
        }
    }

    /// The publisher has gone. Returns how long the segment that was open has become, ms; `None` when there is none, or it is
    /// too short to be one.
    pub fn end(&mut self) -> Option<i64> {
        let open = self.open_ms.take()?;
        self.last_ms = None;
        self.last_key_ms = None;
        self.gop_ms = 0;
        self.owes_break = true;
        let length = self.newest_ms - open + self.step_ms;
        if length < SHORTEST_MS {
            return None;
        }
        self.close(length);
        Some(length)
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
    fn key_frames_are_waited_for_and_the_target_holds() {
        let mut segmenter = Segmenter::new(RULES);
        assert_eq!(segmenter.look(&video(40, 1000)), Cut::Skip);
        let found = cuts(&mut segmenter, (25..400).map(|n| video(n * 40, 1000)));
        assert_eq!(found, [1000, 3000, 5000, 7000, 9000, 11_000, 13_000, 15_000]);
        assert_eq!(segmenter.target(), Some(2));
        // A GOP of three seconds makes segments of three, and that is the target.
        let mut segmenter = Segmenter::new(RULES);
        let found = cuts(&mut segmenter, (0..400).map(|n| video(n * 40, 3000)));
        assert_eq!(found, [0, 3000, 6000, 9000, 12_000, 15_000]);
        assert_eq!(segmenter.target(), Some(3));
    }

    #[test]
    fn no_segment_is_longer_than_the_target_whatever_the_encoder_does() {
        let mut segmenter = Segmenter::new(RULES);
        let mut all = cuts(&mut segmenter, (0..100).map(|n| video(n * 40, 1000)));
        // Then key frames every 60 seconds, then at odd places.
        all.extend(cuts(&mut segmenter, (100..3000).map(|n| video(n * 40, 60_000))));
        all.extend(cuts(&mut segmenter, (3000..6000).map(|n| video(n * 40, 1720))));
        let target = segmenter.target().unwrap();
        for pair in all.windows(2) {
            assert!((pair[1] - pair[0] + 500) / 1000 <= target, "{pair:?}, target {target}");
        }
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
        assert_eq!(segmenter.look(&video(2000, 1000)), Cut::Begin { is_break: true });
        // Changes of configuration: not more than one a second cuts.
        let change = Facts { is_break: true, ..video(2040, 1000) };
        assert_eq!(segmenter.look(&Facts { is_key: true, ..change }), Cut::Stay);
        assert_eq!(segmenter.look(&video(3000, 1000)), Cut::Begin { is_break: true });
        // What is hardly there is no segment.
        let mut segmenter = Segmenter::new(RULES);
        segmenter.look(&video(0, 1000));
        assert_eq!(segmenter.end(), None);
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
