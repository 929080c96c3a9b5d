//! The control socket: a Unix socket in the runtime directory by which programs on this host (`srs-cli`) ask the master for
//! what only it can do. One line of JSON each way; who may use it is a matter of the socket's file mode.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use reactor::{Reactor, Token};
use serde::Serialize;

use super::Supervisor;

/// Name of the socket in the runtime directory.
const SOCKET: &str = "srs.sock";

const LISTENER_TOKEN: usize = 8192;
const FIRST_TOKEN: usize = LISTENER_TOKEN + 1;
/// Operators at the same time.
const MOST: usize = 64;
/// Longest request in bytes.
const MAX_REQUEST: usize = 4096;

/// An operator that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OperatorId(usize);

/// The socket and those who are connected.
#[derive(Debug)]
pub(super) struct Operators {
    listener: Option<UnixListener>,
    path: PathBuf,
    clients: HashMap<usize, (UnixStream, Vec<u8>)>,
    next: usize,
}

impl Operators {
    /// Binds the socket. Without it the server serves all the same, and says so.
    pub(super) fn open(directory: &Path, reactor: &Reactor) -> Self {
        let path = directory.join(SOCKET);
        let listener = bind(&path).and_then(|listener| {
            reactor.register_readable(listener.as_raw_fd(), Token(LISTENER_TOKEN))?;
            Ok(listener)
        });
        if let Err(error) = &listener {
            tracing::warn!(
                "the control socket {} can't be made: {error}; srs-cli can't reload",
                path.display()
            );
        }
        Self { listener: listener.ok(), path, clients: HashMap::new(), next: 0 }
    }

    /// Takes the socket away.
    pub(super) fn close(&mut self) {
        if self.listener.take().is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
        self.clients.clear();
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        token.0 >= LISTENER_TOKEN
    }

    /// Reads what is there; returns whole requests.
    pub(super) fn ready(&mut self, reactor: &Reactor, token: Token) -> Vec<(OperatorId, String)> {
        if token.0 == LISTENER_TOKEN {
            self.accept(reactor);
            return Vec::new();
        }
        let key = token.0 - FIRST_TOKEN;
        let Some((socket, request)) = self.clients.get_mut(&key) else { return Vec::new() };
        let mut buffer = [0; 1024];
        loop {
            match socket.read(&mut buffer) {
                Ok(count) if count > 0 && request.len() <= MAX_REQUEST => {
                    request.extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.clients.remove(&key);
                    return Vec::new();
                }
            }
        }
        let Some(end) = request.iter().position(|byte| *byte == b'\n') else { return Vec::new() };
        let line: Vec<u8> = request.drain(..=end).collect();
        vec![(OperatorId(key), String::from_utf8_lossy(&line).into_owned())]
    }

    fn accept(&mut self, reactor: &Reactor) {
        let Some(listener) = &self.listener else { return };
        while let Ok((socket, _)) = listener.accept() {
            let token = Token(FIRST_TOKEN + self.next);
            if self.clients.len() < MOST
                && socket.set_nonblocking(true).is_ok()
                && reactor.register_readable(socket.as_raw_fd(), token).is_ok()
            {
                self.clients.insert(self.next, (socket, Vec::new()));
                self.next += 1;
            }
        }
    }

    /// Answers, and lets go.
    pub(super) fn answer(&mut self, operator: OperatorId, answer: &impl Serialize) {
        let Some((mut socket, _)) = self.clients.remove(&operator.0) else { return };
        let mut line = serde_json::to_vec(answer).unwrap_or_default();
        line.push(b'\n');
        // It fits into a socket's buffer; an operator that does not read loses its answer and nothing else.
        if let Err(error) = socket.write_all(&line) {
            tracing::warn!("an operator did not get its answer: {error}");
        }
    }
}

/// The pid file's lock is held: a socket that is there already belongs to nobody.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Supervisor {
    /// What an operator wants.
    pub(super) fn request(&mut self, operator: OperatorId, request: &str) {
        #[derive(serde::Deserialize)]
        #[serde(tag = "command", rename_all = "snake_case")]
        enum Request {
            Reload {
                #[serde(default)]
                dry_run: bool,
            },
        }
        match serde_json::from_str(request) {
            Ok(Request::Reload { dry_run: false }) => self.ask_reload(Some(operator)),
            Ok(Request::Reload { dry_run: true }) => self.preview(operator),
            Err(error) => {
                let result =
                    api::Reload { error: Some(format!("not a request: {error}")), ..api::Reload::default() };
                self.operators.answer(operator, &result);
            }
        }
    }
}
