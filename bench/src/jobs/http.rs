//! The same stream over RTMP and over HTTP-FLV, in turn.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::jobs::cost::all_served;
use crate::report::{Report, failures, number, verdict};
use crate::server::{Gather, Peer};

/// Most that HTTP-FLV may cost more than RTMP.
const GOAL: f64 = 1.1;

/// Processor time and latency of HTTP-FLV beside RTMP.
///
/// # Errors
/// When a server does not start.
pub fn http_flv(comparison: &Comparison, viewers: usize, intervals: &[u64]) -> Result<Report> {
    let title = format!("HTTP-FLV: {viewers} viewers of a stream of {} kbit/s", comparison.rate());
    let head = [
        "mw_latency",
        "server",
        "RTMP CPU s/Gbit",
        "HTTP-FLV",
        "ratio",
        "goal",
        "",
        "RTMP p99 ms",
        "HTTP-FLV p99 ms",
        "lost",
        "stayed",
        "PSS MiB",
        "failures",
    ];
    let list = intervals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" --interval-ms ");
    let job = format!("http-flv --viewers {viewers} --interval-ms {list}");
    let mut report =
        Report::new("http-flv", title, &head)
            .by(Comparison { http: false, ..comparison.clone() }.command(&job));
    let one = Comparison { rounds: 1, ..comparison.clone() };
    let rtmp =
        Comparison { http: false, peer: one.peer.iter().map(Peer::over_rtmp).collect(), ..one.clone() };
    let http = Comparison { http: true, ..one };
    for interval_ms in intervals {
        let load = comparison.load(viewers);
        let (mut by_rtmp, mut by_http) = (Vec::new(), Vec::new());
        for _ in 0..comparison.rounds.max(1) {
            by_rtmp.push(rtmp.entries(&load, Gather::Ms(*interval_ms))?);
            by_http.push(http.entries(&load, Gather::Ms(*interval_ms))?);
        }
        let (by_rtmp, by_http) = (crate::comparison::medians(&by_rtmp), crate::comparison::medians(&by_http));
        for (over_rtmp, over_http) in by_rtmp.iter().zip(&by_http) {
            let (before, outcome) = (&over_rtmp.outcome, &over_http.outcome);
            let ratio = outcome.cpu_s_per_gbit / before.cpu_s_per_gbit;
            let ours = over_http.is_ours();
            report.row([
                interval_ms.to_string(),
                over_http.name.clone(),
                number(before.cpu_s_per_gbit),
                number(outcome.cpu_s_per_gbit),
                number(ratio),
                if ours { format!("≤ {GOAL}") } else { String::new() },
                if ours { verdict(ratio <= GOAL && all_served(outcome)) } else { String::new() },
                number(before.latency.p99_ms),
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
