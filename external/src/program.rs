//! Programs of others, such as ffmpeg: each in a process group of its own, its output in a log file, started again with
//! growing pauses, and ended by the kernel when the process that runs it dies.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};

/// First word of the command line by which this executable becomes another program.
const BECOME: &str = "--become";
/// Exit code when the program can't be started, as shells have it.
const NOT_FOUND: u8 = 127;

/// A program that ran so long has done its work; sooner, it failed, ms.
const WELL_MS: u64 = 5_000;
/// Pause before a start after the program did its work, ms.
const SHORT_PAUSE_MS: u64 = 100;
/// The first pause after a failure; each further one is twice as long, ms.
const FIRST_PAUSE_MS: u64 = 500;
const LONGEST_PAUSE_MS: u64 = 10_000;
/// How long it may take to end when it is asked to, ms.
const END_MS: u64 = 2_000;

/// A program to run for as long as this exists.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// `None`: its output goes nowhere.
    log: Option<PathBuf>,
    child: Option<Child>,
    starts: u64,
    /// When it was started, or ended, ms.
    since_ms: u64,
    again_ms: u64,
    pause_ms: u64,
    ended: String,
}

impl Program {
    /// A program that is started with the first [`Self::tick`]. `name` says what it is for.
    pub(crate) fn new(name: String, program: PathBuf, arguments: Vec<String>, log: Option<PathBuf>) -> Self {
        Self {
            name,
            program,
            arguments,
            log,
            child: None,
            starts: 0,
            since_ms: reactor::now_ms(),
            again_ms: 0,
            pause_ms: FIRST_PAUSE_MS,
            ended: String::new(),
        }
    }

    /// Notices its end, and starts it when that is due.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => self.has_ended(now_ms, how(status)),
                Err(error) => self.has_ended(now_ms, error.to_string()),
            }
        }
        if self.child.is_none() && now_ms >= self.again_ms {
            match self.start() {
                Ok(child) => {
                    tracing::info!("{}: {} is pid {}", self.name, self.program.display(), child.id());
                    self.child = Some(child);
                    self.starts += 1;
                    self.since_ms = now_ms;
                }
                Err(error) => self.has_ended(now_ms, error.to_string()),
            }
        }
    }

    fn has_ended(&mut self, now_ms: u64, how: String) {
        let ran_ms = if self.child.take().is_some() { now_ms.saturating_sub(self.since_ms) } else { 0 };
        let pause = if ran_ms >= WELL_MS {
            self.pause_ms = FIRST_PAUSE_MS;
            SHORT_PAUSE_MS
        } else {
            let pause = self.pause_ms;
            self.pause_ms = (pause * 2).min(LONGEST_PAUSE_MS);
            pause
        };
        let log = self.log.as_ref().map_or_else(String::new, |log| format!("; its log is {}", log.display()));
        tracing::warn!(
            "{}: {} has ended by {how}, again in {pause} ms{log}",
            self.name,
            self.program.display()
        );
        self.ended = how;
        self.since_ms = now_ms;
        self.again_ms = now_ms + pause;
    }

    fn start(&self) -> std::io::Result<Child> {
        // Through our own executable, which asks the kernel to be ended with us and then becomes the program.
        let mut command = Command::new("/proc/self/exe");
        command.arg(BECOME).arg(std::process::id().to_string()).arg(&self.program).args(&self.arguments);
        command.env_remove(ipc::IDENTITY_VARIABLE);
        command.process_group(0).stdin(Stdio::null());
        match &self.log {
            Some(path) => {
                let log = self.open_log(path)?;
                command.stdout(log.try_clone()?).stderr(log);
            }
            None => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        command.spawn()
    }

    fn open_log(&self, path: &Path) -> std::io::Result<File> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut log = OpenOptions::new().create(true).append(true).open(path)?;
        let words: Vec<String> = self.arguments.iter().map(|word| shown(word)).collect();
        writeln!(
            log,
            "[{}] {} {}",
            jiff::Zoned::now().strftime("%F %T"),
            self.program.display(),
            words.join(" ")
        )?;
        Ok(log)
    }

    /// For operators.
    pub(crate) fn state(&self) -> api::External {
        api::External {
            name: self.name.clone(),
            program: self.program.display().to_string(),
            pid: self.child.as_ref().map_or(0, Child::id),
            restarts: self.starts.saturating_sub(1),
            ended: self.ended.clone(),
            log: self.log.as_ref().map_or_else(String::new, |log| log.display().to_string()),
            for_ms: reactor::now_ms().saturating_sub(self.since_ms),
        }
    }

    fn signal(&self, signal: Signal) {
        // Not yet waited for, so the number is still that of its group.
        if let Some(group) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Program {
    /// Asks it to end, and ends it when it does not: it and whatever it has started.
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let until_ms = reactor::now_ms() + END_MS;
        while let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
            && reactor::now_ms() < until_ms
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.signal(Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// An argument as logs may show it.
fn shown(word: &str) -> String {
    if word.contains("://") { rtmp::url::mask_query(word) } else { word.to_owned() }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(Ok(signal))) => signal.to_string(),
        (None, _) => "a signal".to_owned(),
    }
}

/// When the command line says so: the kernel ends this process with its parent from now on, and it becomes another program.
pub fn become_another() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != BECOME {
        return None;
    }
    let parent = words.next().and_then(|word| word.to_str()?.parse::<i32>().ok());
    let program = words.next()?;
    let arguments: Vec<OsString> = words.collect();
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        eprintln!("srs: {} would outlive the server: {error}", program.display());
        return Some(ExitCode::from(NOT_FOUND));
    }
    // A parent that died before that will send no signal.
    if parent != Some(getppid().as_raw()) {
        return Some(ExitCode::from(NOT_FOUND));
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("srs: {} can't be started: {error}", program.display());
    Some(ExitCode::from(NOT_FOUND))
}
