//! Results as tables: for people, and as Markdown.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::machine::Machine;
use crate::outcome::Outcome;

/// A table with a title.
#[derive(Debug, Clone)]
pub struct Report {
    /// Names its place in a document.
    pub name: String,
    /// What was measured.
    pub title: String,
    /// The command line that measures it again.
    pub command: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Report {
    /// An empty table.
    #[must_use]
    pub fn new(name: &str, title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        let command = format!("srs-bench {name}");
        Self { name: name.into(), title: title.into(), command, head, rows: Vec::new(), notes: Vec::new() }
    }

    /// The same with the command line that makes it.
    #[must_use]
    pub fn by(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self, machine: &Machine) -> String {
        let mut text = format!("{}\n{}\n", self.title, self.table(presets::UTF8_FULL_CONDENSED));
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        let _ = writeln!(text, "{} — {machine}", self.command);
        text
    }

    /// For a page: the table, and below it what was done where and when.
    #[must_use]
    pub fn markdown(&self, machine: &Machine) -> String {
        let mut text = format!("{}\n\n", self.table(presets::ASCII_MARKDOWN));
        for note in &self.notes {
            let _ = writeln!(text, "{note}\n");
        }
        let _ = writeln!(text, "`{}` — {machine}", self.command);
        text
    }

    fn table(&self, preset: &str) -> Table {
        let mut table = Table::new();
        table.load_preset(preset).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head).add_rows(&self.rows);
        table
    }
}

/// Whether a goal was met, for a table.
#[must_use]
pub fn verdict(holds: bool) -> String {
    if holds { "holds" } else { "**missed**" }.into()
}

/// A number with as many digits as it deserves.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Everything that a load measured, one line each.
#[must_use]
pub fn of_load(outcome: &Outcome) -> Report {
    let mut report = Report::new("load", "Load", &["what", "figure"]);
    let mut line = |what: &str, figure: String| report.row([what.to_owned(), figure]);
    line("viewers: to come, with a picture, at the end", {
        format!("{}, {}, {}", outcome.viewers, outcome.pictured, outcome.stayed)
    });
    line("measured, s", number(outcome.seconds));
    line("delivered, Gbit/s", number(outcome.gbit_per_s));
    line("server, CPU s", number(outcome.cpu_s));
    line("server, CPU s per Gbit", number(outcome.cpu_s_per_gbit));
    line("load generators, and their CPU s", {
        format!("{}, {}", outcome.generators, number(outcome.own_cpu_s))
    });
    let memory = |memory: crate::proctree::Memory| format!("{} in {}", memory.pss_kib, memory.processes);
    line("server, PSS KiB and processes before viewers", memory(outcome.memory_before));
    line("server, PSS KiB and processes with viewers", memory(outcome.memory_steady));
    let mut summaries = vec![("latency", outcome.latency)];
    if outcome.latency_due.count > 0 {
        summaries.push(("latency since packets were due", outcome.latency_due));
    }
    if outcome.before.count > 0 {
        summaries.push(("latency of the early, before the others came", outcome.before));
        summaries.push(("latency of the early, while the others came", outcome.during));
    }
    summaries.push(("connect to first key frame", outcome.first_picture));
    for (what, summary) in summaries {
        let [p50, p99, max] = [summary.p50_ms, summary.p99_ms, summary.max_ms].map(number);
        line(&format!("{what}, ms: p50, p99, max of {}", summary.count), format!("{p50}, {p99}, {max}"));
    }
    let findings = &outcome.findings;
    line("packets looked at: lost, out of order, damaged", {
        format!("{}: {}, {}, {}", findings.packets, findings.lost, findings.disordered, findings.damaged)
    });
    if outcome.slow.packets > 0 {
        line("gaps of slow viewers that end at a key frame, elsewhere", {
            format!("{}, {}", outcome.slow.resumed_at_key, outcome.slow.resumed_elsewhere)
        });
    }
    line("failures", failures(outcome));
    report
}

/// Why connections broke, in one cell.
#[must_use]
pub fn failures(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (why, count) in &outcome.failures {
        let _ = write!(text, "{}{count} × {why}", if text.is_empty() { "" } else { "; " });
    }
    if text.is_empty() { "none".into() } else { text }
}
