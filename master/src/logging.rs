//! Log lines.
//!
//! ```text
//! [2026-11-22 14:12:20.123][trace][4711][105] stream#1: play stream=__defaultVhost__/live/demo
//! [2026-11-22 14:12:20.123][warn][4711][105][0] stream#1: …
//! ```
//!
//! Time, level, process id and context id (that of the connection, 0 for the process itself); warnings and errors have
//! the error number behind. Levels are the reference's words: error, warn, trace, debug, verb. A line is written with one
//! system call, so the lines of several processes in one file do not mix; a line that can't be written is dropped,
//! and counted: the next one that can be is followed by how many were lost.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::outlet::Outlet;

/// Where lines go and which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// Lowest level.
    pub level: conf::config::Level,
    /// Times in UTC.
    pub utc: bool,
    /// Such as `stream#1`.
    pub role: String,
}

/// What can change while the process runs.
#[derive(Debug)]
struct Sink {
    outlet: Outlet,
    file: Option<PathBuf>,
    level: Level,
    utc: bool,
}

#[derive(Debug)]
struct Lines;

static ROLE: OnceLock<String> = OnceLock::new();
static SINK: RwLock<Option<Sink>> = RwLock::new(None);
/// Lines that could not be written, until that can be said.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Begins to log. Later calls change nothing (in single mode the roles share one log).
///
/// # Errors
/// When the log file can't be opened.
pub fn start(settings: &Settings) -> io::Result<()> {
    let _ = ROLE.set(settings.role.clone());
    put(settings.file.clone(), level_of(settings.level), settings.utc)?;
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    child::set_log_hooks(child::LogHooks { configure, reopen });
    Ok(())
}

/// Goes by other settings from now on. When the file can't be opened the old ones stay, and say so.
pub fn configure(log: &conf::config::Log) {
    let file = (log.tank == conf::config::Tank::File).then(|| log.file.clone());
    let level = level_of(log.level);
    let same = SINK.read().is_ok_and(|sink| {
        sink.as_ref().is_some_and(|sink| sink.file == file && sink.level == level && sink.utc == log.utc)
    });
    if same {
        return;
    }
    if let Err(error) = put(file, level, log.utc) {
        tracing::error!("the log stays as it is: {} can't be opened: {error}", log.file.display());
    }
    tracing::callsite::rebuild_interest_cache();
}

/// Opens the file again: somebody renamed it, and the next line belongs into a new one.
pub fn reopen() {
    let now = SINK.read().ok().and_then(|sink| {
        let sink = sink.as_ref()?;
        Some((sink.file.clone()?, sink.level, sink.utc))
    });
    let Some((file, level, utc)) = now else { return };
    if let Err(error) = put(Some(file), level, utc) {
        tracing::error!("the log file can't be opened again: {error}");
    }
}

fn put(file: Option<PathBuf>, level: Level, utc: bool) -> io::Result<()> {
    let outlet = Outlet::open(file.as_deref())?;
    if let Ok(mut sink) = SINK.write() {
        *sink = Some(Sink { outlet, file, level, utc });
    }
    Ok(())
}

/// Our levels hold what theirs hold: `trace` is normal operation, `info` details, `verbose` everything.
fn level_of(level: conf::config::Level) -> Level {
    match level {
        conf::config::Level::Verbose => Level::TRACE,
        conf::config::Level::Info => Level::DEBUG,
        conf::config::Level::Trace => Level::INFO,
        conf::config::Level::Warn => Level::WARN,
        conf::config::Level::Error => Level::ERROR,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "trace",
        Level::DEBUG => "debug",
        Level::TRACE => "verb",
    }
}

/// The role of the calling thread: in single mode each role is a thread named after it.
fn role() -> String {
    let current = std::thread::current();
    match current.name() {
        Some(name) if name.contains('#') => name.to_owned(),
        _ => ROLE.get().cloned().unwrap_or_else(|| "master".to_owned()),
    }
}

#[derive(Default)]
struct Parts {
    cid: u64,
    errno: i64,
    text: String,
}

impl Visit for Parts {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "cid" => self.cid = value,
            name => {
                let _ = write!(self.text, " {name}={value}");
            }
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "errno" => self.errno = value,
            name => {
                let _ = write!(self.text, " {name}={value}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = SINK.read().ok().and_then(|sink| sink.as_ref().map(|sink| sink.level));
        level.is_some_and(|level| *metadata.level() <= level) && metadata.target() != "mio::poll"
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        let level = SINK.read().ok().and_then(|sink| sink.as_ref().map(|sink| sink.level));
        level.map(tracing::level_filters::LevelFilter::from_level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let level = *event.metadata().level();
        let now = jiff::Timestamp::now();
        let Ok(sink) = SINK.read() else { return };
        let Some(sink) = sink.as_ref() else { return };
        let zone = if sink.utc { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
        let time = now.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let errno = if level <= Level::WARN { format!("[{}]", parts.errno) } else { String::new() };
        let head = |level| format!("[{time}][{}][{}][{}]", word(level), std::process::id(), parts.cid);
        let line = format!("{}{errno} {}: {}", head(level), role(), printable(&parts.text));
        if !sink.outlet.write(level, line) {
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!("{}[0] {}: {lost} lines before that were lost", head(Level::WARN), role());
            if !sink.outlet.write(Level::WARN, line) {
                LOST.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
}

/// What clients send may stand in lines: control characters are escaped, so that nothing can forge a line or drive a
/// terminal.
fn printable(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() || is_bidi(c)) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(
            |c| if c.is_control() || is_bidi(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] },
        )
        .collect()
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_client_can_forge_a_line() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{202e}"), "a\\u{a}b\\u{1b}[31m\\u{202e}");
        assert_eq!(printable("plain ünïcode"), "plain ünïcode");
    }
}
