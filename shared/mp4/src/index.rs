//! Where playing can begin in a file of fragments: the `mfra` box at its end (8.8.9), with which a player finds a place
//! without reading all fragments before it.

use crate::boxes::{boxed, full, u32, u64};
use crate::facts::{FragmentFacts, RunFacts};

/// Most entries; of longer files every second, fourth … place is listed.
const MAX_ENTRIES: usize = 8192;

/// A place: when it is shown, where its fragment begins, and which run of that it is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    shown_ms: u64,
    at: u64,
    run: u8,
}

/// The places of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentIndex {
    track: u32,
    entries: Vec<Entry>,
    /// One of so many is listed.
    every: u64,
    seen: u64,
}

impl FragmentIndex {
    /// An index of a track: that of the pictures, where there are any.
    #[must_use]
    pub const fn new(track: u32) -> Self {
        Self { track, entries: Vec::new(), every: 1, seen: 0 }
    }

    /// A fragment follows at this place of the file.
    pub fn note(&mut self, at: u64, facts: &FragmentFacts) {
        let is_start = |run: &RunFacts| run.track == self.track && run.is_sync;
        let Some((number, run)) = facts.runs.iter().enumerate().find(|(_, run)| is_start(run)) else {
            return;
        };
        if self.seen.is_multiple_of(self.every) {
            let run_number = u8::try_from(number + 1).unwrap_or(1);
            self.entries.push(Entry { shown_ms: run.shown_ms, at, run: run_number });
        }
        self.seen += 1;
        if self.entries.len() > MAX_ENTRIES {
            let mut keep = false;
            self.entries.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }

    /// The bytes that stand behind the last fragment.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 19);
        boxed(&mut out, *b"mfra", |out| {
            full(out, *b"tfra", 1, 0, |out| {
                u32(out, self.track);
                // Numbers of runs and samples have one byte each.
                u32(out, 0);
                u32(out, u32::try_from(self.entries.len()).unwrap_or(0));
                for entry in &self.entries {
                    u64(out, entry.shown_ms);
                    u64(out, entry.at);
                    out.extend_from_slice(&[entry.run, 1, 1]);
                }
            });
            // The length of the whole: how a player finds its beginning from the end of the file.
            let len = u32::try_from(out.len() + 16).unwrap_or(0);
            full(out, *b"mfro", 0, 0, |out| u32(out, len));
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(sequence: u32, is_sync: bool) -> FragmentFacts {
        let shown_ms = u64::from(sequence) * 1000;
        let sound = RunFacts { track: 2, shown_ms, last_ms: 0, end_ms: 0, is_sync: true };
        let picture = RunFacts { track: 1, shown_ms: shown_ms + 80, last_ms: 0, end_ms: 0, is_sync };
        FragmentFacts { sequence, runs: vec![sound, picture] }
    }

    #[test]
    fn places_where_decoding_can_begin_are_listed_as_players_expect_it() {
        let mut index = FragmentIndex::new(1);
        for n in 0..4 {
            index.note(1000 + u64::from(n) * 500, &fragment(n, n % 2 == 0));
        }
        let bytes = index.write();
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(
            (&bytes[4..8], &bytes[12..16], &bytes[bytes.len() - 12..bytes.len() - 8]),
            (&b"mfra"[..], &b"tfra"[..], &b"mfro"[..])
        );
        assert_eq!(bytes[28..32], [0, 0, 0, 2]);
        assert_eq!((number(32), number(40), &bytes[48..51]), (80, 1000, &[2, 1, 1][..]));
        assert_eq!((number(51), number(59)), (2080, 2000));
        let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        assert!(bytes.starts_with(&len) && bytes.ends_with(&len));
    }

    #[test]
    fn an_index_has_a_bound() {
        let mut index = FragmentIndex::new(1);
        (0..100_000).for_each(|n| index.note(u64::from(n), &fragment(n, true)));
        assert!((MAX_ENTRIES / 2..=MAX_ENTRIES).contains(&index.entries.len()));
        assert!(index.entries.windows(2).all(|pair| pair[1].at - pair[0].at == index.every));
    }
}
