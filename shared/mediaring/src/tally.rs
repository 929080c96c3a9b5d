//! The table of streams on the scoreboard: what each stream's publishers have sent and its viewers got, over all processes
//! and over their deaths.
//!
//! A stream's back-source gives it a place in the table and takes it back when the stream is gone. Everybody who sends to
//! its viewers adds to it. The table is bounded: a stream beyond that has no place, and nothing is counted for it.

use std::sync::atomic::Ordering;

use crate::scoreboard::{Scoreboard, TALLIES};

/// Streams that can be counted at the same time.
pub const STREAMS: usize = 8192;
const ENTRY_WORDS: usize = 8;
pub(crate) const WORDS: usize = STREAMS * ENTRY_WORDS;
/// Places that are looked at for one stream.
const PROBES: usize = 128;

/// Words of an entry: the stream's id plus one (0: free), and what is counted.
const KEY: usize = 0;
const SENT: usize = 1;
const RECEIVED: usize = 2;
const PACKETS: usize = 3;
const LIVE: usize = 4;

/// A stream's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    word: usize,
    key: u64,
}

impl Tally {
    /// The stream.
    #[must_use]
    pub fn stream_id(self) -> u32 {
        u32::try_from(self.key.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// What was counted for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCount {
    /// Bytes sent to viewers.
    pub sent: u64,
    /// Bytes received from publishers.
    pub received: u64,
    /// Packets received from publishers.
    pub packets: u64,
    /// Whether somebody publishes.
    pub live: bool,
}

fn places(stream_id: u32) -> impl Iterator<Item = usize> {
    // Ids are consecutive: so are their places.
    (0..PROBES).map(move |probe| TALLIES + (stream_id as usize + probe) % STREAMS * ENTRY_WORDS)
}

impl Scoreboard {
    /// A stream's place, if it has one.
    #[must_use]
    pub fn tally(&self, stream_id: u32) -> Option<Tally> {
        let key = u64::from(stream_id) + 1;
        // Partner of the replacement in `claim_tally`.
        places(stream_id)
            .find(|word| self.map.load(word + KEY, Ordering::Acquire) == key)
            .map(|word| Tally { word, key })
    }

    /// A stream's place: the one it has, or a new one. `None` when none is free. Only its back-source may ask.
    #[must_use]
    pub fn claim_tally(&self, stream_id: u32) -> Option<Tally> {
        if let Some(known) = self.tally(stream_id) {
            return Some(known);
        }
        let key = u64::from(stream_id) + 1;
        places(stream_id).find(|word| self.map.replace(word + KEY, 0, key)).map(|word| Tally { word, key })
    }

    /// A stream is gone.
    pub fn free_tally(&self, tally: Tally) {
        for word in [SENT, RECEIVED, PACKETS, LIVE] {
            self.map.store(tally.word + word, 0, Ordering::Relaxed);
        }
        // Release: who takes the place finds it empty.
        self.map.store(tally.word + KEY, 0, Ordering::Release);
    }

    /// So many bytes were sent to viewers.
    pub fn tally_sent(&self, tally: Tally, bytes: u64) {
        // Its place may have gone to another stream meanwhile.
        if self.map.load(tally.word + KEY, Ordering::Relaxed) == tally.key {
            self.map.add(tally.word + SENT, bytes);
        }
    }

    /// What came from publishers in all. Only for the stream's back-source.
    pub fn tally_received(&self, tally: Tally, bytes: u64, packets: u64) {
        self.map.store(tally.word + RECEIVED, bytes, Ordering::Relaxed);
        self.map.store(tally.word + PACKETS, packets, Ordering::Relaxed);
    }

    /// Whether somebody publishes. Only for the stream's back-source.
    pub fn tally_live(&self, tally: Tally, live: bool) {
        self.map.store(tally.word + LIVE, u64::from(live), Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn count_of(&self, tally: Tally) -> StreamCount {
        let load = |word| self.map.load(tally.word + word, Ordering::Relaxed);
        StreamCount {
            sent: load(SENT),
            received: load(RECEIVED),
            packets: load(PACKETS),
            live: load(LIVE) != 0,
        }
    }

    /// All streams that have a place.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> {
        (0..STREAMS).filter_map(|place| {
            let word = TALLIES + place * ENTRY_WORDS;
            let key = self.map.load(word + KEY, Ordering::Acquire);
            (key != 0).then_some(Tally { word, key })
        })
    }

    /// How many streams are published.
    #[must_use]
    pub fn live_streams(&self) -> u64 {
        self.tallies().filter(|tally| self.count_of(*tally).live).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_outlives_whoever_counted_it() {
        let board = Scoreboard::create().unwrap();
        let tally = board.claim_tally(7).unwrap();
        assert_eq!(board.claim_tally(7), Some(tally));
        {
            let other = Scoreboard::open(board.fd().try_clone_to_owned().unwrap()).unwrap();
            other.tally_sent(other.tally(7).unwrap(), 1_000);
        }
        board.tally_sent(tally, 1);
        board.tally_received(tally, 50, 2);
        board.tally_live(tally, true);
        let count = StreamCount { sent: 1_001, received: 50, packets: 2, live: true };
        assert_eq!((board.count_of(tally), board.live_streams()), (count, 1));
        board.free_tally(tally);
        board.tally_sent(tally, 1);
        assert_eq!((board.tally(7), board.live_streams()), (None, 0));
        let next = board.claim_tally(7).unwrap();
        assert_eq!(board.count_of(next), StreamCount::default(), "a place is empty when it is taken");
    }

    #[test]
    fn the_table_is_bounded_and_places_do_not_collide() {
        let board = Scoreboard::create().unwrap();
        let ids = || (0..u32::try_from(STREAMS).unwrap()).map(|n| n * 3);
        let mut places: Vec<usize> =
            ids().filter_map(|id| board.claim_tally(id)).map(|tally| tally.word).collect();
        let taken = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), taken);
        assert!(taken > STREAMS / 2, "{taken}");
        assert!(places.iter().all(|word| (TALLIES..TALLIES + WORDS).contains(word)));
        let found = ids().filter(|id| board.tally(*id).is_some()).count();
        assert_eq!((found, board.tallies().count()), (taken, taken));
    }
}
