//! Fragmented MP4 of a stream's packets.

use media::Kind;
use mp4::{Run, Sample, fragment, init, init_of_file};

use crate::track_set::{AccessUnit, TrackSet, mp4_id};

/// A sample is never said to last longer, ms: what follows tells its own time.
const LONGEST_SAMPLE_MS: i64 = 10_000;
/// What is said of the last sample of all, of which nobody knows.
const USUAL_SAMPLE_MS: i64 = 40;
/// Longest that is believed of it, ms.
const LONGEST_GUESS_MS: i64 = 200;
/// A sound that no other follows for so long is written, ms: it lasts no longer. A picture lasts until the next one.
const LONGEST_SOUND_MS: i64 = 500;
/// Most samples of a fragment.
const MAX_SAMPLES: usize = 512;
/// A fragment is written when it has so many bytes, whatever the time.
const MAX_FRAGMENT_BYTES: usize = 8 << 20;

/// A fragment, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Playing can begin with it.
    pub is_key: bool,
    /// DTS of its first sample, ms.
    pub dts_ms: i64,
}

#[derive(Debug, Clone)]
struct Held {
    dts_ms: i64,
    coded: AccessUnit,
}

/// Makes fragments of a given length.
#[derive(Debug, Clone)]
pub struct Mp4Packager {
    gather_ms: i64,
    sequence: u32,
    /// What is time 0 in the file.
    base_ms: Option<i64>,
    /// What is held of each track, in the order of their numbers in the file.
    held: Vec<(u32, Vec<Held>)>,
    bytes: usize,
}

/// Number of the first pictures in a file.
const PICTURES: u32 = 1;

impl Mp4Packager {
    /// A packager whose fragments last about `gather_ms`, and begin with a key frame where there is one.
    #[must_use]
    pub fn new(gather_ms: i64) -> Self {
        Self { gather_ms, sequence: 0, base_ms: None, held: Vec::new(), bytes: 0 }
    }

    /// A packager that goes on behind fragment number `sequence`; what is time 0 in the file is known.
    #[must_use]
    pub fn go_on(gather_ms: i64, sequence: u32, base_ms: i64) -> Self {
        Self { sequence, base_ms: Some(base_ms), ..Self::new(gather_ms) }
    }

    /// The bytes in front of all fragments; `None` when no track can be packed.
    #[must_use]
    pub fn init(track_set: &TrackSet) -> Option<Vec<u8>> {
        let tracks = track_set.mp4_tracks();
        (!tracks.is_empty()).then(|| init(&tracks))
    }

    /// The same for a file, which has room for its duration.
    #[must_use]
    pub fn init_of_file(track_set: &TrackSet) -> Option<Vec<u8>> {
        let tracks = track_set.mp4_tracks();
        (!tracks.is_empty()).then(|| init_of_file(&tracks))
    }

    /// What was time 0, once there was something.
    #[must_use]
    pub fn base_ms(&self) -> Option<i64> {
        self.base_ms
    }

    /// Takes one packet; returns the fragment that is complete with it.
    pub fn push(&mut self, dts_ms: i64, coded: AccessUnit) -> Option<Fragment> {
        if self.base_ms.is_some_and(|base| dts_ms < base) || coded.kind == Kind::Data {
            return None;
        }
        // Fragments begin with key frames of the first pictures.
        let id = mp4_id(coded.kind, coded.track);
        let is_key = coded.is_key && id == PICTURES;
        self.bytes += coded.data.len();
        let at = self.held.partition_point(|(known, _)| *known < id);
        if self.held.get(at).is_none_or(|(known, _)| *known != id) {
            self.held.insert(at, (id, Vec::new()));
        }
        let (_, track) = self.held.get_mut(at)?;
        track.push(Held { dts_ms, coded });
        let apart = track.first().map_or(0, |first| dts_ms - first.dts_ms);
        let count = track.len();
        let is_due = apart >= self.gather_ms || count > MAX_SAMPLES || self.bytes > MAX_FRAGMENT_BYTES;
        if count > 1 && (is_due || is_key) { self.write(false) } else { None }
    }

