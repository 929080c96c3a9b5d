//! The role of the ingester: a clip that it plays into the server as any encoder would, over loopback, or programs of others
//! that do so.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use child::{Control, Process, Woken};
use client::ingest::{IngestEvent, IngestOptions};
use conf::Config;
use conf::vhost::{Ingest, IngestSource};
use ipc::ToIngest;
use reactor::{Reactor, Ready};

use crate::program::Program;

/// Status lines of an ingest: one in its period for all ingests together, so that each process writes one in as many periods
/// as there are ingests.
///
/// ```text
/// -> IGS time=60000, ingesters=2, input=camera.flv
/// ```
#[derive(Debug)]
struct StatusLines {
    began_ms: u64,
    due_ms: u64,
    period_ms: u64,
    ingesters: u64,
    input: String,
}

impl StatusLines {
    fn new(config: &Config, ingest: &Ingest) -> Self {
        let enabled = config.vhosts.iter().flat_map(|vhost| &vhost.ingests).filter(|ingest| ingest.enabled);
        let ingesters = u64::try_from(enabled.count()).unwrap_or(1).max(1);
        let period_ms = config.pithy_print.ingester_ms.saturating_mul(ingesters);
        let began_ms = reactor::now_ms();
        let input = match &ingest.source {
            IngestSource::File(path) => path.display().to_string(),
            IngestSource::Stream(url) => url.clone(),
        };
        let input = rtmp::url::mask_query(&input);
        Self { began_ms, due_ms: began_ms + period_ms, period_ms, ingesters, input }
    }

    /// Writes a line when one is due.
    fn tick(&mut self) {
        let now_ms = reactor::now_ms();
        if now_ms >= self.due_ms {
            self.due_ms = now_ms + self.period_ms;
            let (time, count, input) = (now_ms.saturating_sub(self.began_ms), self.ingesters, &self.input);
            tracing::info!("-> IGS time={time}, ingesters={count}, input={input}");
        }
    }
}

/// The clip can't be used: starting again would not help.
#[derive(Debug)]
pub struct CannotIngest(String);

impl fmt::Display for CannotIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotIngest {}

/// Runs one ingest until the master ends it.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::begin(control)?;
    let config = Arc::new((*control.start.config).clone());
    let (vhost_name, id) =
        control.start.ingest.clone().ok_or_else(|| CannotIngest("no ingest is named".to_owned()))?;
    let ingest = config
        .vhosts
        .iter()
        .find(|vhost| vhost.name == vhost_name)
        .and_then(|vhost| vhost.ingests.iter().find(|ingest| ingest.id == id))
        .ok_or_else(|| CannotIngest(format!("there is no ingest {id} in vhost {vhost_name}")))?;
    if ingest.ffmpeg.is_some() {
        return run_programs(control, &config, &vhost_name, ingest);
    }
    let IngestSource::File(path) = ingest.source.clone() else {
        return Err(CannotIngest(format!("ingest {id} is not a file")).into());
    };
    let status = StatusLines::new(&config, ingest);
    let url = ingest.output_url(&vhost_name, config.first_port());
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    let waiting = Ingester::new(control, status, Playing)?;
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let waited = child::run(waiting);
        stopper.store(true, Ordering::Relaxed);
        waited
    })?;
    let options = IngestOptions { report, ..IngestOptions::default() };
    tracing::info!("{} goes to {}", path.display(), rtmp_url_for_logs(&url));
    client::ingest::run(&path, &url, &options, &stop).map_err(|error| CannotIngest(error.to_string()))?;
    match thread.join() {
        Ok(waited) => waited,
        Err(_) => Ok(()),
    }
}

/// Runs the ingest's programs until the master ends it.
fn run_programs(
    control: Control,
    config: &Config,
    vhost: &str,
    ingest: &Ingest,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let commands = ingest.commands(vhost, config.first_port(), &config.ff_log_level).map_err(CannotIngest)?;
    let program = ingest.ffmpeg.clone().unwrap_or_default();
    let programs: Vec<Program> = commands
        .into_iter()
        .map(|command| {
            let log = log_of(&config.ff_log_dir, vhost, &command.output);
            let name = format!("ingest {} {}", ingest.id, command.engine).trim_end().to_owned();
            Program::new(name, program.clone(), command.arguments, log)
        })
        .collect();
    child::run(Ingester::new(control, StatusLines::new(config, ingest), programs)?)
}

