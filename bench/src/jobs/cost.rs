//! Processor time for what is delivered: against the floor, with very many viewers, with very many streams.

use anyhow::Result;

use crate::comparison::{Comparison, Entry};
use crate::outcome::Outcome;
use crate::report::{Report, failures, number, verdict};
use crate::server::Gather;

/// Most that a server may cost more than the floor.
fn goal(interval_ms: u64) -> f64 {
    if interval_ms >= 100 { 1.35 } else { 1.15 }
}

/// Whether everybody was served to the end and got everything.
#[must_use]
pub fn all_served(outcome: &Outcome) -> bool {
    outcome.is_clean() && outcome.findings.lost == 0 && outcome.stayed == outcome.viewers
}

fn list(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" --interval-ms ")
}

/// Processor time against the floor, for several batch intervals.
///
/// # Errors
/// When a server does not start.
pub fn cost(comparison: &Comparison, viewers: usize, intervals: &[u64]) -> Result<Report> {
    let (streams, rate) = (comparison.streams, comparison.rate());
    let title = match streams {
        1 => format!("Processor time: {viewers} viewers of a stream of {rate} kbit/s"),
        _ => format!("Processor time: {streams} streams of {rate} kbit/s, {viewers} viewer(s) each"),
    };
    let head = [
        "batch ms",
        "server",
        "CPU s/Gbit",
        "floor",
        "ratio",
        "goal",
        "",
        "Gbit/s",
        "p50 ms",
        "p99 ms",
        "lost",
        "stayed",
        "PSS MiB",
        "failures",
    ];
    let job = format!("cost --viewers {viewers} --interval-ms {}", list(intervals));
    let mut report = Report::new("cost", title, &head).by(comparison.command(&job));
    for interval_ms in intervals {
        let load = comparison.load(viewers);
        let (floor, entries) = comparison.with_floor(&load, *interval_ms, Gather::Ms(*interval_ms))?;
        for Entry { name, outcome, .. } in &entries {
            let ratio = outcome.cpu_s_per_gbit / floor.cpu_s_per_gbit;
            let has_goal = streams == 1 && name == crate::comparison::OURS;
            report.row([
                interval_ms.to_string(),
                name.clone(),
                number(outcome.cpu_s_per_gbit),
                number(floor.cpu_s_per_gbit),
                number(ratio),
                if has_goal { format!("≤ {}", goal(*interval_ms)) } else { String::new() },
                if has_goal { verdict(ratio <= goal(*interval_ms)) } else { String::new() },
                number(outcome.gbit_per_s),
                number(outcome.latency.p50_ms),
                number(outcome.latency.p99_ms),
                outcome.findings.lost.to_string(),
                format!("{} of {}", outcome.stayed, outcome.viewers),
                number(outcome.memory_steady.mib()),
                failures(outcome),
            ]);
        }
    }
    Ok(report)
}

/// More viewers than one process may have, beside a few: the cost must stay the same.
///
/// # Errors
/// When a server does not start, or a process may not have so many descriptors.
pub fn many_viewers(comparison: &Comparison, viewers: usize, few: usize) -> Result<Report> {
    let title = format!(
        "Many viewers: {viewers} over {} stream processes for {} s, mw_latency 350",
        comparison.workers, comparison.duration
    );
    let head = [
        "server",
        "viewers",
        "CPU s/Gbit",
        "against few",
        "goal",
        "",
        "floor",
        "ratio",
        "p99 ms",
        "lost",
        "stayed",
        "PSS MiB",
        "generators",
        "failures",
    ];
    let job = format!("many-viewers --viewers {viewers} --few {few}");
    let mut report = Report::new("many-viewers", title, &head).by(comparison.command(&job));
    let short = Comparison { duration: comparison.duration.min(10.0), ..comparison.clone() };
    let (few_floor, few_entries) = short.with_floor(&short.load(few), 350, Gather::Ms(350))?;
    let (floor, entries) = comparison.with_floor(&comparison.load(viewers), 350, Gather::Ms(350))?;
    let few_rows = few_entries.iter().map(|entry| (entry, &few_floor, None));
    let before = few_entries.iter().map(|entry| entry.outcome.cpu_s_per_gbit);
    let many_rows = entries.iter().zip(before).map(|(entry, before)| (entry, &floor, Some(before)));
    for (entry, floor, before) in few_rows.chain(many_rows) {
        let outcome = &entry.outcome;
        let against = before.map(|before| outcome.cpu_s_per_gbit / before);
        let goal = against.filter(|_| entry.is_ours());
        report.row([
            entry.name.clone(),
            outcome.viewers.to_string(),
            number(outcome.cpu_s_per_gbit),
            against.map_or_else(String::new, number),
            goal.map_or_else(String::new, |_| "all served, none lost, within 20 %".into()),
            goal.map_or_else(String::new, |ratio| verdict(ratio <= 1.2 && all_served(outcome))),
            number(floor.cpu_s_per_gbit),
            number(outcome.cpu_s_per_gbit / floor.cpu_s_per_gbit),
            number(outcome.latency.p99_ms),
            outcome.findings.lost.to_string(),
            format!("{} of {}", outcome.stayed, outcome.viewers),
            number(outcome.memory_steady.mib()),
            outcome.generators.to_string(),
            failures(outcome),
        ]);
    }
    Ok(report)
}

/// Many streams with one viewer each, with one back-source and with two.
///
/// # Errors
/// When a server does not start.
pub fn many_streams(comparison: &Comparison, streams: u32) -> Result<Report> {
    let title = format!("Many streams: {streams} of {} kbit/s, one viewer each", comparison.rate());
    let head = [
        "mw_latency",
        "back-sources",
        "server",
        "CPU s/Gbit",
        "goal",
        "PSS MiB",
        "goal",
        "",
        "p50 ms",
        "p99 ms",
        "lost",
        "stayed",
        "failures",
    ];
    let job = format!("many-streams --streams {streams}");
    let command = Comparison { streams: 1, ..comparison.clone() }.command(&job);
    let mut report = Report::new("many-streams", title, &head).by(command);
    for backsources in [1, 2] {
        // Peers have no back-sources: once is enough.
        let peer = if backsources == 1 { comparison.peer.clone() } else { Vec::new() };
        let comparison = Comparison { streams, backsources, peer, ..comparison.clone() };
        for (gather_ms, goal) in [(350, 0.8), (0, 1.0)] {
            for entry in comparison.entries(&comparison.load(1), Gather::Ms(gather_ms))? {
                let (ours, outcome) = (entry.is_ours(), &entry.outcome);
                let mib = outcome.memory_steady.mib();
                let holds = outcome.cpu_s_per_gbit <= goal && mib <= 150.0;
                let of_ours = |text: String| if ours { text } else { String::new() };
                report.row([
                    gather_ms.to_string(),
                    of_ours(backsources.to_string()),
                    entry.name.clone(),
                    number(outcome.cpu_s_per_gbit),
                    of_ours(format!("≤ {goal:.1}")),
                    number(mib),
                    of_ours("≤ 150".into()),
                    of_ours(verdict(holds)),
                    number(outcome.latency.p50_ms),
                    number(outcome.latency.p99_ms),
                    outcome.findings.lost.to_string(),
                    format!("{} of {}", outcome.stayed, outcome.viewers),
                    failures(outcome),
                ]);
            }
        }
    }
    Ok(report)
}
