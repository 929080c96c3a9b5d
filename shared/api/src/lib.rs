//! What processes report and operators ask: one set of structs for every encoding and every asker.
//!
//! Byte counts are totals since the connection, stream or server began; times are milliseconds.

#![forbid(unsafe_code)]

mod client;
mod machine;
mod process;
mod reason;
mod recording;
mod report;
mod stream;
mod token;

use serde::{Deserialize, Serialize};

pub use client::{Client, Kicked};
pub use machine::{
    Authors, Data, MemInfo, RUsage, Request, SelfProcStat, SelfSummary, Server, Summaries, SystemProcStat,
    SystemSummary,
};
pub use process::{LastEnd, Process, ProcessList, Processes, State, Totals};
pub use reason::Reason;
pub use recording::{Dvr, ELSEWHERE, Hls, HlsList, Record, RecordAnswer, Recorded, Recording};
pub use report::{Merged, Report, merge, merge_ended, merge_refused, vhosts};
pub use stream::{Audio, Kbps, Publish, PublisherKind, Stream, Switch, Track, Vhost, Video, Viewers, Wanted};
pub use token::{SharedToken, Token};

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Generation of the configuration that is in force after it.
    pub generation: u64,
    /// Differences that are in force now.
    pub changes: Vec<String>,
    /// Differences that need a restart of the server.
    pub after_restart: Vec<String>,
    /// Why nothing changed.
    pub error: Option<String>,
    /// Processes that have applied it, and all that should.
    pub applied: u32,
    /// Of so many.
    pub processes: u32,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who would be touched; only in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<Touched>,
}

/// Whom a reload would touch: the clients of a vhost, or of a process that is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Such as `vhost live.example.com` or `stream#3`.
    pub what: String,
    /// What becomes of them.
    pub effect: Effect,
    /// `app/stream` of those that are published or watched, at most [`Self::MOST`].
    pub streams: Vec<String>,
    /// How many connections.
    pub clients: u64,
    /// Their ids, at most [`Self::MOST`].
    pub ids: Vec<u64>,
}

/// What a reload means for clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They stay, and other rules hold for them.
    #[default]
    Changes,
    /// They are closed.
    Closes,
    /// They stay where they are, and their process takes nobody else.
    Drains,
}

impl Touched {
    /// Streams and ids that are named.
    pub const MOST: usize = 100;

    /// Adds what another process says of the same.
    pub fn merge(&mut self, other: Self) {
        self.clients += other.clients;
        for stream in other.streams {
            if self.streams.len() < Self::MOST && !self.streams.contains(&stream) {
                self.streams.push(stream);
            }
        }
        self.ids.extend(other.ids.into_iter().take(Self::MOST.saturating_sub(self.ids.len())));
        self.streams.sort();
        self.ids.sort_unstable();
    }
}

/// What an operator asks of the master on the control socket: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Order {
    /// Reads the configuration again. Answered with [`Reload`].
    Reload {
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Who is there. Answered with [`ProcessList`].
    Processes,
    /// A stream process takes nobody more, and ends with its last client. Answered with [`Done`].
    Drain {
        /// Such as `stream#1`.
        process: String,
        /// Who is left after so many milliseconds is ended with it; 0: at once. Without, it waits for ever.
        #[serde(default)]
        within_ms: Option<u64>,
    },
}

/// What came of an order that has nothing else to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for people.
    pub said: String,
    /// Why nothing was.
    #[serde(default)]
    pub error: Option<String>,
}

/// A program of somebody else, such as ffmpeg, that a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct External {
    /// What it is for, such as `ingest camera`.
    pub name: String,
    /// The program.
    pub program: String,
    /// Process id; 0 while it does not run.
    pub pid: u32,
    /// How often it was started again.
    pub restarts: u64,
    /// How it ended last; empty when it never did.
    pub ended: String,
    /// Its log; empty when there is none.
    pub log: String,
    /// How long it has run, or waits to be started, ms.
    pub for_ms: u64,
}

/// The envelope of all answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// 0 for success.
    pub code: u32,
    /// Names the server's processes: the pid of the one that answers.
    #[serde(default)]
    pub server: String,
    /// The answer.
    #[serde(flatten)]
    pub data: T,
}

/// `/api/v1/streams`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// All streams.
    pub streams: Vec<Stream>,
}

/// `/api/v1/clients`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// All clients.
    pub clients: Vec<Client>,
}

/// `/api/v1/vhosts`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vhosts {
    /// All vhosts.
    pub vhosts: Vec<Vhost>,
}

/// A version in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// First number.
    pub major: u64,
    /// Second number.
    pub minor: u64,
    /// Third number.
    pub revision: u64,
    /// All of them.
    pub version: String,
}

impl Version {
    /// Splits `1.2.3`.
    #[must_use]
    pub fn parse(version: &str) -> Self {
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { major: next(), minor: next(), revision: next(), version: version.to_owned() }
    }
}
