//! One connection: accepted, asked, answered, ended.

use std::net::{SocketAddr, TcpStream};

use mediaring::Counter;
use reactor::{Reactor, Token};

use super::{FIRST_TOKEN, HEAD_MS, IDLE_MS, LINGER_MS, REFUSE_MS, Web};
use crate::outputs::live::packet_queue::Format;
use crate::outputs::live::viewer::Filled;
use crate::reading::unestablished_places;
use crate::web::connection::{Body, Connection, SentFile, State};
use crate::web::gone::Gone;
use crate::web::proxy::{self, Next};
use crate::web::site::Site;

/// What a client is told for whom there is no place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
    Content-Type: text/plain;charset=utf-8\r\nContent-Length: 47\r\n\r\nThe server is full: max_connections is reached\n";
/// The same where the process has no descriptor left.
pub(crate) const NO_DESCRIPTORS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
    Content-Type: text/plain;charset=utf-8\r\nContent-Length: 42\r\n\r\nThe server is full: no descriptor is left\n";
/// How often it is told that clients speak another protocol, ms.
const CONTACT_MS: u64 = 5_000;

impl Web {
    pub(crate) fn adopt(&mut self, reactor: &Reactor, at: SocketAddr, socket: TcpStream, peer: SocketAddr) {
        self.counters.add(Counter::Accepted, 1);
        let is_refused = self.listening.is_refused(peer.ip(), self.now_ms);
        if is_refused || self.counters.established() >= u64::from(self.site.config.max_connections) {
            self.counters.refused();
            self.listening.turn_away(at, &socket, if is_refused { b"" } else { FULL });
            return;
        }
        self.make_room();
        let id = self.clients.take_id();
        let Some(transport) = self.listening.transport(at, socket) else { return };
        let deadline_ms = self.now_ms + HEAD_MS;
        let connection = transport.and_then(|it| Connection::new(it, peer, id, self.now_ms, deadline_ms));
        let Ok(connection) = connection else { return };
        self.begin(reactor, connection);
    }

    /// Connections that have asked for nothing have places of their own, beside those that `max_connections` counts.
    fn make_room(&mut self) {
        let places = unestablished_places(self.site.config.max_connections) as usize;
        if self.clients.connections.len() < places {
            return;
        }
        let (count, greediest) = self.clients.unestablished(places);
        self.counters.set(Counter::Unestablished, count);
        if let Some(key) = greediest {
            self.end(key, Gone::Unestablished);
        }
    }