/// What an ingester looks after.
trait Work {
    /// Whether operators can ask about it.
    const HAS_API: bool;
    fn tick(&mut self, now_ms: u64);
    fn states(&self) -> Vec<api::External>;
}

/// A clip, which another thread plays.
struct Playing;

impl Work for Playing {
    const HAS_API: bool = false;

    fn tick(&mut self, _: u64) {}

    fn states(&self) -> Vec<api::External> {
        Vec::new()
    }
}

impl Work for Vec<Program> {
    const HAS_API: bool = true;

    fn tick(&mut self, now_ms: u64) {
        for program in self {
            program.tick(now_ms);
        }
    }

    fn states(&self) -> Vec<api::External> {
        self.iter().map(Program::state).collect()
    }
}

/// The ingester's loop.
struct Ingester<W> {
    control: Control,
    reactor: Reactor,
    status: StatusLines,
    work: W,
    ready: Vec<Ready>,
}

impl<W> Ingester<W> {
    fn new(control: Control, status: StatusLines, work: W) -> io::Result<Self> {
        Ok(Self { control, reactor: Reactor::new()?, status, work, ready: Vec::new() })
    }
}

impl<W: Work> Process for Ingester<W> {
    type Message = ToIngest;
    const HAS_API: bool = W::HAS_API;

    fn parts(&mut self) -> (&mut Control, &Reactor) {
        (&mut self.control, &self.reactor)
    }

    fn message(&mut self, message: ToIngest, _: Vec<OwnedFd>) {
        match message {}
    }

    fn report(&mut self, _: bool) -> api::Report {
        api::Report {
            process: self.control.name(),
            pid: std::process::id(),
            externals: self.work.states(),
            ..api::Report::default()
        }
    }

    fn turn(&mut self) {
        self.status.tick();
        self.work.tick(reactor::now_ms());
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        self.ready.clear();
        self.reactor.wait(Some(until_ms), &mut self.ready)?;
        Ok(Woken::by(&self.ready))
    }
}

/// Where the output of a program goes that publishes to `url`; nowhere when the directory is /dev/null.
fn log_of(directory: &Path, vhost: &str, url: &str) -> Option<PathBuf> {
    if directory == Path::new("/dev/null") {
        return None;
    }
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split('?').next().unwrap_or("");
    let words: Vec<&str> = path.split('/').skip(1).filter(|word| !word.is_empty()).collect();
    let (app, stream) = (words.first().unwrap_or(&"app"), words.last().unwrap_or(&"stream"));
    let plain = |text: &str| -> String {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        text.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
    };
    Some(directory.join(format!("ffmpeg-ingest-{}-{}-{}.log", plain(vhost), plain(app), plain(stream))))
}

fn report(event: &IngestEvent) {
    match event {
        IngestEvent::Publishing => tracing::info!("the clip is being published"),
        IngestEvent::Retry { cause, pause } => {
            tracing::warn!("the clip can't be published: {cause}; again in {} ms", pause.as_millis());
        }
        IngestEvent::Again { loops } => tracing::debug!("the clip was played {loops} times"),
    }
}

/// Whether a clip can be ingested without a program of others. `Err` says why not.
///
/// # Errors
/// When it can't be read, or is no FLV file.
pub fn check_clip(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut head = [0; 4096];
    let count = file.read(&mut head).map_err(|error| error.to_string())?;
    let mut reader = flv::file::Reader::new();
    reader.push(head.get(..count).unwrap_or(&[]));
    reader.next_tag().map(drop).map_err(|error| error.to_string())
}

/// The URL without its query's values.
fn rtmp_url_for_logs(url: &str) -> String {
    url.split('?').next().unwrap_or("").to_owned()
}
