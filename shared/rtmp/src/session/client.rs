//! The client's side of a connection: handshake, connect, createStream, then one stream that is published or played.
//!
//! It is tolerant of servers: answers with unknown transaction numbers are ignored, media are taken on whatever
//! message stream they come, and media before the status that announces them count as the status.

mod options;

use super::error::SessionError;
use super::event::{ClientEvent, CloseReason, Output};
use super::snapshot::{self, SnapshotError};
use super::wire::Wire;
use crate::aggregate;
use crate::command::Command;
use crate::control::Control;
use crate::handshake::{Form, Handshake};
use crate::message::{self, MediaKind, Message};
use amf0::Value;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use options::{ClientMode, ClientOptions};

/// Transaction numbers of our commands; each is used once.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE_STREAM: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE_STREAM: f64 = 4.0;
    pub(super) const FC_UNPUBLISH: f64 = 5.0;
    pub(super) const DELETE_STREAM: f64 = 6.0;
}

/// A client session; see [`crate::session`] for the contract.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientSession {
    options: ClientOptions,
    state: State,
    deadline_ms: Option<u64>,
    /// Whether the end of the stream was told already.
    ended: bool,
    wire: Wire<ClientEvent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Handshake(Handshake),
    Connecting,
    Connected,
    Creating,
    Starting { msid: u32 },
    Active { msid: u32 },
    Finished,
}

impl ClientSession {
    /// A session for a connection made at `now_ms`; its first bytes are to be transmitted at once.
    #[must_use]
    pub fn new(now_ms: u64, options: ClientOptions) -> Self {
        let form = if options.simple_handshake { Form::Simple } else { Form::Complex };
        let (handshake, hello) = Handshake::client(options.seed, form);
        let mut wire = Wire::new(&Arc::new(options.limits.clone()), None);
        wire.transmit(hello);
        let deadline_ms = Some(now_ms.saturating_add(options.start_timeout_ms));
        Self { options, state: State::Handshake(handshake), deadline_ms, ended: false, wire }
    }

