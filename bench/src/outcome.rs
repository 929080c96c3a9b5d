//! What came out of a load: the parts of several generators put together, and the median of several runs.

use serde::{Deserialize, Serialize};

use crate::distribution::{Samples, Summary, median};
use crate::engine::Failures;
use crate::findings::Findings;
use crate::proctree::Memory;

/// What one generator process saw.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Viewers that saw a key frame.
    pub pictured: usize,
    /// Those that were there at the end.
    pub stayed: usize,
    /// Bytes delivered while it was measured.
    pub bytes: u64,
    /// From the publisher's socket to the viewer's (at the floor, from the beginning of the batch).
    pub latency: Samples,
    /// At the floor, from when the packet was due.
    pub latency_due: Samples,
    /// Latency of those who were there before the others came, before they came.
    pub before: Samples,
    /// The same while the others came.
    pub during: Samples,
    /// From connect to the first key frame.
    pub first_picture: Samples,
    /// What the viewers that look found.
    pub findings: Findings,
    /// What the slow viewers found.
    pub slow: Findings,
    /// Connections that broke, and why.
    pub failures: Failures,
}

impl Part {
    /// Puts the parts of all generators together.
    #[must_use]
    pub fn merge(parts: &[Self]) -> Self {
        let mut whole = Self::default();
        for part in parts {
            whole.pictured += part.pictured;
            whole.stayed += part.stayed;
            whole.bytes += part.bytes;
            whole.latency.merge(&part.latency);
            whole.latency_due.merge(&part.latency_due);
            whole.before.merge(&part.before);
            whole.during.merge(&part.during);
            whole.first_picture.merge(&part.first_picture);
            whole.findings.merge(&part.findings);
            whole.slow.merge(&part.slow);
            for (why, count) in &part.failures {
                *whole.failures.entry(why.clone()).or_default() += count;
            }
        }
        whole
    }
}

/// How much of a core a process used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// Name of the process.
    pub name: String,
    /// Of one core, 1 for all of it.
    pub of_core: f64,
}

/// What came out.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Outcome {
    /// Viewers that were to come.
    pub viewers: usize,
    /// Those that saw a key frame.
    pub pictured: usize,
    /// Those that were there at the end.
    pub stayed: usize,
    /// Generator processes.
    pub generators: usize,
    /// Seconds measured.
    pub seconds: f64,
    /// Bytes delivered while it was measured.
    pub bytes: u64,
    /// The same per second.
    pub gbit_per_s: f64,
    /// Processor seconds of the server while it was measured.
    pub cpu_s: f64,
    /// Processor seconds of the load generators meanwhile.
    pub own_cpu_s: f64,
    /// Processor seconds of the server for each Gbit delivered.
    pub cpu_s_per_gbit: f64,
    /// The same for each of its processes, in cores.
    pub processes: Vec<Share>,
    /// Memory of the server's processes before the viewers came.
    pub memory_before: Memory,
    /// The same when measuring began.
    pub memory_start: Memory,
    /// The same in the middle.
    pub memory_steady: Memory,
    /// The same at the end.
    pub memory_end: Memory,
    /// From the publisher's socket to the viewer's; at the floor, from the beginning of the batch.
    pub latency: Summary,
    /// At the floor, from when the packet was due.
    pub latency_due: Summary,
    /// Latency of those who were there before the others came, before they came.
    pub before: Summary,
    /// The same while the others came.
    pub during: Summary,
    /// From connect to the first key frame.
    pub first_picture: Summary,
    /// What the viewers that look found.
    pub findings: Findings,
    /// What the slow viewers found.
    pub slow: Findings,
    /// Connections that broke, and why.
    pub failures: Failures,
}

impl Outcome {
    /// Takes over what the generators saw, and what follows from it.
    pub fn take(&mut self, parts: &[Part]) {
        let whole = Part::merge(parts);
        self.generators = parts.len();
        self.pictured = whole.pictured;
        self.stayed = whole.stayed;
        self.bytes = whole.bytes;
        let gbit = whole.bytes as f64 * 8.0 / 1e9;
        self.gbit_per_s = if self.seconds > 0.0 { gbit / self.seconds } else { 0.0 };
        self.cpu_s_per_gbit = if gbit > 0.0 { self.cpu_s / gbit } else { 0.0 };
        self.latency = whole.latency.summary();
        self.latency_due = whole.latency_due.summary();
        self.before = whole.before.summary();
        self.during = whole.during.summary();
        self.first_picture = whole.first_picture.summary();
        self.findings = whole.findings;
        self.slow = whole.slow;
        self.failures = whole.failures;
    }

