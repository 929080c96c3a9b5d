//! Complaints with a place: what the operator reads when a file is wrong or surprising.
//!
//! Text from the file is always escaped and cut before it gets into a message, so a message is one line and harmless
//! to a terminal, whatever the file holds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// More complaints than this of one severity are counted, not kept.
pub const MAX_KEPT: usize = 100;

/// Longest piece of the file that a message repeats, in characters.
const MAX_QUOTED: usize = 60;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourcePos {
    /// A character of a file; line and column count from 1, columns in characters.
    File {
        /// File name as it was given.
        file: Arc<str>,
        /// Line.
        line: u32,
        /// Column.
        column: u32,
    },
    /// A file as a whole.
    Whole(Arc<str>),
    /// An environment variable.
    Variable(Arc<str>),
}

impl fmt::Display for SourcePos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Whole(file) => write!(f, "{file}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Whether the configuration can be used in spite of the complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// It can.
    Warning,
    /// It cannot.
    Error,
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What it is about.
    pub place: SourcePos,
    /// One line, without the place.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Collects complaints while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn error(&mut self, place: &SourcePos, message: String) {
        if !self.is_full() {
            self.errors.push(Diagnostic { severity: Severity::Error, place: place.clone(), message });
        }
    }

    pub(crate) fn warn(&mut self, place: &SourcePos, message: String) {
        if self.warnings.len() < MAX_KEPT {
            self.warnings.push(Diagnostic { severity: Severity::Warning, place: place.clone(), message });
        }
    }

    /// Enough errors for one reading: going on would only cost time.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_KEPT
    }
}

/// A configuration that cannot be used, and everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why; at least one, at most [`MAX_KEPT`], in file order as far as possible.
    pub errors: Vec<Diagnostic>,
    /// What was surprising besides.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for Failure {
    /// One error per line, no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        if self.errors.len() >= MAX_KEPT {
            write!(f, "\nmore errors were not reported")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// A piece of the file for a message: in quotes, escaped, cut.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for (index, character) in text.chars().enumerate() {
        if index == MAX_QUOTED {
            shown.push('…');
            break;
        }
        match character {
            '"' => shown.push('"'),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_short_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "\"a\\nb\\u{1b}[31m\"");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), MAX_QUOTED + 3);
    }
}