    /// Takes all of `input`. Ignored once the session is closed or dead.
    ///
    /// # Errors
    /// The server broke a rule; the session is dead.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<(), SessionError> {
        if self.wire.closed {
            return Ok(());
        }
        self.wire.begin_turn(input.len());
        let mut rest = input;
        let result = self.parse(now_ms, &mut rest);
        self.wire.closed |= result.is_err();
        result
    }

    /// The next thing to do, `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output<ClientEvent>> {
        self.wire.poll()
    }

    /// When to call [`Self::handle_timeout`], in milliseconds of the caller's clock; `None` once it has started.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.wire.closed { None } else { self.deadline_ms }
    }

    /// Tells the session what time it is; harmless when called too early.
    ///
    /// # Errors
    /// The server was too slow; the session is dead.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), SessionError> {
        if self.poll_timeout().is_none_or(|deadline_ms| now_ms < deadline_ms) {
            return Ok(());
        }
        self.wire.closed = true;
        Err(match self.state {
            State::Handshake(_) => SessionError::HandshakeTimeout,
            _ => SessionError::StartTimeout,
        })
    }

    /// Transmits one message of the published stream; false, and nothing sent, unless publishing.
    pub fn send_media(&mut self, kind: MediaKind, timestamp: u32, payload: &[u8]) -> bool {
        let State::Active { msid } = self.state else { return false };
        if self.wire.closed || !matches!(self.options.mode, ClientMode::Publish { .. }) {
            return false;
        }
        self.wire.send(message::csid_of(kind), timestamp, kind.type_id(), msid, payload);
        true
    }

    /// Sends any command behind the connect, for what this session does not do by itself (pause, seek, calls). False,
    /// and nothing sent, before the server accepted the connect.
    pub fn send_command(&mut self, name: &str, transaction: f64, args: &[Value]) -> bool {
        let msid = match self.state {
            State::Handshake(_) | State::Connecting | State::Finished => return false,
            State::Connected | State::Creating => 0,
            State::Starting { msid } | State::Active { msid } => msid,
        };
        self.wire.command(message::CSID_COMMAND, msid, name, transaction, args);
        true
    }

    /// Ends the publish or play politely. The owner closes the connection once this is sent.
    pub fn finish(&mut self) {
        if let State::Starting { msid } | State::Active { msid } = self.state
            && !self.wire.closed
        {
            if let ClientMode::Publish { stream, fmle: true } = &self.options.mode {
                let args = [Value::Null, stream.clone().into()];
                self.wire.command(message::CSID_COMMAND, 0, "FCUnpublish", transaction::FC_UNPUBLISH, &args);
            }
            let args = [Value::Null, msid.into()];
            self.wire.command(message::CSID_COMMAND, 0, "deleteStream", transaction::DELETE_STREAM, &args);
        }
        self.state = State::Finished;
        self.deadline_ms = None;
    }

    /// The message stream, once created.
    #[must_use]
    pub fn msid(&self) -> Option<u32> {
        match self.state {
            State::Starting { msid } | State::Active { msid } => Some(msid),
            _ => None,
        }
    }

    /// The chunk size in which media are written from here on.
    #[must_use]
    pub fn out_chunk_size(&self) -> u32 {
        self.wire.chunk_size
    }

    /// Chunk size in force in the other direction.
    #[must_use]
    pub fn in_chunk_size(&self) -> u32 {
        self.wire.reader.chunk_size()
    }

    /// Bytes of all `Transmit` outputs.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.wire.sent
    }

    /// Bytes given to [`Self::handle_input`].
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.wire.received
    }

    /// The whole session as bytes, at any moment.
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

    fn parse(&mut self, now_ms: u64, input: &mut &[u8]) -> Result<(), SessionError> {
        while !self.wire.closed {
            if let State::Handshake(handshake) = &mut self.state {
                let before = input.len();
                let mut out = Vec::new();
                handshake.read(now_ms, input, &mut out)?;
                let done = handshake.is_done();
                self.wire.consumed += (before - input.len()) as u64;
                self.wire.transmit(out);
                if !done {
                    break;
                }
                self.connect();
            }
            let Some(message) = self.wire.read(input)? else { break };
            self.wire.acknowledge();
            self.handle_message(message)?;
        }
        self.wire.acknowledge();
        Ok(())
    }

    fn connect(&mut self) {
        let options = &self.options;
        let mut object: Vec<(String, Value)> = vec![
            ("app".into(), options.app.clone().into()),
            ("flashVer".into(), options.flash_ver.clone().into()),
        ];
        if let Some(swf_url) = &options.swf_url {
            object.push(("swfUrl".into(), swf_url.clone().into()));
        }
        object.push(("tcUrl".into(), options.tc_url.clone().into()));
        object.push(("fpad".into(), false.into()));
        for (key, number) in
            [("capabilities", 239.0), ("audioCodecs", 3575.0), ("videoCodecs", 252.0), ("videoFunction", 1.0)]
        {
            object.push((key.into(), Value::Number(number)));
        }
        if let Some(page_url) = &options.page_url {
            object.push(("pageUrl".into(), page_url.clone().into()));
        }
        object.push(("objectEncoding".into(), Value::Number(0.0)));
        let mut args = vec![Value::Object(object)];
        if !options.args.is_empty() {
            args.push(Value::Object(options.args.clone()));
        }
        self.wire.command(message::CSID_COMMAND, 0, "connect", transaction::CONNECT, &args);
        self.wire.control(Control::WindowAckSize(self.options.out_window));
        self.state = State::Connecting;
    }

    fn handle_message(&mut self, message: Message) -> Result<(), SessionError> {
        match message.type_id {
            message::COMMAND | message::COMMAND_AMF3 => {
                let payload = message::amf0_payload(message.type_id, &message.payload);
                let command = Command::decode(&payload, &self.options.limits.amf())?;
                self.handle_command(&command);
            }
            message::AGGREGATE => {
                for part in aggregate::split(&message, self.options.limits.max_aggregate_parts)? {
                    self.handle_media(part);
                }
            }
            message::AUDIO | message::VIDEO | message::DATA | message::DATA_AMF3 => {
                self.handle_media(message)
            }
            _ => {
                let control = self.wire.handle_control(&self.options.limits, &message)?;
                if let (Some(Control::StreamEof(msid)), State::Active { msid: own }) = (control, &self.state)
                    && msid == *own
                {
                    self.end();
                }
            }
        }
        Ok(())
    }

    fn handle_media(&mut self, message: Message) {
        let Some(kind) = message::kind_of(message.type_id) else { return };
        let payload = match kind {
            MediaKind::Data => message::amf0_payload(message.type_id, &message.payload),
            _ => message.payload,
        };
        if kind == MediaKind::Data && is_server_talk(&payload) {
            return;
        }
        if !matches!(self.options.mode, ClientMode::Play { .. }) {
            return;
        }
        if let State::Starting { .. } = self.state {
            self.start();
        }
        if let State::Active { .. } = self.state {
            self.wire.event(ClientEvent::Media { kind, timestamp: message.timestamp, payload });
        }
    }

    fn handle_command(&mut self, command: &Command) {
        match (command.name.as_str(), &self.state) {
            ("_result", State::Connecting) if same(command.transaction, transaction::CONNECT) => {
                let info = command.args.get(1).cloned().unwrap_or_default();
                self.wire.event(ClientEvent::Connected { info });
                self.create();
            }
            ("_result", State::Creating) if same(command.transaction, transaction::CREATE_STREAM) => {
                match command.arg(0).and_then(Value::as_u32) {
                    Some(msid) => self.start_request(msid),
                    None => self.reject(&Value::Null),
                }
            }
            ("_error", State::Connecting) if same(command.transaction, transaction::CONNECT) => {
                self.reject(info(command));
            }
            ("_error", State::Creating) if same(command.transaction, transaction::CREATE_STREAM) => {
                self.reject(info(command));
            }
            ("onStatus", _) => self.handle_status(info(command)),
            // Calls of the server (onBWDone, onFCPublish) and answers that nobody awaits.
            _ => {}
        }
    }

    fn create(&mut self) {
        self.wire.announce_chunk_size(self.options.out_chunk_size);
        match &self.options.mode {
            ClientMode::ConnectOnly => {
                self.state = State::Connected;
                self.deadline_ms = None;
                return;
            }
            ClientMode::Publish { stream, fmle: true } => {
                let args = [Value::Null, stream.clone().into()];
                self.wire.command(
                    message::CSID_COMMAND,
                    0,
                    "releaseStream",
                    transaction::RELEASE_STREAM,
                    &args,
                );
                self.wire.command(message::CSID_COMMAND, 0, "FCPublish", transaction::FC_PUBLISH, &args);
            }
            ClientMode::Publish { .. } | ClientMode::Play { .. } => {}
        }
        self.wire.command(
            message::CSID_COMMAND,
            0,
            "createStream",
            transaction::CREATE_STREAM,
            &[Value::Null],
        );
        self.state = State::Creating;
    }

    fn start_request(&mut self, msid: u32) {
        match &self.options.mode {
            ClientMode::Publish { stream, .. } => {
                let args = [Value::Null, stream.clone().into(), "live".into()];
                self.wire.command(message::CSID_STATUS, msid, "publish", 0.0, &args);
            }
            ClientMode::Play { stream } => {
                let args = [
                    Value::Null,
                    stream.clone().into(),
                    Value::Number(-2.0),
                    Value::Number(-1.0),
                    true.into(),
                ];
                self.wire.command(message::CSID_STATUS, msid, "play", 0.0, &args);
                self.wire.control(Control::SetBufferLength { msid, ms: self.options.buffer_ms });
            }
            ClientMode::ConnectOnly => {}
        }
        self.state = State::Starting { msid };
    }

    fn handle_status(&mut self, info: &Value) {
        let code = text(info, "code");
        let level = text(info, "level");
        let starts = match self.options.mode {
            ClientMode::Publish { .. } => code == "NetStream.Publish.Start",
            ClientMode::Play { .. } => code == "NetStream.Play.Start",
            ClientMode::ConnectOnly => false,
        };
        match self.state {
            State::Starting { .. } if starts => return self.start(),
            State::Connecting | State::Creating | State::Starting { .. } if level == "error" => {
                return self.reject(info);
            }
            State::Active { .. } if starts => self.ended = false,
            _ => {}
        }
        let ends = matches!(
            code.as_str(),
            "NetStream.Play.UnpublishNotify"
                | "NetStream.Play.Stop"
                | "NetStream.Play.Complete"
                | "NetStream.Unpublish.Success"
                | "NetConnection.Connect.Closed"
        );
        self.wire.event(ClientEvent::Status { level, code, description: text(info, "description") });
        if ends && matches!(self.state, State::Active { .. }) {
            self.end();
        }
    }

    fn start(&mut self) {
        if let State::Starting { msid } = self.state {
            self.state = State::Active { msid };
            self.deadline_ms = None;
            self.wire.event(match self.options.mode {
                ClientMode::Publish { .. } => ClientEvent::Publishing,
                _ => ClientEvent::Playing,
            });
        }
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.wire.event(ClientEvent::StreamEnd);
        }
    }

    fn reject(&mut self, info: &Value) {
        self.wire.event(ClientEvent::Rejected {
            code: text(info, "code"),
            description: text(info, "description"),
        });
        self.wire.close(CloseReason::RefusedByPeer);
    }
}

/// The information object: servers put it first or second.
fn info(command: &Command) -> &Value {
    let coded = command.args.iter().find(|value| value.get("code").is_some());
    coded.or_else(|| command.args.get(1)).unwrap_or(&Value::Null)
}

fn text(info: &Value, key: &str) -> String {
    info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Transaction numbers are small whole numbers, so that they compare exactly.
fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}

/// Data messages by which the server talks to the player; they do not belong to the stream.
fn is_server_talk(payload: &Bytes) -> bool {
    payload.starts_with(b"\x02\x00\x11|RtmpSampleAccess") || payload.starts_with(b"\x02\x00\x08onStatus")
}
