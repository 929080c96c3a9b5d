//! Where results go: to the terminal, to a file of Markdown, into a document, to a file of JSON.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::document;
use crate::machine::Machine;
use crate::picture::Picture;
use crate::report::Report;

/// Options that all jobs have.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Append the tables to this file as Markdown
    #[arg(long, global = true, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write each table between its markers in this document
    #[arg(long, global = true, value_name = "FILE")]
    update: Option<PathBuf>,
    /// Name of the markers in that document [default: the name of the job]
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// Write the picture of `scale` and `run-full` to this file as SVG
    #[arg(long, global = true, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Write the figures of `load` and `floor` to this file as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Output {
    /// Shows a table wherever it is wanted.
    ///
    /// # Errors
    /// When a file can't be written, or the document has no place for the table.
    pub fn show(&self, report: &Report, out: &mut impl Write) -> Result<()> {
        let machine = Machine::here();
        writeln!(out, "{}", report.text(&machine))?;
        if let Some(path) = &self.markdown {
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            writeln!(file, "### {}\n\n{}", report.title, report.markdown(&machine))
                .with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &self.update {
            let updated = fs::read_to_string(path)
                .map_err(anyhow::Error::from)
                .and_then(|text| {
                    let body = format!("**{}**\n\n{}", report.title, report.markdown(&machine));
                    document::replace(&text, self.name.as_ref().unwrap_or(&report.name), &body)
                })
                .and_then(|text| Ok(fs::write(path, text)?));
            updated.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// The same for a job with one table.
    ///
    /// # Errors
    /// As [`Self::require`].
    pub fn require_one(&self, name: &str) -> Result<()> {
        self.require(&[self.name.as_deref().unwrap_or(name)])
    }

    /// Sees to it that `names` have a place in the document, before hours are spent.
    ///
    /// # Errors
    /// When one has none.
    pub fn require(&self, names: &[&str]) -> Result<()> {
        let Some(path) = &self.update else { return Ok(()) };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let missing = names.iter().find_map(|name| document::replace(&text, name, "").err());
        missing.map_or(Ok(()), |error| Err(error.context(path.display().to_string())))
    }

    /// Draws a picture, where it is wanted.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn draw(&self, picture: &Picture) -> Result<()> {
        let Some(path) = &self.picture else { return Ok(()) };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        write(path, picture.svg().as_bytes())
    }

    /// Writes figures for machines, where they are wanted.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_json(&self, value: &impl Serialize) -> Result<()> {
        match &self.json {
            Some(path) => write(path, &serde_json::to_vec_pretty(value)?),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
