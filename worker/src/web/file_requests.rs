//! Files that are asked for: opened and read at once where the kernel has them in memory, else by the threads of `readers.rs`.

use std::fs::File;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use conf::Config;

use super::connection::{Body, Connection, FileBody, State};
use super::files::{Found, Missing, Mounts, Wanted, is_in_memory};
use super::gone::Gone;
use super::readers::{Completion, Done, Readers};

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

/// Directories that are served, and the threads that open and read what takes long.
#[derive(Debug)]
pub(crate) struct Files {
    mounts: Mounts,
    readers: Readers,
}

impl Files {
    /// What a configuration serves.
    pub(crate) fn new(config: &Config, readers: Readers) -> Self {
        Self { mounts: Mounts::new(config), readers }
    }

    /// What becomes readable when something was opened or read.
    pub(crate) fn fd(&self) -> RawFd {
        self.readers.fd()
    }

    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.mounts = Mounts::new(config);
        let of_hls = |root: &Path| config.vhosts.iter().any(|vhost| vhost.hls.path == root);
        let mounts = &self.mounts;
        self.readers.keep(|root| mounts.has(root) || of_hls(root));
    }

    /// Where the file of a path is.
    pub(crate) fn wanted(&self, vhost: Option<&str>, path: &http1::Path, as_text: bool) -> Option<Wanted> {
        self.mounts.wanted(vhost, path, as_text)
    }

    /// Opens a file for the connection at this key. Where that takes time, the connection's request is to be looked at again when it is
    /// done.
    pub(crate) fn open(
        &mut self,
        key: usize,
        connection: &mut Connection,
        wanted: Wanted,
        now_ms: u64,
    ) -> Result<Found, Missing> {
        let lookup = &mut connection.lookup;
        match lookup.opened.take_if(|(known, _)| *known == wanted) {
            Some((_, Ok(found))) => return Ok(found),
            Some((known, Err(missing))) => {
                // It is not looked for again and again while a stream is waited for.
                lookup.opened = Some((known, Err(missing)));
                return Err(missing);
            }
            None => {}
        }
        if let Some(found) = self.mounts.open_cached(&wanted, now_ms) {
            return found;
        }
        if lookup.opening.as_ref() == Some(&wanted) {
            return Err(Missing::Later);
        }
        let is_pushed = self.readers.open((key, connection.id), wanted.clone());
        lookup.opening = is_pushed.then_some(wanted);
        Err(if is_pushed { Missing::Later } else { Missing::Failed })
    }

    /// Has what is next of a connection's file read, if it can't be sent at once. `true` when that is waited for.
    pub(crate) fn read_ahead(&mut self, key: usize, connection: &mut Connection) -> Result<bool, Gone> {
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

    /// What the threads have opened and read, and for whom.
    pub(crate) fn drain(&mut self) -> Vec<Done> {
        let done = self.readers.drain();
        for (_, completion) in &done {
            if let Completion::Opened(wanted, _, Some(is_local)) = completion {
                self.mounts.learn(&wanted.root, *is_local);
            }
        }
        done
    }

    /// Closes directories that were open for long enough.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        self.mounts.close_roots(now_ms);
    }
}