    /// Whether anything is held back until what follows tells how long it lasts.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held.iter().any(|(_, held)| !held.is_empty())
    }

    /// The rest: nothing follows.
    pub fn flush(&mut self) -> Option<Fragment> {
        self.write(true)
    }

    /// All samples whose length is known (or all) as a fragment.
    fn write(&mut self, all: bool) -> Option<Fragment> {
        // The track that came second may lie before the first.
        let begin = self.held.iter().filter_map(|(_, held)| held.first()).map(|held| held.dts_ms);
        let base = self.base_ms.or_else(|| begin.min())?;
        self.base_ms = Some(base);
        let pictures = self.held.first().filter(|(id, _)| *id == PICTURES).map(|(_, held)| held);
        let is_key = pictures
            .and_then(|held| held.first())
            .map_or_else(|| self.held.iter().any(|(_, held)| held.len() > 1), |first| first.coded.is_key);
        let newest_ms = pictures.and_then(|held| held.last()).map(|picture| picture.dts_ms);
        let mut dts_ms = None;
        let mut runs = Vec::new();
        for (number, held) in &mut self.held {
            let is_silent = held.last().zip(newest_ms).is_some_and(|(last, newest_ms)| {
                last.coded.kind == Kind::Audio && newest_ms - last.dts_ms > LONGEST_SOUND_MS
            });
            let all = all || is_silent;
            let count = if all { held.len() } else { held.len().saturating_sub(1) };
            let mut times: Vec<i64> = held.iter().map(|held| held.dts_ms).collect();
            if let Some(last) = times.last().copied() {
                // Of the last of all it is not known how long it lasts: as long as the one before.
                let before = times.len().checked_sub(2).and_then(|at| times.get(at));
                let step =
                    before.map(|before| last - before).filter(|step| (1..=LONGEST_GUESS_MS).contains(step));
                times.push(last + step.unwrap_or(USUAL_SAMPLE_MS));
            }
            let Some(first) = times.first().copied().filter(|_| count > 0) else { continue };
            let samples = held.drain(..count).zip(times.windows(2)).map(|(held, times)| {
                let duration = match times {
                    [now, next] => (next - now).clamp(0, LONGEST_SAMPLE_MS),
                    _ => USUAL_SAMPLE_MS,
                };
                Sample {
                    duration_ms: u32::try_from(duration).unwrap_or(0),
                    composition_ms: held.coded.composition_ms,
                    is_sync: held.coded.is_key || held.coded.kind == Kind::Audio,
                    data: held.coded.data,
                }
            });
            let run = Run {
                track: *number,
                dts_ms: u64::try_from(first - base).unwrap_or(0),
                samples: samples.collect(),
            };
            dts_ms = Some(dts_ms.map_or(first, |known: i64| known.min(first)));
            runs.push(run);
        }
        self.bytes = self.held.iter().flat_map(|(_, held)| held).map(|held| held.coded.data.len()).sum();
        let dts_ms = dts_ms?;
        self.sequence = self.sequence.wrapping_add(1);
        Some(Fragment { bytes: fragment(self.sequence, &runs), is_key, dts_ms })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sample(kind: Kind, is_key: bool) -> AccessUnit {
        AccessUnit { kind, track: 0, is_key, composition_ms: 0, data: Bytes::from_static(b"0123456789") }
    }

    #[test]
    fn fragments_begin_with_key_frames_and_lose_nothing() {
        let mut packager = Mp4Packager::new(100);
        let mut fragments = Vec::new();
        for n in 0..50_i64 {
            fragments.extend(packager.push(1000 + n * 40, sample(Kind::Video, n % 10 == 0)));
            fragments.extend(packager.push(1003 + n * 40, sample(Kind::Audio, false)));
        }
        fragments.extend(packager.flush());
        assert_eq!(packager.flush(), None);
        let keys: Vec<i64> = fragments.iter().filter(|fragment| fragment.is_key).map(|f| f.dts_ms).collect();
        assert_eq!(keys.len(), 5);
        assert!(keys.iter().zip(0..).all(|(dts, n)| (1000 + n * 400 - dts).abs() <= 40), "{keys:?}");
        let data: usize =
            fragments.iter().map(|f| f.bytes.windows(10).filter(|w| *w == b"0123456789").count()).sum();
        assert_eq!(data, 100);
        assert_eq!(packager.base_ms(), Some(1000));
    }

    #[test]
    fn the_last_sound_does_not_wait_for_another_for_ever() {
        let mut packager = Mp4Packager::new(100);
        assert_eq!(packager.push(0, sample(Kind::Audio, false)), None);
        let fragments: Vec<Fragment> =
            (0..25).filter_map(|n| packager.push(n * 40, sample(Kind::Video, n == 0))).collect();
        let tracks = |fragment: &Fragment| fragment.bytes.windows(4).filter(|at| *at == b"traf").count();
        let with_sound: Vec<i64> = fragments
            .iter()
            .filter(|fragment| tracks(fragment) == 2)
            .map(|fragment| fragment.dts_ms)
            .collect();
        assert_eq!(with_sound.len(), 1, "{with_sound:?}");
        assert!(packager.flush().is_some_and(|rest| tracks(&rest) == 1));
    }

    #[test]
    fn sounds_alone_can_be_begun_anywhere() {
        let mut packager = Mp4Packager::new(100);
        let fragments: Vec<Fragment> =
            (0..20).filter_map(|n| packager.push(n * 23, sample(Kind::Audio, false))).collect();
        assert!(fragments.len() >= 3 && fragments.iter().all(|fragment| fragment.is_key));
    }
}
