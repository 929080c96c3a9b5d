//! Healthy viewers beside slow ones: what the slow ones cost the others, and what they get themselves.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::load::Load;
use crate::proctree::Memory;
use crate::report::{Report, failures, number, verdict};
use crate::server::{Drops, Gather};
use crate::synthetic::Plan;

/// Goals: how much longer the others may wait, and how much memory may grow while it goes on.
const TIMES_AS_LONG: f64 = 1.1;
const GROWTH: f64 = 1.1;
/// How far a slow viewer may lag before the server drops packets for it, seconds (`queue_length`): the default of 30 would
/// make this job take minutes.
const QUEUE_S: u64 = 2;

/// The same viewers without slow ones among them, and with, then for `slow_s` seconds: bytes that a slow viewer does not
/// take wait in its socket first, and only when that is full does the server have to drop something.
///
/// # Errors
/// When a server does not start.
pub fn slow_viewers(comparison: &Comparison, viewers: usize, percent: usize, slow_s: f64) -> Result<Report> {
    let title = format!(
        "Slow viewers: {percent} % of {viewers} read at half the bit rate (mw_latency 0, queue_length {QUEUE_S})"
    );
    let head = [
        "server",
        "slow",
        "p99 ms of the others",
        "times",
        "goal",
        "",
        "lost by the others",
        "dropped by the server, jumps (for those who stay)",
        "gaps end at a key frame, elsewhere",
        "PSS KiB: start, middle, end",
        "",
        "kernel TCP MiB",
        "stayed",
        "failures",
    ];
    let job = format!("slow-viewers --viewers {viewers} --percent {percent} --slow-s {slow_s}");
    let mut report = Report::new("slow-viewers", title, &head).by(comparison.command(&job));
    let plan = Plan { gop_s: 1, ..comparison.plan() };
    let without = Load { plan, ..comparison.load(viewers) };
    let with = Load { slow_percent: percent, duration: slow_s, ..without.clone() };
    let healthy = comparison.entries_with_queue(&without, Gather::Ms(0), QUEUE_S)?;
    let mixed = comparison.entries_with_queue(&with, Gather::Ms(0), QUEUE_S)?;
    let before: Vec<f64> = healthy.iter().map(|entry| entry.outcome.latency.p99_ms).collect();
    let healthy = healthy.iter().map(|entry| (entry, None));
    let mixed = mixed.iter().zip(&before).map(|(entry, before)| (entry, Some(*before)));
    for (entry, before) in healthy.chain(mixed) {
        let outcome = &entry.outcome;
        let times = before.map(|before| outcome.latency.p99_ms / before);
        let goal = times.filter(|_| entry.is_ours());
        let [start, middle, end] =
            [outcome.memory_start, outcome.memory_steady, outcome.memory_end].map(|memory| memory.pss_kib);
        let tcp = |memory: Memory| memory.tcp_kib / 1024;
        // At first rings grow, so that they hold what slow viewers may lag.
        let flat = end as f64 <= middle as f64 * GROWTH;
        let sound = outcome.slow.resumed_elsewhere == 0 && outcome.findings.lost == 0;
        report.row([
            entry.name.clone(),
            if before.is_some() { format!("{percent} %") } else { "none".into() },
            number(outcome.latency.p99_ms),
            times.map_or_else(String::new, number),
            goal.map_or_else(String::new, |_| format!("≤ {TIMES_AS_LONG}, none lost, whole GOPs")),
            goal.map_or_else(String::new, |times| verdict(times <= TIMES_AS_LONG && sound)),
            outcome.findings.lost.to_string(),
            entry.drops.map_or_else(String::new, |Drops { packets, jumps }| format!("{packets}, {jumps}")),
            format!("{}, {}", outcome.slow.resumed_at_key, outcome.slow.resumed_elsewhere),
            format!("{start}, {middle}, {end}"),
            goal.map_or_else(String::new, |_| if flat { "flat" } else { "**grows**" }.into()),
            format!(
                "{}, {}, {}",
                tcp(outcome.memory_start),
                tcp(outcome.memory_steady),
                tcp(outcome.memory_end)
            ),
            format!("{} of {}", outcome.stayed, outcome.viewers),
            failures(outcome),
        ]);
    }
    Ok(report)
}
