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
use super::super::event::{PublishRequest, ServerEvent};
use super::connected::{Connection, Stopped, play_request, say_subscribed};
use super::{Pending, ServerSession, State};
use crate::command::Command;
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
                self.wire.result(command, Value::from(id));
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
                let max = self.limits.max_toggles_per_second;
                let State::Connected(connection) = &mut self.state else { return Ok(()) };
                return connection.toggle(&mut self.wire, (now_ms, max), msid, command);
            }
            "FCSubscribe" => say_subscribed(&mut self.wire, command),
            "_result" | "_error" | "onStatus" => self.counters.ignored_messages += 1,
            _ => self.wire.result(command, Value::Null),
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

    fn on_announce(&mut self, now_ms: u64, command: &Command) {
        let name = command.arg(0).and_then(Value::as_str);
        let name = name.and_then(|name| self.parse_name(name).ok()).map(|name| name.name);
        let State::Connected(connection) = &mut self.state else { return };
        let publisher = connection.announce(&mut self.wire, command, name.as_deref());
        self.wire.result(command, Value::Null);
        if let Some(msid) = publisher {
            self.stop_stream(now_ms, msid);
        }
    }

    fn on_publish(&mut self, msid: u32, command: &Command) -> Result<(), SessionError> {
        let name = self.stream_name(msid, command, "publish")?;
        let max = self.limits.max_message_streams;
        let State::Connected(connection) = &mut self.state else { return Ok(()) };
        if let Some(request) = connection.publish(&mut self.wire, (msid, max), command, name)? {
            let request = PublishRequest { request: self.next_request(), ..request };
            self.pending = Some(Box::new(Pending::Publish(request.clone())));
            self.wire.event(ServerEvent::Publish(request));
        }
        Ok(())
    }

    fn on_play(&mut self, now_ms: u64, msid: u32, command: &Command) -> Result<(), SessionError> {
        if command.arg(0) == Some(&Value::Boolean(false)) {
            // Old players stop this way.
            self.on_close_stream(now_ms, msid, false);
            return Ok(());
        }
        let name = self.stream_name(msid, command, "play")?;
        let max = self.limits.max_message_streams;
        let State::Connected(connection) = &mut self.state else { return Ok(()) };
        if let Some(msid) = connection.playable(&mut self.wire, (msid, max))? {
            self.stop_stream(now_ms, msid);
            let request = play_request(command, self.next_request(), msid, name);
            self.pending = Some(Box::new(Pending::Play(request.clone())));
            self.wire.event(ServerEvent::Play(request));
        }
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
        let State::Connected(connection) = &mut self.state else { return };
        match connection.stop(&mut self.wire, msid) {
            Stopped::Nothing => {}
            Stopped::Publish => self.rearm(now_ms, self.limits.republish_timeout_ms),
            Stopped::Play => self.rearm(now_ms, self.limits.replay_timeout_ms),
        }
    }
}

/// The error for an argument that is not there: what stands in its place, if that is no value.
pub(in crate::session) fn missing(command: &Command, error: SessionError) -> SessionError {
    command.garbage.clone().map_or(error, SessionError::Command)
}
