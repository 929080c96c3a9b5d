//! Which processes belong to a server, by what the kernel says of them: a file that tells it could be missing, old, or on a
//! disk that hangs. A child carries its identity in its environment (`/proc/PID/environ`, proc(5)), which only our own
//! user and root can read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipc::IDENTITY_VARIABLE;
use serde::{Deserialize, Serialize};

/// What a child's command line begins with.
pub(crate) const TITLE: &str = "srs: ";

/// Who a child is, as its environment tells it and others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its role, as [`ipc::Role::name`] has it.
    pub role: String,
    /// Such as `stream#1`.
    pub name: String,
    /// Name of the server's family: where its master is found.
    pub family: String,
    /// The server's runtime directory, absolute.
    pub runtime_dir: PathBuf,
    /// Its log file; standard output without.
    #[serde(default)]
    pub log_file: Option<PathBuf>,
    /// Lowest level of log lines.
    #[serde(default)]
    pub log_level: String,
    /// Times of log lines in UTC.
    #[serde(default)]
    pub log_utc: bool,
}

impl Identity {
    /// Our own; `None` when this process is no child of a server.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        serde_json::from_str(&std::env::var(IDENTITY_VARIABLE).ok()?).ok()
    }
}

/// A process of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relative {
    pub(crate) pid: u32,
    /// When it began, as the kernel counts: a number that was given to another process since is not its own.
    pub(crate) began: u64,
    pub(crate) family: String,
}

/// When a process began, in ticks since boot; `None` when it is not there (or has ended and waits for its parent).
pub(crate) fn began(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok())?
}

/// Whether the main thread of a process has ended while the process has not. That nothing can be read of it says nothing.
pub(crate) fn is_corpse(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// All children of servers with this runtime directory, whoever their master is or was.
pub(crate) fn find(runtime_dir: &Path) -> Vec<Relative> {
    let own = nix::unistd::geteuid().as_raw();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_ours = entries.filter(|entry| entry.metadata().is_ok_and(|facts| facts.uid() == own));
    let pids = of_ours.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| relative(pid, runtime_dir)).collect()
}

fn relative(pid: u32, runtime_dir: &Path) -> Option<Relative> {
    let began = began(pid)?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if !command.starts_with(TITLE.as_bytes()) {
        return None;
    }
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let identity: Identity =
        serde_json::from_slice(variable(&environment, IDENTITY_VARIABLE)?.as_bytes()).ok()?;
    (identity.runtime_dir == runtime_dir).then_some(Relative { pid, began, family: identity.family })
}

/// A variable of an environment as the kernel shows it: `NAME=value`, each with a zero behind it.
fn variable<'e>(environment: &'e [u8], name: &str) -> Option<&'e OsStr> {
    let of = |entry: &'e [u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    environment.split(|byte| *byte == 0).find_map(of).map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"A=1\0AB=2\0B=\0AB=3\0";
        assert_eq!(variable(environment, "AB"), Some(OsStr::new("2")));
        assert_eq!(variable(environment, "B"), Some(OsStr::new("")));
        assert_eq!(variable(environment, "C"), None);
    }

    #[test]
    fn this_process_is_nobodys_child() {
        assert!(began(std::process::id()).is_some());
        assert!(find(Path::new("/")).is_empty());
        assert_eq!(Identity::of_this_process(), None);
    }
}
