//! HLS of a file: where it is cut, the list, and the bytes of a segment.

use media::number::as_len;
use std::fmt::Write as _;

use bytes::Bytes;
use remux::{AccessUnit, TsPackager};

use crate::index::{Index, Sample};
use crate::{Storage, VodError, take};

/// Sounds that are written together, ms.
const GATHER_MS: i64 = 100;
/// Bytes of samples that lie so close together are read at once.
const NEAR: u64 = 256 << 10;
const MAX_READ: u64 = 4 << 20;
/// Most characters in a list of what it lacks.
const MAX_SAID: usize = 300;
/// Most bytes of one segment.
const MAX_SEGMENT: u64 = 256 << 20;

/// A segment: samples from `first` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    first: usize,
    end: usize,
    duration_ms: u32,
    is_break: bool,
}

impl Index {
    /// Where segments of about `target_ms` begin: at key frames, at any sound where there are no pictures, and where the
    /// configuration changes.
    fn cuts(&self, target_ms: u32) -> Vec<Cut> {
        let has_video = self.samples.iter().any(|sample| sample.is_video);
        let mut starts: Vec<(usize, bool)> = Vec::new();
        let mut begin_ms = 0;
        for (at, sample) in self.samples.iter().enumerate() {
            let changes = self.part(at).is_some_and(|(_, changes)| changes);
            let may_cut = if has_video { sample.is_key } else { true };
            let is_due = sample.dts_ms.saturating_sub(begin_ms) >= target_ms;
            if starts.is_empty() || changes || may_cut && is_due {
                starts.push((at, changes));
                begin_ms = sample.dts_ms;
            }
        }
        let time =
            |at: usize| self.samples.get(at).map_or_else(|| self.duration_ms(), |sample| sample.dts_ms);
        let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([self.samples.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|((first, is_break), end)| Cut {
                first: *first,
                end,
                duration_ms: time(end).saturating_sub(time(*first)),
                is_break: *is_break,
            })
            .collect()
    }

    /// How far a picture of the file is shown before its DTS at most, ms.
    fn lead_ms(&self) -> i64 {
        let least = self.samples.iter().map(|sample| sample.composition_ms).min().unwrap_or(0);
        -i64::from(least.min(0))
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self, target_ms: u32) -> usize {
        self.cuts(target_ms).len()
    }

    /// The bytes of a segment, MPEG-TS; `None` when there is none of this number.
    ///
    /// # Errors
    /// [`VodError`] when the file can't be read.
    pub fn segment(
        &self,
        storage: &(impl Storage + ?Sized),
        target_ms: u32,
        number: usize,
    ) -> Result<Option<Vec<u8>>, VodError> {
        let Some(cut) = self.cuts(target_ms).get(number).copied() else { return Ok(None) };
        let Some((part, _)) = self.part(cut.first) else { return Ok(None) };
        let samples = self.samples.get(cut.first..cut.end).unwrap_or(&[]);
        let total: u64 = samples.iter().map(|sample| u64::from(sample.len)).sum();
        if total > MAX_SEGMENT {
            return Err(VodError::Layout {
                what: "segment",
                at: samples.first().map_or(0, |sample| sample.at),
            });
        }
        let mut packager = TsPackager::new(GATHER_MS);
        packager.set_lead(self.lead_ms());
        let mut out = Vec::new();
        packager.begin_anew(&part.track_set, &mut out);
        let mut reader = Reader { storage, at: 0, bytes: Bytes::new() };
        for (n, sample) in samples.iter().enumerate() {
            let data = reader.data(samples.get(n..).unwrap_or(&[]), sample)?;
            let coded = AccessUnit {
                kind: sample.kind(),
                track: 0,
                is_key: sample.is_key,
                composition_ms: i32::from(sample.composition_ms),
                data,
            };
            // A sample that can't be packed is left out, as in a live stream.
            let _ = packager.push(&part.track_set, i64::from(sample.dts_ms), &coded, &mut out);
        }
        packager.flush(&mut out);
        Ok(Some(out))
    }
}

/// Reads samples that lie close together at once.
struct Reader<'s, S: ?Sized> {
    storage: &'s S,
    at: u64,
    bytes: Bytes,
}

impl<S: Storage + ?Sized> Reader<'_, S> {
    /// The bytes of `sample`, the first of `rest`.
    fn data(&mut self, rest: &[Sample], sample: &Sample) -> Result<Bytes, VodError> {
        let end = sample.at + u64::from(sample.len);
        if sample.at < self.at || end > self.at + self.bytes.len() as u64 {
            // As far as what follows lies close behind it.
            let (mut to, from) = (end, sample.at);
            for next in rest.iter().skip(1).take(1024) {
                let next_end = next.at + u64::from(next.len);
                if next.at < from || next.at > to + NEAR || next_end - from > MAX_READ {
                    break;
                }
                to = to.max(next_end);
            }
            self.bytes = take(self.storage, from, as_len(to - from))?.into();
            self.at = from;
        }
        let from = as_len(sample.at - self.at);
        Ok(self.bytes.slice(from..from + sample.len as usize))
    }
}

/// The list of all segments; `name` gives the name of each by its number.
#[must_use]
pub fn playlist(index: &Index, target_ms: u32, name: impl Fn(usize) -> String) -> String {
    let cuts = index.cuts(target_ms);
    let longest = cuts.iter().map(|cut| cut.duration_ms).max().unwrap_or(0);
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    let lacks = index.lacks().join(", ");
    if !lacks.is_empty() {
        // A comment (RFC 8216, 4.1), for who looks where a track is.
        let shown = lacks.chars().take(MAX_SAID).map(|c| if c.is_control() { ' ' } else { c });
        let _ = writeln!(text, "# lacks what it has no place for: {}", shown.collect::<String>());
    }
    let _ =
        write!(text, "#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n", longest.div_ceil(1000).max(1));
    for (number, cut) in cuts.iter().enumerate() {
        if cut.is_break {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let (s, ms) = (cut.duration_ms / 1000, cut.duration_ms % 1000);
        let _ = write!(text, "#EXTINF:{s}.{ms:03},\n{}\n", name(number));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}
