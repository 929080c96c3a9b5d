//! The job behind most others: publish, let viewers in, measure for a while.

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::clock::now_ns;
use crate::distribution::Summary;
use crate::engine::{Engine, Failures};
use crate::proctree::{Memory, ProcessTree};
use crate::synthetic::Plan;
use crate::target::Target;
use crate::viewer::{Depth, Findings};

const SECOND_NS: u64 = 1_000_000_000;
/// How long publishers may take to be accepted, and the last viewers to see a picture.
const PATIENCE_NS: u64 = 15 * SECOND_NS;

/// What is to be done.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// What is published
    #[command(flatten)]
    pub plan: Plan,
    /// Streams published; 0 to only play what others publish
    #[arg(long, default_value_t = 1)]
    pub streams: u32,
    /// Number of the first stream's name
    #[arg(long, default_value_t = 0)]
    pub first_stream: u32,
    /// Viewers of each stream
    #[arg(long, default_value_t = 100)]
    pub viewers: usize,
    /// Seconds within which the viewers come
    #[arg(long, default_value_t = 1.0)]
    pub within: f64,
    /// Seconds to wait before measuring
    #[arg(long, default_value_t = 2.0)]
    pub settle: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// How many viewers look at every packet; all others count bytes
    #[arg(long, default_value_t = 20)]
    pub look: usize,
    /// Percentage of viewers that read at half the bit rate
    #[arg(long, default_value_t = 0)]
    pub slow_percent: usize,
    /// Viewers speak no RTMP and only receive
    #[arg(skip)]
    pub raw: bool,
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
    /// Seconds measured.
    pub seconds: f64,
    /// Bytes delivered while it was measured.
    pub bytes: u64,
    /// The same per second.
    pub gbit_per_s: f64,
    /// Processor seconds of the server while it was measured.
    pub cpu_s: f64,
    /// Processor seconds of this load generator meanwhile.
    pub own_cpu_s: f64,
    /// Processor seconds of the server for each Gbit delivered.
    pub cpu_s_per_gbit: f64,
    /// Memory of the server's processes before the viewers came.
    pub memory_before: Memory,
    /// The same with all viewers receiving.
    pub memory_steady: Memory,
    /// From the publisher's socket to the viewer's.
    pub latency: Summary,
    /// From connect to the first key frame.
    pub first_picture: Summary,
    /// What the viewers that look found.
    pub findings: Findings,
    /// Connections that broke, and why.
    pub failures: Failures,
}

impl Outcome {
    /// Whether every viewer got what was published, as far as it was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
            && self.pictured == self.viewers
            && self.findings.damaged + self.findings.disordered == 0
    }
}

fn ns(seconds: f64) -> u64 {
    u64::try_from(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos()).unwrap_or(0)
}

impl Load {
    /// What the viewers of a run are like, in the order in which they come: slow ones and those that look are spread evenly.
    fn depths(&self) -> Vec<Depth> {
        let total = self.viewers * self.streams.max(1) as usize;
        if self.raw {
            return vec![Depth::Raw; total];
        }
        let spread = |index: usize, count: usize, of: usize| index * count / of != (index + 1) * count / of;
        let slow = total * self.slow_percent.min(100) / 100;
        let others = (total - slow).max(1);
        let mut healthy = 0;
        (0..total)
            .map(|index| {
                if spread(index, slow, total) {
                    return Depth::Slow(self.plan.bytes_per_second() / 2);
                }
                healthy += 1;
                if spread(healthy - 1, self.look.min(others), others) { Depth::Look } else { Depth::Count }
            })
            .collect()
    }

