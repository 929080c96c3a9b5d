//! `mw_latency auto` between its two ends: sending at once, and gathering as much as it may.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::outcome::Outcome;
use crate::report::{Report, failures, number};
use crate::server::Gather;

/// A stream process that uses less of a core could always send at once.
const IDLE: f64 = 0.3;
/// One that uses more has nothing left.
const SATURATED: f64 = 0.9;
/// Most that may be gathered, ms.
const MOST_MS: f64 = 350.0;
/// Runs differ by so much without a reason.
const NOISE: f64 = 1.1;
const NOISE_MS: f64 = 0.3;

/// A run as the rule sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Latency, ms.
    pub p99_ms: f64,
    /// Processor seconds for each Gbit.
    pub cost: f64,
    /// The stream process, in cores.
    pub busy: f64,
}

impl Run {
    fn of(outcome: &Outcome) -> Self {
        Self {
            p99_ms: outcome.latency.p99_ms,
            cost: outcome.cpu_s_per_gbit,
            busy: outcome.busiest("stream#"),
        }
    }
}

/// Whether `auto` keeps the rule: while sending at once leaves the process mostly idle, it is no later than that; beyond,
/// it gathers, though never longer than 350 ms; and where nothing is left it costs at most a fifth more than 350 ms do.
///
/// # Errors
/// What is not as it should be.
pub fn rule(at_once: Run, auto: Run, gathered: Run) -> Result<&'static str, String> {
    if at_once.busy < IDLE {
        let most_ms = at_once.p99_ms * NOISE + NOISE_MS;
        return if auto.p99_ms <= most_ms {
            Ok("as fast as 0")
        } else {
            Err(format!("p99 above {}", number(most_ms)))
        };
    }
    if auto.busy >= SATURATED && auto.cost > gathered.cost * 1.2 {
        return Err(format!("saturated, and {} × the cost of 350", number(auto.cost / gathered.cost)));
    }
    // Whoever gathers 350 ms is late by that and by the time that sending takes.
    let most_ms = MOST_MS.max(gathered.p99_ms) * NOISE;
    if auto.p99_ms > most_ms { Err(format!("p99 above {}", number(most_ms))) } else { Ok("gathers") }
}

/// `auto` beside 0 and 350, for several numbers of viewers; it gets `adapt` seconds to find its pace.
///
/// # Errors
/// When a server does not start.
pub fn auto(comparison: &Comparison, viewers: &[usize], adapt: f64) -> Result<Report> {
    let head = [
        "viewers",
        "mw_latency",
        "p50 ms",
        "p99 ms",
        "CPU s/Gbit",
        "against 350",
        "stream process, % of a core",
        "lost",
        "rule",
        "failures",
    ];
    let title = "mw_latency auto: at once while the stream process is mostly idle, gathering when it is busy";
    let numbers: Vec<String> = viewers.iter().map(ToString::to_string).collect();
    let job = format!("auto --viewers {} --adapt {adapt}", numbers.join(" --viewers "));
    let mut report = Report::new("auto", title, &head).by(comparison.command(&job));
    for viewers in viewers {
        let mut outcomes = Vec::new();
        for gather in [Gather::Ms(0), Gather::Auto, Gather::Ms(350)] {
            let mut load = comparison.load(*viewers);
            if gather == Gather::Auto {
                load.settle = adapt;
            }
            let mut runs = Vec::new();
            for _ in 0..comparison.rounds.max(1) {
                runs.push(comparison.ours(&load, gather, None)?.0);
            }
            outcomes.push((gather, Outcome::median(&runs)));
        }
        let [(_, at_once), (_, auto), (_, gathered)] = outcomes.as_slice() else { continue };
        let verdict = rule(Run::of(at_once), Run::of(auto), Run::of(gathered));
        let verdict = verdict.map_or_else(|why| format!("**missed**: {why}"), |how| format!("holds: {how}"));
        let reference = gathered.cpu_s_per_gbit;
        for (gather, outcome) in &outcomes {
            report.row([
                viewers.to_string(),
                gather.to_string(),
                number(outcome.latency.p50_ms),
                number(outcome.latency.p99_ms),
                number(outcome.cpu_s_per_gbit),
                number(outcome.cpu_s_per_gbit / reference),
                number(outcome.busiest("stream#") * 100.0),
                outcome.findings.lost.to_string(),
                if *gather == Gather::Auto { verdict.clone() } else { String::new() },
                failures(outcome),
            ]);
        }
    }
    report.note(
        "The rule: where `mw_latency 0` leaves the stream process under 30 % of a core, p99 is no worse than its (10 % and \
         0.3 ms are noise); beyond, at most 350 ms are gathered; a process at 90 % or more costs at most 1.2 × of 350.",
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_has_three_ranges() {
        let run = |p99_ms, cost, busy| Run { p99_ms, cost, busy };
        let gathered = run(360.0, 0.05, 0.1);
        assert!(rule(run(1.0, 0.7, 0.1), run(1.3, 0.7, 0.1), gathered).is_ok());
        assert!(rule(run(1.0, 0.7, 0.1), run(2.0, 0.6, 0.1), gathered).is_err());
        assert!(rule(run(14.0, 0.7, 0.4), run(47.0, 0.3, 0.25), gathered).is_ok());
        assert!(rule(run(14.0, 0.7, 0.4), run(600.0, 0.05, 0.25), gathered).is_err());
        assert!(rule(run(500.0, 0.7, 1.0), run(380.0, 0.055, 0.95), gathered).is_ok());
        assert!(rule(run(500.0, 0.7, 1.0), run(380.0, 0.07, 0.95), gathered).is_err());
    }
}
