//! All jobs one after the other: in short, in less than five minutes, and at the full size of the goals.

use anyhow::Result;

use crate::contest::Contest;
use crate::jobs::scale::Steps;
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

/// Names of the tables of [`Contest::short`].
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

/// Names of the tables of [`Contest::full`].
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

impl Contest {
    /// The short form of all jobs; each result is told as soon as it is there.
    ///
    /// # Errors
    /// When a server does not start, or a result can't be told.
    pub fn short(&self, mut tell: impl FnMut(Yield) -> Result<()>) -> Result<()> {
        let brief = Self { duration: self.duration.min(2.5), settle: self.settle.min(1.5), ..self.clone() };
        let steps = Steps { workers: vec![1, 2, 4], streams: vec![1, 10, 100], viewers: 400, gather_ms: 350 };
        let bitrate = Self { video_kbps: 5000, audio_kbps: 48, ..brief.clone() };
        let two = Self { workers: 2, generators: 2, ..brief.clone() };
        tell(named(brief.cost(400, &[350, 100])?, "short-cost"))?;
        // Two groups of pictures: one key frame more or less decides over p99.
        tell(named(Self { duration: 4.0, ..brief.clone() }.latency(200)?, "short-latency"))?;
        tell(named(bitrate.cost(40, &[350])?, "short-high-bitrate"))?;
        tell(named(brief.http_flv(400, &[350, 0])?, "short-http-flv"))?;
        tell(named(brief.auto(&[10, 400], 5.0)?, "short-auto"))?;
        tell(named(brief.memory(1000)?, "short-memory"))?;
        tell(named(two.many_viewers(2000, 400)?, "short-many-viewers"))?;
        tell(named(brief.many_streams(100)?, "short-many-streams"))?;
        tell(named(brief.first_picture(200, 4.0)?, "short-first-picture"))?;
        tell(named(brief.storm(1000, 0.5, 100)?, "short-storm"))?;
        tell(named(brief.slow_viewers(200, 10, 5.0)?, "short-slow-viewers"))?;
        let (table, _) = brief.scale(&steps)?;
        tell(named(table, "short-scale"))
    }

    /// All jobs at the size of the goals; this takes about half an hour.
    ///
    /// # Errors
    /// As [`Self::short`], and when a process may not have as many descriptors as the largest job needs.
    pub fn full(&self, mut tell: impl FnMut(Yield) -> Result<()>) -> Result<()> {
        let steps = Steps {
            workers: vec![1, 2, 4, 8],
            streams: vec![1, 10, 100, 1000],
            viewers: 1000,
            gather_ms: 350,
        };
        let bitrate = Self { video_kbps: 5000, audio_kbps: 48, ..self.clone() };
        let minute = Self { workers: 2, duration: 60.0, ..self.clone() };
        tell(named(self.cost(1000, &[350, 100])?, "cost-1000"))?;
        tell(named(self.cost(4000, &[350, 100])?, "cost-4000"))?;
        tell(named(self.latency(1000)?, "latency"))?;
        tell(named(bitrate.cost(200, &[350])?, "high-bitrate"))?;
        tell(named(self.http_flv(1000, &[350, 0])?, "http-flv"))?;
        tell(named(self.auto(&[10, 100, 1000, 4000], 12.0)?, "auto"))?;
        tell(named(self.memory(4000)?, "memory"))?;
        tell(named(minute.many_viewers(19_000, 1000)?, "many-viewers"))?;
        tell(named(self.many_streams(500)?, "many-streams"))?;
        tell(named(self.first_picture(300, 6.0)?, "first-picture"))?;
        tell(named(self.storm(4000, 2.0, 200)?, "storm"))?;
        tell(named(self.slow_viewers(1000, 10, 150.0)?, "slow-viewers"))?;
        let (table, picture) = self.scale(&steps)?;
        tell(named(table, "scale"))?;
        tell(Yield::Picture(picture))
    }
}
