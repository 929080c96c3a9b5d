//! The pid file: locked for as long as the server runs, so that a second one on the same file is refused.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Why the pid file can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another server holds it.
    #[error("another srs (pid {pid}) is running with the pid file {}: stop it, or set another `pid` in this configuration", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What it says.
        pid: String,
    },
    /// It can't be made.
    #[error("the pid file {} can't be written: {source}; make its directory writable, or set another `pid`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// How long a lock may still be held by a child that a killed master was just forking, ms.
const LEFT_LOCKED_MS: u64 = 300;

/// How long the end waits for the file to be removed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Locks a file or directory for this process alone, without waiting for a server that runs.
pub(crate) fn lock_soon(mut file: File) -> Result<Flock<File>, (File, nix::errno::Errno)> {
    let until_ms = reactor::now_ms() + LEFT_LOCKED_MS;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((back, nix::errno::Errno::EWOULDBLOCK)) if reactor::now_ms() < until_ms => {
                file = back;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            locked => return locked,
        }
    }
}

/// A locked pid file; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl PidFile {
    /// Takes the file: makes its directory and itself, locks it, and writes our pid.
    ///
    /// # Errors
    /// [`PidFileError`] when another server holds it or it can't be written.
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let io = |source| PidFileError::Io { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut lock = match lock_soon(open().map_err(io)?) {
            Ok(lock) => lock,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(PidFileError::Held {
                    path: path.to_owned(),
                    pid: pid.trim().chars().take(20).collect(),
                });
            }
            Err((_, error)) => return Err(io(error.into())),
        };
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        lock.write_all(std::process::id().to_string().as_bytes()).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Drop for PidFile {
    /// A disk that hangs keeps the file, not the process.
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let (told, answer) = std::sync::mpsc::channel();
        let removed = std::thread::Builder::new().spawn(move || {
            let _ = std::fs::remove_file(&path);
            let _ = told.send(());
        });
        if removed.is_ok() {
            let _ = answer.recv_timeout(PATIENCE);
        }
    }
}
