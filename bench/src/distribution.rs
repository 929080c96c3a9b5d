//! Percentiles of a handful of measurements.

use serde::Serialize;

/// Measurements in microseconds.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<u32>);

/// What is reported of them, in milliseconds.
#[derive(Debug, Default, Clone, Copy, Serialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred_and_of_none() {
        let mut samples = Samples::default();
        assert_eq!(samples.summary().count, 0);
        for ms in (1..=100).rev() {
            samples.add_ns(ms * 1_000_000);
        }
        let summary = samples.summary();
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.max_ms), (51.0, 100.0, 100.0));
    }
}
