//! What is told of the machine and of the process that answers. Names and units are those that users of SRS know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The form of these answers: all inside `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data<T> {
    /// The answer.
    pub data: T,
}

/// `/api/v1/rusages`: what all processes of the server have used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "getrusage(2) has the meanings")]
pub struct RUsage {
    pub ok: bool,
    /// When, ms since 1970.
    pub sample_time: u64,
    /// Seconds.
    pub ru_utime: f64,
    /// Seconds.
    pub ru_stime: f64,
    /// KiB.
    pub ru_maxrss: u64,
    pub ru_ixrss: u64,
    pub ru_idrss: u64,
    pub ru_isrss: u64,
    pub ru_minflt: u64,
    pub ru_majflt: u64,
    pub ru_nswap: u64,
    pub ru_inblock: u64,
    pub ru_oublock: u64,
    pub ru_msgsnd: u64,
    pub ru_msgrcv: u64,
    pub ru_nsignals: u64,
    pub ru_nvcsw: u64,
    pub ru_nivcsw: u64,
}

/// `/api/v1/self_proc_stats`: the master as /proc/PID/stat has it, times of all processes together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "proc_pid_stat(5) has the meanings")]
pub struct SelfProcStat {
    pub ok: bool,
    /// When, ms since 1970.
    pub sample_time: u64,
    /// Share of the time of one processor, 0 to 1 for each.
    pub percent: f64,
    pub pid: u64,
    pub comm: String,
    pub state: String,
    pub ppid: i64,
    pub pgrp: i64,
    pub session: i64,
    pub tty_nr: i64,
    pub tpgid: i64,
    pub flags: u64,
    pub minflt: u64,
    pub cminflt: u64,
    pub majflt: u64,
    pub cmajflt: u64,
    pub utime: u64,
    pub stime: u64,
    pub cutime: i64,
    pub cstime: i64,
    pub priority: i64,
    pub nice: i64,
    pub num_threads: i64,
    pub itrealvalue: i64,
    pub starttime: u64,
    pub vsize: u64,
    pub rss: u64,
    /// No limit is -1: the number is beyond what AMF0 and JSON readers can hold.
    pub rsslim: i64,
    pub startcode: u64,
    pub endcode: u64,
    pub startstack: u64,
    pub kstkesp: u64,
    pub kstkeip: u64,
    pub signal: u64,
    pub blocked: u64,
    pub sigignore: u64,
    pub sigcatch: u64,
    pub wchan: u64,
    pub nswap: u64,
    pub cnswap: u64,
    pub exit_signal: i64,
    pub processor: i64,
    pub rt_priority: u64,
    pub policy: u64,
    pub delayacct_blkio_ticks: u64,
    pub guest_time: u64,
    pub cguest_time: i64,
}

/// `/api/v1/system_proc_stats`: the machine's processors together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "proc_stat(5) has the meanings")]
pub struct SystemProcStat {
    pub ok: bool,
    /// When, ms since 1970.
    pub sample_time: u64,
    /// Share of the time that was not idle, 0 to 1.
    pub percent: f64,
    pub user: u64,
    pub nice: u64,
    pub sys: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
    pub steal: u64,
    pub guest: u64,
}

/// `/api/v1/meminfos`, KiB.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
#[serde(rename_all = "PascalCase")]
pub struct MemInfo {
    #[serde(rename = "ok")]
    pub ok: bool,
    /// When, ms since 1970.
    #[serde(rename = "sample_time")]
    pub sample_time: u64,
    /// `RealInUse / MemTotal`.
    #[serde(rename = "percent_ram")]
    pub percent_ram: f64,
    /// Used share of the swap.
    #[serde(rename = "percent_swap")]
    pub percent_swap: f64,
    /// `MemTotal − MemFree`.
    pub mem_active: u64,
    /// `MemActive − Buffers − Cached`.
    pub real_in_use: u64,
    /// `MemTotal − RealInUse`.
    pub not_in_use: u64,
    pub mem_total: u64,
    pub mem_free: u64,
    pub buffers: u64,
    pub cached: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}

/// `/api/v1/summaries`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summaries {
    /// Whether all of it could be found out.
    pub ok: bool,
    /// ms since 1970.
    pub now_ms: u64,
    /// The server: all its processes together.
    #[serde(rename = "self")]
    pub own: SelfSummary,
    /// The machine.
    pub system: SystemSummary,
}

/// The server in [`Summaries`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SelfSummary {
    pub version: String,
    /// Of the master.
    pub pid: u64,
    pub ppid: u64,
    pub argv: String,
    pub cwd: String,
    pub mem_kbyte: u64,
    /// Share, 0 to 1.
    pub mem_percent: f64,
    /// Share of one processor, 0 to 1 for each.
    pub cpu_percent: f64,
    /// Seconds, one decimal.
    pub srs_uptime: f64,
}

/// The machine in [`Summaries`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SystemSummary {
    pub cpu_percent: f64,
    #[serde(rename = "disk_read_KBps")]
    pub disk_read_kb_per_s: u64,
    #[serde(rename = "disk_write_KBps")]
    pub disk_write_kb_per_s: u64,
    pub disk_busy_percent: f64,
    pub mem_ram_kbyte: u64,
    pub mem_ram_percent: f64,
    pub mem_swap_kbyte: u64,
    pub mem_swap_percent: f64,
    pub cpus: u64,
    pub cpus_online: u64,
    /// Seconds.
    pub uptime: f64,
    /// Seconds of all processors; the name is as users know it.
    pub ilde_time: f64,
    pub load_1m: f64,
    pub load_5m: f64,
    pub load_15m: f64,
    pub net_sample_time: u64,
    /// All interfaces but loopback.
    pub net_recv_bytes: u64,
    pub net_send_bytes: u64,
    pub srs_sample_time: u64,
    /// All clients since the server began.
    pub srs_recv_bytes: u64,
    pub srs_recv_kbps: u64,
    pub srs_send_bytes: u64,
    pub srs_send_kbps: u64,
    /// TCP sockets of the machine.
    pub conn_sys: u64,
    pub conn_sys_et: u64,
    pub conn_sys_tw: u64,
    pub conn_sys_udp: u64,
    /// Clients.
    pub conn_srs: u64,
}

/// `/api/v1/authors`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Authors {
    pub primary: String,
    pub authors: String,
    pub license: String,
    pub contributors_link: String,
    pub contributors: String,
}

/// `/api/v1/requests`: the request itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Request {
    pub uri: String,
    pub path: String,
    #[serde(rename = "METHOD")]
    pub method: String,
    /// Credentials are left out.
    pub headers: BTreeMap<String, String>,
    pub server: Server,
}

/// The server in [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Server {
    /// The name is as users know it.
    pub sigature: String,
    pub name: String,
    pub version: String,
    pub link: String,
    /// ms since 1970.
    pub time: u64,
}
