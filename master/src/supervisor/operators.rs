//! The control socket: a Unix socket in the runtime directory by which programs on this host (`srs-cli`) ask the master for
//! what only it can do. One line of JSON each way.
//!
//! The socket's mode lets our own user in; the kernel says who is really there, so that a socket whose mode was changed
//! lets in nobody else than root. Nobody is waited for: requests and answers are bounded, and an operator that is slow with
//! either loses its place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt};
use reactor::{Reactor, Token};
use serde::Serialize;

const LISTENER_TOKEN: usize = 8192;
const FIRST_TOKEN: usize = LISTENER_TOKEN + 1;
/// Operators at the same time.
const MOST: usize = 64;
/// Longest request in bytes.
const MAX_REQUEST: usize = 64 << 10;
/// Longest answer.
const MAX_ANSWER: usize = 4 << 20;
/// How long an operator may take for its request, and for taking its answer, ms.
const PATIENCE_MS: u64 = 10_000;
/// Descriptors that are held back, and when it is tried again where they were not enough, ms.
const RESERVE: usize = 4;
const AGAIN_MS: u64 = 100;

/// An operator that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OperatorId(usize);

#[derive(Debug)]
struct Operator {
    socket: UnixStream,
    request: Vec<u8>,
    /// It has asked; nothing more is read from it.
    asked: bool,
    /// What it has not taken yet of its answer.
    answer: Option<Vec<u8>>,
    /// When it loses its place; nothing while the answer is being worked out.
    until_ms: Option<u64>,
}

/// The socket and those who are connected.
#[derive(Debug, Default)]
pub(super) struct Operators {
    listener: Option<UnixListener>,
    clients: HashMap<usize, Operator>,
    next: usize,
    /// Held so that an operator is answered when all other descriptors are used: one for the connection, others for what is
    /// looked up.
    reserve: Vec<File>,
    /// Somebody waits for whom there was none.
    waiting: bool,
}

impl Operators {
    /// The control socket is this one from now on.
    pub(super) fn listen(&mut self, listener: UnixListener, reactor: &Reactor) {
        if let Err(error) = reactor.register_readable(listener.as_raw_fd(), Token(LISTENER_TOKEN)) {
            tracing::warn!("the control socket can't be watched: {error}; srs-cli can't ask the master");
        }
        self.listener = Some(listener);
        self.fill_reserve();
        // Who came before it was watched.
        self.accept(reactor);
    }

    /// Answers nobody any more.
    pub(super) fn close(&mut self) {
        self.listener = None;
        self.clients.clear();
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        token.0 >= LISTENER_TOKEN
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        let waiting = self.waiting.then(|| reactor::now_ms() + AGAIN_MS);
        self.clients.values().filter_map(|operator| operator.until_ms).chain(waiting).min()
    }

    /// Those who are too slow lose their places.
    pub(super) fn tick(&mut self, reactor: &Reactor) {
        let now_ms = reactor::now_ms();
        self.clients.retain(|_, operator| operator.until_ms.is_none_or(|until_ms| now_ms < until_ms));
        if self.listener.is_some() && self.clients.is_empty() {
            self.fill_reserve();
        }
        if self.waiting {
            self.accept(reactor);
        }
    }

    fn fill_reserve(&mut self) {
        while self.reserve.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.reserve.push(file);
        }
    }

    /// Reads what is there, and sends what waits; returns whole requests.
    pub(super) fn ready(&mut self, reactor: &Reactor, token: Token) -> Vec<(OperatorId, String)> {
        if token.0 == LISTENER_TOKEN {
            self.accept(reactor);
            return Vec::new();
        }
        let key = token.0 - FIRST_TOKEN;
        let Some(operator) = self.clients.get_mut(&key) else { return Vec::new() };
        if operator.answer.is_some() {
            self.flush(key);
            return Vec::new();
        }
        if operator.asked {
            return Vec::new();
        }
        let mut buffer = [0; 4096];
        let over = loop {
            // Descriptors that come along are closed by the kernel: a plain read takes none.
            match operator.socket.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => {
                    operator.request.extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                    if operator.request.contains(&b'\n') {
                        break false;
                    }
                    if operator.request.len() > MAX_REQUEST {
                        tracing::warn!("an operator's request is longer than {MAX_REQUEST} bytes: closed");
                        break true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        if over {
            self.clients.remove(&key);
            return Vec::new();
        }
        let Some(end) = operator.request.iter().position(|byte| *byte == b'\n') else { return Vec::new() };
        let line = String::from_utf8_lossy(operator.request.get(..end).unwrap_or(&[])).into_owned();
        operator.request = Vec::new();
        (operator.asked, operator.until_ms) = (true, None);
        vec![(OperatorId(key), line)]
    }

    fn accept(&mut self, reactor: &Reactor) {
        let Some(listener) = &self.listener else { return };
        self.waiting = false;
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) if !self.reserve.is_empty() => {
                    self.reserve.clear();
                    continue;
                }
                // It is tried again: nobody tells us a second time that somebody waits.
                Err(_) => {
                    self.waiting = true;
                    return;
                }
            };
            if !may_ask(&socket) {
                tracing::warn!("somebody else than this server's user or root tried the control socket");
                continue;
            }
            let token = Token(FIRST_TOKEN + self.next);
            if self.clients.len() < MOST
                && socket.set_nonblocking(true).is_ok()
                && reactor.register(socket.as_raw_fd(), token).is_ok()
            {
                let until_ms = Some(reactor::now_ms() + PATIENCE_MS);
                let operator = Operator { socket, request: Vec::new(), asked: false, answer: None, until_ms };
                self.clients.insert(self.next, operator);
                self.next += 1;
            }
        }
    }

    /// Answers, and lets go when the answer is taken.
    pub(super) fn answer(&mut self, operator: OperatorId, answer: &impl Serialize) {
        let mut line = serde_json::to_vec(answer).unwrap_or_default();
        line.push(b'\n');
        if line.len() > MAX_ANSWER {
            tracing::warn!("an answer of {} bytes is too long for an operator", line.len());
            self.clients.remove(&operator.0);
            return;
        }
        if let Some(client) = self.clients.get_mut(&operator.0) {
            client.answer = Some(line);
            client.until_ms = Some(reactor::now_ms() + PATIENCE_MS);
            self.flush(operator.0);
        }
    }

    fn flush(&mut self, key: usize) {
        let Some(operator) = self.clients.get_mut(&key) else { return };
        let Some(answer) = &mut operator.answer else { return };
        while !answer.is_empty() {
            match operator.socket.write(answer) {
                Ok(count) if count > 0 => drop(answer.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => break,
            }
        }
        self.clients.remove(&key);
    }
}

/// Whether who is there is our own user or root.
fn may_ask(socket: &UnixStream) -> bool {
    let peer = getsockopt(socket, sockopt::PeerCredentials).map(|peer| peer.uid());
    peer.is_ok_and(|uid| uid == 0 || uid == nix::unistd::geteuid().as_raw())
}
