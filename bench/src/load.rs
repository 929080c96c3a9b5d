//! The job behind most others: publish, let viewers in, measure for a while. This process only conducts; the connections
//! are those of one or more generators, processes of their own.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::clock::now_ns;
use crate::descriptors;
use crate::generators::{Generators, Order};
use crate::outcome::Outcome;
use crate::proctree::ProcessTree;
use crate::synthetic::Plan;
use crate::target::Target;
use crate::viewer::Depth;

const SECOND_NS: u64 = 1_000_000_000;
/// Viewers and publishers from which on there is one more generator.
const PER_GENERATOR: usize = 15_000;
/// From an order to the moment that it names: every generator must have read it by then.
const NOTICE_NS: u64 = 60_000_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
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
    /// Viewers of the first stream that are there before the others come; then only they look
    #[arg(long, default_value_t = 0)]
    pub early: usize,
    /// Seconds that their latency is measured before the others come
    #[arg(long, default_value_t = 4.0)]
    pub before: f64,
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
    /// Processes that publish and play; 0 for one for each 15,000 connections
    #[arg(long, default_value_t = 0)]
    pub generators: usize,
    /// Viewers speak no RTMP and only receive
    #[arg(skip)]
    pub raw: bool,
}

impl Default for Load {
    /// 100 viewers of one stream of 548 kbit/s.
    fn default() -> Self {
        Self {
            plan: Plan { video_kbps: 500, audio_kbps: 48, fps: 25, gop_s: 2 },
            streams: 1,
            first_stream: 0,
            viewers: 100,
            within: 1.0,
            early: 0,
            before: 4.0,
            settle: 2.0,
            duration: 10.0,
            look: 20,
            slow_percent: 0,
            generators: 0,
            raw: false,
        }
    }
}

/// A viewer that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number among all viewers of the run.
    pub number: usize,
    /// Number of its stream.
    pub stream: u32,
    /// How it behaves.
    pub depth: Depth,
}

/// Seconds as nanoseconds.
#[must_use]
pub fn ns(seconds: f64) -> u64 {
    u64::try_from(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos()).unwrap_or(0)
}

fn sleep_until(at_ns: u64) {
    std::thread::sleep(Duration::from_nanos(at_ns.saturating_sub(now_ns())));
}

/// Whether `index` is one of `count` that are spread evenly over `of`.
fn is_chosen(index: usize, count: usize, of: usize) -> bool {
    let of = of.max(1);
    index * count / of != (index + 1) * count / of
}

impl Load {
    /// Viewers that come at their time, over all streams.
    #[must_use]
    pub fn total(&self) -> usize {
        self.viewers * self.streams.max(1) as usize
    }

    /// Generator processes.
    #[must_use]
    pub fn generators(&self) -> usize {
        let connections = self.total() + self.early + self.streams as usize;
        let wanted = if self.generators > 0 { self.generators } else { connections.div_ceil(PER_GENERATOR) };
        wanted.clamp(1, 64)
    }

    /// How many of the viewers are those of generator `share` of `of`.
    #[must_use]
    pub fn share_of(&self, share: usize, of: usize) -> usize {
        (share..self.total()).step_by(of.max(1)).count()
    }

