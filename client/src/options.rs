//! How a connection is made. Values only.

use std::net::SocketAddr;
use std::time::Duration;

/// How an encoder announces its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// releaseStream and FCPublish first, as FMLE, OBS and ffmpeg do.
    #[default]
    Fmle,
    /// createStream and publish only, as Flash pages do.
    Flash,
}

/// How a connection is made; `Options::default()` suits ordinary servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Our chunk size in bytes, 128..=65536.
    pub chunk_size: u32,
    /// For each address of the host: how long its TCP connection may take.
    pub connect_timeout: Duration,
    /// From the TCP connection to the accepted publish or play.
    pub start_timeout: Duration,
    /// How long one read of a player may last; [`crate::Player::next`] then returns a timeout, and may be called again.
    pub read_timeout: Duration,
    /// How long one write may make no progress.
    pub write_timeout: Duration,
    /// How a publisher announces its stream.
    pub style: Style,
    /// Local address to connect from; port 0 lets the system choose.
    pub bind: Option<SocketAddr>,
    /// Size of the socket's receive buffer in bytes, set before the connection is made.
    pub receive_buffer: Option<usize>,
    /// The page that embeds the player, for servers with a referrer rule.
    pub page_url: Option<String>,
    /// The `tcUrl` to claim instead of the URL's own.
    pub tc_url: Option<String>,
    /// Use the simple handshake instead of the complex one.
    pub simple_handshake: bool,
    /// How much a player says it buffers.
    pub buffer_ms: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_size: 60_000,
            connect_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            style: Style::default(),
            bind: None,
            receive_buffer: None,
            page_url: None,
            tc_url: None,
            simple_handshake: false,
            buffer_ms: 1_000,
        }
    }
}
