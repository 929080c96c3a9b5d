//! How much of a processor a loop uses.

/// Length of one measured window in ns.
const WINDOW_NS: u64 = 250_000_000;

/// Measures the share of a processor's time that is used, smoothed over about a second. Time in which others had the
/// processor does not count: a loop that waits for its turn would gather packets, and wait longer.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    window_from: u64,
    used: u64,
    share: f64,
}

impl Busy {
    /// A measure that begins at `now_ns`, when the loop has used `used_ns` of processor time.
    #[must_use]
    pub fn new(now_ns: u64, used_ns: u64) -> Self {
        Self { window_from: now_ns, used: used_ns, share: 0.0 }
    }

    /// It is `now_ns`; `used_ns` tells how much processor time the loop has used since ever, and is asked only at the end
    /// of a window.
    pub fn look(&mut self, now_ns: u64, used_ns: impl FnOnce() -> u64) {
        let window = now_ns.saturating_sub(self.window_from);
        if window < WINDOW_NS {
            return;
        }
        let used = used_ns();
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let share = (used.saturating_sub(self.used) as f64 / window as f64).min(1.0);
        // A longer window (the loop slept through it) says more.
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let weight = (window as f64 / (4 * WINDOW_NS) as f64).min(1.0);
        self.share += (share - self.share) * weight;
        (self.window_from, self.used) = (now_ns, used);
    }

    /// The share, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_works_a_third_of_its_time_says_so() {
        let mut busy = Busy::new(0, 0);
        for turn in 1..3000_u64 {
            busy.look(turn * 3_000_000, || turn * 1_000_000);
        }
        assert!((busy.share() - 1.0 / 3.0).abs() < 0.02, "{}", busy.share());
    }
}
