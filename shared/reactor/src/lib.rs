//! The event loop that every process runs: one `mio` poll, a clock, deadlines, and a measure of how busy the loop is.
//!
//! It has no opinions: what a token means and what is due is its owner's business. All registrations are
//! edge-triggered, so whoever is told that a socket is ready reads or writes until it would block.

#![forbid(unsafe_code)]

mod busy;
mod clock;
mod crash;
mod deadlines;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

pub use busy::Busy;
pub use clock::{now_ms, now_ns};
pub use crash::crash_point;
pub use deadlines::Deadlines;
pub use mio::{Interest, Token, event::Event};

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Whose.
    pub token: Token,
    /// Bytes, a connection, or the end of the stream can be read.
    pub readable: bool,
    /// Bytes can be written, or the connection has failed.
    pub writable: bool,
    /// A short read does not mean that nothing is left: the peer has sent its last byte, the connection has failed, or an
    /// urgent mark divides what is there.
    pub to_the_end: bool,
}

/// One process's event loop.
#[derive(Debug)]
pub struct Reactor {
    poll: mio::Poll,
    events: mio::Events,
    busy: Busy,
}

impl Reactor {
    /// A loop with nothing registered.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: mio::Poll::new()?,
            events: mio::Events::with_capacity(EVENTS),
            busy: Busy::new(now_ns(), clock::used_ns()),
        })
    }

    /// Registers a descriptor for readiness in both directions.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn register(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        self.poll.registry().register(&mut mio::unix::SourceFd(&fd), token, both)
    }

    /// Registers a descriptor for readability only (listeners, wake-ups).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn register_readable(&self, fd: RawFd, token: Token) -> io::Result<()> {
        self.poll.registry().register(&mut mio::unix::SourceFd(&fd), token, Interest::READABLE)
    }

    /// Forgets a descriptor. Needed where a duplicate of it lives on elsewhere.
    ///
    /// # Errors
    /// When it was not registered.
    pub fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut mio::unix::SourceFd(&fd))
    }

    /// A handle by which another thread interrupts [`Self::wait`].
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn waker(&self, token: Token) -> io::Result<mio::Waker> {
        mio::Waker::new(self.poll.registry(), token)
    }

    /// Waits until something is ready or `deadline_ms` (monotonic) has come, and appends what is ready to `ready`.
    ///
    /// # Errors
    /// When the kernel refuses; an interruption is no error.
    pub fn wait(&mut self, deadline_ms: Option<u64>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let before = now_ns();
        let timeout = deadline_ms.map(|at| {
            let ns = at.saturating_mul(1_000_000).saturating_sub(before);
            Duration::from_nanos(ns)
        });
        let polled = self.poll.poll(&mut self.events, timeout);
        self.busy.look(now_ns(), clock::used_ns);
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        ready.extend(self.events.iter().map(|event| Ready {
            token: event.token(),
            readable: event.is_readable()
                || event.is_priority()
                || event.is_read_closed()
                || event.is_error(),
            to_the_end: event.is_read_closed() || event.is_error() || event.is_priority(),
            writable: event.is_writable() || event.is_write_closed() || event.is_error(),
        }));
        Ok(())
    }

    /// Rests whatever becomes ready, so that the next [`Self::wait`] finds more at once.
    pub fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Share of a processor that this loop used in the last second, 0 to 1.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.busy.share()
    }
}
