//! The machine as users of SRS know it from the API.

use std::time::{SystemTime, UNIX_EPOCH};

use api::{MemInfo, RUsage, SelfProcStat, SystemProcStat, SystemSummary};
use procfs::process::Process;
use procfs::{Current, CurrentSI};

const KIB: u64 = 1024;
/// Sectors of /proc/diskstats and blocks of getrusage, bytes.
const BLOCK: u64 = 512;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "for people; counters are below 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

/// Seconds with one decimal.
fn seconds(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Memory of the machine.
#[must_use]
pub fn mem_info() -> MemInfo {
    let Ok(info) = procfs::Meminfo::current() else { return MemInfo::default() };
    let mem_active = info.mem_total.saturating_sub(info.mem_free);
    let real_in_use = mem_active.saturating_sub(info.buffers).saturating_sub(info.cached);
    MemInfo {
        ok: true,
        sample_time: now_ms(),
        percent_ram: share(real_in_use, info.mem_total),
        percent_swap: share(info.swap_total.saturating_sub(info.swap_free), info.swap_total),
        mem_active: mem_active / KIB,
        real_in_use: real_in_use / KIB,
        not_in_use: info.mem_total.saturating_sub(real_in_use) / KIB,
        mem_total: info.mem_total / KIB,
        mem_free: info.mem_free / KIB,
        buffers: info.buffers / KIB,
        cached: info.cached / KIB,
        swap_total: info.swap_total / KIB,
        swap_free: info.swap_free / KIB,
    }
}

fn processes(pids: &[u32]) -> impl Iterator<Item = Process> {
    pids.iter().filter_map(|pid| Process::new(i32::try_from(*pid).ok()?).ok())
}

/// What processes have used, added up.
#[must_use]
pub fn rusage(pids: &[u32]) -> RUsage {
    let mut sum = RUsage { ok: true, sample_time: now_ms(), ..RUsage::default() };
    let ticks = number(procfs::ticks_per_second().max(1));
    for process in processes(pids) {
        if let Ok(stat) = process.stat() {
            sum.ru_utime += number(stat.utime) / ticks;
            sum.ru_stime += number(stat.stime) / ticks;
            sum.ru_minflt += stat.minflt;
            sum.ru_majflt += stat.majflt;
        }
        if let Ok(status) = process.status() {
            sum.ru_maxrss += status.vmhwm.unwrap_or(0);
            sum.ru_nvcsw += status.voluntary_ctxt_switches.unwrap_or(0);
            sum.ru_nivcsw += status.nonvoluntary_ctxt_switches.unwrap_or(0);
        }
        if let Ok(io) = process.io() {
            sum.ru_inblock += io.read_bytes / BLOCK;
            sum.ru_oublock += io.write_bytes / BLOCK;
        }
    }
    sum
}

/// A process (the first) as /proc has it, with times, faults, threads and memory of all.
#[must_use]
pub fn self_proc_stat(pids: &[u32], cpu_percent: f64) -> SelfProcStat {
    let mut stats = processes(pids).filter_map(|process| process.stat().ok());
    let Some(first) = stats.next() else { return SelfProcStat::default() };
    let mut stat = SelfProcStat {
        ok: true,
        sample_time: now_ms(),
        percent: cpu_percent / 100.0,
        pid: u64::from(first.pid.unsigned_abs()),
        comm: format!("({})", first.comm),
        state: first.state.to_string(),
        ppid: first.ppid.into(),
        pgrp: first.pgrp.into(),
        session: first.session.into(),
        tty_nr: first.tty_nr.into(),
        tpgid: first.tpgid.into(),
        flags: first.flags.into(),
        minflt: first.minflt,
        cminflt: first.cminflt,
        majflt: first.majflt,
        cmajflt: first.cmajflt,
        utime: first.utime,
        stime: first.stime,
        cutime: first.cutime,
        cstime: first.cstime,
        priority: first.priority,
        nice: first.nice,
        num_threads: first.num_threads,
        itrealvalue: first.itrealvalue,
        starttime: first.starttime,
        vsize: first.vsize,
        rss: first.rss,
        rsslim: i64::try_from(first.rsslim).unwrap_or(-1),
        startcode: first.startcode,
        endcode: first.endcode,
        startstack: first.startstack,
        kstkesp: first.kstkesp,
        kstkeip: first.kstkeip,
        signal: first.signal,
        blocked: first.blocked,
        sigignore: first.sigignore,
        sigcatch: first.sigcatch,
        wchan: first.wchan,
        nswap: first.nswap,
        cnswap: first.cnswap,
        exit_signal: first.exit_signal.unwrap_or(0).into(),
        processor: first.processor.unwrap_or(0).into(),
        rt_priority: first.rt_priority.unwrap_or(0).into(),
        policy: first.policy.unwrap_or(0).into(),
        delayacct_blkio_ticks: first.delayacct_blkio_ticks.unwrap_or(0),
        guest_time: first.guest_time.unwrap_or(0),
        cguest_time: first.cguest_time.unwrap_or(0),
    };
    for other in stats {
        stat.minflt += other.minflt;
        stat.majflt += other.majflt;
        stat.utime += other.utime;
        stat.stime += other.stime;
        stat.num_threads += other.num_threads;
        stat.rss += other.rss;
    }
    stat
}

/// What has to be remembered from one look to the next.
#[derive(Debug, Default)]
pub struct Host {
    cpu: Option<(u64, u64)>,
    cpu_percent: f64,
    disk: Option<Disk>,
    disk_rates: (u64, u64, f64),
}

/// Counters of disks: when, KiB read and written since boot, ms that the chosen disks were busy.
#[derive(Debug, Clone, Copy)]
struct Disk {
    at_ms: u64,
    read: u64,
    written: u64,
    busy_ms: u64,
}

impl Host {
    /// To be called now and then: rates are those since the call before. `disks` are the devices whose being busy is told.
    pub fn look(&mut self, disks: &[String]) {
        if let Ok(stat) = procfs::KernelStats::current() {
            let total = &stat.total;
            let idle = total.idle + total.iowait.unwrap_or(0);
            let all = idle
                + total.user
                + total.nice
                + total.system
                + total.irq.unwrap_or(0)
                + total.softirq.unwrap_or(0)
                + total.steal.unwrap_or(0);
            if let Some((idle_before, all_before)) = self.cpu {
                let (idle, all) = (idle.saturating_sub(idle_before), all.saturating_sub(all_before));
                self.cpu_percent = if all == 0 { self.cpu_percent } else { 1.0 - share(idle, all) };
            }
            self.cpu = Some((idle, all));
        }
        let vm = procfs::vmstat().unwrap_or_default();
        let value = |name: &str| vm.get(name).and_then(|value| u64::try_from(*value).ok()).unwrap_or(0);
        let busy_ms = procfs::diskstats().map_or(0, |stats| {
            let chosen = stats.iter().filter(|stat| disks.contains(&stat.name));
            chosen.map(|stat| stat.time_in_progress).sum()
        });
        let now = Disk { at_ms: now_ms(), read: value("pgpgin"), written: value("pgpgout"), busy_ms };
        if let Some(before) = self.disk
            && now.at_ms > before.at_ms
        {
            let ms = now.at_ms - before.at_ms;
            let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1000) / ms;
            let busy = share(now.busy_ms.saturating_sub(before.busy_ms), ms * (disks.len() as u64).max(1));
            self.disk_rates = (rate(now.read, before.read), rate(now.written, before.written), busy.min(1.0));
        }
        self.disk = Some(now);
    }

    /// The processors.
    #[must_use]
    pub fn system_proc_stat(&self) -> SystemProcStat {
        let Ok(stat) = procfs::KernelStats::current() else { return SystemProcStat::default() };
        let total = &stat.total;
        SystemProcStat {
            ok: true,
            sample_time: now_ms(),
            percent: self.cpu_percent,
            user: total.user,
            nice: total.nice,
            sys: total.system,
            idle: total.idle,
            iowait: total.iowait.unwrap_or(0),
            irq: total.irq.unwrap_or(0),
            softirq: total.softirq.unwrap_or(0),
            steal: total.steal.unwrap_or(0),
            guest: total.guest.unwrap_or(0),
        }
    }

    /// The machine's part of the summaries; what concerns this server's clients is left 0.
    #[must_use]
    pub fn summary(&self) -> SystemSummary {
        let memory = mem_info();
        let mut system = SystemSummary {
            cpu_percent: self.cpu_percent,
            disk_read_kb_per_s: self.disk_rates.0,
            disk_write_kb_per_s: self.disk_rates.1,
            disk_busy_percent: self.disk_rates.2,
            mem_ram_kbyte: memory.mem_total,
            mem_ram_percent: memory.percent_ram,
            mem_swap_kbyte: memory.swap_total,
            mem_swap_percent: memory.percent_swap,
            net_sample_time: now_ms(),
            ..SystemSummary::default()
        };
        if let Ok(info) = procfs::CpuInfo::current() {
            system.cpus = info.num_cores() as u64;
        }
        system.cpus_online = std::thread::available_parallelism().map_or(0, |count| count.get() as u64);
        if let Ok(uptime) = procfs::Uptime::current() {
            system.uptime = seconds(uptime.uptime);
            system.ilde_time = seconds(uptime.idle);
        }
        if let Ok(load) = procfs::LoadAverage::current() {
            (system.load_1m, system.load_5m, system.load_15m) =
                (load.one.into(), load.five.into(), load.fifteen.into());
        }
        for (name, device) in procfs::net::dev_status().unwrap_or_default() {
            if name != "lo" {
                system.net_recv_bytes += device.recv_bytes;
                system.net_send_bytes += device.sent_bytes;
            }
        }
        let sockets = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp = sockstat(&sockets, "TCP:");
        system.conn_sys_tw = tcp("tw");
        system.conn_sys_et = tcp("inuse");
        system.conn_sys = system.conn_sys_et + system.conn_sys_tw;
        system.conn_sys_udp = sockstat(&sockets, "UDP:")("inuse");
        system
    }
}

