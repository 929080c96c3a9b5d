//! A client that is connected: its message streams, and what its commands do to them.

use super::super::error::SessionError;
use super::super::event::{ConnectRequest, PlayRequest, PublishKind, PublishRequest, ServerEvent};
use super::super::wire::Wire;
use super::streams::{Role, Streams};
use crate::command::Command;
use crate::control::Control;
use crate::message;
use crate::status;
use crate::url::StreamName;
use amf0::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) request: Arc<ConnectRequest>,
    pub(super) streams: Streams,
    /// Whether releaseStream or FCPublish announced a publish.
    pub(super) announced: bool,
    toggles: Toggles,
}

/// Pauses, seeks and switches within the current second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Toggles {
    since_ms: u64,
    count: u32,
}

impl Toggles {
    /// Counts one more. `false` when that is more than `max` in this second.
    fn count(&mut self, now_ms: u64, max: u32) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= 1_000 {
            (self.since_ms, self.count) = (now_ms, 0);
        }
        self.count += 1;
        self.count <= max
    }
}

/// What a message stream did until it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    Nothing,
    Publish,
    Play,
}

impl Connection {
    pub(super) fn new(request: Arc<ConnectRequest>) -> Self {
        Self { request, streams: Streams::default(), announced: false, toggles: Toggles::default() }
    }

    /// releaseStream, FCPublish and FCUnpublish: for a name that this connection publishes they end the publish, on the stream
    /// that is returned; for any other they only tell that an FMLE-like encoder is at work.
    pub(super) fn announce(
        &mut self,
        wire: &mut Wire<ServerEvent>,
        command: &Command,
        name: Option<&str>,
    ) -> Option<u32> {
        let publisher = name.and_then(|name| self.streams.publisher_of(name));
        if let Some(id) = publisher {
            self.announced = false;
            let info = [Value::Null, status::fc_unpublish()];
            wire.command(message::CSID_STATUS, id, "onFCUnpublish", 0.0, &info);
        } else if command.name != "FCUnpublish" {
            self.announced = true;
        }
        publisher
    }

    /// A publish that the owner has to decide about; `None` when there is nothing to decide. `request` is its number.
    ///
    /// # Errors
    /// Too many message streams.
    pub(super) fn publish(
        &mut self,
        wire: &mut Wire<ServerEvent>,
        (msid, max): (u32, usize),
        command: &Command,
        name: StreamName,
    ) -> Result<Option<PublishRequest>, SessionError> {
        let msid = self.streams.resolve(msid, max)?;
        match self.streams.get(msid).map(|stream| &stream.role) {
            Some(Role::Publishing { name: own, .. }) if *own == name.name => return Ok(None),
            Some(Role::Publishing { .. } | Role::Playing { .. }) => {
                let info = status::error("NetStream.Publish.BadName", "The message stream is in use.");
                wire.status(msid, info);
                return Ok(None);
            }
            Some(Role::Idle) | None => {}
        }
        let kind = match command.arg(1).and_then(Value::as_str) {
            Some("record") => PublishKind::Record,
            Some("append") => PublishKind::Append,
            _ => PublishKind::Live,
        };
        let StreamName { name, params } = name;
        Ok(Some(PublishRequest { request: 0, msid, name, params, kind, fmle: self.announced }))
    }

    /// The message stream on which a play begins; `None` when it can't. What it played before is to be stopped.
    ///
    /// # Errors
    /// Too many message streams.
    pub(super) fn playable(
        &mut self,
        wire: &mut Wire<ServerEvent>,
        (msid, max): (u32, usize),
    ) -> Result<Option<u32>, SessionError> {
        let msid = self.streams.resolve(msid, max)?;
        if self.streams.is_publishing(msid) {
            wire.status(msid, status::error("NetStream.Play.Failed", "The message stream publishes."));
            return Ok(None);
        }
        Ok(Some(msid))
    }

    /// Ends what a stream does and tells both sides.
    pub(super) fn stop(&mut self, wire: &mut Wire<ServerEvent>, msid: u32) -> Stopped {
        match self.streams.stop(msid) {
            Role::Idle => Stopped::Nothing,
            Role::Publishing { .. } => {
                wire.status(msid, status::unpublish());
                wire.event(ServerEvent::Unpublish { msid });
                Stopped::Publish
            }
            Role::Playing { .. } => {
                wire.event(ServerEvent::StopPlay { msid });
                Stopped::Play
            }
        }
    }

