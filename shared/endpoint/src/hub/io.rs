//! Bytes between sockets and sessions.

use mediaring::Counter;
use rtmp::Output;

use super::join::count_sent;
use super::{Host, Hub, READ_BYTES};
use crate::audience::{Audience, AudienceId, Served};
use crate::connection::{Connection, ReadTurn};
use crate::end::End;

impl Hub {
    /// Reads what a socket has. `until_short`: a read that brings less than was asked for has emptied the socket, and what
    /// comes later is a new event, so the read that would only say "nothing there" is spared.
    pub(super) fn readable<H: Host>(&mut self, host: &mut H, key: usize, until_short: bool) {
        match self.read_turn(host, key, until_short) {
            Ok(ReadTurn::Drained) => {}
            Ok(ReadTurn::Budget) => {
                if !self.unread.contains(&key) {
                    self.unread.push_back(key);
                }
            }
            Ok(ReadTurn::Eof) => {
                let end = self.connections.get_mut(key).and_then(|connection| connection.closing.take());
                self.end(host, key, end.unwrap_or(End::PeerClosed));
            }
            // A status may be on its way that tells the peer what is wrong.
            Err(end @ End::Protocol(_)) => self.close_softly(host, key, end),
            Err(end) => {
                let closing = self.connections.get_mut(key).and_then(|connection| connection.closing.take());
                self.end(host, key, closing.unwrap_or(end));
            }
        }
    }

