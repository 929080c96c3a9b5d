//! How much of its time a loop works.

/// Length of one measured window in ns.
const WINDOW_NS: u64 = 250_000_000;

/// Measures the share of working time, smoothed over about a second.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    window_from: u64,
    slept: u64,
    share: f64,
}

impl Busy {
    /// A measure that begins at `now_ns`.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self { window_from: now_ns, slept: 0, share: 0.0 }
    }

    /// The loop waited from `from_ns` to `to_ns`.
    pub fn slept(&mut self, from_ns: u64, to_ns: u64) {
        self.slept += to_ns.saturating_sub(from_ns);
        let window = to_ns.saturating_sub(self.window_from);
        if window >= WINDOW_NS {
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let share = 1.0 - (self.slept.min(window) as f64 / window as f64);
            // A longer window (the loop slept through it) says more.
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let weight = (window as f64 / (4 * WINDOW_NS) as f64).min(1.0);
            self.share += (share - self.share) * weight;
            self.window_from = to_ns;
            self.slept = 0;
        }
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
        let mut busy = Busy::new(0);
        let mut now = 0;
        for _ in 0..3000 {
            now += 1_000_000;
            busy.slept(now, now + 2_000_000);
            now += 2_000_000;
        }
        assert!((busy.share() - 1.0 / 3.0).abs() < 0.02, "{}", busy.share());
    }
}