    /// Pauses, seeks and switches of a player.
    ///
    /// # Errors
    /// More than `max` in a second.
    pub(super) fn toggle(
        &mut self,
        wire: &mut Wire<ServerEvent>,
        (now_ms, max): (u64, u32),
        msid: u32,
        command: &Command,
    ) -> Result<(), SessionError> {
        if !self.toggles.count(now_ms, max) {
            return Err(SessionError::TooManyToggles { max });
        }
        let Some(msid) = self.streams.resolve_known(msid) else { return Ok(()) };
        if !self.streams.is_playing(msid) {
            return Ok(());
        }
        let flag = command.arg(0).and_then(Value::as_bool).unwrap_or(true);
        let time = |index| command.arg(index).and_then(Value::as_f64).map_or(0, whole_ms);
        match command.name.as_str() {
            "seek" => {
                wire.status(msid, status::seek_notify());
                wire.status(msid, status::play_start());
                wire.event(ServerEvent::Seek { msid, time_ms: time(0) });
            }
            "receiveAudio" => wire.event(ServerEvent::ReceiveAudio { msid, on: flag }),
            "receiveVideo" => wire.event(ServerEvent::ReceiveVideo { msid, on: flag }),
            _ => {
                wire.status(msid, status::pause_notify(flag));
                wire.control(if flag { Control::StreamEof(msid) } else { Control::StreamBegin(msid) });
                wire.event(ServerEvent::Pause { msid, paused: flag, time_ms: time(1) });
            }
        }
        Ok(())
    }

    /// Ends every stream towards the client.
    pub(super) fn say_goodbye(&self, wire: &mut Wire<ServerEvent>) {
        for stream in self.streams.iter() {
            match stream.role {
                Role::Idle => {}
                Role::Publishing { fmle, .. } => {
                    if fmle {
                        let info = [Value::Null, status::fc_unpublish()];
                        wire.command(message::CSID_STATUS, stream.id, "onFCUnpublish", 0.0, &info);
                    }
                    wire.status(stream.id, status::unpublish());
                }
                Role::Playing { .. } => say_play_ended(wire, stream.id),
            }
        }
    }
}

/// A publish was accepted.
pub(super) fn say_publish_begins(wire: &mut Wire<ServerEvent>, msid: u32, fmle: bool) {
    if fmle {
        let info = [Value::Null, status::fc_publish()];
        wire.command(message::CSID_STATUS, msid, "onFCPublish", 0.0, &info);
    }
    wire.status(msid, status::publish_start());
}

/// A play was accepted.
pub(super) fn say_play_begins(wire: &mut Wire<ServerEvent>, msid: u32) {
    wire.control(Control::StreamBegin(msid));
    wire.status(msid, status::play_reset());
    wire.status(msid, status::play_start());
    for data in [status::sample_access(), status::data_start()] {
        wire.send(message::CSID_STATUS, 0, message::DATA, msid, &data);
    }
}

/// Limelight's players ask to be subscribed before they play.
pub(super) fn say_subscribed(wire: &mut Wire<ServerEvent>, command: &Command) {
    wire.result(command, Value::Null);
    let name = command.arg(0).and_then(Value::as_str).unwrap_or_default();
    let info = status::status("status", "NetStream.Play.Start", name);
    wire.command(message::CSID_COMMAND, 0, "onFCSubscribe", 0.0, &[Value::Null, info]);
}

/// The stream that a player watches has ended.
pub(super) fn say_play_ended(wire: &mut Wire<ServerEvent>, msid: u32) {
    wire.status(msid, status::play_unpublish_notify());
    wire.status(msid, status::play_stop());
    wire.control(Control::StreamEof(msid));
}

/// What a play asks for. `request` is its number.
pub(super) fn play_request(command: &Command, request: u64, msid: u32, name: StreamName) -> PlayRequest {
    let number = |index| command.arg(index).and_then(Value::as_f64).filter(|number| number.is_finite());
    let reset = match command.arg(3) {
        Some(Value::Boolean(reset)) => *reset,
        Some(Value::Number(reset)) => *reset != 0.0,
        _ => true,
    };
    let StreamName { name, params } = name;
    PlayRequest {
        request,
        msid,
        name,
        params,
        start: number(1).unwrap_or(-2.0),
        duration_ms: number(2).filter(|duration| *duration > 0.0).map(whole_ms),
        reset,
    }
}

/// A number of milliseconds from outside: not negative, and at most a hundred years or so.
fn whole_ms(number: f64) -> u64 {
    const MOST: f64 = 4e12;
    Value::Number(number.clamp(0.0, MOST).floor()).as_u64().unwrap_or_default()
}