    /// Runs the load against a server whose processes are `tree` (may be empty).
    ///
    /// # Errors
    /// When publishing does not begin, or the event loop fails. Viewers that fail are counted.
    pub fn run(&self, target: &Target, tree: &ProcessTree) -> Result<Outcome> {
        let mut engine = Engine::new(target.clone(), self.plan)?;
        let numbers: Vec<u32> = (0..self.streams.max(1)).map(|n| self.first_stream + n).collect();
        if self.streams > 0 && !self.raw {
            for number in &numbers {
                engine.publish(*number)?;
            }
            engine.run(now_ns() + PATIENCE_NS, Engine::publishing)?;
            if !engine.publishing() {
                bail!("{} does not accept our streams: {:?}", target.host, engine.failures);
            }
            engine.run(now_ns() + SECOND_NS / 2, |_| false)?;
        }
        let mut outcome = Outcome { memory_before: tree.memory(), ..Outcome::default() };

        outcome.viewers = self.viewers * numbers.len();
        let begun_ns = now_ns();
        for (index, (depth, number)) in self.depths().into_iter().zip(numbers.iter().cycle()).enumerate() {
            let share = index as f64 / outcome.viewers as f64;
            engine.run(begun_ns + ns(self.within * share), |_| false)?;
            // Late or not, what happened meanwhile is looked at between connects.
            engine.turn(now_ns())?;
            engine.play(*number, depth);
        }
        engine.run(now_ns() + PATIENCE_NS, |engine| engine.pictured() >= engine.viewers())?;
        engine.run(now_ns() + ns(self.settle), |_| false)?;

        let own = ProcessTree::new(vec![std::process::id()]);
        let own_alone = |server: &ProcessTree| own.cpu_seconds() - children_of_ours(&own, server);
        engine.measured.latency.clear();
        let from_ns = now_ns();
        engine.measured.count_from_ns = from_ns;
        engine.measured.wall_offset_ns = crate::clock::wall_offset_ns();
        let (bytes, cpu, own_cpu) = (engine.measured.bytes, tree.cpu_seconds(), own_alone(tree));
        engine.run(from_ns + ns(self.duration) / 2, |_| false)?;
        outcome.memory_steady = tree.memory();
        engine.run(from_ns + ns(self.duration), |_| false)?;

        outcome.cpu_s = tree.cpu_seconds() - cpu;
        outcome.own_cpu_s = own_alone(tree) - own_cpu;
        outcome.seconds = (now_ns() - from_ns) as f64 / 1e9;
        outcome.bytes = engine.measured.bytes - bytes;
        let gbit = outcome.bytes as f64 * 8.0 / 1e9;
        outcome.gbit_per_s = gbit / outcome.seconds;
        outcome.cpu_s_per_gbit = if gbit > 0.0 { outcome.cpu_s / gbit } else { 0.0 };
        outcome.pictured = engine.pictured();
        outcome.stayed = engine.viewers();
        outcome.latency = engine.measured.latency.summary();
        outcome.first_picture = engine.measured.first_picture.summary();
        outcome.findings = engine.measured.findings.clone();
        outcome.failures = std::mem::take(&mut engine.failures);
        Ok(outcome)
    }
}

/// A server that we started is below us in the process tree, but not our own work.
fn children_of_ours(own: &ProcessTree, server: &ProcessTree) -> f64 {
    let ours = own.pids();
    if server.pids().iter().any(|pid| ours.contains(pid)) { server.cpu_seconds() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_viewers_and_those_that_look_are_different_ones() {
        let plan = Plan { video_kbps: 1000, audio_kbps: 64, fps: 25, gop_s: 2 };
        let load = Load {
            plan,
            streams: 2,
            first_stream: 0,
            viewers: 100,
            within: 0.0,
            settle: 0.0,
            duration: 0.0,
            look: 20,
            slow_percent: 20,
            raw: false,
        };
        let depths = load.depths();
        let count = |wanted: &dyn Fn(&Depth) -> bool| depths.iter().filter(|depth| wanted(depth)).count();
        assert_eq!(depths.len(), 200);
        assert_eq!(count(&|depth| matches!(depth, Depth::Slow(_))), 40);
        assert_eq!(count(&|depth| *depth == Depth::Look), 20);
        assert_eq!(count(&|depth| *depth == Depth::Count), 140);
    }
}
