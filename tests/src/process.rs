//! Child processes that never outlive their test, and what the kernel knows of processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wait::wait_for;

/// A program that runs, its output in files. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    directory: TempDir,
}

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Running {
    /// Starts a program.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let file = |name: &str| File::create(directory.path().join(name)).expect("a file");
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|cause| panic!("{name} does not start: {cause}"));
        Self { name, child, directory }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far on its standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has said so far on its standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Its exit status, once it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended by then; the message has what it said.
    #[must_use]
    pub fn finish(mut self, deadline: Duration) -> Ended {
        let what = format!("the end of {}", self.name);
        let began = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.try_wait() {
                break status;
            }
            assert!(
                began.elapsed() < deadline,
                "{what}: not within {} ms; it said\n{}",
                deadline.as_millis(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.directory.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its end is all that matters; that it ended before is no fault.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// Its standard output, if it ended well.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn expect_success(self) -> String {
        assert!(self.status.success(), "{}: {}\n{}", self.status, self.stderr, self.stdout);
        self.stdout
    }
}

/// Runs a program to its end.
#[must_use]
pub fn run(command: &mut Command, deadline: Duration) -> Ended {
    Running::start(command).finish(deadline)
}

/// Sends a process a signal; one that has ended already gets none.
pub fn signal(pid: u32, which: Signal) {
    let _ended_before = kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), which);
}

/// Whether a process runs (a zombie does not).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until a process is gone.
pub fn wait_gone(what: &str, pid: u32, deadline: Duration) {
    wait_for(&format!("the end of {what}, process {pid}"), deadline, || (!is_alive(pid)).then_some(()));
}

/// The children of a process.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// How many descriptors a process has open.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd"))).map_or(0, Iterator::count)
}

/// Private memory of a process in KiB: what it has for itself, without what it shares.
#[must_use]
pub fn memory_kib(pid: u32) -> u64 {
    let text =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

fn state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The processes of the server with this runtime directory, whoever their master is or was: name (such as `stream#0`) and
/// process id of each, as the kernel has them.
#[must_use]
pub fn relatives(runtime_dir: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let identity = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let entry =
            environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"_SRS_CHILD="))?;
        let identity: serde_json::Value = serde_json::from_slice(entry).ok()?;
        let is_it = identity["runtime_dir"].as_str().map(Path::new) == Some(runtime_dir);
        (is_it && is_alive(pid)).then(|| (identity["name"].as_str().unwrap_or_default().to_owned(), pid))
    };
    pids.filter_map(identity).collect()
}
