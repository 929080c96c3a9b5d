//! Memory that one more viewer costs.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::load::Load;
use crate::report::{Report, failures, number, verdict};
use crate::server::Gather;
use crate::synthetic::Plan;

/// Goal, KiB for each viewer.
const GOAL_KIB: f64 = 2.0;

/// What viewers add to the memory of all processes.
///
/// # Errors
/// When a server does not start.
pub fn memory(comparison: &Comparison, viewers: usize) -> Result<Report> {
    let plan = Plan { video_kbps: 100, ..comparison.plan() };
    let rate = plan.video_kbps + plan.audio_kbps;
    let title = format!("Memory: {viewers} viewers of one stream of {rate} kbit/s, PSS of all processes");
    let head = [
        "server",
        "KiB per viewer",
        "goal",
        "",
        "before KiB",
        "with viewers KiB",
        "processes",
        "stayed",
        "failures",
    ];
    let mut report =
        Report::new("memory", title, &head).by(comparison.command(&format!("memory --viewers {viewers}")));
    let load = Load { plan, duration: comparison.duration.min(2.0), ..comparison.load(viewers) };
    for entry in comparison.entries(&load, Gather::Ms(350))? {
        let outcome = &entry.outcome;
        let (before, steady) = (outcome.memory_before, outcome.memory_steady);
        let grown = steady.pss_kib.saturating_sub(before.pss_kib) as f64 / outcome.stayed.max(1) as f64;
        let goal = |text: String| if entry.is_ours() { text } else { String::new() };
        report.row([
            entry.name.clone(),
            number(grown),
            goal(format!("< {GOAL_KIB}, stretch < 1")),
            goal(verdict(grown < GOAL_KIB)),
            before.pss_kib.to_string(),
            steady.pss_kib.to_string(),
            steady.processes.to_string(),
            format!("{} of {}", outcome.stayed, outcome.viewers),
            failures(outcome),
        ]);
    }
    Ok(report)
}
