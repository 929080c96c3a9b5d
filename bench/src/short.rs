//! All jobs one after the other: in short, in less than five minutes, and at the full size of the goals.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::jobs::scale::Steps;
use crate::jobs::{arrivals, auto, cost, http, latency, memory, scale, slow};
use crate::picture::Picture;
use crate::report::Report;

/// What a run of all jobs yields, one by one.
#[derive(Debug)]
pub enum Yield {
    /// A table.
    Table(Report),
    /// The picture of `scale`.
    Picture(Picture),
}

/// Names of the tables of [`short`].
pub const SHORT: [&str; 12] = [
    "short-cost",
    "short-latency",
    "short-high-bitrate",
    "short-http-flv",
    "short-auto",
    "short-memory",
    "short-many-viewers",
    "short-many-streams",
    "short-first-picture",
    "short-storm",
    "short-slow-viewers",
    "short-scale",
];

/// Names of the tables of [`full`].
pub const FULL: [&str; 13] = [
    "cost-1000",
    "cost-4000",
    "latency",
    "high-bitrate",
    "http-flv",
    "auto",
    "memory",
    "many-viewers",
    "many-streams",
    "first-picture",
    "storm",
    "slow-viewers",
    "scale",
];

fn named(mut report: Report, name: &str) -> Yield {
    name.clone_into(&mut report.name);
    Yield::Table(report)
}

/// The short form of all jobs; each result is told as soon as it is there.
///
/// # Errors
/// When a server does not start, or a result can't be told.
pub fn short(comparison: &Comparison, mut tell: impl FnMut(Yield) -> Result<()>) -> Result<()> {
    let brief = Comparison {
        duration: comparison.duration.min(2.5),
        settle: comparison.settle.min(1.5),
        ..comparison.clone()
    };
    let steps = Steps { workers: vec![1, 2, 4], streams: vec![1, 10, 100], viewers: 400, gather_ms: 350 };
    let bitrate = Comparison { video_kbps: 5000, audio_kbps: 48, ..brief.clone() };
    let two = Comparison { workers: 2, generators: 2, ..brief.clone() };
    tell(named(cost::cost(&brief, 400, &[350, 100])?, "short-cost"))?;
    // Two groups of pictures: one key frame more or less decides over p99.
    tell(named(latency::latency(&Comparison { duration: 4.0, ..brief.clone() }, 200)?, "short-latency"))?;
    tell(named(cost::cost(&bitrate, 40, &[350])?, "short-high-bitrate"))?;
    tell(named(http::http_flv(&brief, 400, &[350, 0])?, "short-http-flv"))?;
    tell(named(auto::auto(&brief, &[10, 400], 5.0)?, "short-auto"))?;
    tell(named(memory::memory(&brief, 1000)?, "short-memory"))?;
    tell(named(cost::many_viewers(&two, 2000, 400)?, "short-many-viewers"))?;
    tell(named(cost::many_streams(&brief, 100)?, "short-many-streams"))?;
    tell(named(arrivals::first_picture(&brief, 200, 4.0)?, "short-first-picture"))?;
    tell(named(arrivals::storm(&brief, 1000, 0.5, 100)?, "short-storm"))?;
    tell(named(slow::slow_viewers(&brief, 200, 10, 5.0)?, "short-slow-viewers"))?;
    let (table, _) = scale::scale(&brief, &steps)?;
    tell(named(table, "short-scale"))
}

/// All jobs at the size of the goals; this takes about half an hour.
///
/// # Errors
/// As [`short`], and when a process may not have as many descriptors as the largest job needs.
pub fn full(comparison: &Comparison, mut tell: impl FnMut(Yield) -> Result<()>) -> Result<()> {
    let steps =
        Steps { workers: vec![1, 2, 4, 8], streams: vec![1, 10, 100, 1000], viewers: 1000, gather_ms: 350 };
    let bitrate = Comparison { video_kbps: 5000, audio_kbps: 48, ..comparison.clone() };
    let minute = Comparison { workers: 2, duration: 60.0, ..comparison.clone() };
    tell(named(cost::cost(comparison, 1000, &[350, 100])?, "cost-1000"))?;
    tell(named(cost::cost(comparison, 4000, &[350, 100])?, "cost-4000"))?;
    tell(named(latency::latency(comparison, 1000)?, "latency"))?;
    tell(named(cost::cost(&bitrate, 200, &[350])?, "high-bitrate"))?;
    tell(named(http::http_flv(comparison, 1000, &[350, 0])?, "http-flv"))?;
    tell(named(auto::auto(comparison, &[10, 100, 1000, 4000], 12.0)?, "auto"))?;
    tell(named(memory::memory(comparison, 4000)?, "memory"))?;
    tell(named(cost::many_viewers(&minute, 19_000, 1000)?, "many-viewers"))?;
    tell(named(cost::many_streams(comparison, 500)?, "many-streams"))?;
    tell(named(arrivals::first_picture(comparison, 300, 6.0)?, "first-picture"))?;
    tell(named(arrivals::storm(comparison, 4000, 2.0, 200)?, "storm"))?;
    tell(named(slow::slow_viewers(comparison, 1000, 10, 150.0)?, "slow-viewers"))?;
    let (table, picture) = scale::scale(comparison, &steps)?;
    tell(named(table, "scale"))?;
    tell(Yield::Picture(picture))
}
