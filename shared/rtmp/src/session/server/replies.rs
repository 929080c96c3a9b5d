//! The owner's decisions and what they say to the client.

use super::super::connect;
use super::super::error::SessionError;
use super::super::event::{CloseReason, PlayReject, RejectReason};
use super::connected::{Connection, say_play_begins, say_play_ended, say_publish_begins};
use super::streams::Role;
use super::{Pending, ServerSession, State};
use crate::control::Control;
use crate::message;
use crate::status;
use amf0::Value;

impl ServerSession {
    /// Accepts the pending connect and goes on with the input that waited.
    ///
    /// # Errors
    /// From that input, as in [`Self::handle_input`]; or [`SessionError::NothingPending`], which is the caller's fault
    /// and changes nothing.
    pub fn accept_connect(&mut self, now_ms: u64) -> Result<(), SessionError> {
        let Some(Pending::Connect(request)) =
            self.take_pending(|pending| matches!(pending, Pending::Connect(_)))
        else {
            return Err(SessionError::NothingPending);
        };
        let transaction = self.state.connect_transaction();
        if self.out_window > 0 {
            self.wire.control(Control::WindowAckSize(self.out_window));
            self.wire.control(Control::SetPeerBandwidth { window: self.out_window, kind: 2 });
        }
        let answer = match self.identity.take() {
            Some(identity) => connect::success(&request, &identity),
            None => return Err(SessionError::NothingPending),
        };
        self.wire.command(message::CSID_COMMAND, 0, "_result", transaction, &answer);
        self.wire.command(message::CSID_COMMAND, 0, "onBWDone", 0.0, &[Value::Null]);
        self.state = State::Connected(Box::new(Connection::new(request)));
        self.rearm(now_ms, self.limits.identify_timeout_ms);
        self.go_on(now_ms)
    }

    /// Rejects the pending connect: `_error` with `NetConnection.Connect.Rejected`, then close. Nothing happens when
    /// none is pending.
    pub fn reject_connect(&mut self, description: &str) {
        if self.take_pending(|pending| matches!(pending, Pending::Connect(_))).is_some() {
            self.refuse_connect(description);
            self.close(CloseReason::ConnectRejected);
        }
    }

    /// Accepts the pending publish of message stream `msid` and goes on with the input that waited.
    ///
    /// # Errors
    /// As for [`Self::accept_connect`].
    pub fn accept_publish(&mut self, now_ms: u64, msid: u32) -> Result<(), SessionError> {
        let Some(Pending::Publish(request)) = self.take_publish(msid) else {
            return Err(SessionError::NothingPending);
        };
        self.wire.announce_chunk_size(self.wanted_chunk_size);
        say_publish_begins(&mut self.wire, msid, request.fmle);
        if let Some(connection) = self.connection() {
            connection.announced = false;
            if let Some(stream) = connection.streams.get_mut(msid) {
                stream.role = Role::Publishing { name: request.name, fmle: request.fmle };
            }
        }
        self.deadline_ms = None;
        self.go_on(now_ms)
    }

    /// Rejects the pending publish with a status, then closes. Nothing happens when none is pending for `msid`.
    pub fn reject_publish(&mut self, msid: u32, reason: RejectReason, description: &str) {
        if self.take_publish(msid).is_some() {
            self.wire.status(msid, status::error(reason.code(), description));
            self.close(CloseReason::PublishRejected);
        }
    }

    /// Accepts the pending play of message stream `msid`, begins the stream, and goes on with the input that waited.
    ///
    /// # Errors
    /// As for [`Self::accept_connect`].
    pub fn accept_play(&mut self, now_ms: u64, msid: u32) -> Result<(), SessionError> {
        let Some(Pending::Play(request)) = self.take_play(msid) else {
            return Err(SessionError::NothingPending);
        };
        self.wire.announce_chunk_size(self.wanted_chunk_size);
        say_play_begins(&mut self.wire, msid);
        if let Some(stream) = self.connection().and_then(|connection| connection.streams.get_mut(msid)) {
            stream.role = Role::Playing { name: request.name };
        }
        self.deadline_ms = None;
        self.go_on(now_ms)
    }

    /// Rejects the pending play with a status, then closes. Nothing happens when none is pending for `msid`.
    pub fn reject_play(&mut self, msid: u32, reason: PlayReject, description: &str) {
        if self.take_play(msid).is_some() {
            self.wire.status(msid, status::error(reason.code(), description));
            self.close(CloseReason::PlayRejected);
        }
    }

    /// The stream that `msid` plays has ended: tells the client, which may play again. No event follows. Nothing
    /// happens when `msid` does not play.
    pub fn end_play(&mut self, now_ms: u64, msid: u32) {
        if self.wire.closed {
            return;
        }
        let Some(connection) = self.connection().filter(|connection| connection.streams.is_playing(msid))
        else {
            return;
        };
        connection.streams.stop(msid);
        say_play_ended(&mut self.wire, msid);
        self.rearm(now_ms, self.limits.replay_timeout_ms);
    }

    /// Takes leave for a shutdown or a kick: every stream is ended towards the client, then the connection.
    pub fn goodbye(&mut self, description: &str) {
        if self.wire.closed {
            return;
        }
        if let State::Connected(connection) = &self.state {
            connection.say_goodbye(&mut self.wire);
            self.wire.status(0, status::status("status", "NetConnection.Connect.Closed", description));
        }
        self.close(CloseReason::Goodbye);
    }

    /// `_error` for the connect in hand.
    pub(super) fn refuse_connect(&mut self, description: &str) {
        let transaction = self.state.connect_transaction();
        let info = status::error("NetConnection.Connect.Rejected", description);
        self.wire.command(message::CSID_COMMAND, 0, "_error", transaction, &[Value::Null, info]);
    }

    fn take_publish(&mut self, msid: u32) -> Option<Pending> {
        self.take_pending(|pending| matches!(pending, Pending::Publish(request) if request.msid == msid))
    }

    fn take_play(&mut self, msid: u32) -> Option<Pending> {
        self.take_pending(|pending| matches!(pending, Pending::Play(request) if request.msid == msid))
    }

    fn take_pending(&mut self, wanted: impl Fn(&Pending) -> bool) -> Option<Pending> {
        self.pending.take_if(|pending| wanted(pending)).map(|pending| *pending)
    }

    fn go_on(&mut self, now_ms: u64) -> Result<(), SessionError> {
        let result = self.resume(now_ms).and_then(|()| self.check_unread());
        self.finish(result)
    }
}
