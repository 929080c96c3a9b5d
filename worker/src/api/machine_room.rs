//! What is told of the machine and of the server as a whole: summaries and their parts.

use api::{RUsage, Request as Shown, SelfProcStat, SelfSummary, Server, Summaries, SystemProcStat};
use tiny_http::Request;

use super::Known;
use super::head::{DOOR, PEER, VIA};

/// The name that users know the server by.
const NAME: &str = "SRS(Simple RTMP Server)";
const LINK: &str = "https://github.com/ossrs/srs";

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The processes that are there, the master first.
fn pids(known: &Known) -> Vec<u32> {
    let mut pids: Vec<u32> = Vec::new();
    for process in known.census().0.iter().filter(|process| process.state.is_there()) {
        if !pids.contains(&process.pid) {
            pids.push(process.pid);
        }
    }
    pids
}

pub(crate) fn rusage(known: &Known) -> RUsage {
    machine::rusage(&pids(known))
}

pub(crate) fn self_proc_stat(known: &Known) -> SelfProcStat {
    machine::self_proc_stat(&pids(known), known.cpu_percent())
}

pub(crate) fn system_proc_stat(known: &Known) -> SystemProcStat {
    known.host.lock().map(|host| host.system_proc_stat()).unwrap_or_default()
}

pub(crate) fn summaries(known: &Known) -> Summaries {
    let (processes, totals) = known.census();
    let mut system = known.host.lock().map(|host| host.summary()).unwrap_or_default();
    system.srs_sample_time = now_ms();
    (system.srs_recv_bytes, system.srs_send_bytes) = (totals.recv_bytes, totals.send_bytes);
    (system.srs_recv_kbps, system.srs_send_kbps) = (totals.kbps.recv_30s, totals.kbps.send_30s);
    system.conn_srs = totals.connections;
    let stat = self_proc_stat(known);
    let memory = machine::mem_info();
    // In single mode all are one process.
    let mut counted = Vec::new();
    let mut mem_bytes = 0;
    for process in &processes {
        if !counted.contains(&process.pid) {
            counted.push(process.pid);
            mem_bytes += process.memory_bytes;
        }
    }
    let uptime_ms = processes.first().map_or(0, |master| master.uptime_ms);
    let own = SelfSummary {
        version: known.version.clone(),
        pid: stat.pid,
        ppid: stat.ppid.unsigned_abs(),
        argv: command_line(processes.first().map_or(0, |master| master.pid)),
        cwd: std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        mem_kbyte: mem_bytes / 1024,
        mem_percent: share(mem_bytes / 1024, memory.mem_total),
        cpu_percent: stat.percent,
        srs_uptime: tenths(uptime_ms),
    };
    Summaries { ok: stat.ok && memory.ok, now_ms: now_ms(), own, system }
}

/// The command line of a process, as it was typed; empty when it has gone.
fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Milliseconds as seconds with one decimal.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn tenths(ms: u64) -> f64 {
    (ms / 100) as f64 / 10.0
}

/// A request as it came, without what opens doors.
pub(crate) fn request(known: &Known, request: &Request) -> Shown {
    let url = request.url();
    let private = ["Authorization", "Cookie", PEER, DOOR, VIA];
    let headers = request
        .headers()
        .iter()
        .filter(|header| {
            !private.iter().any(|name| header.field.as_str().as_str().eq_ignore_ascii_case(name))
        })
        .map(|header| (header.field.as_str().as_str().to_owned(), header.value.as_str().to_owned()));
    Shown {
        uri: url.to_owned(),
        path: url.split('?').next().unwrap_or("").to_owned(),
        method: request.method().as_str().to_owned(),
        headers: headers.collect(),
        server: Server {
            sigature: "SRS".to_owned(),
            name: NAME.to_owned(),
            version: known.version.clone(),
            link: LINK.to_owned(),
            time: now_ms(),
        },
    }
}
