//! Reading files where that may take long: in threads, some for each directory that is served, so that a disk that hangs holds
//! up nobody but those who want something of it.
//!
//! Most files never come here: what the kernel has in memory is opened and sent by the loop.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::files::{Found, Missing, Wanted};
use crate::workers::{JobQueue, Pool, Workers};

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
pub(crate) enum Completion {
    /// A file, and whether its directory is on a disk of this machine.
    Opened(Wanted, Result<Found, Missing>, Option<bool>),
    /// Bytes of a file.
    Read(io::Result<Bytes>),
}

/// What came of a job, and for whom it was done.
pub(crate) type Done = ((usize, u64), Completion);

/// The threads.
#[derive(Debug)]
pub(crate) struct Readers {
    workers: Workers<Done>,
    pools: HashMap<Arc<Path>, JobQueue<Job>>,
}

impl Readers {
    /// No thread yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { workers: Workers::new()?, pools: HashMap::new() })
    }

    /// What becomes readable when something was done.
    pub(crate) fn fd(&self) -> RawFd {
        self.workers.fd()
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
    pub(crate) fn drain(&mut self) -> Vec<Done> {
        self.workers.drain()
    }

    /// Only these directories are served from now on; threads of others end with what they are doing.
    pub(crate) fn keep(&mut self, is_served: impl Fn(&Path) -> bool) {
        self.pools.retain(|root, _| is_served(root));
    }

    fn push(&mut self, root: &Arc<Path>, job: Job) -> bool {
        if let Some(pool) = self.pools.get(root) {
            return pool.push(job, 1);
        }
        if self.pools.len() >= MAX_DIRECTORIES {
            return false;
        }
        let pool =
            Pool { name: "reader", threads: THREADS, stack_bytes: Some(STACK), most: MAX_WAITING + THREADS };
        let Ok(pool) = self.workers.start(pool, || |job: Job| Some((job.whom, job.todo.work()))) else {
            return false;
        };
        let pushed = pool.push(job, 1);
        self.pools.insert(Arc::clone(root), pool);
        pushed
    }
}

impl Todo {
    fn work(self) -> Completion {
        match self {
            Self::Open(wanted) => {
                let (found, is_local) = wanted.open();
                Completion::Opened(wanted, found, is_local)
            }
            Self::Read(file, at, len) => {
                let mut bytes = vec![0; len];
                // A file that has become shorter: what was promised can't be kept.
                Completion::Read(file.read_exact_at(&mut bytes, at).map(|()| bytes.into()))
            }
        }
    }
}
