//! Viewers that come: how soon they see a picture, and what those notice who are there already.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::load::Load;
use crate::report::{Report, failures, number, verdict};
use crate::server::Gather;

/// Goals: p99 from connect to the first key frame, ms: of those who come one by one, and of a storm.
const ONE_BY_ONE_MS: f64 = 50.0;
const STORM_MS: f64 = 300.0;
/// Goal: how many times as long the latency of running viewers may be while a storm comes.
const TIMES_AS_LONG: f64 = 3.0;

/// From connect to the first key frame, one viewer after the other.
///
/// # Errors
/// When a server does not start.
pub fn first_picture(comparison: &Comparison, viewers: usize, within: f64) -> Result<Report> {
    let title = format!("First picture: {viewers} viewers come within {within} s to a running stream");
    let head = ["server", "p50 ms", "p99 ms", "max ms", "goal", "", "with a picture", "failures"];
    let mut report = Report::new("first-picture", title, &head)
        .by(comparison.command(&format!("first-picture --viewers {viewers} --within {within}")));
    let load = Load { within, settle: 0.5, duration: 0.5, look: 0, ..comparison.load(viewers) };
    for entry in comparison.entries(&load, Gather::Ms(350))? {
        let (outcome, summary) = (&entry.outcome, entry.outcome.first_picture);
        let holds = summary.p99_ms < ONE_BY_ONE_MS && outcome.pictured == outcome.viewers;
        let goal = |text: String| if entry.is_ours() { text } else { String::new() };
        report.row([
            entry.name.clone(),
            number(summary.p50_ms),
            number(summary.p99_ms),
            number(summary.max_ms),
            goal(format!("p99 < {ONE_BY_ONE_MS}")),
            goal(verdict(holds)),
            format!("{} of {}", outcome.pictured, outcome.viewers),
            failures(outcome),
        ]);
    }
    Ok(report)
}

/// Very many viewers come at once, while others watch.
///
/// # Errors
/// When a server does not start.
pub fn storm(comparison: &Comparison, viewers: usize, within: f64, running: usize) -> Result<Report> {
    let title = format!(
        "Connection storm: {viewers} viewers come within {within} s, {running} are there (mw_latency 0)"
    );
    let head = [
        "server",
        "first key frame p50 ms",
        "p99 ms",
        "max ms",
        "goal",
        "",
        "running viewers: p99 ms before",
        "while they come",
        "times",
        "goal",
        "",
        "lost by them",
        "with a picture",
        "stayed",
        "failures",
    ];
    let job = format!("storm --viewers {viewers} --within {within} --running {running}");
    let mut report = Report::new("storm", title, &head).by(comparison.command(&job));
    let load = Load {
        within,
        early: running,
        before: comparison.duration.min(4.0),
        settle: 0.5,
        duration: 0.5,
        ..comparison.load(viewers)
    };
    for entry in comparison.entries(&load, Gather::Ms(0))? {
        let outcome = &entry.outcome;
        let (picture, before, during) = (outcome.first_picture, outcome.before, outcome.during);
        let times = during.p99_ms / before.p99_ms;
        let all_play = outcome.pictured == outcome.viewers && outcome.failures.is_empty();
        let goal = |text: String| if entry.is_ours() { text } else { String::new() };
        report.row([
            entry.name.clone(),
            number(picture.p50_ms),
            number(picture.p99_ms),
            number(picture.max_ms),
            goal(format!("p99 < {STORM_MS}, all play")),
            goal(verdict(picture.p99_ms < STORM_MS && all_play)),
            number(before.p99_ms),
            number(during.p99_ms),
            number(times),
            goal(format!("< {TIMES_AS_LONG}")),
            goal(verdict(times < TIMES_AS_LONG)),
            outcome.findings.lost.to_string(),
            format!("{} of {}", outcome.pictured, outcome.viewers),
            outcome.stayed.to_string(),
            failures(outcome),
        ]);
    }
    Ok(report)
}
