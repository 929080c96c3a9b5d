//! The management API for pages of this server: requests below `/api/` go to the api process as they are, with who asks, and
//! its answers come back. Who may do what is decided there.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use reactor::{Reactor, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use super::connection::{Body, Gone, State};
use super::server::Web;
use crate::api::INNER_SOCKET;
use crate::api::head::{self, Head};

/// Tokens of the sockets to the API begin here: far behind those of connections.
pub(crate) const FIRST_TOKEN: usize = 1 << 40;
/// Bytes of an answer that are taken before the client has taken those before.
const TURN: usize = 64 << 10;
/// How long the API may take, ms.
const ANSWER_MS: u64 = 15_000;

/// A request on its way, and its answer.
#[derive(Debug)]
pub(crate) struct Tunnel {
    to: UnixStream,
    request: Vec<u8>,
    /// Whatever the client says from now on goes there.
    is_relay: bool,
}

/// What came of a step.
enum Moved {
    /// There is something for the client.
    Some(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The answer is complete.
    End,
}

impl Tunnel {
    /// To another http process.
    pub(crate) fn relay(to: UnixStream) -> Self {
        Self { to, request: Vec::new(), is_relay: true }
    }

    pub(crate) fn is_relay(&self) -> bool {
        self.is_relay
    }

    /// Takes what the client has said meanwhile. `true` when there was something, and there is room for more.
    fn take(&mut self, input: &mut Vec<u8>, at_end: bool) -> bool {
        if at_end && self.request.is_empty() && input.is_empty() {
            let _ = self.to.shutdown(std::net::Shutdown::Write);
        }
        let is_new = !input.is_empty() && self.request.len() < TURN;
        if is_new {
            self.request.append(input);
        }
        is_new
    }

    fn fd(&self) -> RawFd {
        self.to.as_raw_fd()
    }

    fn step(&mut self) -> Moved {
        while !self.request.is_empty() {
            match self.to.write(&self.request) {
                Ok(count) if count > 0 => drop(self.request.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Moved::Nothing,
                _ => return Moved::End,
            }
        }
        let mut bytes = vec![0; TURN];
        loop {
            match self.to.read(&mut bytes) {
                Ok(0) => return Moved::End,
                Ok(count) => {
                    bytes.truncate(count);
                    return Moved::Some(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Moved::Nothing,
                Err(_) => return Moved::End,
            }
        }
    }
}

/// A connection to the API. Where its backlog is full, that is an error at once: players wait for nobody's API.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Whether a request that begins so is for the API.
pub(crate) fn is_for_api(input: &[u8]) -> bool {
    let target =
        input.iter().position(|byte| *byte == b' ').and_then(|at| input.get(at + 1..)).unwrap_or(&[]);
    target.starts_with(b"/api/") || target.starts_with(b"/api ") || target.starts_with(b"/api?")
}

impl Web {
    /// The next request of a connection is for the API: passed on when it is whole. `false` when it has to wait for more.
    pub(crate) fn pass_on(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        let whole = match head::read(&connection.input) {
            Head::Partial if connection.at_end => return Err(Gone::Left),
            // No more of it is taken in, so it would never be whole.
            Head::Partial if connection.is_full() => {
                let has_head = connection.input.windows(4).any(|four| four == b"\r\n\r\n");
                connection.keep_alive = false;
                connection.input.clear();
                self.refuse(key, if has_head { 413 } else { 431 });
                return Ok(true);
            }
            Head::Partial => return Ok(false),
            Head::Bad(status, _) => {
                connection.keep_alive = false;
                connection.input.clear();
                self.refuse(key, status);
                return Ok(true);
            }
            Head::Whole(mut whole) => {
                // The web server is what stands behind proxies.
                whole.is_passed_on |= whole.is_old;
                whole
            }
        };
        // One request a connection: an answer of the API has no length but its end.
        connection.keep_alive = false;
        connection.input.clear();
        if !self.config.http_api.enabled {
            self.not_found(key, http1::Method::Get);
            return Ok(true);
        }
        let request = whole.request(connection.peer.ip(), self.config.http_api.listen);
        match connect(&self.config.runtime_dir.join(INNER_SOCKET)) {
            Ok(api) => {
                connection.deadline_ms = self.now_ms + ANSWER_MS;
                connection.state = State::Answer(Body::Tunnel(Tunnel { to: api, request, is_relay: false }));
                self.unregistered_tunnels.push(key);
                Ok(false)
            }
            Err(error) => {
                tracing::warn!("the API can't be asked: {error}");
                self.refuse(key, 503);
                Ok(true)
            }
        }
    }

    /// Watches the sockets of requests that have begun.
    pub(crate) fn watch_tunnels(&mut self, reactor: &Reactor) {
        for key in std::mem::take(&mut self.unregistered_tunnels) {
            let Some(connection) = self.connections.get(key) else { continue };
            if let State::Answer(Body::Tunnel(tunnel)) = &connection.state
                && reactor.register(tunnel.fd(), Token(FIRST_TOKEN + key)).is_err()
            {
                self.end(key, Gone::Failed);
                continue;
            }
            self.serve(key, false);
        }
    }

    /// Takes what the client says for another process.
    pub(crate) fn fill_relay(&mut self, key: usize) -> Result<(), Gone> {
        loop {
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.is_relayed()) else {
                return Ok(());
            };
            connection.read()?;
            let State::Answer(Body::Tunnel(tunnel)) = &mut connection.state else { return Ok(()) };
            if !tunnel.take(&mut connection.input, connection.at_end) {
                return Ok(());
            }
        }
    }

    /// Takes what the other end says. `false` when that has to be waited for.
    pub(crate) fn step_tunnel(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let State::Answer(Body::Tunnel(tunnel)) = &mut connection.state else { return false };
        match tunnel.step() {
            Moved::Some(bytes) => connection.outbox.push(bytes),
            Moved::Nothing => return false,
            Moved::End => connection.state = State::Answer(Body::Rest),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_api_goes_there() {
        for input in [
            "GET /api/v1/streams HTTP/1.1",
            "DELETE /api/v1/clients/1 HTTP",
            "GET /api HTTP/1.1",
            "GET /api?x",
        ] {
            assert!(is_for_api(input.as_bytes()), "{input}");
        }
        for input in ["GET /apis/a.flv HTTP/1.1", "GET /live/api/ HTTP", "GET", "", "/api/"] {
            assert!(!is_for_api(input.as_bytes()), "{input}");
        }
    }

    #[test]
    fn an_api_that_takes_nobody_is_an_error_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let api = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        api.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        api.listen(2).unwrap();
        let mut taken = Vec::new();
        let error = loop {
            match connect(&path) {
                Ok(connection) => taken.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), taken.len()), (ErrorKind::WouldBlock, 3));
    }
}
