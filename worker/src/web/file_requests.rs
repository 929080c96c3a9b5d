//! Files that are asked for: opened and read at once where the kernel has them in memory, else by the threads of `readers.rs`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::connection::{Body, FileBody, Gone, State};
use super::files::{Found, Missing, Wanted, is_in_memory};
use super::readers::Completion;
use super::server::Web;

/// How long a file may take to be opened, or what is made of it to be made, ms.
pub(crate) const PATIENCE_MS: u64 = 20_000;
/// Bytes that a thread reads for a client at once.
const PIECE: u64 = 256 << 10;
/// Bytes that have to be in memory when a file is sent.
const AHEAD: u64 = 1 << 20;

impl FileBody {
    /// Part of a file that was found.
    pub(crate) fn new(file: File, (at, end): (u64, u64), root: &Arc<Path>, is_local: bool) -> Self {
        let root = Arc::clone(root);
        Self { file, at, end, kept: false, root, is_local, has_begun: false, is_read: false }
    }

    /// Whether what is next can be had at once.
    fn is_at_hand(&self) -> bool {
        self.at >= self.end
            || self.is_local && is_in_memory(&self.file, self.at, self.end.min(self.at + AHEAD))
    }
}

impl Web {
    /// Opens a file for a connection. Where that takes time, the connection's request is looked at again when it is done.
    pub(crate) fn open_file(&mut self, key: usize, wanted: Wanted) -> Result<Found, Missing> {
        let Some(connection) = self.connections.get_mut(key) else { return Err(Missing::Failed) };
        match connection.opened.take_if(|(known, _)| *known == wanted) {
            Some((_, Ok(found))) => return Ok(found),
            Some((known, Err(missing))) => {
                // It is not looked for again and again while a stream is waited for.
                connection.opened = Some((known, Err(missing)));
                return Err(missing);
            }
            None => {}
        }
        if let Some(found) = self.mounts.open_cached(&wanted, self.now_ms) {
            return found;
        }
        if connection.opening.as_ref() == Some(&wanted) {
            return Err(Missing::Later);
        }
        let is_pushed = self.readers.open((key, connection.id), wanted.clone());
        connection.opening = is_pushed.then_some(wanted);
        Err(if is_pushed { Missing::Later } else { Missing::Failed })
    }

    /// Takes what the threads have opened and read.
    pub(crate) fn take_read(&mut self) {
        for ((key, id), completion) in self.readers.drain() {
            if let Completion::Opened(wanted, _, Some(is_local)) = &completion {
                self.mounts.learn(&wanted.root, *is_local);
            }
            let Some(connection) = self.connections.get_mut(key).filter(|it| it.id == id) else { continue };
            match completion {
                Completion::Opened(wanted, found, _) => {
                    if connection.opening.as_ref() == Some(&wanted) {
                        connection.opening = None;
                        connection.opened = Some((wanted, found));
                        self.ask_again(key);
                    }
                }
                Completion::Read(read) => {
                    let State::Answer(Body::File(body)) = &mut connection.state else { continue };
                    body.is_read = false;
                    match read {
                        Ok(bytes) => {
                            body.at += bytes.len() as u64;
                            connection.outbox.push(bytes);
                            self.serve(key, false);
                        }
                        Err(error) => {
                            tracing::debug!(cid = id, "a file can't be read: {error}");
                            self.end(key, Gone::Failed);
                        }
                    }
                }
            }
        }
    }

    /// Has what is next of a file read, if it can't be sent at once. `true` when that is waited for.
    pub(crate) fn waits_for_file(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        let State::Answer(Body::File(body)) = &mut connection.state else { return Ok(false) };
        body.has_begun = true;
        if !body.is_read && !body.is_at_hand() {
            let len = usize::try_from((body.end - body.at).min(PIECE)).unwrap_or(0);
            if !self.readers.read(&body.root, (key, connection.id), &body.file, body.at, len) {
                return Err(Gone::Failed);
            }
            body.is_read = true;
        }
        Ok(body.is_read)
    }
}
