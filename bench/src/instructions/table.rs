//! Counts beside those that were noted before.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::cases::CASES;
use crate::report::{Report, number};

/// Instructions for each unit of a case, by its name.
pub type Counts = BTreeMap<String, f64>;

/// What was noted before.
///
/// # Errors
/// When the file can't be read.
pub fn read(path: &Path) -> Result<Counts> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Notes the counts.
///
/// # Errors
/// When the file can't be written.
pub fn write(path: &Path, counts: &Counts) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(counts)?;
    text.push(b'\n');
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// How a count compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing was noted.
    New,
    /// Within the tolerance.
    Same,
    /// Fewer: note it, so that it stays.
    Better,
    /// More.
    Worse,
}

/// Compares with a tolerance in percent.
#[must_use]
pub fn compare(noted: Option<f64>, count: f64, tolerance: f64) -> Change {
    let Some(noted) = noted else { return Change::New };
    match (count / noted - 1.0) * 100.0 {
        percent if percent > tolerance => Change::Worse,
        percent if percent < -tolerance => Change::Better,
        _ => Change::Same,
    }
}

/// The table, and the names of the cases that became worse.
#[must_use]
pub fn report(counts: &Counts, noted: &Counts, tolerance: f64) -> (Report, Vec<String>) {
    let head = ["what", "for each", "instructions", "noted", "change", ""];
    let mut report =
        Report::new("instructions", "Instructions in user space on the way of a packet (callgrind)", &head);
    let mut worse = Vec::new();
    for case in &CASES {
        let Some(count) = counts.get(case.name) else { continue };
        let before = noted.get(case.name).copied();
        let change = compare(before, *count, tolerance);
        if change == Change::Worse {
            worse.push(case.name.to_owned());
        }
        let percent = before.map(|before| format!("{:+.1} %", (count / before - 1.0) * 100.0 + 0.0));
        report.row([
            case.what.into(),
            case.unit.into(),
            number(*count),
            before.map_or_else(String::new, number),
            percent.unwrap_or_default(),
            match change {
                Change::New => "new",
                Change::Same => "as noted",
                Change::Better => "better: note it",
                Change::Worse => "**worse**",
            }
            .into(),
        ]);
    }
    (report, worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_percent_more_is_a_regression_and_two_less_is_to_be_noted() {
        assert_eq!(compare(None, 100.0, 2.0), Change::New);
        assert_eq!(compare(Some(100.0), 101.9, 2.0), Change::Same);
        assert_eq!(compare(Some(100.0), 98.1, 2.0), Change::Same);
        assert_eq!(compare(Some(100.0), 102.1, 2.0), Change::Worse);
        assert_eq!(compare(Some(100.0), 97.0, 2.0), Change::Better);
    }

    #[test]
    fn the_table_names_what_became_worse() {
        let counts: Counts = CASES.iter().map(|case| (case.name.to_owned(), 100.0)).collect();
        let mut noted = counts.clone();
        let name = CASES[0].name.to_owned();
        noted.insert(name.clone(), 90.0);
        let (_, worse) = report(&counts, &noted, 2.0);
        assert_eq!(worse, [name]);
    }

    #[test]
    fn every_case_is_noted() {
        let noted = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))).unwrap();
        for case in &CASES {
            assert!(noted.contains_key(case.name), "{} is not in instructions.json", case.name);
        }
        assert_eq!(noted.len(), CASES.len());
    }
}