    /// Whether every viewer got what was published, as far as it was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
            && self.pictured == self.viewers
            && self.findings.damaged + self.findings.disordered == 0
    }

    /// The busiest process whose name contains `role`, in cores.
    #[must_use]
    pub fn busiest(&self, role: &str) -> f64 {
        let shares = self.processes.iter().filter(|share| share.name.contains(role));
        shares.map(|share| share.of_core).fold(0.0, f64::max)
    }

    /// The medians of several runs of the same load; what went wrong in any of them counts.
    #[must_use]
    pub fn median(runs: &[Self]) -> Self {
        let Some((last, others)) = runs.split_last() else { return Self::default() };
        if others.is_empty() {
            return last.clone();
        }
        let figure = |of: fn(&Self) -> f64| median(runs.iter().map(of));
        let summary = |of: fn(&Self) -> Summary| Summary::median(&runs.iter().map(of).collect::<Vec<_>>());
        let memory = |of: fn(&Self) -> Memory| Memory::median(&runs.iter().map(of).collect::<Vec<_>>());
        let mut outcome = Self {
            pictured: runs.iter().map(|run| run.pictured).min().unwrap_or(0),
            stayed: runs.iter().map(|run| run.stayed).min().unwrap_or(0),
            gbit_per_s: figure(|run| run.gbit_per_s),
            cpu_s: figure(|run| run.cpu_s),
            own_cpu_s: figure(|run| run.own_cpu_s),
            cpu_s_per_gbit: figure(|run| run.cpu_s_per_gbit),
            memory_before: memory(|run| run.memory_before),
            memory_start: memory(|run| run.memory_start),
            memory_steady: memory(|run| run.memory_steady),
            memory_end: memory(|run| run.memory_end),
            latency: summary(|run| run.latency),
            latency_due: summary(|run| run.latency_due),
            before: summary(|run| run.before),
            during: summary(|run| run.during),
            first_picture: summary(|run| run.first_picture),
            ..last.clone()
        };
        for run in others {
            outcome.findings.merge(&run.findings);
            outcome.slow.merge(&run.slow);
            for (why, count) in &run.failures {
                *outcome.failures.entry(why.clone()).or_default() += count;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(ms: std::ops::Range<u64>) -> Part {
        let mut part = Part { pictured: 3, stayed: 2, bytes: 125_000_000, ..Part::default() };
        ms.for_each(|ms| part.latency.add_ns(ms * 1_000_000));
        part.findings.saw(0, 2, Some(true));
        part.failures.insert("gone".into(), 1);
        part
    }

    #[test]
    fn the_parts_of_two_generators_make_one_outcome() {
        let mut outcome = Outcome { viewers: 6, seconds: 2.0, cpu_s: 0.5, ..Outcome::default() };
        outcome.take(&[part(0..50), part(50..100)]);
        assert_eq!((outcome.generators, outcome.pictured, outcome.stayed), (2, 6, 4));
        assert_eq!((outcome.gbit_per_s, outcome.cpu_s_per_gbit), (1.0, 0.25));
        assert_eq!(
            (outcome.latency.count, outcome.latency.p50_ms, outcome.latency.max_ms),
            (100, 50.0, 99.0)
        );
        assert_eq!((outcome.findings.lost, outcome.failures["gone"]), (4, 2));
        assert!(!outcome.is_clean());
    }

    #[test]
    fn a_median_of_runs_hides_no_failure() {
        let run = |cpu_s_per_gbit: f64, failures: u64| {
            let mut run = Outcome { cpu_s_per_gbit, viewers: 5, pictured: 5, ..Outcome::default() };
            if failures > 0 {
                run.failures.insert("gone".into(), failures);
                run.pictured = 4;
            }
            run
        };
        let median = Outcome::median(&[run(3.0, 2), run(1.0, 0), run(2.0, 0)]);
        assert_eq!((median.cpu_s_per_gbit, median.pictured, median.failures["gone"]), (2.0, 4, 2));
    }
}
