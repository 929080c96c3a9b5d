//! What a server is at this moment, whoever was asked.

use std::collections::BTreeMap;

use api::{Client, Dvr, External, Hls, Merged, Process, State, Stream, Totals, Vhost};
use serde::Serialize;

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Processes and streams.
    Streams,
    /// Clients and vhosts, too.
    Clients,
    /// HLS and recordings, too.
    Media,
}

/// A server.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Snapshot {
    /// Where it was asked.
    pub(crate) node: String,
    pub(crate) version: String,
    /// Process id of who answered.
    pub(crate) server: String,
    pub(crate) uptime_ms: u64,
    pub(crate) generation: u64,
    pub(crate) processes: Vec<Process>,
    pub(crate) totals: Totals,
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) externals: Vec<External>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) clients: Vec<Client>,
    pub(crate) vhosts: Vec<Vhost>,
    pub(crate) hls: Vec<Hls>,
    pub(crate) dvr: Dvr,
    /// Something that the user should know.
    pub(crate) note: Option<String>,
    /// It is one of several servers, and can't be asked: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) down: Option<String>,
}

impl Snapshot {
    /// Takes over what was merged.
    pub(crate) fn set(&mut self, merged: Merged) {
        (self.streams, self.clients) = (merged.streams, merged.clients);
    }

    /// Whether all processes are as they should be.
    pub(crate) fn is_sound(&self) -> bool {
        let fine =
            |process: &Process| matches!(process.state, State::Serving | State::Draining) && process.answered;
        self.down.is_none() && self.processes.iter().all(fine)
    }
}
