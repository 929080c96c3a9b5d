//! Percentiles of measurements. Every single one is kept, so that what several processes measured can be put together
//! without loss.

use serde::{Deserialize, Serialize};

/// Measurements in microseconds.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples(Vec<u32>);

/// What is reported of them, in milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many measurements.
    pub count: usize,
    /// Half are below.
    pub p50_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

impl Samples {
    /// Adds one.
    pub fn add_ns(&mut self, ns: u64) {
        self.0.push(u32::try_from(ns / 1000).unwrap_or(u32::MAX));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds what somebody else has measured.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The percentiles.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted.get(index).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Summary { count: sorted.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The median: of an even number of values, the middle between the two in the middle. 0 of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

impl Summary {
    /// The median of each figure over several runs.
    #[must_use]
    pub fn median(runs: &[Self]) -> Self {
        Self {
            count: runs.iter().map(|run| run.count).sum(),
            p50_ms: median(runs.iter().map(|run| run.p50_ms)),
            p99_ms: median(runs.iter().map(|run| run.p99_ms)),
            max_ms: median(runs.iter().map(|run| run.max_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: impl Iterator<Item = u64>) -> Samples {
        let mut samples = Samples::default();
        ms.for_each(|ms| samples.add_ns(ms * 1_000_000));
        samples
    }

    #[test]
    fn percentiles_of_a_hundred_and_of_none() {
        assert_eq!(Samples::default().summary().count, 0);
        let summary = samples((1..=100).rev()).summary();
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.max_ms), (51.0, 100.0, 100.0));
    }

    #[test]
    fn parts_put_together_say_what_one_process_would_have_said() {
        let whole = samples(1..=1000);
        let mut merged = Samples::default();
        // Unequal parts, each with another distribution; and over the wire that carries them.
        for part in [samples(1..=3), samples(900..=1000), samples(4..900), samples(0..0)] {
            let text = serde_json::to_string(&part).unwrap();
            merged.merge(&serde_json::from_str(&text).unwrap());
        }
        assert_eq!(merged.summary(), whole.summary());
    }

    #[test]
    fn medians() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        let run = |p99_ms| Summary { count: 10, p50_ms: 1.0, p99_ms, max_ms: 9.0 };
        let median = Summary::median(&[run(2.0), run(8.0), run(4.0)]);
        assert_eq!((median.count, median.p50_ms, median.p99_ms), (30, 1.0, 4.0));
    }
}
