//! What each command of a client does in each state.
//!
//! | command | before connect | idle stream | publishing stream | playing stream |
//! |---|---|---|---|---|
//! | connect | asks the owner | error | error | error |
//! | createStream | ignored | new id | new id | new id |
//! | releaseStream, FCPublish, FCUnpublish | ignored | answered | own name: unpublish | answered |
//! | publish | ignored | asks the owner | own name: ignored, else BadName | BadName |
//! | play | ignored | asks the owner | Play.Failed | stops, asks the owner |
//! | closeStream, deleteStream | ignored | nothing | unpublish | stop |
//! | pause, seek, receiveAudio, receiveVideo | ignored | ignored | ignored | told |
//! | anything else | ignored | null result | null result | null result |

use super::super::connect;
use super::super::error::SessionError;
use super::super::event::{PlayRequest, PublishKind, PublishRequest, ServerEvent};
use super::streams::Role;
use super::{Connection, Pending, ServerSession, State};
use crate::command::Command;
use crate::control::Control;
use crate::message;
use crate::status;
use crate::url::{self, StreamName, UrlError};
use amf0::Value;
use std::sync::Arc;

impl ServerSession {
    pub(super) fn handle_command(
        &mut self,
        now_ms: u64,
        msid: u32,
        command: &Command,
    ) -> Result<(), SessionError> {
        if !matches!(self.state, State::Connected(_)) {
            if command.name == "connect" {
                return self.on_connect(command);
            }
            self.counters.ignored_messages += 1;
            return Ok(());
        }
        match command.name.as_str() {
            "connect" => return Err(SessionError::ConnectTwice),
            "createStream" => {
                let max = self.limits.max_message_streams;
                let Some(connection) = self.connection() else { return Ok(()) };
                let id = connection.streams.create(max)?;
                self.result(command, Value::from(id));
            }
            "releaseStream" | "FCPublish" | "FCUnpublish" => self.on_announce(now_ms, command),
            "publish" => return self.on_publish(msid, command),
            "play" => return self.on_play(now_ms, msid, command),
            "closeStream" => self.on_close_stream(now_ms, msid, false),
            "deleteStream" => {
                let id = command.arg(0).map_or(Some(msid), Value::as_u32);
                let Some(id) = id.filter(|id| *id != 0) else { return Ok(()) };
                self.on_close_stream(now_ms, id, true);
            }
            "pause" | "pauseRaw" | "seek" | "receiveAudio" | "receiveVideo" => {
                return self.on_toggle(now_ms, msid, command);
            }
            "FCSubscribe" => self.on_fc_subscribe(command),
            "_result" | "_error" | "onStatus" => self.counters.ignored_messages += 1,
            _ => self.result(command, Value::Null),
        }
        Ok(())
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    fn on_connect(&mut self, command: &Command) -> Result<(), SessionError> {
        self.state = State::AwaitConnect { transaction: command.transaction };
        let id = self.next_request();
        match connect::parse(command, id, &self.limits) {
            Ok(request) => {
                let request = Arc::new(request);
                self.pending = Some(Box::new(Pending::Connect(Arc::clone(&request))));
                self.wire.event(ServerEvent::Connect(request));
                Ok(())
            }
            Err(error) => {
                self.refuse_connect(&format!("The URL is not acceptable: {error}."));
                Err(error)
            }
        }
    }

    /// `_result` with a null object and one value, when an answer is wanted.
    fn result(&mut self, command: &Command, value: Value) {
        if command.transaction > 0.0 {
            self.wire.command(
                message::CSID_COMMAND,
                0,
                "_result",
                command.transaction,
                &[Value::Null, value],
            );
        }
    }

    /// releaseStream, FCPublish and FCUnpublish: for a name that this connection publishes they end the publish; for
    /// any other they only tell that an FMLE-like encoder is at work.
    fn on_announce(&mut self, now_ms: u64, command: &Command) {
        let name = command.arg(0).and_then(Value::as_str);
        let name = name.and_then(|name| self.parse_name(name).ok());
        let Some(connection) = self.connection() else { return };
        match name.and_then(|name| connection.streams.publisher_of(&name.name)) {
            Some(id) => {
                connection.announced = false;
                self.wire.command(
                    message::CSID_STATUS,
                    id,
                    "onFCUnpublish",
                    0.0,
                    &[Value::Null, status::fc_unpublish()],
                );
                self.result(command, Value::Null);
                self.stop_stream(now_ms, id);
            }
            None => {
                if command.name != "FCUnpublish" {
                    connection.announced = true;
                }
                self.result(command, Value::Null);
            }
        }
    }

    fn on_publish(&mut self, msid: u32, command: &Command) -> Result<(), SessionError> {
        let name = self.stream_name(msid, command, "publish")?;
        let max = self.limits.max_message_streams;
        let Some(connection) = self.connection() else { return Ok(()) };
        let msid = connection.streams.resolve(msid, max)?;
        let fmle = connection.announced;
        match connection.streams.get(msid).map(|stream| &stream.role) {
            Some(Role::Publishing { name: own, .. }) if *own == name.name => return Ok(()),
            Some(Role::Publishing { .. } | Role::Playing { .. }) => {
                let info = status::error("NetStream.Publish.BadName", "The message stream is in use.");
                self.wire.status(msid, info);
                return Ok(());
            }
            Some(Role::Idle) | None => {}
        }
        let kind = match command.arg(1).and_then(Value::as_str) {
            Some("record") => PublishKind::Record,
            Some("append") => PublishKind::Append,
            _ => PublishKind::Live,
        };
        let request = self.next_request();
        let StreamName { name, params } = name;
        let request = PublishRequest { request, msid, name, params, kind, fmle };
        self.pending = Some(Box::new(Pending::Publish(request.clone())));
        self.wire.event(ServerEvent::Publish(request));
        Ok(())
    }

    fn on_play(&mut self, now_ms: u64, msid: u32, command: &Command) -> Result<(), SessionError> {
        if command.arg(0) == Some(&Value::Boolean(false)) {
            // Old players stop this way.
            self.on_close_stream(now_ms, msid, false);
            return Ok(());
        }
        let StreamName { name, params } = self.stream_name(msid, command, "play")?;
        let max = self.limits.max_message_streams;
        let Some(connection) = self.connection() else { return Ok(()) };
        let msid = connection.streams.resolve(msid, max)?;
        if connection.streams.is_publishing(msid) {
            self.wire.status(msid, status::error("NetStream.Play.Failed", "The message stream publishes."));
            return Ok(());
        }
        self.stop_stream(now_ms, msid);
        let number = |index| command.arg(index).and_then(Value::as_f64).filter(|number| number.is_finite());
        let reset = match command.arg(3) {
            Some(Value::Boolean(reset)) => *reset,
            Some(Value::Number(reset)) => *reset != 0.0,
            _ => true,
        };
        let request = PlayRequest {
            request: self.next_request(),
            msid,
            name,
            params,
            start: number(1).unwrap_or(-2.0),
            duration_ms: number(2).filter(|duration| *duration > 0.0).map(whole_ms),
            reset,
        };
        self.pending = Some(Box::new(Pending::Play(request.clone())));
        self.wire.event(ServerEvent::Play(request));
        Ok(())
    }

    fn parse_name(&self, name: &str) -> Result<StreamName, UrlError> {
        let app = self.connect_request().map_or("", |request| &request.target.app);
        url::parse_stream_name(name, app, self.limits.max_name_bytes)
    }

    /// The stream name of a publish or play; when it is not allowed, the client is told before the session dies.
    fn stream_name(
        &mut self,
        msid: u32,
        command: &Command,
        kind: &'static str,
    ) -> Result<StreamName, SessionError> {
        let parsed = match command.arg(0).and_then(Value::as_str) {
            Some(name) => self.parse_name(name).map_err(SessionError::from),
            None => Err(missing(command, SessionError::Argument { command: kind })),
        };
        if let Err(error) = &parsed {
            let code = if kind == "publish" { "NetStream.Publish.BadName" } else { "NetStream.Play.Failed" };
            self.wire
                .status(msid, status::error(code, &format!("The stream name is not acceptable: {error}.")));
        }
        parsed
    }

    /// closeStream and deleteStream: ids of other connections do not exist here.
    fn on_close_stream(&mut self, now_ms: u64, msid: u32, delete: bool) {
        let Some(connection) = self.connection() else { return };
        let known = connection.streams.resolve_known(msid);
        let Some(msid) = known else { return };
        self.stop_stream(now_ms, msid);
        if delete && let Some(connection) = self.connection() {
            connection.streams.remove(msid);
        }
    }

    /// Ends what a stream does and tells both sides.
    pub(super) fn stop_stream(&mut self, now_ms: u64, msid: u32) {
        let Some(connection) = self.connection() else { return };
        match connection.streams.stop(msid) {
            Role::Idle => {}
            Role::Publishing { .. } => {
                self.wire.status(msid, status::unpublish());
                self.wire.event(ServerEvent::Unpublish { msid });
                self.rearm(now_ms, self.limits.republish_timeout_ms);
            }
            Role::Playing { .. } => {
                self.wire.event(ServerEvent::StopPlay { msid });
                self.rearm(now_ms, self.limits.replay_timeout_ms);
            }
        }
    }

    fn on_toggle(&mut self, now_ms: u64, msid: u32, command: &Command) -> Result<(), SessionError> {
        let max = self.limits.max_toggles_per_second;
        let Some(connection) = self.connection() else { return Ok(()) };
        let toggles = &mut connection.toggles;
        if now_ms.saturating_sub(toggles.since_ms) >= 1_000 {
            (toggles.since_ms, toggles.count) = (now_ms, 0);
        }
        toggles.count += 1;
        if toggles.count > max {
            return Err(SessionError::TooManyToggles { max });
        }
        let Some(msid) = connection.streams.resolve_known(msid) else { return Ok(()) };
        if !connection.streams.is_playing(msid) {
            return Ok(());
        }
        let flag = command.arg(0).and_then(Value::as_bool).unwrap_or(true);
        let time = |index| command.arg(index).and_then(Value::as_f64).map_or(0, whole_ms);
        match command.name.as_str() {
            "seek" => {
                self.wire.status(msid, status::seek_notify());
                self.wire.status(msid, status::play_start());
                self.wire.event(ServerEvent::Seek { msid, time_ms: time(0) });
            }
            "receiveAudio" => self.wire.event(ServerEvent::ReceiveAudio { msid, on: flag }),
            "receiveVideo" => self.wire.event(ServerEvent::ReceiveVideo { msid, on: flag }),
            _ => {
                self.wire.status(msid, status::pause_notify(flag));
                self.wire.control(if flag { Control::StreamEof(msid) } else { Control::StreamBegin(msid) });
                self.wire.event(ServerEvent::Pause { msid, paused: flag, time_ms: time(1) });
            }
        }
        Ok(())
    }

    /// Limelight's players ask for this before play.
    fn on_fc_subscribe(&mut self, command: &Command) {
        self.result(command, Value::Null);
        let name = command.arg(0).and_then(Value::as_str).unwrap_or_default();
        let info = status::status("status", "NetStream.Play.Start", name);
        self.wire.command(message::CSID_COMMAND, 0, "onFCSubscribe", 0.0, &[Value::Null, info]);
    }
}

/// The error for an argument that is not there: what stands in its place, if that is no value.
pub(in crate::session) fn missing(command: &Command, error: SessionError) -> SessionError {
    command.garbage.clone().map_or(error, SessionError::Command)
}

/// A number of milliseconds from outside: not negative, and at most a hundred years or so.
fn whole_ms(number: f64) -> u64 {
    const MOST: f64 = 4e12;
    Value::Number(number.clamp(0.0, MOST).floor()).as_u64().unwrap_or_default()
}
