//! What the server leaves in its runtime directory for programs on this host: the control socket, the token, where it
//! listens. A thread of its own makes these files and makes them again when somebody has removed them; a directory that
//! is full, was removed or hangs is its affair alone.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use api::Token;
use mio::Waker;

use super::{Serving, token};
use crate::pidfile::PidFile;

/// Name of the control socket in the runtime directory.
const SOCKET: &str = "srs.sock";
const PORTS: &str = "ports.json";
/// The api process's own socket: it may be ended before it takes it away.
const API_SOCKET: &str = "api.sock";
/// How often it is looked whether all is there.
const LOOK: Duration = Duration::from_secs(1);
/// How long the start and the end wait for a directory that may hang.
const PATIENCE: Duration = Duration::from_secs(2);
/// Least time between two lines about what can't be made.
const COMPLAIN: Duration = Duration::from_secs(60);

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// Say where the server listens from now on.
    Ports(Vec<u8>),
    /// The server ends: take away what says that it runs.
    Close(SyncSender<()>),
}

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct RuntimeFiles {
    orders: Sender<Order>,
    listeners: Receiver<UnixListener>,
}

impl RuntimeFiles {
    /// Begins to keep the files of a directory. Returns the token of the server: that of the directory, or a new one. The
    /// waker tells that [`Self::listener`] has something.
    ///
    /// # Errors
    /// When there is no thread or no random number.
    pub(super) fn start(directory: &Path, pid: &Path, waker: Waker) -> io::Result<(Self, Token)> {
        let (orders, received) = channel();
        let (listening, listeners) = channel();
        let (told, answer) = sync_channel(1);
        let directory = directory.to_owned();
        let pid = std::path::absolute(pid).unwrap_or_else(|_| pid.to_owned());
        let name = "runtime-files".to_owned();
        std::thread::Builder::new().name(name).stack_size(256 << 10).spawn(move || {
            let kept = token::read_kept(&directory);
            let fresh = token::fresh();
            let Ok(token) = kept.map_or(fresh, Ok) else { return };
            let _ = told.try_send(token.clone());
            let files = Files {
                pid,
                pid_file: None,
                directory,
                token,
                waker,
                listening,
                bound: None,
                ports: None,
                complained: None,
            };
            files.run(&received);
        })?;
        let token = match answer.recv_timeout(PATIENCE) {
            Ok(token) => token,
            Err(_) => {
                tracing::warn!("the runtime directory does not answer: a new token is made");
                token::fresh()?
            }
        };
        Ok((Self { orders, listeners }, token))
    }

    /// A control socket that was just bound; the one before is of no use any more.
    pub(super) fn listener(&self) -> Option<UnixListener> {
        self.listeners.try_iter().last()
    }

    /// Says where the server listens.
    pub(super) fn say(&self, serving: &Serving) {
        let _ = self.orders.send(Order::Ports(serde_json::to_vec(serving).unwrap_or_default()));
    }

    /// Takes away what says that the server runs; waits for it a while.
    pub(super) fn close(&self) {
        let (told, answer) = sync_channel(1);
        if self.orders.send(Order::Close(told)).is_ok() {
            let _ = answer.recv_timeout(PATIENCE);
        }
    }
}

struct Files {
    directory: PathBuf,
    /// The pid file, and the one that was made again when the first was removed.
    pid: PathBuf,
    pid_file: Option<PidFile>,
    token: Token,
    waker: Waker,
    listening: Sender<UnixListener>,
    /// Device and inode of the control socket.
    bound: Option<(u64, u64)>,
    ports: Option<Vec<u8>>,
    complained: Option<Instant>,
}

impl Files {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            if let Err(error) = self.look()
                && self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN)
            {
                self.complained = Some(Instant::now());
                tracing::warn!(
                    "the runtime directory {} can't be used: {error}; srs-cli may not find this server",
                    self.directory.display()
                );
            }
            match orders.recv_timeout(LOOK) {
                Ok(Order::Ports(text)) => {
                    self.ports = Some(text);
                    let _ = fs::remove_file(self.directory.join(PORTS));
                }
                Ok(Order::Close(told)) => {
                    for name in [SOCKET, PORTS, API_SOCKET] {
                        let _ = fs::remove_file(self.directory.join(name));
                    }
                    let _ = told.try_send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes what is missing.
    fn look(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        if token::read_kept(&self.directory).as_ref() != Some(&self.token) {
            token::write(&self.directory, &self.token)?;
        }
        let socket = self.directory.join(SOCKET);
        let there = fs::symlink_metadata(&socket).map(|facts| (facts.dev(), facts.ino())).ok();
        if there.is_none() || there != self.bound {
            let listener = bind(&socket)?;
            self.bound = fs::symlink_metadata(&socket).map(|facts| (facts.dev(), facts.ino())).ok();
            let _ = self.listening.send(listener);
            self.waker.wake()?;
        }
        if !self.pid.exists() {
            // The one before goes first: its end takes away what has its name.
            self.pid_file = None;
            self.pid_file = Some(PidFile::take(&self.pid).map_err(io::Error::other)?);
        }
        let path = self.directory.join(PORTS);
        if let Some(text) = self.ports.as_ref().filter(|_| !path.exists()) {
            write_whole(&path, text)?;
        }
        Ok(())
    }
}

/// Whoever has this directory's lock binds its socket: one that is there already belongs to nobody.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Writes a file for others to read: whole or not at all. For our user only.
fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    fs::rename(&temporary, path)
}
