//! Clients.

use serde::{Deserialize, Serialize};

use crate::Kbps;

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
    /// `/app/stream`; empty before play or publish.
    #[serde(default)]
    pub url: String,
    /// Stream name alone.
    #[serde(default)]
    pub name: String,
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
    /// Rates.
    #[serde(default)]
    pub kbps: Kbps,
    /// How far behind the newest packet it is that is sent to it next, ms.
    #[serde(default)]
    pub lag_ms: u64,
    /// Packets that it did not get because it lagged.
    pub dropped: u64,
    /// How often it was moved to a newer key frame.
    pub jumps: u64,
    /// Process that serves it, such as `stream#1`.
    pub process: String,
}

/// What came of closing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// Its id.
    pub id: u64,
    /// Whether there was one.
    pub kicked: bool,
}
