//! Processes, and what they come to together.

use serde::{Deserialize, Serialize};

use crate::{Kbps, Token};

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was started and has not said that it serves.
    #[default]
    Starting,
    /// It serves.
    Serving,
    /// It takes nobody more, and ends with its last client.
    Draining,
    /// It is there and does not answer.
    Hung,
    /// It has ended; it is to be started again.
    Dead,
    /// It has ended and stays down: its own configuration is at fault.
    Out,
}

impl State {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Hung => "hung",
            Self::Dead => "dead",
            Self::Out => "out",
        }
    }

    /// Whether there is a process.
    #[must_use]
    pub const fn is_there(self) -> bool {
        !matches!(self, Self::Dead | Self::Out)
    }
}

/// How a predecessor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEnd {
    /// Such as `SIGKILL` or `exit code 1`.
    pub how: String,
    /// Process id that it had.
    pub pid: u32,
    /// How long ago, ms.
    pub ago_ms: u64,
}

/// A place for a process, and the process in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Role.
    pub role: String,
    /// Number among those of its role.
    pub slot: u32,
    /// Process id; of the dead one, when it is dead.
    pub pid: u32,
    /// Generation of the configuration it goes by.
    #[serde(default)]
    pub generation: u64,
    /// How it is.
    #[serde(default)]
    pub state: State,
    /// How often this slot was started again.
    pub restarts: u32,
    /// Port of its private API on loopback; 0: it has none.
    pub private_api_port: u16,
    /// Whether it answered when it was asked; also true for those who have nothing to say.
    pub answered: bool,
    /// Since it was started, ms.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Since it last showed that it lives, ms.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// Share of one processor in the last seconds, per cent.
    #[serde(default)]
    pub cpu_percent: f64,
    /// Resident memory, bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Client connections that are open.
    #[serde(default)]
    pub connections: u64,
    /// Bytes received from clients by this slot since the server began.
    #[serde(default)]
    pub recv_bytes: u64,
    /// Bytes sent to clients by this slot since the server began.
    #[serde(default)]
    pub send_bytes: u64,
    /// Rates.
    #[serde(default)]
    pub kbps: Kbps,
    /// How the process before it ended.
    #[serde(default)]
    pub last_end: Option<LastEnd>,
}

impl Process {
    /// Such as `stream#1`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}#{}", self.role, self.slot)
    }
}

/// What all processes come to since the server began. No sum falls when a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Connections that are open.
    pub connections: u64,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Of these, refused because the server was full.
    pub refused: u64,
    /// Of these, ended.
    pub ended: u64,
    /// Of these, ended by an error or with their process.
    pub errors: u64,
    /// Bytes received from clients.
    pub recv_bytes: u64,
    /// Bytes sent to clients.
    pub send_bytes: u64,
    /// Streams that are published.
    pub streams: u64,
    /// Rates.
    pub kbps: Kbps,
}

/// What the master says of the server: enough to ask each process oneself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessList {
    /// Version of the server.
    pub version: String,
    /// Process id of the master.
    pub pid: u32,
    /// Generation of the configuration in force.
    pub generation: u64,
    /// Since the master began, ms.
    pub uptime_ms: u64,
    /// What opens private APIs.
    pub token: Token,
    /// Vhosts of the configuration: name, whether it is served, whether it has HLS.
    pub vhosts: Vec<(String, bool, bool)>,
    /// Where it logs, as an absolute path; `None`: to the console.
    #[serde(default)]
    pub log_file: Option<std::path::PathBuf>,
    /// Why the log is not there, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_trouble: Option<String>,
    /// All processes, the master first.
    pub processes: Vec<Process>,
    /// Sums.
    pub totals: Totals,
}

/// `/api/v1/processes`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Processes {
    /// All processes, the master first.
    pub processes: Vec<Process>,
    /// Sums.
    #[serde(default)]
    pub totals: Totals,
    /// Connections that ended since the processes that run now began, by reason.
    #[serde(default)]
    pub ended: std::collections::BTreeMap<String, u64>,
    /// What clients asked and were refused since then, by what and why, such as `publish in_use`.
    #[serde(default)]
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Programs of others that processes run.
    #[serde(default)]
    pub externals: Vec<crate::External>,
    /// Why the log is not where it is to be, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_trouble: Option<String>,
}
