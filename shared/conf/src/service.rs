//! The services of the whole server beside RTMP: HTTP, metrics, heartbeat, status lines, graceful quit.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Who may read at the management API without token or password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reads {
    /// Programs on this host that ask for themselves.
    #[default]
    Loopback,
    /// Everybody.
    All,
    /// Nobody.
    Token,
}

/// The management API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpApi {
    /// Off by default.
    pub enabled: bool,
    /// Where to listen; all IPv4 interfaces when only a port was given.
    pub listen: SocketAddr,
    /// Let pages of other origins read the answers.
    pub crossdomain: bool,
    /// Requests that change the server.
    pub raw_api: RawApi,
    /// User name and password asked for; `None` asks for nothing.
    pub auth: Option<Credentials>,
    /// The same API over TLS.
    pub https: Https,
    /// Who may read without token or password.
    pub reads: Reads,
    /// Whether ids of streams and clients are strings.
    #[serde(default)]
    pub string_ids: bool,
    /// Whether programs on this host may use the control paths of nginx-rtmp without the token.
    #[serde(default)]
    pub control_for_loopback: bool,
    /// Host names under which it may be asked, beside addresses, localhost and the machine's name.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Answers as a script when the query has a callback.
    #[serde(default)]
    pub jsonp: bool,
    /// Answers as nginx-rtmp does, at its paths.
    #[serde(default)]
    pub nginx_rtmp: bool,
}

/// Requests of the management API that change the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawApi {
    /// Off by default.
    pub enabled: bool,
    /// Allow a reload over HTTP.
    pub allow_reload: bool,
}

/// HTTP basic authentication.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the password out, so that it never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// TLS for an HTTP service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Https {
    /// Off by default.
    pub enabled: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
}

/// The built-in HTTP server for files and live streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpServer {
    /// Off by default.
    pub enabled: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Root directory of the files.
    pub dir: PathBuf,
    /// Let pages of other origins read the answers.
    pub crossdomain: bool,
    /// How long a request for a stream that nobody publishes yet is kept waiting, milliseconds.
    pub stream_wait_ms: u64,
    /// The pages of the server itself are served, below `/console/` and where there is no file.
    pub console: bool,
    /// Offer FLV and MP4 files as HLS.
    pub vod: bool,
    /// The same server over TLS.
    pub https: Https,
}

/// Metrics for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exporter {
    /// Off by default.
    pub enabled: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Streams that have series of their own.
    #[serde(default)]
    pub top_streams: u32,
    /// Label `label` of every metric; empty for none.
    pub label: String,
    /// Label `tag` of every metric; empty for none.
    pub tag: String,
}

/// Periodic report to another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Off by default.
    pub enabled: bool,
    /// Between two reports, milliseconds, above 0.
    pub interval_ms: u64,
    /// Where to post.
    pub url: String,
    /// Identity of this device.
    pub device_id: String,
    /// Add the statistics summary.
    pub summaries: bool,
    /// Add the listening ports.
    pub ports: bool,
}

/// What the statistics call "the" address and disks of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Index into the list of local IPv4 addresses.
    pub network: u32,
    /// Block devices to count; empty counts none.
    pub disks: Vec<String>,
}

/// Periods of the repeated status lines, milliseconds, above 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PithyPrint {
    /// Publishers.
    pub publish_ms: u64,
    /// Viewers.
    pub play_ms: u64,
    /// Forwarders.
    pub forwarder_ms: u64,
    /// Transcoders.
    pub encoder_ms: u64,
    /// Ingesters.
    pub ingester_ms: u64,
    /// HLS writers.
    pub hls_ms: u64,
    /// Edges.
    pub edge_ms: u64,
}

/// How the server ends when it is asked to finish its work first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grace {
    /// Wait before the listeners are closed, milliseconds.
    pub start_wait_ms: u64,
    /// Wait after the last connection has gone, milliseconds.
    pub final_wait_ms: u64,
    /// Longest wait for connections to end, milliseconds.
    pub timeout_ms: u64,
    /// Make the terminate signal graceful, too.
    pub force: bool,
}

impl Https {
    fn on_port(port: u16) -> Self {
        Self {
            enabled: false,
            listen: any_address(port),
            key: PathBuf::from("./conf/server.key"),
            cert: PathBuf::from("./conf/server.crt"),
        }
    }
}

impl Default for HttpApi {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: any_address(1985),
            crossdomain: false,
            raw_api: RawApi::default(),
            auth: None,
            https: Https::on_port(1990),
            reads: Reads::Loopback,
            string_ids: false,
            control_for_loopback: false,
            hosts: Vec::new(),
            jsonp: false,
            nginx_rtmp: false,
        }
    }
}

impl Default for HttpServer {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: any_address(8080),
            dir: PathBuf::from("./objs/nginx/html"),
            crossdomain: true,
            stream_wait_ms: 5_000,
            vod: false,
            console: true,
            https: Https::on_port(8088),
        }
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: any_address(9972),
            top_streams: 20,
            label: String::new(),
            tag: String::new(),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_ms: 9_900,
            url: "http://127.0.0.1:8085/api/v1/servers".into(),
            device_id: String::new(),
            summaries: false,
            ports: false,
        }
    }
}

impl Default for PithyPrint {
    fn default() -> Self {
        const PERIOD_MS: u64 = 10_000;
        Self {
            publish_ms: PERIOD_MS,
            play_ms: PERIOD_MS,
            forwarder_ms: PERIOD_MS,
            encoder_ms: PERIOD_MS,
            ingester_ms: PERIOD_MS,
            hls_ms: PERIOD_MS,
            edge_ms: PERIOD_MS,
        }
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self { start_wait_ms: 2_300, final_wait_ms: 3_200, timeout_ms: 30_000, force: false }
    }
}
