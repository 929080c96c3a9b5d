//! The scoreboard: one page of counters per process, and a table of counters per stream, in memory that outlives them all.
//!
//! Every process writes its own slot and reads all: that is how `max_connections` holds over all processes without a
//! message. What was counted ever stays when a process dies; the master clears what was open.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::RingError;
use crate::map::Map;
use crate::tally;

/// How many processes fit.
pub const SLOTS: usize = 256;
const SLOT_WORDS: usize = 64;
/// Words of a slot behind the counters.
const BEAT: usize = 16;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Client connections that are open now.
    Connections,
    /// Client connections ever accepted.
    Accepted,
    /// Connections that were refused because the server was full.
    Refused,
    /// Bytes received from clients.
    BytesIn,
    /// Bytes sent to clients.
    BytesOut,
    /// Client connections that ended.
    Ended,
    /// Of these, ended by an error, or with their process.
    Errors,
    /// Client connections that are open now and have not said what they want.
    Unestablished,
}

/// Shared counters.
#[derive(Debug)]
pub struct Scoreboard {
    pub(crate) map: Map,
}

/// Where the table of streams begins, in words.
pub(crate) const TALLIES: usize = SLOTS * SLOT_WORDS;
const BYTES: u64 = ((TALLIES + tally::WORDS) * 8) as u64;

impl Scoreboard {
    /// A new one, all zero.
    ///
    /// # Errors
    /// [`RingError`] when the kernel has no memory.
    pub fn create() -> Result<Self, RingError> {
        let map = Map::create("srs-scoreboard", BYTES)?;
        map.reserve(0, map.bytes())?;
        Ok(Self { map })
    }

    /// Opens the one that another process made.
    ///
    /// # Errors
    /// [`RingError`] when the descriptor is none.
    pub fn open(fd: OwnedFd) -> Result<Self, RingError> {
        let map = Map::writable(fd)?;
        if map.bytes() < BYTES {
            return Err(RingError::Format("it is too short for a scoreboard"));
        }
        Ok(Self { map })
    }

    /// The descriptor to give to others.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd()
    }

    fn word(slot: usize, counter: Counter) -> usize {
        Self::place(slot, counter as usize)
    }

    /// Adds to a counter of `slot` (negative to take away).
    pub fn add(&self, slot: usize, counter: Counter, value: i64) {
        self.map.add(Self::word(slot, counter), value.cast_unsigned());
    }

    /// Sets a counter of `slot` to what its process knows.
    pub fn set(&self, slot: usize, counter: Counter, value: u64) {
        self.map.store(Self::word(slot, counter), value, Ordering::Relaxed);
    }

    /// One slot's counter.
    #[must_use]
    pub fn get(&self, slot: usize, counter: Counter) -> u64 {
        self.map.load(Self::word(slot, counter), Ordering::Relaxed)
    }

    /// The sum over all slots.
    #[must_use]
    pub fn sum(&self, counter: Counter) -> u64 {
        (0..SLOTS).fold(0_u64, |sum, slot| sum.wrapping_add(self.get(slot, counter)))
    }

    /// Client connections of all processes that have said what they want: those that `max_connections` counts.
    #[must_use]
    pub fn established(&self) -> u64 {
        let places = |slot| {
            self.get(slot, Counter::Connections).saturating_sub(self.get(slot, Counter::Unestablished))
        };
        (0..SLOTS).fold(0_u64, |sum, slot| sum.wrapping_add(places(slot)))
    }

    /// The process of a slot lives at `now_ms` (monotonic).
    pub fn beat(&self, slot: usize, now_ms: u64) {
        self.map.store(Self::place(slot, BEAT), now_ms, Ordering::Relaxed);
    }

    /// When the process of a slot last showed that it lives; 0: never.
    #[must_use]
    pub fn last_beat(&self, slot: usize) -> u64 {
        self.map.load(Self::place(slot, BEAT), Ordering::Relaxed)
    }

    fn place(slot: usize, word: usize) -> usize {
        slot.min(SLOTS - 1) * SLOT_WORDS + word
    }

    /// Forgets what is open in a slot whose process is gone: those connections have ended with it. What was counted ever
    /// stays.
    pub fn release(&self, slot: usize) {
        let open = self.get(slot, Counter::Connections);
        for counter in [Counter::Connections, Counter::Unestablished] {
            self.map.store(Self::word(slot, counter), 0, Ordering::Relaxed);
        }
        for counter in [Counter::Ended, Counter::Errors] {
            self.map.add(Self::word(slot, counter), open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_is_known() {
        let board = Scoreboard::create().unwrap();
        board.beat(3, 5);
        assert_eq!((board.last_beat(3), board.last_beat(4)), (5, 0));
    }

    #[test]
    fn sums_run_over_all_slots_and_a_released_slot_holds_no_connection() {
        let board = Scoreboard::create().unwrap();
        let other = Scoreboard::open(board.fd().try_clone_to_owned().unwrap()).unwrap();
        board.add(1, Counter::Connections, 5);
        other.add(2, Counter::Connections, 3);
        other.add(2, Counter::Connections, -1);
        assert_eq!(board.sum(Counter::Connections), 7);
        board.release(1);
        assert_eq!(other.sum(Counter::Connections), 2);
        assert_eq!((other.sum(Counter::Ended), other.get(1, Counter::Errors)), (5, 5));
    }
}
