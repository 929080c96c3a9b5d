//! Cost against the number of stream processes and of streams, as a table and as a picture.

use anyhow::Result;

use crate::comparison::Comparison;
use crate::picture::{Line, Panel, Picture, Point};
use crate::report::{Report, failures, number, verdict};
use crate::server::Gather;

/// Goal: the cost of each differs from the first of its kind by so much at most.
const FLAT: f64 = 1.25;

/// What is varied.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Stream processes.
    pub workers: Vec<u32>,
    /// Streams.
    pub streams: Vec<u32>,
    /// Viewers of all streams together, where the sum stays the same.
    pub viewers: usize,
    /// Batch interval, ms.
    pub gather_ms: u64,
}

/// One figure of the job.
struct Figure {
    what: &'static str,
    workers: u32,
    streams: u32,
    viewers: usize,
}

impl Steps {
    fn figures(&self) -> Vec<Figure> {
        let Self { workers, streams, viewers, .. } = self;
        let mut figures = Vec::new();
        let total = *viewers;
        figures.extend(workers.iter().map(|workers| Figure {
            what: PROCESSES,
            workers: *workers,
            streams: 1,
            viewers: total,
        }));
        figures.extend(streams.iter().map(|streams| Figure {
            what: ALONE,
            workers: 1,
            streams: *streams,
            viewers: 1,
        }));
        // More streams than viewers can't have the same sum.
        let shared = streams.iter().filter(|streams| **streams as usize <= total);
        figures.extend(shared.map(|streams| Figure {
            what: SHARED,
            workers: 1,
            streams: *streams,
            viewers: total / *streams as usize,
        }));
        figures
    }
}

const PROCESSES: &str = "stream processes";
const ALONE: &str = "streams, one viewer each";
const SHARED: &str = "streams, the same viewers in all";

/// Cost over processes and streams.
///
/// # Errors
/// When a server does not start.
pub fn scale(comparison: &Comparison, steps: &Steps) -> Result<(Report, Picture)> {
    let title = format!(
        "Cost over processes and streams of {} kbit/s, mw_latency {}",
        comparison.rate(),
        steps.gather_ms
    );
    let head = [
        "what grows",
        "processes",
        "streams",
        "viewers in all",
        "CPU s/Gbit",
        "against the first",
        "goal",
        "",
        "Gbit/s",
        "PSS MiB",
        "p99 ms",
        "lost",
        "stayed",
        "failures",
    ];
    let list = |values: &[u32], option: &str| -> String {
        values.iter().map(|value| format!(" --{option} {value}")).collect()
    };
    let job = format!(
        "scale{}{} --viewers {} --interval-ms {}",
        list(&steps.workers, "processes"),
        list(&steps.streams, "stream-counts"),
        steps.viewers,
        steps.gather_ms
    );
    let mut report = Report::new("scale", title, &head).by(comparison.command(&job));
    let mut panels: Vec<Panel> = Vec::new();
    let mut first = 0.0;
    for figure in steps.figures() {
        let comparison = Comparison {
            workers: figure.workers,
            streams: figure.streams,
            peer: Vec::new(),
            ..comparison.clone()
        };
        let load = comparison.load(figure.viewers);
        let entries = comparison.entries(&load, Gather::Ms(steps.gather_ms))?;
        let Some(entry) = entries.first() else { continue };
        let outcome = &entry.outcome;
        let cost = outcome.cpu_s_per_gbit;
        let x = if figure.what == PROCESSES { figure.workers } else { figure.streams };
        let point = Point { x: x.to_string(), y: cost };
        let is_first = panels.last().is_none_or(|panel| panel.x_label != figure.what);
        match panels.last_mut().filter(|panel| panel.x_label == figure.what) {
            Some(panel) => panel.line.points.push(point),
            None => {
                first = cost;
                panels.push(Panel {
                    x_label: figure.what.into(),
                    line: Line { points: vec![point], band: FLAT },
                });
            }
        }
        let ratio = cost / first;
        report.row([
            figure.what.into(),
            figure.workers.to_string(),
            figure.streams.to_string(),
            outcome.viewers.to_string(),
            number(cost),
            number(ratio),
            format!("{:.2}–{FLAT}", 1.0 / FLAT),
            match ratio {
                _ if is_first => String::new(),
                ratio if ratio < 1.0 / FLAT => "falls".into(),
                ratio => verdict(ratio <= FLAT),
            },
            number(outcome.gbit_per_s),
            number(outcome.memory_steady.mib()),
            number(outcome.latency.p99_ms),
            outcome.findings.lost.to_string(),
            format!("{} of {}", outcome.stayed, outcome.viewers),
            failures(outcome),
        ]);
    }
    let picture = Picture {
        title: report.title.clone(),
        y_label: "CPU seconds per Gbit; shaded: within 25 % of the first".into(),
        panels,
    };
    Ok((report, picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_stays_the_same_needs_as_many_viewers_as_streams() {
        let steps = Steps { workers: vec![1, 2], streams: vec![1, 10, 100], viewers: 50, gather_ms: 350 };
        let figures = steps.figures();
        let of = |what: &str| -> Vec<(u32, usize)> {
            let kind = figures.iter().filter(|figure| figure.what == what);
            kind.map(|figure| (figure.streams, figure.viewers)).collect()
        };
        assert_eq!(of(PROCESSES), [(1, 50), (1, 50)]);
        assert_eq!(of(ALONE), [(1, 1), (10, 1), (100, 1)]);
        assert_eq!(of(SHARED), [(1, 50), (10, 5)]);
    }
}
