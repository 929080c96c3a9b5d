//! One connection: accepted, asked, answered, ended.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

use mediaring::Counter;
use reactor::{Reactor, Token};

use super::{FIRST_TOKEN, HEAD_MS, IDLE_MS, LINGER_MS, REFUSE_MS, Web, queue_ms};
use crate::outputs::live::viewer::Filled;
use crate::web::connection::{Body, Connection, Gone, State};
use crate::web::proxy;
use crate::web::transport::Transport;

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
    /// Somebody for whom there is no place is told so, and counted.
    pub(crate) fn turn_away(&mut self, at: SocketAddr, mut socket: &TcpStream, answer: &[u8]) {
        for counter in [Counter::Refused, Counter::Ended, Counter::Errors] {
            self.board.add(self.slot, counter, 1);
        }
        *self.ended.entry(Gone::Full.reason()).or_default() += 1;
        if !answer.is_empty() && !self.tls.contains(&at) {
            // One write: who is told why does not have to guess.
            let _ = socket.set_nonblocking(true).and_then(|()| socket.write(answer));
        }
    }

    pub(crate) fn adopt(&mut self, reactor: &Reactor, at: SocketAddr, socket: TcpStream, peer: SocketAddr) {
        self.board.add(self.slot, Counter::Accepted, 1);
        let is_refused =
            self.refused.get(&peer.ip().to_canonical()).is_some_and(|until_ms| *until_ms > self.now_ms);
        if is_refused || self.board.established() >= u64::from(self.config.max_connections) {
            self.turn_away(at, &socket, if is_refused { b"" } else { FULL });
            return;
        }
        self.make_room();
        let id = self.next_id;
        self.next_id += 1;
        let transport = match (self.tls.contains(&at), self.certificate.config()) {
            (false, _) => Ok(Transport::Plain(socket)),
            (true, Some(config)) => Transport::tls(socket, config),
            // The certificate could not be read, which was said.
            (true, None) => return,
        };
        let deadline_ms = self.now_ms + HEAD_MS;
        let connection = transport.and_then(|it| Connection::new(it, peer, id, self.now_ms, deadline_ms));
        let Ok(connection) = connection else { return };
        self.begin(reactor, connection);
    }

    /// Connections that have asked for nothing have places of their own, beside those that `max_connections` counts. When
    /// these are used up the one goes that has asked for nothing longest, of the address that has most of them.
    fn make_room(&mut self) {
        let places = endpoint::unestablished_places(self.config.max_connections) as usize;
        if self.connections.len() < places {
            return;
        }
        let mut of_address: HashMap<IpAddr, (usize, u64, usize)> = HashMap::new();
        let mut all = 0;
        for (key, connection) in self.connections.iter().filter(|(_, connection)| connection.asks_nothing()) {
            all += 1;
            let (count, oldest, at) = of_address.entry(connection.peer.ip().to_canonical()).or_insert((
                0,
                connection.deadline_ms,
                key,
            ));
            *count += 1;
            if connection.deadline_ms < *oldest {
                (*oldest, *at) = (connection.deadline_ms, key);
            }
        }
        self.board.set(self.slot, Counter::Unestablished, all as u64);
        let greediest = of_address.into_values().max_by_key(|(count, ..)| *count).filter(|_| all >= places);
        if let Some((_, _, key)) = greediest {
            self.end(key, Gone::Unestablished);
        }
    }

    /// A connection is served here from now on.
    pub(crate) fn begin(&mut self, reactor: &Reactor, connection: Connection) {
        let fd = connection.fd();
        let key = self.connections.insert(connection);
        self.board.add(self.slot, Counter::Connections, 1);
        // The next sweep knows it exactly.
        self.board.add(self.slot, Counter::Unestablished, 1);
        if let Err(error) = reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.end(key, Gone::Failed);
            return;
        }
        self.serve(key, true);
    }

    /// Serves a connection in this turn.
    pub(crate) fn stir(&mut self, key: usize) {
        self.runnable.insert(key);
    }

    /// Does for a connection all that can be done now.
    pub(crate) fn serve(&mut self, key: usize, readable: bool) {
        let served = self.try_serve(key, readable);
        self.work_record.end();
        if let Err(gone) = served {
            self.end(key, gone);
        }
    }

    fn try_serve(&mut self, key: usize, readable: bool) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        // What comes behind the request of a download that is kept is left to whoever ends it.
        if readable && !connection.is_kept() {
            let before = connection.bytes_in;
            let read = connection.read();
            let moved = connection.bytes_in - before;
            self.board.add(self.slot, Counter::BytesIn, i64::try_from(moved).unwrap_or(0));
            read?;
            if matches!(
                connection.state,
                State::Answer(Body::Live(_) | Body::Wait(_) | Body::Picture | Body::Events)
            ) && connection.at_end
            {
                return Err(Gone::Left);
            }
        }
        // Bounded: each turn of this loop ends an answer, fills an outbox, or returns.
        for _ in 0..64 {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            if connection.blocked {
                return Ok(());
            }
            let before = connection.bytes_out;
            let flushed = connection.flush();
            let moved = connection.bytes_out - before;
            let tally = connection.feed().and_then(|(feed, _)| self.feeds.get(feed)?.tally);
            if moved > 0 {
                self.board.add(self.slot, Counter::BytesOut, i64::try_from(moved).unwrap_or(0));
                if let Some(tally) = tally {
                    self.board.tally_sent(tally, moved);
                }
            }
            let is_free = flushed?;
            if moved > 0 {
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
            }
            if !is_free {
                self.keep_download(key);
                return Ok(());
            }
            if !self.step(key)? {
                return Ok(());
            }
        }
        self.runnable.insert(key);
        Ok(())
    }

    /// The next step of a connection whose outbox is empty. `false` when it has to wait.
    fn step(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        match &mut connection.state {
            State::Head => self.next_request(key),
            State::Goodbye => Ok(false),
            State::Answer(Body::Wait(_) | Body::Events | Body::Leaving | Body::Picture) => Ok(false),
            State::Answer(Body::Tunnel(_)) => {
                self.fill_relay(key)?;
                Ok(self.step_tunnel(key))
            }
            State::Answer(Body::Rest) => self.answered(key),
            State::Answer(Body::File(_)) => {
                if self.waits_for_file(key)? {
                    return Ok(false);
                }
                let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
                let before = connection.bytes_out;
                let done = connection.send_file()?;
                let moved = connection.bytes_out - before;
                self.board.add(self.slot, Counter::BytesOut, i64::try_from(moved).unwrap_or(0));
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
                if !connection.outbox.is_empty() {
                    // What was read of it has yet to be sent.
                    if done {
                        connection.state = State::Answer(Body::Rest);
                    }
                    return Ok(true);
                }
                if done {
                    if connection.is_kept() {
                        let id = connection.id;
                        self.download_is_over(id);
                    }
                    return self.answered(key);
                }
                if !connection.blocked {
                    self.runnable.insert(key);
                } else {
                    self.keep_download(key);
                }
                Ok(false)
            }
            State::Answer(Body::Live(_)) => self.step_live(key),
        }
    }

    fn step_live(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        connection.hear_websocket()?;
        let State::Answer(Body::Live(viewer)) = &mut connection.state else { return Ok(false) };
        let Some(feed) = self.feeds.get_mut(viewer.feed) else { return Err(Gone::Ending) };
        let queue_ms = queue_ms(&self.config, &feed.key);
        let is_picture = viewer.picture;
        match viewer.fill(feed, queue_ms, &mut connection.outbox) {
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
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some((feed, format)) = connection.feed() else { return };
        let begun = connection.finish_live();
        self.leave(key, feed, format);
        if !begun {
            self.refuse(key, 404);
        }
    }

    /// An answer is complete.
    fn answered(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        if !connection.keep_alive || connection.at_end && connection.input.is_empty() {
            connection.shut_down();
            connection.state = State::Goodbye;
            connection.deadline_ms = self.now_ms + LINGER_MS;
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        connection.state = State::Head;
        connection.was_passed = false;
        (connection.opening, connection.opened) = (None, None);
        connection.target.clear();
        connection.deadline_ms = self.now_ms + if connection.input.is_empty() { IDLE_MS } else { HEAD_MS };
        // What came meanwhile may have been left in the socket.
        connection.read()?;
        Ok(true)
    }

    fn next_request(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        if connection.input.is_empty() {
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        if proxy::is_for_api(&connection.input) {
            let passed = self.pass_on(key)?;
            if let Some(connection) = self.connections.get_mut(key)
                && matches!(connection.state, State::Head)
            {
                // Counted from its first byte, not from the last.
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + HEAD_MS);
            }
            return Ok(passed);
        }
        // Should this process die of it, it is known whose it was.
        self.work_record.begin(connection.id, connection.peer.ip(), &connection.input);
        match http1::Request::parse(&connection.input) {
            Ok(Some((request, len))) => {
                if self.config.http_workers > 1 {
                    connection.head = connection.input.get(..len).unwrap_or_default().to_vec();
                }
                connection.input.drain(..len);
                connection.keep_alive = request.keep_alive;
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
                self.request(key, request, None);
                Ok(true)
            }
            Ok(None) if connection.at_end => Err(Gone::Left),
            Ok(None) => {
                // Counted from its first byte, not from the last.
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + HEAD_MS);
                Ok(false)
            }
            Err(error) => {
                let other = match connection.input.first() {
                    Some(0x16) => {
                        Some("the client speaks TLS: use http://, or the port of http_server { https }")
                    }
                    Some(3) => Some("the client speaks RTMP: use a port of `listen`"),
                    _ => None,
                };
                match other.filter(|_| self.now_ms >= self.next_contact_ms) {
                    Some(advice) => {
                        self.next_contact_ms = self.now_ms + CONTACT_MS;
                        tracing::warn!(
                            cid = connection.id,
                            "no HTTP at the port of HTTP, from {}: {advice}",
                            connection.peer
                        );
                    }
                    None => tracing::debug!(cid = connection.id, "a request is refused: {error}"),
                }
                connection.keep_alive = false;
                connection.input.clear();
                *self.ended.entry(Gone::Refused.reason()).or_default() += 1;
                self.refuse(key, error.status());
                Ok(true)
            }
        }
    }

    /// A connection ends.
    pub(crate) fn end(&mut self, key: usize, gone: Gone) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        self.event_listeners.remove(&key);
        self.board.add(self.slot, Counter::Connections, -1);
        self.board.add(self.slot, Counter::Ended, 1);
        if gone.is_error() {
            self.board.add(self.slot, Counter::Errors, 1);
        }
        *self.ended.entry(gone.reason()).or_default() += 1;
        if let Some((feed, format)) = connection.feed() {
            self.leave(key, feed, format);
        }
        if connection.is_kept() {
            // It is not closed while the master has it.
            connection.abort();
            self.download_is_over(connection.id);
        }
    }

    /// Closes a connection because an operator wants it. Returns whether there is one of that id.
    pub(crate) fn kick(&mut self, id: u64) -> bool {
        let found = self.connections.iter().find(|(_, connection)| connection.id == id).map(|(key, _)| key);
        if let Some(key) = found {
            tracing::info!(cid = id, "kicked by an operator");
            self.end(key, Gone::Kicked);
        }
        found.is_some() || self.hls.sessions.kick(id, self.now_ms + REFUSE_MS)
    }
}
