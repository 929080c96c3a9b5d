//! What the kernel says of processes and of the machine, through /proc. Nothing here waits for a process: a stopped one is
//! described like any other.

#![forbid(unsafe_code)]

mod host;
mod sampler;

use procfs::process::Process;

pub use host::{Host, mem_info, rusage, self_proc_stat};
pub use sampler::Sampler;

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time, ms.
    pub cpu_ms: u64,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// It was stopped by a signal or a debugger.
    pub stopped: bool,
}

/// What the kernel says of a process; `None` when it is gone.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = Process::new(i32::try_from(pid).ok()?).and_then(|process| process.stat()).ok()?;
    if matches!(stat.state, 'Z' | 'X') {
        return None;
    }
    let ticks = stat.utime + stat.stime;
    Some(Usage {
        cpu_ms: ticks.saturating_mul(1000) / procfs::ticks_per_second().max(1),
        memory_bytes: stat.rss.saturating_mul(procfs::page_size()),
        stopped: matches!(stat.state, 'T' | 't'),
    })
}
