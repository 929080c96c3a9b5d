//! Other servers: origins an edge pulls from, and destinations a stream is forwarded to.

use serde::{Deserialize, Serialize};

/// Another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port, 1 to 65535.
    pub port: u16,
}

/// Where the streams of a vhost live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ClusterMode {
    /// Here: this server is the origin.
    #[default]
    Local,
    /// At the origins: this server is an edge.
    Remote,
}

/// How an edge pulls from its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PullProtocol {
    /// RTMP.
    #[default]
    Rtmp,
    /// HTTP-FLV.
    Flv,
}

/// Origin and edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Origin or edge.
    pub mode: ClusterMode,
    /// Origins of an edge, in order; not empty when `mode` is remote.
    pub origins: Vec<Endpoint>,
    /// Ask the origin to authorise every client.
    pub token_traverse: bool,
    /// Vhost to ask the origin for; `None` is the client's own.
    pub vhost: Option<String>,
    /// Tell upstream servers who we are.
    pub debug_srs_upnode: bool,
    /// Origins that know each other.
    pub origin_cluster: bool,
    /// API addresses of the other origins.
    pub coworkers: Vec<String>,
    /// How an edge pulls.
    pub protocol: PullProtocol,
    /// Pull with the protocol the first client uses.
    pub follow_client: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            mode: ClusterMode::Local,
            origins: Vec::new(),
            token_traverse: false,
            vhost: None,
            debug_srs_upnode: true,
            origin_cluster: false,
            coworkers: Vec::new(),
            protocol: PullProtocol::Rtmp,
            follow_client: false,
        }
    }
}

/// Push of every published stream to other servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forward {
    /// On when the flat list is used or the block says so.
    pub enabled: bool,
    /// Servers to push to.
    pub destinations: Vec<Endpoint>,
    /// URL of a server that is asked where to push; `None` asks nobody.
    pub backend: Option<String>,
}
