//! Results as tables: for people, and as Markdown.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::load::Outcome;

/// A table with a title.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was measured.
    pub title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Report {
    /// An empty table.
    #[must_use]
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.title, self.table(presets::UTF8_FULL_CONDENSED))
    }

    /// For a page.
    #[must_use]
    pub fn markdown(&self) -> String {
        format!("### {}\n\n{}\n", self.title, self.table(presets::ASCII_MARKDOWN))
    }

    fn table(&self, preset: &str) -> Table {
        let mut table = Table::new();
        table.load_preset(preset).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head).add_rows(&self.rows);
        table
    }
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
    let mut report = Report::new("load", &["what", "figure"]);
    let mut line = |what: &str, figure: String| report.row([what.to_owned(), figure]);
    line("viewers: to come, with a picture, at the end", {
        format!("{}, {}, {}", outcome.viewers, outcome.pictured, outcome.stayed)
    });
    line("measured, s", number(outcome.seconds));
    line("delivered, Gbit/s", number(outcome.gbit_per_s));
    line("server, CPU s", number(outcome.cpu_s));
    line("server, CPU s per Gbit", number(outcome.cpu_s_per_gbit));
    line("load generator, CPU s", number(outcome.own_cpu_s));
    let memory = |memory: crate::proctree::Memory| format!("{} in {}", memory.pss_kib, memory.processes);
    line("server, PSS KiB and processes before viewers", memory(outcome.memory_before));
    line("server, PSS KiB and processes with viewers", memory(outcome.memory_steady));
    for (what, summary) in
        [("latency", outcome.latency), ("connect to first key frame", outcome.first_picture)]
    {
        let [p50, p99, max] = [summary.p50_ms, summary.p99_ms, summary.max_ms].map(number);
        line(&format!("{what}, ms: p50, p99, max of {}", summary.count), format!("{p50}, {p99}, {max}"));
    }
    let findings = &outcome.findings;
    line("packets looked at: lost, out of order, damaged", {
        format!("{}: {}, {}, {}", findings.packets, findings.lost, findings.disordered, findings.damaged)
    });
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
