//! What is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A heap of deadlines. An entry is never removed early: its owner checks, when it comes up, whether it still holds.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(u64, K)>>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds a deadline at `at_ms`.
    pub fn add(&mut self, at_ms: u64, key: K) {
        self.heap.push(Reverse((at_ms, key)));
    }

    /// The earliest.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest one that has come by `now_ms`.
    pub fn pop(&mut self, now_ms: u64) -> Option<K> {
        if self.next().is_some_and(|at| at <= now_ms) {
            self.heap.pop().map(|Reverse((_, key))| key)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order() {
        let mut deadlines = Deadlines::default();
        for (at, key) in [(30, 'c'), (10, 'a'), (20, 'b')] {
            deadlines.add(at, key);
        }
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.pop(25), Some('a'));
        assert_eq!(deadlines.pop(25), Some('b'));
        assert_eq!(deadlines.pop(25), None);
    }
}
