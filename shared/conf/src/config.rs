//! The typed configuration: what the processes read, after the text has been parsed and checked.
//!
//! Every value here is already in range; nobody downstream checks again. The structs are plain data with serde, so the
//! master can send them to its children. Times carry their unit in the name, sizes are bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::limits::{Limits, Ring};
pub use crate::service::{
    Credentials, Exporter, Grace, Heartbeat, HttpApi, HttpServer, Https, PithyPrint, RawApi, Reads, Stats,
};
pub use crate::vhost::Vhost;

/// Name of the vhost that serves every host name without a block of its own.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// One RTMP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where to bind; port 0 lets the kernel choose.
    pub address: SocketAddr,
}

/// How many stream processes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Workers {
    /// One per processor core.
    #[default]
    Auto,
    /// Exactly this many, 1 to 256.
    Count(u32),
}

/// Whether the server is split into processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProcessMode {
    /// Master, back-source and stream processes.
    #[default]
    Multi,
    /// Everything in one process: for debugging and very small machines.
    Single,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Tank {
    /// Standard output.
    Console,
    /// The file named by `srs_log_file`, appended to.
    #[default]
    File,
}

/// Lowest level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Level {
    /// Everything, including protocol details.
    Verbose,
    /// Details for developers.
    Info,
    /// Normal operation.
    #[default]
    Trace,
    /// Something is wrong but was dealt with.
    Warn,
    /// Something failed.
    Error,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// File or console.
    pub tank: Tank,
    /// Lowest level written.
    pub level: Level,
    /// Log file; used when `tank` is [`Tank::File`].
    pub file: PathBuf,
    /// Times in UTC instead of local time.
    pub utc: bool,
}

/// The whole configuration of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// RTMP listeners, at least one.
    pub listen: Vec<Listen>,
    /// Pid file.
    pub pid: PathBuf,
    /// Go to the background at start.
    pub daemon: bool,
    /// Connections accepted in all, at least 1.
    pub max_connections: u32,
    /// Stream processes.
    pub workers: Workers,
    /// Back-source processes, 1 to 64.
    pub backsources: u32,
    /// Http processes, 1 to 64.
    pub http_workers: u32,
    /// One process or many.
    pub process_mode: ProcessMode,
    /// Outgoing RTMP chunk size in bytes, 128 to 65536, for vhosts without their own.
    pub chunk_size: u32,
    /// Directory to change to at start; `None` stays where the server was started.
    pub work_dir: Option<PathBuf>,
    /// Directory of the log files of ffmpeg children; `/dev/null` discards them.
    pub ff_log_dir: PathBuf,
    /// Log level word given to ffmpeg children.
    pub ff_log_level: String,
    /// Logging.
    pub log: Log,
    /// Management API.
    pub http_api: HttpApi,
    /// Built-in HTTP file and stream server.
    pub http_server: HttpServer,
    /// Metrics for Prometheus.
    pub exporter: Exporter,
    /// Periodic report to another server.
    pub heartbeat: Heartbeat,
    /// Which network address and disks the statistics name.
    pub stats: Stats,
    /// Periods of the status lines in the log.
    pub pithy_print: PithyPrint,
    /// Ring sizes.
    pub ring: Ring,
    /// Defences against hostile peers.
    pub limits: Limits,
    /// Graceful quit.
    pub grace: Grace,
    /// Restart children that show no sign of life for so long, milliseconds; 0 never.
    pub watchdog_ms: u64,
    /// Quit when the parent process dies.
    pub asprocess: bool,
    /// Reload when the file changes on disk.
    pub inotify_auto_reload: bool,
    /// Accept connections whose peer address is unknown.
    pub empty_ip_ok: bool,
    /// Identity of this server in statistics and hooks; `None` lets the server make one.
    pub server_id: Option<String>,
    /// First port of the private APIs of the processes; 0 lets the kernel choose each.
    pub private_api_port: u16,
    /// Directory of sockets and state files of the running server.
    pub runtime_dir: PathBuf,
    /// Virtual hosts in file order, names unique.
    pub vhosts: Vec<Vhost>,
}

/// Outcome of [`Config::vhost`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lookup<'a> {
    /// Serve the client under this vhost; its name replaces the one the client asked for.
    Found(&'a Vhost),
    /// The matching vhost is switched off: refuse the client.
    Disabled(&'a Vhost),
    /// Neither the name nor a default vhost exists: refuse the client.
    NotFound,
}

impl Config {
    /// What a process may know that faces clients: all but what opens the API.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut config = self.clone();
        config.http_api.auth = None;
        config
    }

    /// Finds the vhost for a host name: the block of that name (letter case and a final dot do not matter), else
    /// `__defaultVhost__`. Nothing is inherited between the two.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Lookup<'_> {
        let wanted = name.strip_suffix('.').unwrap_or(name);
        let named = |name: &str| self.vhosts.iter().find(|v| v.name.eq_ignore_ascii_case(name));
        match named(wanted).or_else(|| named(DEFAULT_VHOST)) {
            Some(vhost) if vhost.enabled => Lookup::Found(vhost),
            Some(vhost) => Lookup::Disabled(vhost),
            None => Lookup::NotFound,
        }
    }

    /// The port that `[port]` stands for in templates: that of the first listener.
    #[must_use]
    pub fn first_port(&self) -> u16 {
        self.listen.first().map_or(1935, |listen| listen.address.port())
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { tank: Tank::File, level: Level::Trace, file: PathBuf::from("./objs/srs.log"), utc: false }
    }
}

impl Default for Config {
    /// The configuration of a file that says only `listen 1935;`.
    fn default() -> Self {
        Self {
            listen: vec![Listen { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 1935)) }],
            pid: PathBuf::from("./objs/srs.pid"),
            daemon: true,
            max_connections: 1000,
            workers: Workers::Auto,
            backsources: 1,
            http_workers: 1,
            process_mode: ProcessMode::Multi,
            chunk_size: 60_000,
            work_dir: None,
            ff_log_dir: PathBuf::from("./objs"),
            ff_log_level: "info".into(),
            log: Log::default(),
            http_api: HttpApi::default(),
            http_server: HttpServer::default(),
            exporter: Exporter::default(),
            heartbeat: Heartbeat::default(),
            stats: Stats::default(),
            pithy_print: PithyPrint::default(),
            ring: Ring::default(),
            limits: Limits::default(),
            grace: Grace::default(),
            watchdog_ms: 3_000,
            asprocess: false,
            inotify_auto_reload: false,
            empty_ip_ok: true,
            server_id: None,
            private_api_port: 0,
            runtime_dir: PathBuf::from("./objs"),
            vhosts: Vec::new(),
        }
    }
}
