//! The scoreboard: one page of counters per process, in memory that outlives them all.
//!
//! Every process writes its own slot and reads all: that is how `max_connections` holds over all processes without a
//! message. The master clears a slot when its process is gone.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::RingError;
use crate::map::Map;

/// How many processes fit.
pub const SLOTS: usize = 256;
const SLOT_WORDS: usize = 16;

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
}

/// Shared counters.
#[derive(Debug)]
pub struct Scoreboard {
    map: Map,
}

impl Scoreboard {
    /// A new one, all zero.
    ///
    /// # Errors
    /// [`RingError`] when the kernel has no memory.
    pub fn create() -> Result<Self, RingError> {
        Ok(Self { map: Map::create("srs-scoreboard", (SLOTS * SLOT_WORDS * 8) as u64)? })
    }

    /// Opens the one that another process made.
    ///
    /// # Errors
    /// [`RingError`] when the descriptor is none.
    pub fn open(fd: OwnedFd) -> Result<Self, RingError> {
        let map = Map::writable(fd)?;
        if map.bytes() < (SLOTS * SLOT_WORDS * 8) as u64 {
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
        slot.min(SLOTS - 1) * SLOT_WORDS + counter as usize
    }

    /// Adds to a counter of `slot` (negative to take away).
    pub fn add(&self, slot: usize, counter: Counter, value: i64) {
        self.map.add(Self::word(slot, counter), value.cast_unsigned());
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

    /// Forgets what is open in a slot whose process is gone; what was counted ever stays.
    pub fn release(&self, slot: usize) {
        self.map.store(Self::word(slot, Counter::Connections), 0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
