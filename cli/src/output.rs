//! Answers on standard output: text, JSON or AMF0.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::arguments::Format;

/// The answer is there, but a process hangs or is dead.
pub(crate) const PARTIAL: u8 = 3;

/// Whether colours are seen and wanted.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

static WIDE: AtomicBool = AtomicBool::new(false);

/// Tables show all of each name and all lines, or not, from now on.
pub(crate) fn set_wide(wide: bool) {
    WIDE.store(wide, Ordering::Relaxed);
}

/// Whether tables show all of each name and all lines.
pub(crate) fn is_wide() -> bool {
    WIDE.load(Ordering::Relaxed)
}

/// Prints an answer in the form that is wanted.
pub(crate) fn show(
    format: Format,
    value: &impl Serialize,
    text: impl FnOnce(bool) -> String,
) -> Result<(), String> {
    match format {
        Format::Table | Format::Wide => print(&text(colours())),
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
            print(&json)
        }
        Format::Amf0 => {
            let bytes = amf0::to_bytes(value).map_err(|error| error.to_string())?;
            write(&bytes)
        }
    }
}

/// Prints with a line's end.
pub(crate) fn print(text: &str) -> Result<(), String> {
    write(format!("{text}\n").as_bytes())
}

/// A reader that has seen enough is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|cause| format!("can't write the answer: {cause}")),
    }
}

/// One sentence on standard error.
pub(crate) fn fail(sentence: &str) -> ExitCode {
    eprintln!("srs-cli: {sentence}");
    ExitCode::FAILURE
}
