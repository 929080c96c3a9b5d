//! The server's side of a connection: handshake, `connect`, then any number of message streams that publish or play.
//!
//! ```text
//! Handshake -> AwaitConnect -> (Connect: owner decides) -> Connected -> (Publish, Play: owner decides) -> ...
//! ```
//!
//! While a decision is awaited nothing is parsed: what arrives stays in the session, and a snapshot carries it
//! together with the question. What each command does in each state stands in the table of `server/commands.rs`.

mod commands;
mod connected;
mod replies;
mod streams;

pub(super) use commands::missing;

use super::error::SessionError;
use super::event::{CloseReason, ConnectRequest, Dropped, Output, PlayRequest, PublishRequest, ServerEvent};
use super::pool::Pool;
use super::snapshot::{self, SnapshotError};
use super::wire::Wire;
use crate::aggregate;
use crate::chunk::reader::Skipped;
use crate::command::Command;
use crate::control::Control;
use crate::handshake::Handshake;
use crate::limits::Limits;
use crate::message::{self, MediaKind, Message};
use bytes::{Buf, BytesMut};
use connected::Connection;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// Maxima, shared by all sessions that have the same.
    pub limits: Arc<Limits>,
    /// Fresh random bytes for the handshake.
    pub seed: [u8; 32],
    /// Who this server is.
    pub identity: Identity,
    /// Chunk size announced when the client is identified, 128..=65536.
    pub out_chunk_size: u32,
    /// Acknowledgement window asked of the client in bytes; 0 does not ask.
    pub out_window: u32,
    /// Acknowledge every so many bytes until the client says otherwise; 0 means not before the client says so.
    pub in_ack_size: u32,
}

/// The decision the owner owes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Pending {
    /// A `connect`.
    Connect(Arc<ConnectRequest>),
    /// A `publish`.
    Publish(PublishRequest),
    /// A `play`.
    Play(PlayRequest),
}

/// Harmless oddities of the peer, counted instead of punished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Media on a message stream that does not publish, and of which nobody can tell where it belongs.
    pub stray_media: u64,
    /// Messages of types that mean nothing here (shared objects, unknown types, commands before `connect`).
    pub ignored_messages: u64,
    /// Unfinished messages that were dropped.
    pub dropped_partials: u64,
    /// Data messages longer than allowed, left out.
    pub too_long: u64,
}

impl Counters {
    /// Counts what was left out. Returns how often that was so, when it is to be told: for each cause the first time, then when
    /// it has doubled, so that a flood of it is no flood of events.
    fn note(&mut self, what: Dropped) -> Option<u64> {
        let count = match what {
            Dropped::Stray { .. } => &mut self.stray_media,
            Dropped::TooLong { .. } => &mut self.too_long,
        };
        *count += 1;
        count.is_power_of_two().then_some(*count)
    }
}

/// A server session; see [`crate::session`] for the contract.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerSession {
    limits: Arc<Limits>,
    /// Until the client is connected: nobody asks afterwards.
    identity: Option<Box<Identity>>,
    /// The chunk size wanted once the client is identified.
    wanted_chunk_size: u32,
    out_window: u32,
    state: State,
    pending: Option<Box<Pending>>,
    requests: u64,
    deadline_ms: Option<u64>,
    unread: BytesMut,
    wire: Wire<ServerEvent>,
    counters: Counters,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Handshake(Handshake),
    /// The transaction of the pending connect.
    AwaitConnect {
        transaction: f64,
    },
    Connected(Box<Connection>),
}

impl State {
    /// The number by which a connect is answered.
    fn connect_transaction(&self) -> f64 {
        match self {
            Self::AwaitConnect { transaction } if *transaction > 0.0 => *transaction,
            _ => 1.0,
        }
    }

    /// Whether a stream is published or played.
    fn is_active(&self) -> bool {
        matches!(self, Self::Connected(connection) if connection.streams.is_active())
    }
}

impl ServerSession {
    /// A session for a connection accepted at `now_ms` (any monotonic clock in milliseconds, the same for all calls).
    #[must_use]
    pub fn new(now_ms: u64, options: ServerOptions) -> Self {
        let ServerOptions { limits, seed, identity, out_chunk_size, out_window, in_ack_size } = options;
        let deadline_ms = Some(now_ms.saturating_add(limits.handshake_timeout_ms));
        let wire = Wire::new(&limits, (in_ack_size > 0).then_some(in_ack_size));
        Self {
            limits,
            identity: Some(Box::new(identity)),
            wanted_chunk_size: out_chunk_size,
            out_window,
            state: State::Handshake(Handshake::server(seed)),
            pending: None,
            requests: 0,
            deadline_ms,
            unread: BytesMut::new(),
            wire,
            counters: Counters::default(),
        }
    }

