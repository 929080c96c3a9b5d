//! The sources: what is sent in which order, and how it is coded.

use std::time::Duration;

use srs_tests::coding::{Audio, Coding, Video};
use srs_tests::marked::{Unit, of_kind, usual};

/// What a source sends in one go. Before each part but the first, every early viewer has got something of the one before.
#[derive(Clone)]
pub(super) struct Part {
    /// So much time passes before it.
    pub(super) passes: Duration,
    /// Whether the header of pictures, and that of sounds, comes at its beginning.
    pub(super) headers: (bool, bool),
    pub(super) coding: Coding,
    pub(super) units: Vec<Unit>,
}

/// What a part's beginning means for a file whose tracks are fixed at its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// There is a track more.
    Added,
    /// A track is another than before.
    Changed,
}

#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) parts: Vec<Part>,
    /// What the second part begins with.
    pub(super) turn: Turn,
    /// How the encoder writes a packet.
    pub(super) body: fn(&Coding, &Unit) -> Vec<u8>,
}

/// The same with pictures and sounds moved by so much, in the order of their times.
pub(super) fn moved(units: &[Unit], pictures_ms: i64, sounds_ms: i64) -> Vec<Unit> {
    let mut units = units.to_vec();
    for unit in &mut units {
        unit.dts_ms += if unit.is_video { pictures_ms } else { sounds_ms };
    }
    units.sort_by_key(|unit| unit.dts_ms);
    units
}

/// The first picture comes before the first sound, though its time lies behind.
fn behind(units: &[Unit]) -> Vec<Unit> {
    let mut units = moved(units, 100, 60);
    let first = units.iter().position(|unit| unit.is_video).unwrap();
    units[..=first].rotate_right(1);
    units
}

/// With start codes of three and of four bytes in turn, and units that are empty.
fn with_start_codes(coding: &Coding, unit: &Unit) -> Vec<u8> {
    let body = coding.body(unit);
    if !unit.is_video {
        return body;
    }
    let (head, picture) = (&body[..5], &body[9..]);
    let code: &[u8] = match unit.number / 2 % 4 {
        0 => &[0, 0, 0, 1],
        1 => &[0, 0, 1],
        2 => &[0, 0, 0, 1, 0, 0, 1],
        // Behind its length, and behind an empty unit.
        _ => return [head, &[0; 4], &body[5..], &[0; 4]].concat(),
    };
    [head, code, picture].concat()
}

/// Sorts out what is sent before a time, and what behind.
fn split(units: &[Unit], at_ms: i64) -> (Vec<Unit>, Vec<Unit>) {
    units.iter().partition(|unit| unit.dts_ms < at_ms)
}

/// Without the pictures, or the sounds, for which this is so.
fn without(units: Vec<Unit>, is_video: bool, gone: impl Fn(i64) -> bool) -> Vec<Unit> {
    units.into_iter().filter(|unit| unit.is_video != is_video || !gone(unit.dts_ms)).collect()
}

impl Source {
    /// One part with both tracks.
    fn one(name: &str, units: Vec<Unit>) -> Self {
        let part = Part { passes: Duration::ZERO, headers: (true, true), coding: Coding::default(), units };
        Self { name: name.to_owned(), parts: vec![part], turn: Turn::None, body: Coding::body }
    }

    /// With these headers only at its beginning.
    fn with_headers(mut self, video: bool, audio: bool) -> Self {
        self.parts[0].headers = (video, audio);
        self
    }

    /// And then a second part.
    fn then(mut self, turn: Turn, second: Part) -> Self {
        (self.turn, self.parts) = (turn, [self.parts, vec![second]].concat());
        self
    }

    /// The same, coded otherwise.
    fn coded(mut self, video: Video, audio: Audio) -> Self {
        for Part { coding, units, .. } in &mut self.parts {
            (coding.video, coding.audio) = (video, audio);
            if !coding.reorders() {
                units.iter_mut().for_each(|unit| unit.composition_ms = 0);
            }
        }
        self.name = format!("{}-{}", self.name, self.parts[0].coding.name());
        // Where frames say for themselves what they are, the first of them begins the part.
        if let [first, second] = &mut self.parts[..]
            && second.headers == (false, true)
            && second.coding.record(false).is_none()
        {
            let at = second.units.iter().position(|unit| !unit.is_video).unwrap();
            first.units.extend(second.units.drain(..at));
        }
        self
    }

    pub(super) fn units(&self) -> Vec<Unit> {
        self.parts.iter().flat_map(|part| part.units.clone()).collect()
    }

    /// What somebody gets who joins when all was sent.
    pub(super) fn late(&self) -> Vec<Unit> {
        let units = self.units();
        let from = units.iter().rposition(|unit| unit.is_key).unwrap_or(0);
        units[from..].to_vec()
    }

    pub(super) fn has(&self, is_video: bool) -> bool {
        self.units().iter().any(|unit| unit.is_video == is_video)
    }

    /// Whether a group is longer than any segment may be.
    pub(super) fn has_long_group(&self) -> bool {
        let keys: Vec<i64> = self.units().iter().filter(|unit| unit.is_key).map(|unit| unit.dts_ms).collect();
        let end = self.units().iter().map(|unit| unit.dts_ms).max();
        keys.iter().copied().chain(end).collect::<Vec<_>>().windows(2).any(|pair| pair[1] - pair[0] > 4200)
    }

    /// Of some units those of which MPEG-TS has a place.
    pub(super) fn in_ts(&self, units: &[Unit]) -> Vec<Unit> {
        let fits = |unit: &Unit| {
            let part = self.parts.iter().find(|part| part.units.iter().any(|own| own.number == unit.number));
            part.is_some_and(|part| part.coding.fits_ts(unit.is_video))
        };
        units.iter().copied().filter(fits).collect()
    }
}

