//! The configuration file: from text to typed structs.
//!
//! Text becomes a tree of directives that know their place ([`tree`]), the tree is checked against the table of all
//! directives ([`directive`]), overrides from the environment are put in ([`mod@env`]), and the typed [`Config`] is built
//! from what remains. Every complaint is a [`Diagnostic`] with file, line and column. This crate reads files and the
//! environment and does nothing else.
//!
//! ```
//! let text = b"listen 1935; vhost __defaultVhost__ { gop_cache off; }";
//! let loaded = conf::parse_text("srs.conf", text, &conf::Environment::empty()).unwrap();
//! assert!(matches!(loaded.config.vhost("example.com"), conf::Lookup::Found(vhost) if !vhost.gop_cache));
//!
//! let failure = conf::parse_text("srs.conf", b"listen abc;", &conf::Environment::empty()).unwrap_err();
//! assert!(failure.to_string().starts_with("srs.conf:1:8: \"abc\" is not an address to listen on"));
//! ```
#![forbid(unsafe_code)]

mod check;
mod cluster;
pub mod config;
pub mod diagnostic;
pub mod diff;
pub mod directive;
pub mod docs;
mod encode;
pub mod env;
pub mod feature;
pub mod ffmpeg;
pub mod include;
mod lexer;
mod limits;
mod notice;
mod record;
mod service;
pub mod tree;
mod typed;
pub mod value;
pub mod vhost;
mod web;

use std::path::{Path, PathBuf};

pub use config::{Config, Lookup};
pub use diagnostic::{Diagnostic, Failure, Severity, SourcePos};
pub use env::Environment;

use diagnostic::Report;
use tree::Node;

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was surprising: repetitions, features that are not built, unknown variables.
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read, the first being the one asked for.
    pub files: Vec<PathBuf>,
}

/// Reads a file, the files it includes, and the overrides.
///
/// # Errors
/// Everything that is wrong, as far as it can be seen in one reading.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Failure> {
    let mut report = Report::default();
    let mut reader = include::Reader::default();
    let nodes = reader.file(path, &mut report);
    finish(&path.to_string_lossy(), &nodes, env, reader.files, report)
}

/// The same for a text; `name` stands for the file in messages, and `include` looks beside it.
///
/// # Errors
/// As [`load`].
pub fn parse_text(name: &str, text: &[u8], env: &Environment) -> Result<Loaded, Failure> {
    let mut report = Report::default();
    let mut reader = include::Reader::default();
    let beside = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
    let nodes = reader.text(name.into(), text, beside, 0, &mut report);
    finish(name, &nodes, env, reader.files, report)
}

/// Makes a configuration of the environment alone. It listens on port 1935 and has a default vhost unless told
/// otherwise.
///
/// # Errors
/// As [`load`].
pub fn load_env_only(env: &Environment) -> Result<Loaded, Failure> {
    let mut env = env.clone();
    env.0.entry("SRS_LISTEN".into()).or_insert_with(|| "1935".into());
    let mut report = Report::default();
    let mut entries: Vec<_> = env::default_vhost().into_iter().collect();
    env.apply(&mut entries, &mut report);
    build("environment", &entries, Vec::new(), report)
}

fn finish(
    name: &str,
    nodes: &[Node],
    env: &Environment,
    files: Vec<PathBuf>,
    mut report: Report,
) -> Result<Loaded, Failure> {
    if !report.errors.is_empty() {
        // A file that could not be cut into directives would only produce errors that are none.
        return Err(Failure { errors: report.errors, warnings: report.warnings });
    }
    let mut entries = check::check(nodes, "", "the file", &mut report);
    env.apply(&mut entries, &mut report);
    build(name, &entries, files, report)
}

fn build(
    name: &str,
    entries: &[check::Entry],
    files: Vec<PathBuf>,
    mut report: Report,
) -> Result<Loaded, Failure> {
    notice::notice(entries, &mut report);
    let config = typed::config(name, entries, &mut report);
    if report.errors.is_empty() {
        Ok(Loaded { config, warnings: report.warnings, files })
    } else {
        Err(Failure { errors: report.errors, warnings: report.warnings })
    }
}
