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
//!
//! A thread of its own opens and writes, so that a disk that hangs holds up nobody else: lines wait for it in a bounded
//! queue, those beyond are dropped and counted like others.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::log_sink::{LogSink, complain};

/// Lines that may wait for the disk.
const MAX_WAITING: usize = 1024;
/// How long the start waits for a log file to be opened, and the end for the last lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether the file is still there, ms.
const LOOK_MS: u64 = 1_000;

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
    writer: SyncSender<Job>,
    file: Option<PathBuf>,
    level: Level,
    utc: bool,
}

/// What the writing thread is to do.
#[derive(Debug)]
enum Job {
    Line(Level, String),
    /// Open this, and write there from now on. How it went is told, where somebody waits for it; else it is a line.
    Open(Option<PathBuf>, Option<SyncSender<io::Result<()>>>),
    /// Look whether the file is still there.
    Look,
    /// Tell when all before this is written.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct Lines;

static ROLE: OnceLock<String> = OnceLock::new();
static SINK: RwLock<Option<Sink>> = RwLock::new(None);
/// Why the log is not where it is to be.
static TROUBLE: RwLock<Option<String>> = RwLock::new(None);
/// Lines that could not be written, until that can be said.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Begins to log. Later calls change nothing (in single mode the roles share one log). A file that takes too long to be
/// opened is written when it is open.
///
/// # Errors
/// When the log file can't be opened.
pub fn start(settings: &Settings) -> io::Result<()> {
    let _ = ROLE.set(settings.role.clone());
    let (writer, jobs) = sync_channel(MAX_WAITING);
    std::thread::Builder::new().name("log".to_owned()).stack_size(256 << 10).spawn(move || write(&jobs))?;
    let (told, answer) = sync_channel(1);
    let _ = writer.try_send(Job::Open(settings.file.clone(), Some(told)));
    if let Ok(result) = answer.recv_timeout(PATIENCE) {
        result?;
    }
    if let Ok(mut sink) = SINK.write() {
        let (file, level) = (settings.file.clone(), level_of(settings.level));
        *sink = Some(Sink { writer, file, level, utc: settings.utc });
    }
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    child::set_log_hooks(child::LogHooks { configure, reopen, trouble });
    Ok(())
}

/// Waits until what was logged so far is written, a second at most: for the end of the process.
pub fn flush() {
    let (told, answer) = sync_channel(1);
    let asked = SINK
        .read()
        .is_ok_and(|sink| sink.as_ref().is_some_and(|sink| sink.writer.try_send(Job::Flush(told)).is_ok()));
    if asked {
        let _ = answer.recv_timeout(PATIENCE);
    }
}

/// Goes by other settings from now on. When the file can't be opened the old one stays, and says so.
pub fn configure(log: &conf::config::Log) {
    let file = (log.tank == conf::config::Tank::File).then(|| log.file.clone());
    let level = level_of(log.level);
    if let Ok(mut sink) = SINK.write()
        && let Some(sink) = sink.as_mut()
    {
        if sink.file == file && sink.level == level && sink.utc == log.utc {
            return;
        }
        if sink.file != file {
            let _ = sink.writer.try_send(Job::Open(file.clone(), None));
        }
        (sink.file, sink.level, sink.utc) = (file, level, log.utc);
    }
    tracing::callsite::rebuild_interest_cache();
}

/// Opens the file again: somebody renamed it, and the next line belongs into a new one.
pub fn reopen() {
    if let Ok(sink) = SINK.read()
        && let Some(Sink { writer, file: Some(file), .. }) = sink.as_ref()
    {
        let _ = writer.try_send(Job::Open(Some(file.clone()), None));
    }
}

/// Why the log is not where it is to be, if so: for those who can't read it there. Who asks has it looked at, so that a process
/// with nothing to log knows it by the next time.
#[must_use]
pub fn trouble() -> Option<String> {
    if let Ok(sink) = SINK.read()
        && let Some(sink) = sink.as_ref()
    {
        let _ = sink.writer.try_send(Job::Look);
    }
    TROUBLE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The writing thread.
fn write(jobs: &Receiver<Job>) {
    let mut sink: Option<LogSink> = None;
    let mut path: Option<PathBuf> = None;
    let mut looked_ms = 0;
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line(level, line) => {
                look(&mut sink, path.as_deref(), &mut looked_ms);
                if !sink.as_ref().is_some_and(|sink| sink.write(level, line)) {
                    LOST.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 && !own_line(sink.as_ref(), &format!("{lost} lines before that were lost")) {
                    LOST.fetch_add(lost, Ordering::Relaxed);
                }
            }
            Job::Open(file, told) => {
                open(&mut sink, file.as_deref(), told);
                path = file;
            }
            Job::Look => look(&mut sink, path.as_deref(), &mut looked_ms),
            Job::Flush(told) => drop(told.try_send(())),
        }
    }
}

/// A file that was removed, not renamed, is written for nobody: another one is made.
fn look(sink: &mut Option<LogSink>, path: Option<&Path>, looked_ms: &mut u64) {
    let now_ms = reactor::now_ms();
    if now_ms.saturating_sub(*looked_ms) < LOOK_MS {
        return;
    }
    *looked_ms = now_ms;
    if sink.as_ref().is_some_and(LogSink::is_removed) {
        open(sink, path, None);
        if sink.as_ref().is_some_and(|sink| !sink.is_removed()) {
            own_line(sink.as_ref(), "the log file was removed: this is another one");
        }
    }
}

fn open(sink: &mut Option<LogSink>, file: Option<&Path>, told: Option<SyncSender<io::Result<()>>>) {
    let result = LogSink::open(file).map(|opened| *sink = Some(opened));
    let failed = result.as_ref().err().filter(|_| told.is_none()).map(|error| {
        let path = file.map_or_else(|| "standard output".into(), Path::to_string_lossy);
        format!("{path} can't be opened: {error}")
    });
    if let Some(told) = told {
        let _ = told.try_send(result);
    }
    let mut trouble = TROUBLE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed.as_ref().filter(|error| trouble.as_ref() != Some(*error)) {
        // Where it was until now nobody may read it any more: it may be removed.
        let text = format!("the log stays as it is: {error}");
        complain(&own(&text));
        own_line(sink.as_ref(), &text);
    }
    *trouble = failed;
}

/// A warning of the log about itself.
fn own_line(sink: Option<&LogSink>, text: &str) -> bool {
    sink.is_some_and(|sink| sink.write(Level::WARN, own(text)))
}

fn own(text: &str) -> String {
    let utc = SINK.read().is_ok_and(|sink| sink.as_ref().is_some_and(|sink| sink.utc));
    format!("{}[0] {}: {text}", head(Level::WARN, utc, 0), ROLE.get().map_or("master", String::as_str))
}

fn head(level: Level, utc: bool, cid: u64) -> String {
    let zone = if utc { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
    let time = jiff::Timestamp::now().to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S%.3f");
    format!("[{time}][{}][{}][{cid}]", word(level), std::process::id())
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
        let Ok(sink) = SINK.read() else { return };
        let Some(sink) = sink.as_ref() else { return };
        let errno = if level <= Level::WARN { format!("[{}]", parts.errno) } else { String::new() };
        let line =
            format!("{}{errno} {}: {}", head(level, sink.utc, parts.cid), role(), printable(&parts.text));
        if sink.writer.try_send(Job::Line(level, line)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
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
