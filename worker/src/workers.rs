//! Threads that do for a loop what may take long. Jobs go to them through bounded queues; what came of each comes back by one way
//! for all threads of a kind, and a descriptor becomes readable when there is something.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The threads of one kind, as their loop knows them: completions of type `C` come from here.
#[derive(Debug)]
pub(crate) struct Workers<C> {
    sender: Sender<C>,
    completions: Receiver<C>,
    /// Readable when something was done.
    readable: UnixStream,
    notifier: Arc<UnixStream>,
}

/// How the threads that share a queue are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    /// Name of each thread.
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    /// Stack of a thread in bytes; `None`: as large as is usual.
    pub(crate) stack_bytes: Option<usize>,
    /// What the jobs that wait or are being done may weigh together: a number of jobs, or of bytes, as whoever pushes them counts.
    pub(crate) most: usize,
}

/// The way to the threads of a pool. They end with what waits when it is dropped.
#[derive(Debug)]
pub(crate) struct JobQueue<J> {
    jobs: Sender<(J, usize)>,
    weight: Arc<AtomicUsize>,
    most: usize,
}

impl<C: Send + 'static> Workers<C> {
    /// No thread yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let (readable, notifier) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        notifier.set_nonblocking(true)?;
        let (sender, completions) = channel();
        Ok(Self { sender, completions, readable, notifier: Arc::new(notifier) })
    }

    /// What becomes readable when something was done.
    pub(crate) fn fd(&self) -> RawFd {
        self.readable.as_raw_fd()
    }

    /// Starts the threads of a pool. Each has a worker of its own from `worker`, which says what came of a job, if anybody is to know.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start<J, W>(&self, pool: Pool, worker: impl Fn() -> W) -> io::Result<JobQueue<J>>
    where
        J: Send + 'static,
        W: FnMut(J) -> Option<C> + Send + 'static,
    {
        let (jobs, todo) = channel::<(J, usize)>();
        let todo = Arc::new(Mutex::new(todo));
        let weight = Arc::new(AtomicUsize::new(0));
        for _ in 0..pool.threads {
            let (todo, left) = (Arc::clone(&todo), Arc::clone(&weight));
            let (sender, notifier) = (self.sender.clone(), Arc::clone(&self.notifier));
            let mut work = worker();
            let body = move || {
                loop {
                    let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, size)) = next else { return };
                    if let Some(completion) = work(job) {
                        if sender.send(completion).is_err() {
                            return;
                        }
                        // A full socket is readable as well.
                        let _ = (&*notifier).write(&[1]);
                    }
                    left.fetch_sub(size, Ordering::Relaxed);
                }
            };
            let thread = std::thread::Builder::new().name(pool.name.to_owned());
            let thread = pool.stack_bytes.into_iter().fold(thread, std::thread::Builder::stack_size);
            thread.spawn(body)?;
        }
        Ok(JobQueue { jobs, weight, most: pool.most })
    }

    /// The descriptor was readable: it is so again when more was done.
    pub(crate) fn drain_notifications(&mut self) {
        let mut buffer = [0; 256];
        while matches!(self.readable.read(&mut buffer), Ok(1..)) {}
    }

    /// What was done since the last call.
    pub(crate) fn completions(&mut self) -> Vec<C> {
        self.completions.try_iter().collect()
    }

    /// Both: what was done, and the descriptor is readable when there is more.
    pub(crate) fn drain(&mut self) -> Vec<C> {
        self.drain_notifications();
        self.completions()
    }
}

impl<J> JobQueue<J> {
    /// Says what is to be done. `false` when too much waits already: it is not done then.
    pub(crate) fn push(&self, job: J, size: usize) -> bool {
        if self.weight.load(Ordering::Relaxed) + size > self.most {
            return false;
        }
        self.weight.fetch_add(size, Ordering::Relaxed);
        self.jobs.send((job, size)).is_ok()
    }

    /// The same of what has to be said however much waits.
    pub(crate) fn push_over(&self, job: J) {
        let _ = self.jobs.send((job, 0));
    }

    /// Whether nothing waits or is being done.
    pub(crate) fn is_done(&self) -> bool {
        self.weight.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_queue_is_bounded_and_what_was_done_is_told() {
        let mut workers = Workers::new().unwrap();
        let (go, wait) = sync_channel::<()>(0);
        let wait = Arc::new(Mutex::new(wait));
        let pool = Pool { name: "test", threads: 1, stack_bytes: Some(64 << 10), most: 10 };
        let queue: JobQueue<u32> = workers
            .start(pool, || {
                let wait = Arc::clone(&wait);
                move |job| {
                    wait.lock().unwrap().recv().unwrap();
                    (job > 1).then_some(job * 10)
                }
            })
            .unwrap();
        assert!(queue.push(1, 4) && queue.push(2, 6) && !queue.push(3, 1), "10 of 10");
        queue.push_over(4);
        assert!(!queue.is_done() && workers.drain().is_empty());
        (0..3).for_each(|_| go.send(()).unwrap());
        // The descriptor becomes readable; nothing is looked at before.
        let mut done = Vec::new();
        while done.len() < 2 {
            let mut fds = [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&workers.readable),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
            done.extend(workers.drain());
        }
        assert_eq!(done, [20, 40], "in their order; of the first nobody wants to know");
    }
}
