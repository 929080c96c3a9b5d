//! Rates out of counters: what was counted is noted once a second, and the rate is that between two notes.

use std::collections::HashMap;
use std::collections::VecDeque;

use api::Kbps;

use crate::Usage;

/// Between two notes, ms.
const EVERY_MS: u64 = 1_000;
/// Rates of bytes are those of so long, ms.
const WINDOW_MS: u64 = 30_000;
/// Processor time is that of so long, ms.
const CPU_WINDOW_MS: u64 = 3_000;

#[derive(Debug, Clone, Copy)]
struct Note {
    at_ms: u64,
    usage: Usage,
    recv: u64,
    send: u64,
}

/// Notes of so many processes as are named to it.
#[derive(Debug, Default)]
pub struct Sampler {
    notes: HashMap<u64, VecDeque<Note>>,
    due_ms: u64,
}

impl Sampler {
    /// When [`Self::begin`] is to be called next, ms.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.due_ms
    }

    /// Whether it is time for a note of all.
    pub fn begin(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.due_ms;
        if due {
            self.due_ms = now_ms + EVERY_MS;
        }
        due
    }

    /// Notes what `who` has used, received and sent until now.
    pub fn note(&mut self, now_ms: u64, who: u64, usage: Usage, recv: u64, send: u64) {
        let notes = self.notes.entry(who).or_default();
        notes.push_back(Note { at_ms: now_ms, usage, recv, send });
        while notes.get(1).is_some_and(|second| now_ms.saturating_sub(second.at_ms) >= WINDOW_MS) {
            notes.pop_front();
        }
    }

    /// Forgets who was not noted lately.
    pub fn tidy(&mut self, now_ms: u64) {
        self.notes.retain(|_, notes| {
            notes.back().is_some_and(|last| now_ms.saturating_sub(last.at_ms) < 3 * EVERY_MS)
        });
    }

    /// Rates of bytes up to now.
    #[must_use]
    pub fn kbps(&self, now_ms: u64, who: u64, recv: u64, send: u64) -> Kbps {
        let first = self.notes.get(&who).and_then(VecDeque::front);
        first.map_or_else(Kbps::default, |first| {
            let ms = now_ms.saturating_sub(first.at_ms);
            Kbps::of(recv.saturating_sub(first.recv), send.saturating_sub(first.send), ms)
        })
    }

    /// Processor time in the last seconds up to now, per cent of one processor.
    #[must_use]
    pub fn cpu_percent(&self, now_ms: u64, who: u64, usage: Usage) -> f64 {
        let notes = self.notes.get(&who);
        let first = notes.and_then(|notes| {
            notes
                .iter()
                .rev()
                .find(|note| now_ms.saturating_sub(note.at_ms) >= CPU_WINDOW_MS)
                .or_else(|| notes.front())
        });
        first.map_or(0.0, |first| {
            let ms = now_ms.saturating_sub(first.at_ms).max(1);
            let used = usage.cpu_ms.saturating_sub(first.usage.cpu_ms);
            // One decimal: ticks are no finer than that.
            let tenths = used.saturating_mul(1_000) / ms;
            f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_window() {
        let mut sampler = Sampler::default();
        assert!(sampler.begin(0) && !sampler.begin(999) && sampler.begin(1_000));
        for second in 0..100_u64 {
            let usage = Usage { cpu_ms: second * 500, ..Usage::default() };
            // A quick beginning that is over.
            let bytes = if second < 50 { second * 1_000_000 } else { 50_000_000 + (second - 50) * 1_000 };
            sampler.note(second * 1_000, 7, usage, bytes, 2 * bytes);
        }
        let bytes = 50_000_000 + 49_000;
        assert_eq!(sampler.kbps(99_000, 7, bytes, 2 * bytes), Kbps { recv_30s: 8, send_30s: 16 });
        let usage = Usage { cpu_ms: 99 * 500, ..Usage::default() };
        assert!((sampler.cpu_percent(99_000, 7, usage) - 50.0).abs() < 1e-9);
        assert_eq!(sampler.kbps(99_000, 8, 1, 1), Kbps::default());
        sampler.tidy(200_000);
        assert_eq!(sampler.kbps(200_000, 7, bytes, bytes), Kbps::default());
    }
}