    /// Numbers of the streams.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        (0..self.streams.max(1)).map(|n| self.first_stream + n).collect()
    }

    /// The viewers that are there first, in their order.
    #[must_use]
    pub fn early_places(&self) -> Vec<Place> {
        let depth = |number| match is_chosen(number, self.look.min(self.early), self.early) {
            true => Depth::Look,
            false => Depth::Count,
        };
        let place = |number| Place { number, stream: self.first_stream, depth: depth(number) };
        (0..self.early).map(place).collect()
    }

    /// The viewers of a run, in the order in which they come: slow ones and those that look are spread evenly.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let total = self.total();
        let look = if self.early > 0 { 0 } else { self.look };
        let slow = total * self.slow_percent.min(100) / 100;
        let others = (total - slow).max(1);
        let mut healthy = 0;
        let numbers = self.numbers();
        let streams = numbers.iter().cycle();
        (0..total)
            .zip(streams)
            .map(|(index, stream)| {
                let depth = if is_chosen(index, slow, total) {
                    Depth::Slow(self.plan.bytes_per_second() / 2)
                } else {
                    healthy += 1;
                    if is_chosen(healthy - 1, look.min(others), others) { Depth::Look } else { Depth::Count }
                };
                Place { number: self.early + index, stream: *stream, depth }
            })
            .collect()
    }

    /// Runs the load against a server whose processes are `tree` (may be empty). With several targets, the generators take
    /// turns at them.
    ///
    /// # Errors
    /// When publishing does not begin, or a generator fails. Viewers that fail are counted.
    pub fn run(&self, targets: &[Target], tree: &ProcessTree) -> Result<Outcome> {
        self.run_and_look(targets, tree, || {})
    }

    /// The same; `look` is called when everything has been measured and all connections are still there.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_and_look(
        &self,
        targets: &[Target],
        tree: &ProcessTree,
        look: impl FnOnce(),
    ) -> Result<Outcome> {
        let of = self.generators();
        let most = (self.total() + self.early + self.streams as usize).div_ceil(of);
        descriptors::require(most, "a load generator", "--generators")?;
        let mut generators = Generators::start(self, targets, of)?;
        let mut outcome = Outcome { memory_before: tree.memory(), ..Outcome::default() };
        if self.early > 0 {
            generators.order(&Order::Early)?;
            let from_ns = now_ns() + SECOND_NS;
            generators.order(&Order::Watch { from_ns, to_ns: from_ns + ns(self.before) })?;
        }
        outcome.viewers = self.total() + self.early;
        generators.order(&Order::Come { from_ns: now_ns() + NOTICE_NS })?;
        sleep_until(now_ns() + ns(self.settle));

        outcome.memory_start = tree.memory();
        let from_ns = now_ns() + NOTICE_NS;
        let to_ns = from_ns + ns(self.duration);
        generators.tell(&Order::Measure { from_ns, to_ns })?;
        sleep_until(from_ns);
        let (cpu, own_cpu) = (tree.cpu(), generators.tree().cpu());
        sleep_until(from_ns + ns(self.duration) / 2);
        outcome.memory_steady = tree.memory();
        sleep_until(to_ns);
        outcome.seconds = (to_ns - from_ns) as f64 / 1e9;
        outcome.own_cpu_s = generators.tree().cpu().since(&own_cpu).seconds();
        let used = tree.cpu().since(&cpu);
        outcome.cpu_s = used.seconds();
        outcome.processes = used.shares(outcome.seconds);
        outcome.memory_end = tree.memory();
        let parts = generators.parts()?;
        look();
        outcome.take(&parts);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_viewers_and_those_that_look_are_different_ones() {
        let load = Load { streams: 2, viewers: 100, slow_percent: 20, ..Load::default() };
        let places = load.places();
        let count =
            |wanted: &dyn Fn(&Depth) -> bool| places.iter().filter(|place| wanted(&place.depth)).count();
        assert_eq!(places.len(), 200);
        assert_eq!(count(&|depth| matches!(depth, Depth::Slow(_))), 40);
        assert_eq!(count(&|depth| *depth == Depth::Look), 20);
        assert_eq!(count(&|depth| *depth == Depth::Count), 140);
        assert_eq!(places.iter().filter(|place| place.stream == 1).count(), 100);
    }

    #[test]
    fn with_early_viewers_only_they_look() {
        let load = Load { viewers: 1000, early: 200, ..Load::default() };
        let looking = |places: &[Place]| places.iter().filter(|place| place.depth == Depth::Look).count();
        assert_eq!((looking(&load.early_places()), looking(&load.places())), (20, 0));
        assert_eq!(load.places()[0].number, 200);
    }

    #[test]
    fn the_shares_of_all_generators_are_the_load() {
        let load = Load { viewers: 19_001, ..Load::default() };
        assert_eq!(load.generators(), 2);
        assert_eq!((load.share_of(0, 2), load.share_of(1, 2)), (9501, 9500));
        assert_eq!(Load { generators: 3, ..load.clone() }.generators(), 3);
        assert_eq!(Load { viewers: 100, ..load }.generators(), 1);
    }
}
