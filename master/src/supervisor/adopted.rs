//! A child that another master started.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::relatives::began;

/// A child that another process started.
#[derive(Debug)]
pub struct Adopted {
    pidfd: OwnedFd,
    pid: u32,
}

impl Adopted {
    /// The process of this number, when it began then (hundredths of a second since boot).
    pub(super) fn new(pid: u32, since: u64) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // Looked at again with the descriptor in hand: it is the one that is meant.
        (began(pid) == Some(since)).then_some(Self { pidfd, pid })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// It becomes readable when the process has ended.
    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}
