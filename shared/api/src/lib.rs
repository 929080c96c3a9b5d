//! What processes report and operators ask: one set of structs for every encoding and every asker.
//!
//! Byte counts are totals since the connection or stream began; times are milliseconds.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// A client connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Id of the connection, as in the logs.
    pub id: u64,
    /// Resolved vhost; empty before connect.
    pub vhost: String,
    /// `app/stream` that it plays or publishes; empty before.
    pub stream: String,
    /// Peer address.
    pub ip: String,
    /// Page that embeds the player.
    #[serde(rename = "pageUrl")]
    pub page_url: String,
    /// Flash movie.
    #[serde(rename = "swfUrl")]
    pub swf_url: String,
    /// Where it connected to, secrets masked.
    #[serde(rename = "tcUrl")]
    pub tc_url: String,
    /// `fmle-publish`, `play` or `unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it publishes.
    pub publish: bool,
    /// Seconds since accept.
    pub alive: f64,
    /// Bytes sent to it.
    pub send_bytes: u64,
    /// Bytes received from it.
    pub recv_bytes: u64,
    /// Packets that it did not get because it lagged.
    pub dropped: u64,
    /// How often it was moved to a newer key frame.
    pub jumps: u64,
    /// Process that serves it, such as `stream#1`.
    pub process: String,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Id, unique in this server.
    pub id: u64,
    /// Stream name.
    pub name: String,
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// When the publish began, ms ago.
    pub live_ms: u64,
    /// Clients: the publisher and the viewers of all processes.
    pub clients: u64,
    /// Packets received.
    pub frames: u64,
    /// Bytes sent to viewers.
    pub send_bytes: u64,
    /// Bytes received from the publisher.
    pub recv_bytes: u64,
    /// Publisher.
    pub publish: Publish,
    /// Video codec, once seen.
    pub video: Option<String>,
    /// Audio codec, once seen.
    pub audio: Option<String>,
    /// Bytes of the stream's ring.
    pub ring_bytes: u64,
    /// Jumps of the publisher's clock that were corrected.
    pub time_jumps: u64,
}

/// Who publishes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publish {
    /// Whether somebody does.
    pub active: bool,
    /// Connection id.
    pub cid: u64,
}

/// Viewers of one stream in one process, for the sum over all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewers {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// How many watch.
    pub clients: u64,
    /// Media bytes sent to those who watch now and those who have left.
    pub send_bytes: u64,
}

/// What one process knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Such as `stream#1`.
    pub process: String,
    /// Process id.
    pub pid: u32,
    /// Its connections.
    pub clients: Vec<Client>,
    /// Streams it is the source of.
    pub streams: Vec<Stream>,
    /// Viewers by stream.
    pub viewers: Vec<Viewers>,
    /// Connections that ended, by reason.
    pub ended: Vec<(String, u64)>,
    /// Programs of others that it runs.
    #[serde(default)]
    pub externals: Vec<External>,
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

/// A process as the master lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Role.
    pub role: String,
    /// Number among those of its role.
    pub slot: u32,
    /// Process id.
    pub pid: u32,
    /// How often this slot was started again.
    pub restarts: u32,
    /// Port of its private API on loopback.
    pub private_api_port: u16,
    /// Whether it answered when it was asked.
    pub answered: bool,
}

/// The whole server, merged from the reports of its processes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Merged {
    /// All client connections, by id.
    pub clients: Vec<Client>,
    /// All streams, by name.
    pub streams: Vec<Stream>,
}

/// Merges the reports of all processes: viewers and their bytes are added to their streams.
#[must_use]
pub fn merge(reports: Vec<Report>) -> Merged {
    let mut merged = Merged::default();
    let mut viewers = Vec::new();
    for report in reports {
        merged.clients.extend(report.clients);
        merged.streams.extend(report.streams);
        viewers.extend(report.viewers);
    }
    for stream in &mut merged.streams {
        stream.clients = u64::from(stream.publish.active);
        for seen in &viewers {
            if (&seen.vhost, &seen.app, &seen.name) == (&stream.vhost, &stream.app, &stream.name) {
                stream.clients += seen.clients;
                stream.send_bytes += seen.send_bytes;
            }
        }
    }
    merged.clients.sort_by_key(|client| client.id);
    merged.streams.sort_by(|a, b| (&a.vhost, &a.app, &a.name).cmp(&(&b.vhost, &b.app, &b.name)));
    merged
}

/// Connections that ended, by reason, over all processes.
#[must_use]
pub fn merge_ended(reports: &[Report]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in reports.iter().flat_map(|report| &report.ended) {
        *all.entry(reason.clone()).or_default() += count;
    }
    all
}

/// The envelope of all JSON answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// 0 for success.
    pub code: u32,
    /// Names the server's processes: the master's pid.
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

/// `/api/v1/versions`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Inside `data`, as the reference has it.
    pub data: Version,
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