/// The numbers of a line of /proc/net/sockstat, by name.
fn sockstat<'t>(text: &'t str, line: &'t str) -> impl Fn(&str) -> u64 + 't {
    let words: Vec<&str> =
        text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or("").split_whitespace().collect();
    move |name| {
        let at = words.iter().position(|word| *word == name);
        at.and_then(|at| words.get(at + 1)).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let own = [std::process::id()];
        let mut host = Host::default();
        host.look(&[]);
        host.look(&[]);
        let (memory, summary, stat) = (mem_info(), host.summary(), self_proc_stat(&own, 50.0));
        assert!(memory.ok && memory.mem_total > 0 && memory.mem_total >= memory.real_in_use);
        assert!(summary.cpus_online > 0 && summary.uptime > 0.0 && summary.mem_ram_kbyte == memory.mem_total);
        assert!(stat.ok && stat.pid == u64::from(own[0]) && stat.rss > 0 && stat.percent > 0.4);
        assert!(host.system_proc_stat().ok && rusage(&own).ru_maxrss > 0);
        assert!(crate::usage(own[0]).unwrap().memory_bytes > 0 && crate::usage(u32::MAX).is_none());
        let text = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1\nUDP: inuse 3 mem 0\n";
        assert_eq!((sockstat(text, "TCP:")("tw"), sockstat(text, "UDP:")("inuse")), (2, 3));
    }
}
