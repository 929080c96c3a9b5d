//! What a client session is for, and how it presents itself.

use crate::limits::Limits;
use amf0::Value;
use serde::{Deserialize, Serialize};

/// What a client session is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMode {
    /// Publish a stream.
    Publish {
        /// Stream name, with query if any.
        stream: String,
        /// Announce with releaseStream and FCPublish first, as FMLE does.
        fmle: bool,
    },
    /// Play a stream.
    Play {
        /// Stream name, with query if any.
        stream: String,
    },
    /// Only connect.
    ConnectOnly,
}

/// How a client session is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientOptions {
    /// Maxima.
    pub limits: Limits,
    /// Fresh random bytes for the handshake.
    pub seed: [u8; 32],
    /// The `app` property.
    pub app: String,
    /// The `tcUrl` property.
    pub tc_url: String,
    /// The `flashVer` property.
    pub flash_ver: String,
    /// The `pageUrl` property.
    pub page_url: Option<String>,
    /// The `swfUrl` property.
    pub swf_url: Option<String>,
    /// An object sent behind the command object; absent when empty.
    pub args: Vec<(String, Value)>,
    /// Publish or play.
    pub mode: ClientMode,
    /// Our chunk size, 128..=65536; 128 is not announced.
    pub out_chunk_size: u32,
    /// Acknowledgement window asked of the server in bytes.
    pub out_window: u32,
    /// SetBufferLength when playing, in milliseconds.
    pub buffer_ms: u32,
    /// Use the simple handshake instead of the complex one.
    pub simple_handshake: bool,
    /// From creation until publishing or playing, in milliseconds.
    pub start_timeout_ms: u64,
}

impl ClientOptions {
    /// Options with the usual defaults: chunk size 60000, window 2500000, buffer 1 s, 10 s to start.
    #[must_use]
    pub fn new(tc_url: String, app: String, mode: ClientMode, seed: [u8; 32]) -> Self {
        Self {
            limits: Limits::default(),
            seed,
            app,
            tc_url,
            flash_ver: "WIN 12,0,0,41".to_owned(),
            page_url: None,
            swf_url: None,
            args: Vec::new(),
            mode,
            out_chunk_size: 60_000,
            out_window: 2_500_000,
            buffer_ms: 1_000,
            simple_handshake: false,
            start_timeout_ms: 10_000,
        }
    }
}