    /// Takes all of `input`; what may not be parsed yet is kept. Ignored once the session is closed or dead.
    ///
    /// # Errors
    /// The peer broke a rule; the session is dead, outputs may still hold a status for the peer.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<(), SessionError> {
        if self.wire.closed {
            return Ok(());
        }
        self.wire.begin_turn(input.len());
        let result = if self.pending.is_none() && self.unread.is_empty() {
            let mut rest = input;
            let result = self.parse(now_ms, &mut rest);
            self.unread.extend_from_slice(rest);
            result
        } else {
            self.unread.extend_from_slice(input);
            self.resume(now_ms)
        };
        let result = result.and_then(|()| self.check_unread());
        self.finish(result)
    }

    /// The next thing to do, `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output<ServerEvent>> {
        self.wire.poll()
    }

    /// When to call [`Self::handle_timeout`], in milliseconds of the caller's clock; `None` for never, which is so
    /// while a stream is active and while a decision of the owner is awaited.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.pending.is_some() || self.wire.closed { None } else { self.deadline_ms }
    }

    /// Tells the session what time it is; harmless when called too early.
    ///
    /// # Errors
    /// The peer was too slow; the session is dead.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), SessionError> {
        if self.poll_timeout().is_none_or(|deadline_ms| now_ms < deadline_ms) {
            return Ok(());
        }
        let error = match self.state {
            State::Handshake(_) => SessionError::HandshakeTimeout,
            _ => SessionError::IdentifyTimeout,
        };
        self.finish(Err(error))
    }

    /// The decision that is owed, if any. Its request id tells a late answer from a timely one.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_deref()
    }

    /// The `connect` of this connection, once accepted or while pending.
    #[must_use]
    pub fn connect_request(&self) -> Option<&ConnectRequest> {
        match (&self.state, self.pending.as_deref()) {
            (State::Connected(connection), _) => Some(&connection.request),
            (_, Some(Pending::Connect(request))) => Some(request),
            _ => None,
        }
    }

    /// Names of the message streams that publish, with their ids, in order of creation.
    #[must_use]
    pub fn publishing(&self) -> Vec<(u32, &str)> {
        match &self.state {
            State::Connected(connection) => connection.streams.publishing().collect(),
            _ => Vec::new(),
        }
    }

    /// Changes our chunk size to 128..=65536 (clamped) and tells the client when it is another one.
    pub fn set_out_chunk_size(&mut self, size: u32) {
        self.wanted_chunk_size = size;
        self.wire.announce_chunk_size(size);
    }

    /// Which acknowledgements are asked of the client and given to it, in bytes, as [`ServerOptions::out_window`] and
    /// [`ServerOptions::in_ack_size`] say. To be called before the connect is accepted; a client that has said itself how
    /// it wants to be acknowledged keeps that.
    pub fn set_windows(&mut self, out_window: u32, in_ack_size: u32) {
        self.out_window = out_window;
        if in_ack_size > 0 {
            self.wire.acknowledge_every(in_ack_size);
        }
    }

    /// The chunk size in which the owner has to write from here on: 128 until something was accepted.
    #[must_use]
    pub fn out_chunk_size(&self) -> u32 {
        self.wire.chunk_size
    }

    /// Bytes that are kept but not parsed.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Bytes that are held in all: unparsed, and of unfinished messages.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.unread.len() + self.wire.reader.buffered()
    }

    /// Goes by these limits from now on, and shares them with all that do.
    pub fn set_limits(&mut self, limits: &Arc<Limits>) {
        self.limits = Arc::clone(limits);
        self.wire.reader.set_limits(limits);
    }

    /// Gives back memory that nothing is kept in, or that others keep alike: for sessions that will say little for long
    /// (viewers).
    pub fn compact(&mut self, pool: &mut Pool) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        self.wire.compact();
        if let State::Connected(connection) = &mut self.state {
            connection.streams.compact();
            pool.share(&mut connection.request);
        }
    }

    /// The whole session as bytes, at any moment: partial messages, unread bytes, undrained outputs and the pending
    /// decision included.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self)
    }

    /// A session that goes on where the snapshot was taken.
    ///
    /// # Errors
    /// When the bytes are not a snapshot that this version understands.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        snapshot::read(bytes)
    }

    /// Marks the session dead when `result` says so.
    fn finish(&mut self, result: Result<(), SessionError>) -> Result<(), SessionError> {
        if result.is_err() {
            self.wire.closed = true;
            self.pending = None;
            self.unread.clear();
        }
        result
    }

    fn check_unread(&self) -> Result<(), SessionError> {
        let bytes = self.unread.len();
        if bytes > self.limits.max_undecided_input {
            Err(SessionError::UndecidedInput { bytes })
        } else {
            Ok(())
        }
    }

    /// Parses what was kept, as far as it may be parsed now.
    fn resume(&mut self, now_ms: u64) -> Result<(), SessionError> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut rest: &[u8] = &unread;
        let result = self.parse(now_ms, &mut rest);
        let used = unread.len() - rest.len();
        unread.advance(used);
        self.unread = unread;
        result
    }

    fn parse(&mut self, now_ms: u64, input: &mut &[u8]) -> Result<(), SessionError> {
        while self.pending.is_none() && !self.wire.closed {
            if let State::Handshake(handshake) = &mut self.state {
                let before = input.len();
                let mut out = Vec::new();
                let result = handshake.read(now_ms, input, &mut out);
                let done = handshake.is_done();
                self.wire.consumed += (before - input.len()) as u64;
                self.wire.transmit(out);
                result?;
                if !done {
                    break;
                }
                self.state = State::AwaitConnect { transaction: 0.0 };
                self.deadline_ms = Some(now_ms.saturating_add(self.limits.identify_timeout_ms));
            }
            let message = self.wire.read(input);
            // Told also when what follows is an error.
            for Skipped { type_id, length, max } in self.wire.reader.take_skipped() {
                self.dropped(Dropped::TooLong { type_id, length, max });
            }
            let Some(message) = message? else { break };
            self.wire.acknowledge();
            self.handle_message(now_ms, message)?;
        }
        self.wire.acknowledge();
        Ok(())
    }

    fn handle_message(&mut self, now_ms: u64, message: Message) -> Result<(), SessionError> {
        if let Some(kind) = message::kind_of(message.type_id) {
            self.handle_media(kind, message);
            return Ok(());
        }
        match message.type_id {
            message::AGGREGATE => {
                for part in aggregate::split(&message, self.limits.max_aggregate_parts)? {
                    match message::kind_of(part.type_id) {
                        Some(kind) => self.handle_media(kind, part),
                        None => self.counters.ignored_messages += 1,
                    }
                }
            }
            message::COMMAND | message::COMMAND_AMF3 => {
                let payload = message::amf0_payload(message.type_id, &message.payload);
                let command = Command::decode(&payload, &self.limits.amf())?;
                self.handle_command(now_ms, message.stream_id, &command)?;
            }
            _ => match self.wire.handle_control(&self.limits, &message)? {
                Some(Control::Acknowledgement(bytes)) => self.wire.event(ServerEvent::Acknowledged(bytes)),
                Some(Control::SetBufferLength { msid, ms }) => self.handle_buffer_length(msid, ms),
                Some(_) => {}
                None => self.counters.ignored_messages += 1,
            },
        }
        Ok(())
    }

    fn handle_media(&mut self, kind: MediaKind, message: Message) {
        let msid = match &self.state {
            State::Connected(connection) => connection.streams.publisher_for(message.stream_id),
            _ => None,
        };
        let Some(msid) = msid else {
            self.dropped(Dropped::Stray { msid: message.stream_id, kind });
            return;
        };
        let payload = match kind {
            MediaKind::Data => message::amf0_payload(message.type_id, &message.payload),
            _ => message.payload,
        };
        self.wire.event(ServerEvent::Media { msid, kind, timestamp: message.timestamp, payload });
    }

    /// Tells what was left out, when it is to be told.
    fn dropped(&mut self, what: Dropped) {
        if let Some(count) = self.counters.note(what) {
            self.wire.event(ServerEvent::Dropped { what, count });
        }
    }

    /// A hint, passed on only for a stream of this connection.
    fn handle_buffer_length(&mut self, msid: u32, ms: u32) {
        const MOST_MS: u32 = 60_000;
        if let State::Connected(connection) = &self.state
            && connection.streams.get(msid).is_some()
        {
            self.wire.event(ServerEvent::BufferLength { msid, ms: ms.min(MOST_MS) });
        }
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Closes in good order.
    fn close(&mut self, reason: CloseReason) {
        self.pending = None;
        self.unread.clear();
        self.wire.close(reason);
    }

    /// Without an active stream the client has `timeout_ms` to start one.
    fn rearm(&mut self, now_ms: u64, timeout_ms: u64) {
        self.deadline_ms = (!self.state.is_active()).then(|| now_ms.saturating_add(timeout_ms));
    }
}
