//! What a server costs: processor time and memory of a process and all its descendants, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::distribution::median;
use crate::outcome::Share;

/// Memory of a process tree.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Proportional set size: shared pages count as many times as they are mapped, divided by as many, KiB.
    pub pss_kib: u64,
    /// Processes counted.
    pub processes: usize,
    /// What the kernel holds for all TCP sockets of the machine, KiB: bytes that wait in sockets are no process's memory.
    pub tcp_kib: u64,
}

impl Memory {
    /// The median over several looks.
    #[must_use]
    pub fn median(looks: &[Self]) -> Self {
        let pss = median(looks.iter().map(|look| look.pss_kib as f64));
        let tcp = median(looks.iter().map(|look| look.tcp_kib as f64));
        // Kibibytes are whole numbers far below 2^52.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let (pss_kib, tcp_kib) = (pss as u64, tcp as u64);
        Self { pss_kib, tcp_kib, processes: looks.last().map_or(0, |look| look.processes) }
    }

    /// In MiB.
    #[must_use]
    pub fn mib(&self) -> f64 {
        self.pss_kib as f64 / 1024.0
    }
}

/// Processor time of each process of a tree.
#[derive(Debug, Clone, Default)]
pub struct Cpu(BTreeMap<u32, u64>);

impl Cpu {
    /// What was used since an earlier look. Processes that ended meanwhile are missing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let used = |(pid, ns): (&u32, &u64)| (*pid, ns.saturating_sub(*earlier.0.get(pid).unwrap_or(&0)));
        Self(self.0.iter().map(used).collect())
    }

    /// Of all processes together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.values().sum::<u64>() as f64 / 1e9
    }

    /// By process, in cores, for a time of `seconds`.
    #[must_use]
    pub fn shares(&self, seconds: f64) -> Vec<Share> {
        let share = |(pid, ns): (&u32, &u64)| Share {
            name: name(*pid),
            of_core: *ns as f64 / 1e9 / seconds.max(1e-9),
        };
        self.0.iter().map(share).collect()
    }
}

/// A server's processes, found anew at each look.
#[derive(Debug, Clone, Default)]
pub struct ProcessTree {
    roots: Vec<u32>,
}

impl ProcessTree {
    /// The trees below these processes.
    #[must_use]
    pub fn new(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Process ids of the roots and everything below them.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let pairs: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, parent(pid)?)))
            .collect();
        let mut found = self.roots.clone();
        let mut at = 0;
        while let Some(&pid) = found.get(at) {
            let children = pairs.iter().filter(|(child, parent)| *parent == pid && !found.contains(child));
            let children: Vec<u32> = children.map(|(child, _)| *child).collect();
            found.extend(children);
            at += 1;
        }
        found
    }

    /// Processor time that each process has used so far.
    #[must_use]
    pub fn cpu(&self) -> Cpu {
        Cpu(self.pids().into_iter().map(|pid| (pid, cpu_ns(pid))).collect())
    }

    /// The least number of descriptors that a process whose name contains `role` may open.
    #[must_use]
    pub fn descriptor_limit(&self, role: &str) -> Option<u64> {
        let of_role = self.pids().into_iter().filter(|pid| name(*pid).contains(role));
        of_role.filter_map(descriptor_limit).min()
    }

    /// Memory now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let pids = self.pids();
        Memory {
            pss_kib: pids.iter().map(|pid| pss_kib(*pid)).sum(),
            processes: pids.len(),
            tcp_kib: tcp_pages(&fs::read_to_string("/proc/net/sockstat").unwrap_or_default()) * 4,
        }
    }
}

fn stat(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, also blanks and parentheses.
    Some(text.rsplit_once(')')?.1.to_owned())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// What a process calls itself: the beginning of its command line.
fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(first).into_owned()
}

fn descriptor_limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Run time of all threads; the scheduler counts nanoseconds, `stat` only ticks of 10 ms.
fn cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let run_ns = |entry: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let precise: u64 = threads.filter_map(|entry| run_ns(entry.ok()?)).sum();
    if precise > 0 {
        return precise;
    }
    let ticks = |text: String| -> Option<u64> {
        let mut fields = text.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    stat(pid).and_then(ticks).unwrap_or(0) * 10_000_000
}

fn pss_kib(pid: u32) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { return 0 };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The last field of the line `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`, in pages of 4 KiB.
fn tcp_pages(sockstat: &str) -> u64 {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"));
    let mut fields = line.unwrap_or_default().split_whitespace().skip_while(|field| *field != "mem");
    fields.nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_many_pages_its_sockets_hold() {
        let text = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 17\nUDP: inuse 0 mem 3\n";
        assert_eq!((tcp_pages(text), tcp_pages("")), (17, 0));
    }

    #[test]
    fn this_process_has_memory_and_has_worked() {
        let tree = ProcessTree::new(vec![std::process::id()]);
        let earlier = tree.cpu();
        let mut sum = 0_u64;
        for n in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(n));
        }
        let used = tree.cpu().since(&earlier);
        assert!(used.seconds() > 0.0 && used.seconds() < 60.0);
        assert!(used.shares(1.0).iter().all(|share| !share.name.is_empty()));
        assert!(tree.descriptor_limit("").is_some_and(|limit| limit > 0));
        assert!(tree.memory().pss_kib > 100);
    }
}
