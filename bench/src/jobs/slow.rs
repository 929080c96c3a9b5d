//! Healthy viewers beside slow ones: what the slow ones cost the others, and what they get themselves.

use anyhow::Result;

use crate::contest::Contest;
use crate::load::Load;
use crate::report::{Report, failures, number, verdict};
use crate::server::{Drops, Gather};
use crate::synthetic::Plan;

/// Goals: how much longer the others may wait, and how much memory may grow while it goes on.
const TIMES_AS_LONG: f64 = 1.1;
const GROWTH: f64 = 1.1;

impl Contest {
    /// The same viewers without slow ones among them, and with.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn slow_viewers(&self, viewers: usize, percent: usize) -> Result<Report> {
        let title =
            format!("Slow viewers: {percent} % of {viewers} read at half the bit rate (mw_latency 0)");
        let head = [
            "server",
            "slow",
            "p99 ms of the others",
            "times",
            "goal",
            "",
            "lost by the others",
            "dropped by the server, jumps",
            "gaps end at a key frame, elsewhere",
            "PSS KiB: start, middle, end",
            "",
            "stayed",
            "failures",
        ];
        let job = format!("slow-viewers --viewers {viewers} --percent {percent}");
        let mut report = Report::new("slow-viewers", title, &head).by(self.command(&job));
        let plan = Plan { gop_s: 1, ..self.plan() };
        let without = Load { plan, ..self.load(viewers) };
        let with = Load { slow_percent: percent, duration: self.duration * 2.0, ..without.clone() };
        let healthy = self.entries_with_drops(&without, Gather::Ms(0))?;
        let mixed = self.entries_with_drops(&with, Gather::Ms(0))?;
        let before: Vec<f64> = healthy.iter().map(|entry| entry.outcome.latency.p99_ms).collect();
        let healthy = healthy.iter().map(|entry| (entry, None));
        let mixed = mixed.iter().zip(&before).map(|(entry, before)| (entry, Some(*before)));
        for (entry, before) in healthy.chain(mixed) {
            let outcome = &entry.outcome;
            let times = before.map(|before| outcome.latency.p99_ms / before);
            let goal = times.filter(|_| entry.is_ours());
            let (start, end) = (outcome.memory_start.pss_kib, outcome.memory_end.pss_kib);
            let flat = end as f64 <= start as f64 * GROWTH;
            let sound = outcome.slow.resumed_elsewhere == 0 && outcome.findings.lost == 0;
            report.row([
                entry.name.clone(),
                if before.is_some() { format!("{percent} %") } else { "none".into() },
                number(outcome.latency.p99_ms),
                times.map_or_else(String::new, number),
                goal.map_or_else(String::new, |_| format!("≤ {TIMES_AS_LONG}, none lost, whole GOPs")),
                goal.map_or_else(String::new, |times| verdict(times <= TIMES_AS_LONG && sound)),
                outcome.findings.lost.to_string(),
                entry
                    .drops
                    .map_or_else(String::new, |Drops { packets, jumps }| format!("{packets}, {jumps}")),
                format!("{}, {}", outcome.slow.resumed_at_key, outcome.slow.resumed_elsewhere),
                format!("{start}, {}, {end}", outcome.memory_steady.pss_kib),
                goal.map_or_else(String::new, |_| if flat { "flat" } else { "**grows**" }.into()),
                format!("{} of {}", outcome.stayed, outcome.viewers),
                failures(outcome),
            ]);
        }
        Ok(report)
    }
}
