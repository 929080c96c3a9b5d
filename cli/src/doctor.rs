//! What of this host helps or hinders the server: limits, features of the kernel, what a sandbox leaves.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;

use crate::quantity;
use crate::snapshot::Snapshot;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Note,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    what: &'static str,
    pub(crate) verdict: Verdict,
    found: String,
    /// What to do about it.
    advice: &'static str,
}

/// Descriptors below which a server of the usual `max_connections` runs out.
const FEW_DESCRIPTORS: u64 = 4096;
/// Backlog of sockets below which bursts of clients are refused by the kernel.
const SHORT_BACKLOG: u64 = 1024;

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn finding(what: &'static str, good: bool, found: String, advice: &'static str) -> Finding {
    let verdict = if good { Verdict::Ok } else { Verdict::Note };
    Finding { what, verdict, found, advice: if good { "" } else { advice } }
}

/// Looks at this host, and at the server if there is one.
pub(crate) fn look(server: Result<&Snapshot, &String>) -> Vec<Finding> {
    let mut findings = vec![kernel(), descriptors(), backlog(), memory(), shared_memory(), processors()];
    findings.push(containment());
    let ptrace = number("/proc/sys/kernel/yama/ptrace_scope");
    findings.push(finding(
        "/proc of other processes",
        fs::read_to_string("/proc/1/stat").is_ok(),
        format!(
            "readable; ptrace_scope {}",
            ptrace.map_or_else(|| "-".to_owned(), |scope| scope.to_string())
        ),
        "mounted with hidepid: processor time and memory of processes can't be told",
    ));
    findings.push(match server {
        Ok(snapshot) if snapshot.is_sound() => finding(
            "server",
            true,
            format!("version {}, {} processes serve", snapshot.version, snapshot.processes.len()),
            "",
        ),
        Ok(snapshot) => Finding {
            what: "server",
            verdict: Verdict::Bad,
            found: snapshot
                .processes
                .iter()
                .filter(|process| !process.answered)
                .map(|process| format!("{} is {}", process.name(), process.state.word()))
                .collect::<Vec<_>>()
                .join(", "),
            advice: "see srs-cli status and srs-cli logs",
        },
        Err(error) => Finding {
            what: "server",
            verdict: Verdict::Note,
            found: error.lines().next().unwrap_or("").to_owned(),
            advice: "start it, or say where it is: --socket PATH, --api URL",
        },
    });
    findings
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').filter_map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    finding(
        "kernel",
        version >= (5, 3),
        release.trim().to_owned(),
        "5.3 is needed for pidfd: a master can't take over the children of a dead one",
    )
}

fn descriptors() -> Finding {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    finding(
        "descriptors of a process",
        hard >= FEW_DESCRIPTORS,
        format!("{soft}, at most {hard}"),
        "each client is one: raise `ulimit -Hn`, or LimitNOFILE= of the unit",
    )
}

fn backlog() -> Finding {
    let backlog = number("/proc/sys/net/core/somaxconn").unwrap_or(0);
    finding(
        "net.core.somaxconn",
        backlog >= SHORT_BACKLOG,
        backlog.to_string(),
        "clients that come in a burst are refused by the kernel: sysctl net.core.somaxconn=4096",
    )
}

fn memory() -> Finding {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    finding(
        "memory",
        available >= 256 << 10,
        format!("{} MiB available", available >> 10),
        "less than 256 MiB: lower `ring { total }`",
    )
}

fn shared_memory() -> Finding {
    let name = c"srs-doctor";
    let flags = nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING | nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    let made = nix::sys::memfd::memfd_create(name, flags);
    let found = made
        .as_ref()
        .map_or_else(|error| format!("refused: {error}"), |_| "can be made and sealed".to_owned());
    let mut finding =
        finding("shared memory (memfd)", made.is_ok(), found, "a sandbox forbids it: nothing works without");
    if made.is_err() {
        finding.verdict = Verdict::Bad;
    }
    finding
}

fn processors() -> Finding {
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    finding("processors", count > 1, count.to_string(), "one: `process_mode single` spares memory")
}

/// cgroup limits, seccomp, no_new_privs.
fn containment() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("-", |rest| rest.trim_start_matches(':').trim()).to_owned()
    };
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .map_or_else(|| "none".to_owned(), |text| limit_text(text.trim()));
    let inside = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    Finding {
        what: "sandbox",
        verdict: Verdict::Ok,
        found: format!(
            "{}seccomp {}, no_new_privs {}, memory limit {limit}",
            if inside { "container, " } else { "" },
            field("Seccomp"),
            field("NoNewPrivs")
        ),
        advice: "",
    }
}

/// A limit of a control group. The kernel of old says "none" by the largest whole number of pages.
fn limit_text(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(bytes) if bytes < 1 << 62 => quantity::bytes(bytes),
        _ => "none".to_owned(),
    }
}

/// For people.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        lines.push(format!("{mark}  {:<26}{}", finding.what, crate::table::plain(&finding.found)));
        if !finding.advice.is_empty() {
            lines.push(format!("{:32}{}", "", finding.advice));
        }
    }
    lines.join("\n")
}
