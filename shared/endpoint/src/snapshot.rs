//! A connection as bytes, for the process that takes it over.

use std::net::SocketAddr;

use media::StreamKey;
use serde::{Deserialize, Serialize};

use crate::viewer::ViewerSnapshot;

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The outer form.
    #[error("the connection's snapshot can't be read: {0}")]
    Form(#[from] rmp_serde::decode::Error),
    /// The protocol session inside.
    #[error("the session's snapshot can't be read: {0}")]
    Session(#[from] rtmp::SnapshotError),
}

/// Everything of a connection but its socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionSnapshot {
    /// Id in logs and APIs: it stays.
    pub id: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// When it was accepted, monotonic ms.
    pub accepted_ms: u64,
    /// Resolved vhost.
    pub vhost: Option<String>,
    /// Bytes received and sent so far.
    pub bytes: (u64, u64),
    /// The RTMP session with the bytes it has not yet parsed and the decision it waits for.
    #[serde(with = "serde_bytes")]
    pub session: Vec<u8>,
    /// Bytes that the socket has not taken.
    #[serde(with = "serde_bytes")]
    pub outbox: Vec<u8>,
    /// What it plays.
    pub(crate) playing: Vec<(StreamKey, ViewerSnapshot)>,
    /// What it publishes: message stream ids.
    pub(crate) publishing: Vec<u32>,
}

impl ConnectionSnapshot {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).unwrap_or_default()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no snapshot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}