    /// A connection is served here from now on.
    pub(crate) fn begin(&mut self, reactor: &Reactor, connection: Connection) {
        let fd = connection.fd();
        let key = self.clients.connections.insert(connection);
        self.counters.add(Counter::Connections, 1);
        // The next sweep knows it exactly.
        self.counters.add(Counter::Unestablished, 1);
        if let Err(error) = reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.end(key, Gone::Failed);
            return;
        }
        self.serve(key, true);
    }

    /// Does for a connection all that can be done now.
    pub(crate) fn serve(&mut self, key: usize, readable: bool) {
        let served = self.try_serve(key, readable);
        self.counters.work_record.end();
        if let Err(gone) = served {
            self.end(key, gone);
        }
    }

    fn try_serve(&mut self, key: usize, readable: bool) -> Result<(), Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(()) };
        // What comes behind the request of a download that is kept is left to whoever ends it.
        if readable && !connection.is_kept() {
            let before = connection.bytes_in;
            let read = connection.read();
            let moved = connection.bytes_in - before;
            self.counters.add(Counter::BytesIn, i64::try_from(moved).unwrap_or(0));
            read?;
            if connection.only_listens() && connection.at_end {
                return Err(Gone::Left);
            }
        }
        // Bounded: each turn of this loop ends an answer, fills an outbox, or returns.
        for _ in 0..64 {
            let Some(connection) = self.clients.get_mut(key) else { return Ok(()) };
            if connection.blocked {
                return Ok(());
            }
            let before = connection.bytes_out;
            let flushed = connection.flush();
            let moved = connection.bytes_out - before;
            let tally = connection.feed().and_then(|(feed, _)| self.site.media.feed(feed)?.tally);
            self.counters.sent(moved, tally);
            let is_free = flushed?;
            if moved > 0 {
                connection.deadline_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
            }
            if !is_free {
                self.to_master.keep_download(connection, &self.site.config);
                return Ok(());
            }
            if !self.step(key)? {
                return Ok(());
            }
        }
        self.clients.run(key);
        Ok(())
    }

    /// The next step of a connection whose outbox is empty. `false` when it has to wait.
    fn step(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(false) };
        match &mut connection.state {
            State::Head => self.next_request(key),
            State::Goodbye => Ok(false),
            State::Answer(Body::Wait(_) | Body::Events | Body::Leaving | Body::Picture) => Ok(false),
            State::Answer(Body::Tunnel(_)) => {
                connection.fill_relay()?;
                Ok(connection.step_tunnel())
            }
            State::Answer(Body::Rest) => self.answered(key),
            State::Answer(Body::File(_)) => self.step_file(key),
            State::Answer(Body::Live(_)) => self.step_live(key),
        }
    }

    fn step_file(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(false) };
        if self.site.files.read_ahead(key, connection)? {
            return Ok(false);
        }
        let before = connection.bytes_out;
        let sent = connection.step_file()?;
        self.counters.sent(connection.bytes_out - before, None);
        connection.deadline_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
        match sent {
            SentFile::Buffered => return Ok(true),
            SentFile::All if connection.is_kept() => self.to_master.drop_download(connection.id),
            SentFile::All => {}
            SentFile::Blocked => self.to_master.keep_download(connection, &self.site.config),
            SentFile::Turn => self.clients.run(key),
        }
        if sent == SentFile::All { self.answered(key) } else { Ok(false) }
    }

    fn step_live(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(false) };
        connection.hear_websocket()?;
        let State::Answer(Body::Live(viewer)) = &mut connection.state else { return Ok(false) };
        let feed = self.site.media.feed(viewer.feed);
        let Some(stream) = feed.zip(self.site.media.outputs.live.get(viewer.feed)) else {
            return Err(Gone::Ending);
        };
        let queue_ms = self.site.media.queue_ms(&stream.0.key);
        let is_picture = viewer.picture;
        match viewer.fill(stream, queue_ms, &mut connection.outbox) {
            Filled::Some if is_picture => {
                self.make_picture(key);
                Ok(true)
            }
            Filled::Some => Ok(true),
            Filled::Nothing => Ok(!connection.outbox.is_empty()),
            Filled::End => {
                self.end_live(key);
                Ok(true)
            }
        }
    }

    /// The body of a live stream ends here.
    pub(crate) fn end_live(&mut self, key: usize) {
        let Some(connection) = self.clients.get_mut(key) else { return };
        let Some((feed, format)) = connection.feed() else { return };
        let begun = connection.finish_live();
        self.leave(key, feed, format);
        if !begun {
            self.show(key, self.site.heads.refusal(404));
        }
    }

    /// Somebody watches a stream no longer.
    pub(crate) fn leave(&mut self, key: usize, feed: usize, format: Format) {
        self.clients.leave(key, feed);
        self.site.media.leave(feed, format);
    }

    /// An answer is complete.
    fn answered(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(false) };
        if !connection.keep_alive || connection.at_end && connection.input.is_empty() {
            connection.shut_down();
            connection.state = State::Goodbye;
            connection.deadline_ms = self.now_ms + LINGER_MS;
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        connection.state = State::Head;
        connection.was_passed = false;
        connection.lookup = Default::default();
        connection.target.clear();
        connection.deadline_ms = self.now_ms + if connection.input.is_empty() { IDLE_MS } else { HEAD_MS };
        // What came meanwhile may have been left in the socket.
        connection.read()?;
        Ok(true)
    }

    fn next_request(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.clients.get_mut(key) else { return Ok(false) };
        if connection.input.is_empty() {
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        // Counted from its first byte, not from the last.
        let head_ms = connection.deadline_ms.min(self.now_ms + HEAD_MS);
        if proxy::is_for_api(&connection.input) {
            let Site { heads, config, .. } = &self.site;
            return Ok(match proxy::next(connection, heads, config, self.now_ms)? {
                Next::Partial => {
                    connection.deadline_ms = head_ms;
                    false
                }
                Next::PassedOn => {
                    self.clients.unregistered_tunnels.push(key);
                    false
                }
                Next::Answered => true,
            });
        }
        // Should this process die of it, it is known whose it was.
        self.counters.work_record.begin(connection.id, connection.peer.ip(), &connection.input);
        match http1::Request::parse(&connection.input) {
            Ok(Some((request, len))) => {
                if self.site.config.http_workers > 1 {
                    connection.head = connection.input.get(..len).unwrap_or_default().to_vec();
                }
                connection.input.drain(..len);
                connection.keep_alive = request.keep_alive;
                connection.deadline_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
                self.request(key, request, None);
                Ok(true)
            }
            Ok(None) if connection.at_end => Err(Gone::Left),
            Ok(None) => {
                connection.deadline_ms = head_ms;
                Ok(false)
            }
            Err(error) => {
                if connection.refuse_head(&self.site.heads, &error, self.now_ms >= self.next_contact_ms) {
                    self.next_contact_ms = self.now_ms + CONTACT_MS;
                }
                self.counters.note(Gone::Refused);
                Ok(true)
            }
        }
    }

    /// Watches the sockets of requests for the API that have begun.
    pub(crate) fn watch_tunnels(&mut self, reactor: &Reactor) {
        for key in std::mem::take(&mut self.clients.unregistered_tunnels) {
            let Some(connection) = self.clients.get(key) else { continue };
            match proxy::watch(key, connection, reactor) {
                Ok(()) => self.serve(key, false),
                Err(_) => self.end(key, Gone::Failed),
            }
        }
    }

    /// A connection ends.
    pub(crate) fn end(&mut self, key: usize, gone: Gone) {
        let Some(connection) = self.clients.remove(key) else { return };
        self.event_pages.remove(key);
        self.counters.ended(gone);
        if let Some((feed, format)) = connection.feed() {
            self.leave(key, feed, format);
        }
        if connection.is_kept() {
            // It is not closed while the master has it.
            connection.abort();
            self.to_master.drop_download(connection.id);
        }
    }

    /// Closes a connection because an operator wants it. Returns whether there is one of that id.
    pub(crate) fn kick(&mut self, id: u64) -> bool {
        let found = self.clients.find(id);
        if let Some(key) = found {
            tracing::info!(cid = id, "kicked by an operator");
            self.end(key, Gone::Kicked);
        }
        found.is_some() || self.site.media.outputs.hls.sessions.kick(id, self.now_ms + REFUSE_MS)
    }
}
