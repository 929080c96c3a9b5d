//! The server's side of a connection.

use super::error::SessionError;
use super::event::{Output, PlayReject, RejectReason, ServerEvent};
use super::snapshot::SnapshotError;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};

/// Who this server says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Address of this server as the client sees it.
    pub server_ip: String,
    /// Process id to show.
    pub pid: u32,
    /// Id of the connection to show; the one in the logs.
    pub id: u64,
    /// Version of this server, for example `0.1.0`.
    pub version: String,
}

/// How a server session is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOptions {
    /// Maxima.
    pub limits: Limits,
    /// Fresh random bytes for the handshake.
    pub seed: [u8; 32],
    /// Who this server is.
    pub identity: Identity,
    /// Chunk size announced when the client is identified, 128..=65536.
    pub out_chunk_size: u32,
    /// Acknowledgement window asked of the client in bytes.
    pub out_window: u32,
    /// Acknowledge every so many bytes whatever the client says; 0 means the client decides.
    pub in_ack_size: u32,
}

/// The decision the owner owes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Pending {
    /// A `connect`.
    Connect(Box<super::event::ConnectRequest>),
    /// A `publish`.
    Publish(super::event::PublishRequest),
    /// A `play`.
    Play(super::event::PlayRequest),
}

/// A server session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerSession {}

impl ServerSession {
    /// A session for a connection accepted at `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64, options: ServerOptions) -> Self {
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
    pub fn poll_output(&mut self) -> Option<Output<ServerEvent>> {
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
    /// The decision that is owed, if any.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        None
    }
    /// The accepted (or pending) connect.
    #[must_use]
    pub fn connect_request(&self) -> Option<&super::event::ConnectRequest> {
        None
    }
    /// Accepts the pending connect and goes on parsing.
    ///
    /// # Errors
    /// From the input that waited; or `NothingPending`, which is the caller's fault and changes nothing.
    pub fn accept_connect(&mut self, now_ms: u64) -> Result<(), SessionError> {
        let _ = now_ms;
        Ok(())
    }
    /// Rejects the pending connect.
    pub fn reject_connect(&mut self, description: &str) {
        let _ = description;
    }
    /// Accepts the pending publish.
    ///
    /// # Errors
    /// As for `accept_connect`.
    pub fn accept_publish(&mut self, now_ms: u64, msid: u32) -> Result<(), SessionError> {
        let _ = (now_ms, msid);
        Ok(())
    }
    /// Rejects the pending publish.
    pub fn reject_publish(&mut self, msid: u32, reason: RejectReason, description: &str) {
        let _ = (msid, reason, description);
    }
    /// Accepts the pending play.
    ///
    /// # Errors
    /// As for `accept_connect`.
    pub fn accept_play(&mut self, now_ms: u64, msid: u32) -> Result<(), SessionError> {
        let _ = (now_ms, msid);
        Ok(())
    }
    /// Rejects the pending play.
    pub fn reject_play(&mut self, msid: u32, reason: PlayReject, description: &str) {
        let _ = (msid, reason, description);
    }
    /// Changes our chunk size.
    pub fn set_out_chunk_size(&mut self, size: u32) {
        let _ = size;
    }
    /// Our chunk size.
    #[must_use]
    pub fn out_chunk_size(&self) -> u32 {
        128
    }
    /// The stream ended.
    pub fn end_play(&mut self, now_ms: u64, msid: u32) {
        let _ = (now_ms, msid);
    }
    /// We go down.
    pub fn goodbye(&mut self, description: &str) {
        let _ = description;
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
    /// Bytes buffered but not parsed.
    #[must_use]
    pub fn unread(&self) -> usize {
        0
    }
    /// The whole session as bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    /// A session from a snapshot.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of this version.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let _ = bytes;
        Err(SnapshotError::Malformed)
    }
}
