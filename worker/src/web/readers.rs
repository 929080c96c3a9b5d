//! Reading files where that may take long: in threads, some for each directory that is served, so that a disk that hangs holds
//! up nobody but those who want something of it.
//!
//! Most files never come here: what the kernel has in memory is opened and sent by the loop.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::files::{Found, Missing, Wanted};

/// Threads for one directory.
const THREADS: usize = 4;
/// Directories that have threads.
const MAX_DIRECTORIES: usize = 64;
/// Jobs that may wait for the threads of a directory.
const MAX_WAITING: usize = 1024;
/// Stack of a thread.
const STACK: usize = 256 << 10;

/// Something to do, and for whom.
#[derive(Debug)]
struct Job {
    /// Key and id of the connection.
    whom: (usize, u64),
    todo: Todo,
}

#[derive(Debug)]
enum Todo {
    Open(Wanted),
    Read(File, u64, usize),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Told {
    /// A file, and whether its directory is on a disk of this machine.
    Opened(Wanted, Result<Found, Missing>, Option<bool>),
    /// Bytes of a file.
    Read(io::Result<Bytes>),
}

/// What came of a job, and for whom it was done.
pub(crate) type Done = ((usize, u64), Told);

/// The threads.
#[derive(Debug)]
pub(crate) struct Readers {
    pools: HashMap<Arc<Path>, SyncSender<Job>>,
    sender: Sender<Done>,
    done: Receiver<Done>,
    bell: UnixStream,
    ringer: Arc<UnixStream>,
}

impl Readers {
    /// No thread yet.
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let (sender, done) = channel();
        Ok(Self { pools: HashMap::new(), sender, done, bell, ringer: Arc::new(ringer) })
    }

    /// What becomes readable when something was done.
    pub(crate) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Opens a file. `false` when too many others wait for the same directory.
    pub(crate) fn open(&mut self, whom: (usize, u64), wanted: Wanted) -> bool {
        let root = Arc::clone(&wanted.root);
        self.push(&root, Job { whom, todo: Todo::Open(wanted) })
    }

    /// Reads a part of a file.
    pub(crate) fn read(
        &mut self,
        root: &Arc<Path>,
        whom: (usize, u64),
        file: &File,
        at: u64,
        len: usize,
    ) -> bool {
        let Ok(file) = file.try_clone() else { return false };
        self.push(root, Job { whom, todo: Todo::Read(file, at, len) })
    }

    /// Takes what was done.
    pub(crate) fn hear(&mut self) -> Vec<Done> {
        let mut buffer = [0; 256];
        while matches!(self.bell.read(&mut buffer), Ok(1..)) {}
        self.done.try_iter().collect()
    }

    /// Only these directories are served from now on; threads of others end with what they are doing.
    pub(crate) fn keep(&mut self, is_served: impl Fn(&Path) -> bool) {
        self.pools.retain(|root, _| is_served(root));
    }

    fn push(&mut self, root: &Arc<Path>, job: Job) -> bool {
        if let Some(pool) = self.pools.get(root) {
            return pool.try_send(job).is_ok();
        }
        if self.pools.len() >= MAX_DIRECTORIES {
            return false;
        }
        let Ok(pool) = self.start() else { return false };
        let pushed = pool.try_send(job).is_ok();
        self.pools.insert(Arc::clone(root), pool);
        pushed
    }

    fn start(&self) -> io::Result<SyncSender<Job>> {
        let (pool, jobs) = sync_channel::<Job>(MAX_WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..THREADS {
            let (jobs, done, ringer) = (Arc::clone(&jobs), self.sender.clone(), Arc::clone(&self.ringer));
            let work = move || {
                loop {
                    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { whom, todo }) = next else { return };
                    if done.send((whom, todo.work())).is_err() {
                        return;
                    }
                    // A full socket rings as well.
                    let _ = (&*ringer).write(&[1]);
                }
            };
            std::thread::Builder::new().name("reader".to_owned()).stack_size(STACK).spawn(work)?;
        }
        Ok(pool)
    }
}

impl Todo {
    fn work(self) -> Told {
        match self {
            Self::Open(wanted) => {
                let (found, is_local) = wanted.open();
                Told::Opened(wanted, found, is_local)
            }
            Self::Read(file, at, len) => {
                let mut bytes = vec![0; len];
                // A file that has become shorter: what was promised can't be kept.
                Told::Read(file.read_exact_at(&mut bytes, at).map(|()| bytes.into()))
            }
        }
    }
}