    fn read_turn<H: Host>(&mut self, host: &mut H, key: usize, until_short: bool) -> Result<ReadTurn, End> {
        let budget = self.config.limits.turn_bytes as usize;
        let (mut taken, mut messages) = (0, self.config.limits.turn_messages);
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Some(connection) = self.connections.get_mut(key) else { break Ok(ReadTurn::Drained) };
            if taken >= budget || messages == 0 {
                break Ok(ReadTurn::Budget);
            }
            let bytes = match connection.read(&mut buffer) {
                Ok(Some([])) => break Ok(ReadTurn::Eof),
                Ok(Some(bytes)) => bytes,
                Ok(None) => break Ok(ReadTurn::Drained),
                Err(end) => break Err(end),
            };
            taken += bytes.len();
            let was_short = until_short && bytes.len() < READ_BYTES;
            connection.last_input_ms = self.now_ms;
            if connection.closing.is_some() {
                continue;
            }
            if !connection.established {
                connection.acknowledge();
            }
            self.board.add(self.board_slot, Counter::BytesIn, i64::try_from(bytes.len()).unwrap_or(0));
            self.work.begin(connection.id, connection.peer.ip(), bytes);
            #[cfg(debug_assertions)]
            super::crash_on(bytes);
            let handled = connection.session.handle_input(self.now_ms, bytes);
            let frames = connection.frames;
            // What was understood before the error still counts.
            self.pump(host, key);
            self.work.end();
            if let Err(error) = handled {
                break Err(End::Protocol(error));
            }
            let Some(connection) = self.connections.get_mut(key) else { break Ok(ReadTurn::Drained) };
            let frames = u32::try_from(connection.frames.saturating_sub(frames)).unwrap_or(u32::MAX);
            messages = messages.saturating_sub(frames);
            let buffered = connection.session.buffered();
            self.buffered = (self.buffered + buffered).saturating_sub(connection.buffered);
            connection.buffered = buffered;
            if self.buffered as u64 > self.config.limits.max_reassembly_total {
                break Err(End::Memory);
            }
            if was_short && messages > 0 {
                break Ok(ReadTurn::Drained);
            }
        };
        self.buffer = buffer;
        result
    }

    /// Works off what the session has to say. Returns whether the connection still exists.
    pub(crate) fn pump<H: Host>(&mut self, host: &mut H, key: usize) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            if connection.closing.is_some() {
                while connection.session.poll_output().is_some() {}
                return true;
            }
            match connection.deferred.pop_front().or_else(|| connection.session.poll_output()) {
                Some(Output::Transmit(bytes)) => self.queue(key, &bytes),
                Some(Output::Event(event)) => self.event(host, key, event),
                Some(Output::Close(reason)) => self.close_softly(host, key, End::Session(reason)),
                None => break,
            }
        }
        self.update_deadline(key);
        self.flush(host, key);
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.playing.is_empty()
            && connection.publishing.is_empty()
        {
            connection.compact(&mut self.pool);
        }
        self.connections.contains(key)
    }

    /// Brings what the session has to send into the outbox, ahead of what else will go there; events wait for the pump.
    pub(crate) fn drain_transmits(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key) {
            match connection.session.poll_output() {
                Some(Output::Transmit(bytes)) => self.queue(key, &bytes),
                Some(other) => connection.deferred.push_back(other),
                None => break,
            }
        }
    }

    /// Puts bytes into a connection's outbox, behind whole packets only.
    pub(super) fn queue(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let playing = connection.playing.clone();
        for play in &playing {
            if let Some(audience) = self.audiences.get_mut(play.audience.0) {
                audience.finish_packet(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
                    viewer.queued();
                }
            }
        }
        connection.outbox.tail().extend_from_slice(bytes);
    }

    /// Sends what waits, then what the connection's viewers may get.
    pub(super) fn flush<H: Host>(&mut self, host: &mut H, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What waits for one that plays is of its first stream, nearly all of it.
        let first = connection.playing.first().cloned();
        let mut audience = first.as_ref().and_then(|play| self.audiences.get_mut(play.audience.0));
        let tally = audience.as_ref().and_then(|audience| audience.tally);
        let viewer = first
            .as_ref()
            .zip(audience.as_mut())
            .and_then(|(play, audience)| audience.viewers.get_mut(play.viewer));
        let (before, viewer_before) = (connection.bytes_out, viewer.as_ref().map_or(0, |viewer| viewer.sent));
        let mut viewer = viewer;
        let flushed = match &mut viewer {
            Some(viewer) => viewer.flush(connection, self.now_ms),
            None => connection.flush(),
        };
        let to_viewer = viewer.map_or(0, |viewer| viewer.sent - viewer_before);
        count_sent(&self.board, self.board_slot, None, connection.bytes_out - before);
        count_sent(&self.board, self.board_slot, tally, to_viewer);
        match flushed {
            Ok(false) => {}
            Ok(true) => return,
            Err(end) => {
                let end = connection.closing.take().unwrap_or(end);
                self.end(host, key, end);
                return;
            }
        }
        if connection.closing.is_some() {
            if !connection.half_closed {
                connection.half_closed = true;
                let _ = connection.socket.shutdown(std::net::Shutdown::Write);
            }
            return;
        }
        let playing = connection.playing.clone();
        for play in playing {
            self.serve(host, play.audience, play.viewer, key);
        }
    }

    pub(super) fn serve<H: Host>(&mut self, host: &mut H, audience: AudienceId, viewer: usize, key: usize) {
        let (Some(audience), Some(connection)) =
            (self.audiences.get_mut(audience.0), self.connections.get_mut(key))
        else {
            return;
        };
        let sent = |audience: &Audience, connection: &Connection| {
            connection.bytes_out + audience.viewers.get(viewer).map_or(0, |viewer| viewer.sent)
        };
        let before = sent(audience, connection);
        let served = audience.serve(viewer, connection, self.now_ms);
        let now = sent(audience, connection);
        count_sent(&self.board, self.board_slot, audience.tally, now.saturating_sub(before));
        match served {
            Ok(Served::Done | Served::AwaitsTrack) => {}
            Ok(Served::Finished) => {
                let msid = audience.viewers.get(viewer).map_or(0, |viewer| viewer.cursor.msid());
                connection.session.end_play(self.now_ms, msid);
                self.stop_play(host, key, msid);
                self.drain_transmits(key);
                self.close_softly(host, key, End::Finished);
            }
            Err(end) => self.end(host, key, end),
        }
    }
}
