//! A client joins and leaves audiences, and goes: for good, or to another process.

use std::os::fd::{OwnedFd, RawFd};

use media::StreamKey;

use super::Dialogue;
use crate::delivery::Over;
use crate::end::End;
use crate::host::Host;
use crate::hub::ConnectionId;
use crate::snapshot::ConnectionSnapshot;
use crate::viewer::Viewer;

/// How long a connection that we end may take to read our last words, ms.
const LINGER_MS: u64 = 1000;

impl<H: Host> Dialogue<'_, H> {
    /// Makes the client a viewer of a stream; `params` is the query of the name that it asked for.
    pub(crate) fn join(
        &mut self,
        name: &StreamKey,
        params: &[(String, String)],
        make: impl FnOnce(RawFd, usize, u64) -> Viewer,
    ) {
        let Some(id) = self.hub.delivery.join(self.key, name, make) else { return };
        let connection = self.hub.delivery.connections.get(self.key);
        let request = connection.map(|connection| connection.viewer_request(params)).unwrap_or_default();
        if let Some((ring, wakes)) = self.host.wanted(id, name, request) {
            self.hub.set_ring(self.host, id, ring, wakes);
        }
    }

    pub(crate) fn stop_play(&mut self, msid: u32) {
        if let Some(name) = self.hub.delivery.leave(self.key, msid) {
            self.host.unwanted(&name);
        }
    }

    /// Stops what the client plays.
    fn stop_playing(&mut self) {
        while let Some(msid) = self.connection().and_then(|it| Some(it.playing.last()?.msid)) {
            self.stop_play(msid);
        }
    }

    /// Tells the host that a publish has ended; the stream's viewers here get what was gathered.
    pub(crate) fn unpublish(&mut self, msid: u32) {
        let rests = self.host.unpublish(ConnectionId(self.key), msid);
        if let Some(id) = rests.and_then(|name| self.hub.audience(&name)) {
            self.hub.rest(self.host, id);
        }
    }

    /// Stops what the client plays and publishes.
    fn leave_all(&mut self) {
        self.stop_playing();
        while let Some(msid) = self.connection().and_then(|connection| connection.publishing.pop()) {
            self.unpublish(msid);
        }
    }

    /// Does what serving it came to.
    pub(crate) fn conclude(&mut self, over: Over) {
        match over {
            Over::Ended(end) => self.end(end),
            Over::Finished(msid) => {
                let now_ms = self.hub.now_ms();
                if let Some(connection) = self.connection() {
                    connection.session.end_play(now_ms, msid);
                }
                self.stop_play(msid);
                self.hub.delivery.drain_transmits(self.key);
                self.close_softly(End::Finished);
            }
        }
    }

    /// Takes leave of the client, and ends its connection.
    pub(crate) fn part(&mut self, description: &str, end: End) {
        if let Some(connection) = self.connection() {
            connection.session.goodbye(description);
        }
        self.pump();
        self.close_softly(end);
    }

    /// Ends the connection after what waits has been sent and the peer has had time to read it.
    pub(crate) fn close_softly(&mut self, end: End) {
        self.leave_all();
        let at_ms = self.hub.now_ms() + LINGER_MS;
        let Some(connection) = self.connection() else { return };
        if connection.life.closing.is_some() {
            return;
        }
        connection.life.closing = Some(end);
        let cid = connection.id;
        self.hub.decisions.forget(cid);
        self.hub.delivery.connections.set_deadline(self.key, at_ms);
        self.flush();
    }

    /// Ends the connection now.
    pub(crate) fn end(&mut self, end: End) {
        if self.connection().is_none() {
            return;
        }
        self.leave_all();
        self.host.closed(ConnectionId(self.key));
        let Some(connection) = self.hub.delivery.connections.remove(self.key) else { return };
        let _ = self.hub.reactor.deregister(connection.fd());
        self.hub.decisions.forget(connection.id);
        self.hub.delivery.counts.ended(&end);
        if !connection.life.established {
            self.hub.forget_newcomer(&connection);
        }
        if connection.life.established || self.hub.newcomers.lines.take() {
            connection.log_end(&end, self.hub.now_ms());
        }
    }

    /// Its deadline has come: it has had its time to leave, or its session was too slow.
    pub(crate) fn is_due(&mut self) {
        let now_ms = self.hub.now_ms();
        let Some(connection) = self.connection() else { return };
        if let Some(end) = connection.life.closing.take() {
            return self.end(end);
        }
        match connection.session.handle_timeout(now_ms) {
            Ok(()) => {
                self.pump();
            }
            Err(error) => self.end(End::Protocol(error)),
        }
    }

    /// Takes the connection out, for another process: its socket and everything else of it.
    pub(crate) fn detach(&mut self) -> Option<(OwnedFd, ConnectionSnapshot)> {
        let mut snapshot = self.hub.delivery.snapshot(self.key)?;
        snapshot.decide_by_ms = self.hub.decisions.forget(snapshot.id).map(|open| open.until_ms);
        self.stop_playing();
        let connection = self.hub.delivery.connections.remove(self.key)?;
        let _ = self.hub.reactor.deregister(connection.fd());
        self.hub.delivery.counts.handed_over();
        if !connection.life.established {
            self.hub.forget_newcomer(&connection);
        }
        Some((OwnedFd::from(connection.socket), snapshot))
    }
}
