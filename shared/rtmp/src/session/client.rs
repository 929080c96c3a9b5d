//! The client's side of a connection.

use super::error::SessionError;
use super::event::{ClientEvent, Output};
use crate::limits::Limits;
use crate::message::MediaKind;
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

/// A client session.
#[derive(Debug, Clone)]
pub struct ClientSession {}

impl ClientSession {
    /// A session for a connection made at `now_ms`; it transmits at once.
    #[must_use]
    pub fn new(now_ms: u64, options: ClientOptions) -> Self {
        let _ = (now_ms, options);
        Self {}
    }
    /// Takes all of `input`.
    ///
    /// # Errors
    /// The session is dead.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<(), SessionError> {
        let _ = (now_ms, input);
        Ok(())
    }
    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<ClientEvent>> {
        None
    }
    /// Absolute deadline in milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }
    /// The deadline passed.
    ///
    /// # Errors
    /// The session is dead.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), SessionError> {
        let _ = now_ms;
        Ok(())
    }
    /// Sends one message of the published stream; false (and nothing sent) unless publishing.
    pub fn send_media(&mut self, kind: MediaKind, timestamp: u32, payload: &[u8]) -> bool {
        let _ = (kind, timestamp, payload);
        false
    }
    /// Ends the publish or play politely: FCUnpublish and deleteStream.
    pub fn finish(&mut self) {}
    /// Message stream id, once created.
    #[must_use]
    pub fn msid(&self) -> Option<u32> {
        None
    }
    /// Our chunk size.
    #[must_use]
    pub fn out_chunk_size(&self) -> u32 {
        128
    }
    /// Counts media bytes that the owner wrote itself.
    pub fn note_sent(&mut self, bytes: u64) {
        let _ = bytes;
    }
    /// Bytes given to `handle_input` so far.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        0
    }
    /// Bytes of all `Transmit` outputs and of `note_sent`.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        0
    }
}
