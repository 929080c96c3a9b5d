//! Connections on their way to another process, and from one.

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use mediaring::Counter;
use rtmp::{Pending, ServerSession};

use super::lifetime::prepare;
use super::{ConnectionId, Host, Hub};
use crate::connection::{Connection, Mark};
use crate::end::End;
use crate::snapshot::{ConnectionSnapshot, SnapshotError};

impl Hub {
    /// Takes a connection out, for another process: its socket and everything else of it.
    pub fn detach<H: Host>(
        &mut self,
        host: &mut H,
        id: ConnectionId,
    ) -> Option<(OwnedFd, ConnectionSnapshot)> {
        let key = id.0;
        let connection = self.connections.get_mut(key)?;
        let mut playing = Vec::new();
        for play in connection.playing.clone() {
            if let Some(audience) = self.audiences.get_mut(play.audience.0) {
                audience.finish_packet(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get(play.viewer) {
                    playing.push((audience.key.clone(), viewer.into()));
                }
            }
        }
        let snapshot = ConnectionSnapshot {
            id: connection.id,
            peer: connection.peer,
            accepted_ms: connection.accepted_ms,
            vhost: connection.vhost.as_deref().map(str::to_owned),
            bytes: (connection.bytes_in, connection.bytes_out),
            session: connection.session.snapshot(),
            outbox: connection.outbox.waiting().to_vec(),
            playing,
            publishing: connection.publishing.clone(),
        };
        while let Some(msid) = self.connections.get(key).and_then(|c| c.playing.last()).map(|play| play.msid)
        {
            self.stop_play(host, key, msid);
        }
        let connection = self.connections.remove(key);
        self.buffered = self.buffered.saturating_sub(connection.buffered);
        let _ = self.reactor.deregister(connection.fd());
        self.board.add(self.board_slot, Counter::Connections, -1);
        if !connection.established {
            self.forget_unestablished(connection.peer.ip().to_canonical());
        }
        *self.ended.entry(End::HandedOver.reason()).or_default() += 1;
        Some((OwnedFd::from(connection.socket), snapshot))
    }

    /// Takes over a connection that another process detached, and goes on where it stood.
    ///
    /// # Errors
    /// When the snapshot can't be read; the connection is closed then.
    pub fn attach<H: Host>(
        &mut self,
        host: &mut H,
        socket: OwnedFd,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        let snapshot = ConnectionSnapshot::from_bytes(bytes)?;
        let mut session = ServerSession::restore(&snapshot.session)?;
        session.set_limits(&self.limits);
        let socket = TcpStream::from(socket);
        if let Err(error) = prepare(&socket) {
            tracing::warn!(cid = snapshot.id, "a connection that was handed over is dead: {error}");
            return Ok(());
        }
        let pending = session.pending().cloned();
        let mut connection = Connection::new(socket, snapshot.peer, snapshot.id, session, self.now_ms);
        connection.accepted_ms = snapshot.accepted_ms;
        connection.vhost = snapshot.vhost.map(String::into_boxed_str);
        (connection.bytes_in, connection.bytes_out) = snapshot.bytes;
        connection.marks = [Mark { at_ms: self.now_ms, bytes: snapshot.bytes }; 2];
        connection.long_marks = connection.marks;
        connection.publishing = snapshot.publishing;
        connection.established = true;
        connection.outbox.tail().extend_from_slice(&snapshot.outbox);
        let Some(key) = self.insert(connection) else { return Ok(()) };
        for (name, viewer) in snapshot.playing {
            self.join(host, key, name, |fd, key, now_ms| viewer.into_viewer(fd, key, now_ms));
        }
        if let Some(Pending::Publish(request)) = pending {
            self.publish(host, key, request);
        }
        if self.pump(host, key) {
            self.readable(host, key, false);
        }
        Ok(())
    }
}
