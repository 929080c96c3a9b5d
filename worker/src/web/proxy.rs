//! The management API for pages of this server: requests below `/api/` go to the api process as they are, with who asks, and
//! its answers come back. Who may do what is decided there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use conf::Config;
use reactor::{Reactor, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use super::answer::Heads;
use super::connection::{Body, Connection, State};
use super::gone::Gone;
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

/// The next request of a connection, which is for the API.
#[derive(Debug)]
enum ForApi {
    /// It has not all come yet.
    Partial,
    /// It is no request that the API could answer: this is what it is told.
    Refused(u16),
    /// All of it is here: this goes to the API.
    Whole(Vec<u8>),
}

/// Takes the next request for the API out of what a connection has said; `api` is where operators reach it.
///
/// # Errors
/// No more of it will come.
fn take_request(connection: &mut Connection, api: SocketAddr) -> Result<ForApi, Gone> {
    let taken = match head::read(&connection.input) {
        Head::Partial if connection.at_end => return Err(Gone::Left),
        // No more of it is taken in, so it would never be whole.
        Head::Partial if connection.is_full() => {
            let has_head = connection.input.windows(4).any(|four| four == b"\r\n\r\n");
            ForApi::Refused(if has_head { 413 } else { 431 })
        }
        Head::Partial => return Ok(ForApi::Partial),
        Head::Bad(status, _) => ForApi::Refused(status),
        Head::Whole(mut whole) => {
            // The web server is what stands behind proxies.
            whole.is_passed_on |= whole.is_old;
            ForApi::Whole(whole.request(connection.peer.ip(), api))
        }
    };
    // One request a connection: an answer of the API has no length but its end.
    connection.keep_alive = false;
    connection.input.clear();
    Ok(taken)
}

/// A request goes to the API that is reached below this directory.
///
/// # Errors
/// The API can't be asked.
fn pass_on(connection: &mut Connection, request: Vec<u8>, runtime_dir: &Path, now_ms: u64) -> io::Result<()> {
    let to = connect(&runtime_dir.join(INNER_SOCKET))?;
    connection.deadline_ms = now_ms + ANSWER_MS;
    connection.state = State::Answer(Body::Tunnel(Tunnel { to, request, is_relay: false }));
    Ok(())
}

/// What became of the next request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It has not all come yet.
    Partial,
    /// It is on its way to the API: the other end of the tunnel is to be watched.
    PassedOn,
    /// It is answered here.
    Answered,
}

/// Takes the next request of a connection, which is for the API, and passes it on when it is whole.
///
/// # Errors
/// No more of it will come.
pub(crate) fn next(
    connection: &mut Connection,
    heads: &Heads,
    config: &Config,
    now_ms: u64,
) -> Result<Next, Gone> {
    let answer = match take_request(connection, config.http_api.listen)? {
        ForApi::Partial => return Ok(Next::Partial),
        ForApi::Refused(status) => heads.refusal(status),
        ForApi::Whole(_) if !config.http_api.enabled => heads.not_found(),
        ForApi::Whole(request) => match pass_on(connection, request, &config.runtime_dir, now_ms) {
            Ok(()) => return Ok(Next::PassedOn),
            Err(error) => {
                tracing::warn!("the API can't be asked: {error}");
                heads.refusal(503)
            }
        },
    };
    connection.give(answer, false);
    Ok(Next::Answered)
}

/// Watches the other end of a connection's tunnel, if it has one.
///
/// # Errors
/// The kernel can't.
pub(crate) fn watch(key: usize, connection: &Connection, reactor: &Reactor) -> io::Result<()> {
    match &connection.state {
        State::Answer(Body::Tunnel(tunnel)) => reactor.register(tunnel.fd(), Token(FIRST_TOKEN + key)),
        _ => Ok(()),
    }
}

impl Connection {
    /// Takes what the client says for another process.
    pub(crate) fn fill_relay(&mut self) -> Result<(), Gone> {
        while self.is_relayed() {
            self.read()?;
            let State::Answer(Body::Tunnel(tunnel)) = &mut self.state else { return Ok(()) };
            if !tunnel.take(&mut self.input, self.at_end) {
                break;
            }
        }
        Ok(())
    }

    /// Takes what the other end of its tunnel says. `false` when that has to be waited for.
    pub(crate) fn step_tunnel(&mut self) -> bool {
        let State::Answer(Body::Tunnel(tunnel)) = &mut self.state else { return false };
        match tunnel.step() {
            Moved::Some(bytes) => self.outbox.push(bytes),
            Moved::Nothing => return false,
            Moved::End => self.state = State::Answer(Body::Rest),
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