/// What begins or changes in the second part, from 3 s on.
fn turning(name: &str, turn: Turn, (before, after): (Vec<Unit>, Vec<Unit>), headers: (bool, bool)) -> Source {
    let first = (before.iter().any(|unit| unit.is_video), before.iter().any(|unit| !unit.is_video));
    let coding = Coding {
        is_other_video: turn == Turn::Changed && headers.0,
        is_other_audio: turn == Turn::Changed && headers.1,
        ..Coding::default()
    };
    let second = Part { passes: Duration::ZERO, headers, coding, units: after };
    Source::one(name, before).with_headers(first.0, first.1).then(turn, second)
}

/// Tracks that come, go or become another in the middle.
fn turns() -> Vec<Source> {
    let both = usual(6000, 1000);
    let without_before = |is_video| without(both.clone(), is_video, |dts_ms| dts_ms < 3000);
    let halves = split(&both, 3000);
    vec![
        turning("added-sound", Turn::Added, split(&without_before(false), 3000), (false, true)),
        turning("added-pictures", Turn::Added, split(&without_before(true), 3000), (true, false)),
        Source::one("removed-sound", without(both.clone(), false, |dts_ms| dts_ms >= 3000)),
        Source::one("removed-pictures", without(both.clone(), true, |dts_ms| dts_ms >= 3000)),
        turning("changed-pictures", Turn::Changed, halves.clone(), (true, false)),
        turning("changed-sound", Turn::Changed, halves.clone(), (false, true)),
        turning("changed-both", Turn::Changed, halves, (true, true)),
    ]
}

/// Sources of H.264 and AAC.
pub(super) fn shapes() -> Vec<Source> {
    let both = usual(6000, 1000);
    let with = |change: &dyn Fn(&mut Unit)| {
        let mut units = both.clone();
        units.iter_mut().for_each(change);
        units
    };
    let pause = 4000..18_000;
    // A key frame each second, then each three.
    let longer = |mut unit: Unit| {
        unit.is_key &= unit.dts_ms < 3000 || unit.dts_ms % 3000 == 0;
        unit
    };
    // Decoding order of groups I P B B: shown 40 ms behind the DTS, then later, then earlier.
    let reordered = |shift: i64| {
        with(&move |unit| {
            if unit.is_video {
                unit.composition_ms =
                    [0, 80, -40, -40][usize::try_from(unit.dts_ms / 40 % 4).unwrap()] + shift;
            }
        })
    };
    let paused = without(usual(20_000, 1000), true, |dts_ms| pause.contains(&dts_ms));
    let mut all = vec![
        Source::one("usual", both.clone()),
        Source::one("reordered", reordered(40)),
        Source::one("shown-before", reordered(0)),
        Source::one("shown-late", reordered(2000)),
        Source::one("sounds", of_kind(&both, false)).with_headers(false, true),
        Source::one("pictures", of_kind(&both, true)).with_headers(true, false),
        Source::one("sound-first", moved(&both, 500, 0)),
        Source::one("picture-first", moved(&both, 0, 500)),
        Source::one("sound-behind", behind(&both)),
        Source::one("paused", paused),
        Source::one("longer-groups", usual(12_000, 1000).into_iter().map(longer).collect()),
        Source::one("one-group", usual(12_000, 100_000)),
        Source::one("short-end", usual(4050, 1000)),
        Source::one("one-picture", vec![Unit::picture(0, 0, true)]).with_headers(true, false),
        Source { body: with_start_codes, ..Source::one("start-codes", both.clone()) },
    ];
    all.extend(turns());
    all
}

/// The hard ones of them, in all other codecs: each of pictures and each of sounds once or more.
pub(super) fn codings() -> Vec<Source> {
    let pairs = [
        (Video::Hevc, Audio::Opus),
        (Video::Hevc, Audio::Flac),
        (Video::Av1, Audio::Flac),
        (Video::Vp9, Audio::Ac3),
        (Video::Av1, Audio::Aac),
        (Video::Avc, Audio::Eac3),
        (Video::Avc, Audio::Mp3),
    ];
    let hard = ["usual", "shown-before", "sound-first", "paused", "added-sound", "added-pictures"];
    let hard =
        [&hard[..], &["removed-sound", "removed-pictures", "changed-pictures", "changed-sound"]].concat();
    let shapes: Vec<Source> =
        shapes().into_iter().filter(|shape| hard.contains(&shape.name.as_str())).collect();
    let all = pairs.into_iter().flat_map(|pair| shapes.iter().map(move |shape| (shape.clone(), pair)));
    let all = all.map(|(shape, (video, audio))| shape.coded(video, audio));
    // A picture cannot be shown at another time than it is decoded where the packet has no place for it.
    let mut all: Vec<Source> =
        all.filter(|source| !source.name.starts_with("shown") || source.parts[0].coding.reorders()).collect();
    let mut changed = turning("changed-codec", Turn::Changed, split(&usual(6000, 1000), 3000), (true, true));
    changed.parts[1].coding = Coding::of(Video::Hevc, Audio::Opus);
    all.push(changed);
    all
}

/// Nothing of either track for a while, which has passed by the clock as well.
pub(super) fn gaps() -> Vec<Source> {
    let gap = |gap_ms: i64| {
        let (before, after) = split(&usual(4000, 1000), 2000);
        let coding = Coding::default();
        let passes = Duration::from_millis(gap_ms.unsigned_abs());
        let second = Part { passes, headers: (false, false), coding, units: moved(&after, gap_ms, gap_ms) };
        Source::one(&format!("gap-{gap_ms}"), before).then(Turn::None, second)
    };
    [200, 1000, 3000, 12_000].map(gap).to_vec()
}
