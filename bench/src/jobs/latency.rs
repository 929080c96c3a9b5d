//! Latency without batching: what the server adds to what a bare loop needs for the same packets.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::report::{Report, failures, number, verdict};
use crate::server::Gather;

/// Goals for what the server adds, ms, and for its cost against the floor.
const ADDED_P99_MS: f64 = 2.0;
const ADDED_MAX_MS: f64 = 10.0;
const COST: f64 = 1.15;

/// Delay when nothing waits to be batched.
///
/// # Errors
/// When a server does not start.
pub fn latency(comparison: &Comparison, viewers: usize) -> Result<Report> {
    let title = format!(
        "Latency without batching (mw_latency 0): {viewers} viewers of {} kbit/s, added to the floor",
        comparison.rate()
    );
    let head = [
        "server",
        "p50 ms",
        "p99 ms",
        "max ms",
        "added p99",
        "added max",
        "added p99 to the floor with waiting",
        "goal: added p99, max",
        "",
        "CPU s/Gbit",
        "ratio",
        "goal",
        "",
        "packets",
        "lost",
        "failures",
    ];
    let command = comparison.command(&format!("latency --viewers {viewers}"));
    let mut report = Report::new("latency", title, &head).by(command);
    let load = comparison.load(viewers);
    let (floor, entries) = comparison.with_floor(&load, 0, Gather::Ms(0))?;
    let none = String::new;
    for (name, latency) in [("floor", floor.latency), ("floor, with waiting", floor.latency_due)] {
        report.row([
            name.into(),
            number(latency.p50_ms),
            number(latency.p99_ms),
            number(latency.max_ms),
            none(),
            none(),
            none(),
            none(),
            none(),
            number(floor.cpu_s_per_gbit),
            none(),
            none(),
            none(),
            latency.count.to_string(),
            floor.findings.lost.to_string(),
            failures(&floor),
        ]);
    }
    for entry in &entries {
        let (outcome, latency) = (&entry.outcome, entry.outcome.latency);
        let added = latency.p99_ms - floor.latency.p99_ms;
        let added_max = latency.max_ms - floor.latency.max_ms;
        let ratio = outcome.cpu_s_per_gbit / floor.cpu_s_per_gbit;
        let goal = |text: String| if entry.is_ours() { text } else { String::new() };
        report.row([
            entry.name.clone(),
            number(latency.p50_ms),
            number(latency.p99_ms),
            number(latency.max_ms),
            number(added),
            number(added_max),
            number(latency.p99_ms - floor.latency_due.p99_ms),
            goal(format!("< {ADDED_P99_MS}, < {ADDED_MAX_MS}")),
            goal(verdict(added < ADDED_P99_MS && added_max < ADDED_MAX_MS)),
            number(outcome.cpu_s_per_gbit),
            number(ratio),
            goal(format!("≤ {COST}")),
            goal(verdict(ratio <= COST)),
            latency.count.to_string(),
            outcome.findings.lost.to_string(),
            failures(outcome),
        ]);
    }
    report.note(
        "The floor writes each packet as soon as it is due to one viewer after the other; its latency counts from the \
         beginning of that round, and *with waiting* from when the packet was due, as a publisher's does.",
    );
    Ok(report)
}
