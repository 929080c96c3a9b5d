//! The dialogue with one client: bytes between its socket and its session, and where what the session says goes.

mod decide;
mod leave;

use fanout::PeerRequest;
use rtmp::{Output, Pending, ServerEvent};

use crate::connection::{Connection, ReadTurn};
use crate::end::End;
use crate::host::Host;
use crate::hub::{ConnectionId, Hub};
use crate::read_turns::READ_BYTES;

/// One client of a hub, and the host that is asked about it.
#[derive(Debug)]
pub(crate) struct Dialogue<'a, H> {
    pub(crate) hub: &'a mut Hub,
    pub(crate) host: &'a mut H,
    /// Key of the connection.
    pub(crate) key: usize,
}

impl<H: Host> Dialogue<'_, H> {
    fn connection(&mut self) -> Option<&mut Connection> {
        self.hub.delivery.connections.get_mut(self.key)
    }

    /// Reads what a socket has. `until_short`: a read that brings less than was asked for has emptied the socket, and what
    /// comes later is a new event, so the read that would only say "nothing there" is spared.
    pub(crate) fn readable(&mut self, until_short: bool) {
        let end = match self.read_turn(until_short) {
            Ok(ReadTurn::Drained) => return,
            Ok(ReadTurn::Budget) => return self.hub.turns.again(self.key),
            Ok(ReadTurn::Eof) => End::PeerClosed,
            // A status may be on its way that tells the peer what is wrong.
            Err(end @ End::Protocol(_)) => return self.close_softly(end),
            Err(end) => end,
        };
        let closing = self.connection().and_then(|connection| connection.life.closing.take());
        self.end(closing.unwrap_or(end));
    }

    fn read_turn(&mut self, until_short: bool) -> Result<ReadTurn, End> {
        let mut buffer = self.hub.turns.take_buffer();
        let result = self.read_pieces(until_short, &mut buffer);
        self.hub.turns.give_back(buffer);
        result
    }

    fn read_pieces(&mut self, until_short: bool, buffer: &mut [u8]) -> Result<ReadTurn, End> {
        let now_ms = self.hub.now_ms();
        let limits = &self.hub.config().limits;
        let (budget, max_buffered) = (limits.turn_bytes as usize, limits.max_reassembly_total);
        let (mut taken, mut messages) = (0, limits.turn_messages);
        loop {
            let Some(connection) = self.hub.delivery.connections.get_mut(self.key) else {
                return Ok(ReadTurn::Drained);
            };
            if connection.awaits_answer() {
                // The kernel keeps what comes meanwhile; it is read behind the answer.
                return Ok(ReadTurn::Drained);
            }
            if taken >= budget || messages == 0 {
                return Ok(ReadTurn::Budget);
            }
            let bytes = match connection.read(buffer)? {
                Some([]) => return Ok(ReadTurn::Eof),
                Some(bytes) => bytes,
                None => return Ok(ReadTurn::Drained),
            };
            taken += bytes.len();
            let was_short = until_short && bytes.len() < READ_BYTES;
            connection.heard.last_input_ms = now_ms;
            if connection.life.closing.is_some() {
                continue;
            }
            if !connection.life.established {
                connection.acknowledge();
            }
            self.hub.delivery.counts.received(bytes.len());
            self.hub.work.begin(connection.id, connection.peer.ip(), bytes);
            #[cfg(debug_assertions)]
            crash_on(bytes);
            let handled = connection.session.handle_input(now_ms, bytes);
            let frames = connection.traffic.frames;
            // What was understood before the error still counts.
            self.pump();
            self.hub.work.end();
            handled.map_err(End::Protocol)?;
            let Some(connection) = self.hub.delivery.connections.get(self.key) else {
                return Ok(ReadTurn::Drained);
            };
            let frames = connection.traffic.frames.saturating_sub(frames);
            messages = messages.saturating_sub(u32::try_from(frames).unwrap_or(u32::MAX));
            if self.hub.delivery.connections.note_buffered(self.key) as u64 > max_buffered {
                return Err(End::Memory);
            }
            if was_short && messages > 0 {
                return Ok(ReadTurn::Drained);
            }
        }
    }

    /// Works off what the session has to say. Returns whether the connection still exists.
    pub(crate) fn pump(&mut self) -> bool {
        loop {
            let Some(connection) = self.hub.delivery.connections.get_mut(self.key) else { return false };
            if connection.life.closing.is_some() {
                while connection.session.poll_output().is_some() {}
                return true;
            }
            match connection.deferred.pop_front().or_else(|| connection.session.poll_output()) {
                Some(Output::Event(ServerEvent::Media { msid, kind, timestamp, payload })) => {
                    connection.traffic.frames += 1;
                    connection.heard.had_media = true;
                    connection.heard.last_media_ms = self.hub.delivery.now_ms;
                    self.host.media(ConnectionId(self.key), msid, kind, timestamp, payload);
                }
                Some(Output::Transmit(bytes)) => self.hub.delivery.queue(self.key, &bytes),
                Some(Output::Event(event)) => self.event(event),
                Some(Output::Close(reason)) => self.close_softly(End::Session(reason)),
                None => break,
            }
        }
        self.hub.delivery.connections.update_deadline(self.key);
        self.flush();
        self.hub.delivery.connections.compact(self.key);
        self.hub.delivery.connections.contains(self.key)
    }

    /// What a session says beside media.
    fn event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Connect(request) => self.ask(&Pending::Connect(request), None),
            ServerEvent::Publish(request) => self.ask(&Pending::Publish(request), None),
            ServerEvent::Play(request) => self.ask(&Pending::Play(request), None),
            ServerEvent::Unpublish { msid } => {
                if let Some(connection) = self.connection() {
                    connection.publishing.retain(|known| *known != msid);
                }
                self.unpublish(msid);
            }
            ServerEvent::StopPlay { msid } => self.stop_play(msid),
            ServerEvent::Pause { msid, paused, .. } => {
                self.peer_request(msid, PeerRequest::Pause(paused));
            }
            ServerEvent::ReceiveAudio { msid, on } => {
                self.peer_request(msid, PeerRequest::ReceiveAudio(on));
            }
            ServerEvent::ReceiveVideo { msid, on } => {
                self.peer_request(msid, PeerRequest::ReceiveVideo(on));
            }
            ServerEvent::Dropped { what, count } => {
                if let Some(connection) = self.connection() {
                    tracing::warn!(cid = connection.id, "left out, {count} so far: {what}");
                }
            }
            ServerEvent::Media { .. }
            | ServerEvent::Seek { .. }
            | ServerEvent::BufferLength { .. }
            | ServerEvent::Acknowledged(_) => {}
        }
    }

    fn peer_request(&mut self, msid: u32, request: PeerRequest) {
        if let Some(over) = self.hub.delivery.peer_request(self.key, msid, request) {
            self.conclude(over);
        }
    }

    /// Sends what waits, then what the connection's viewers may get.
    pub(crate) fn flush(&mut self) {
        if let Some(over) = self.hub.delivery.flush(self.key) {
            self.conclude(over);
        }
    }
}

/// For tests of what happens when a process dies of its input. Not in releases.
#[cfg(debug_assertions)]
fn crash_on(bytes: &[u8]) {
    static TEXT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let text = TEXT.get_or_init(|| std::env::var("SRS_TEST_CRASH_ON").ok());
    if let Some(text) = text
        && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    {
        std::process::abort();
    }
}
