//! What the service manager is told: that the server serves, reloads, ends or lives, and which listening sockets it is to
//! keep while the master is started again. The protocol is sd_notify(3); without `NOTIFY_SOCKET` every call does nothing.
//!
//! Only the master speaks to the service manager; its children do not see the variables ([`PRIVATE_VARIABLES`]).

use std::os::fd::AsFd;
use std::time::Duration;

use sd_notify::NotifyState;

/// The environment variables of the service manager that are meant for the master alone.
pub const PRIVATE_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Longest status line in bytes; the manager shows it on one line.
const MAX_STATUS: usize = 512;

/// The server serves; also what ends a reload. `text` is what `systemctl status` shows.
pub fn ready(text: &str) {
    notify("ready", &[NotifyState::Ready, NotifyState::Status(&one_line(text))]);
}

/// A reload begins: to be followed by [`ready`], whether it succeeded or not (the text says which). The time in the
/// message is what `Type=notify-reload` tells this reload from an earlier one by.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            notify("reloading", &[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
        }
        Err(error) => tracing::warn!("the service manager can't be told of the reload: {error}"),
    }
}

/// The server ends.
pub fn stopping() {
    notify("stopping", &[NotifyState::Stopping, NotifyState::Status("ending")]);
}

/// What the server does, for `systemctl status`.
pub fn status(text: &str) {
    notify("status", &[NotifyState::Status(&one_line(text))]);
}

/// Gives the service manager a duplicate of a descriptor to keep, under a name (see [`forget`]). It comes back in
/// `LISTEN_FDS` when the unit is started again; one that it has already is not kept twice.
pub fn store(name: &str, descriptor: impl AsFd) {
    let state = [NotifyState::FdStore, NotifyState::FdName(name)];
    report("a stored socket", sd_notify::notify_with_fds(&state, &[descriptor.as_fd()]));
}

/// The service manager need not keep what it has under this name any longer.
pub fn forget(name: &str) {
    notify("a forgotten socket", &[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// When the service manager has to hear that the master's loop still turns (`WatchdogSec=` of the unit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    interval_ms: u64,
    next_ms: u64,
}

impl Watchdog {
    /// What the service manager wants to hear from this process, if anything.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        sd_notify::watchdog_enabled().and_then(Self::new)
    }

    /// A sign of life is due at half of the time after which the manager loses its patience.
    fn new(patience: Duration) -> Option<Self> {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        (patience_ms > 0).then(|| Self { interval_ms: (patience_ms / 2).max(1), next_ms: 0 })
    }

    /// Whether [`alive`] has to be called now; `now_ms` is the loop's monotonic clock.
    pub fn due(&mut self, now_ms: u64) -> bool {
        if now_ms < self.next_ms {
            return false;
        }
        self.next_ms = now_ms.saturating_add(self.interval_ms);
        true
    }

    /// The loop's next deadline on account of this.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.next_ms
    }
}

/// The sign of life.
pub fn alive() {
    notify("life", &[NotifyState::Watchdog]);
}

fn notify(what: &str, state: &[NotifyState<'_>]) {
    report(what, sd_notify::notify(state));
}

fn report(what: &str, sent: std::io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!("the service manager can't be told ({what}): {error}");
    }
}

/// A message is lines; a text with a line break would forge another one.
fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if line.len() > MAX_STATUS {
        let cut = (0..=MAX_STATUS).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::TcpListener;
    use std::os::fd::{AsRawFd, RawFd};
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    use super::*;

    /// Set for the part of a test that speaks; the environment of a running process must not change.
    const SPEAKER: &str = "SRS_TEST_SPEAKER";

    /// Runs one of the tests of this file again as a process of its own, with a service manager to speak to. What it said.
    fn heard(test: &str) -> Vec<(String, usize)> {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("systemd::tests::{test}")]);
        command.env(SPEAKER, test).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        manager.set_nonblocking(true).unwrap();
        let mut messages = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            let mut space = nix::cmsg_space!([RawFd; 8]);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received =
                recvmsg::<()>(manager.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
            let Ok(received) = received else { return messages };
            let descriptors = received
                .cmsgs()
                .unwrap()
                .map(|message| match message {
                    ControlMessageOwned::ScmRights(numbers) => numbers.len(),
                    _ => 0,
                })
                .sum();
            let bytes = received.bytes;
            messages.push((String::from_utf8_lossy(&buffer[..bytes]).into_owned(), descriptors));
        }
    }

    fn speaks() -> bool {
        std::env::var_os(SPEAKER).is_some()
    }

    #[test]
    fn the_life_of_a_service_is_told() {
        if speaks() {
            ready("serving\nREADY=0");
            reloading();
            ready("generation 2");
            status("2 streams");
            alive();
            return stopping();
        }
        let messages: Vec<String> =
            heard("the_life_of_a_service_is_told").into_iter().map(|(text, _)| text).collect();
        assert_eq!(messages[0], "READY=1\nSTATUS=serving READY=0\n");
        let time = messages[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.lines().next().unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(messages[2], "READY=1\nSTATUS=generation 2\n");
        assert_eq!(messages[3..5], ["STATUS=2 streams\n", "WATCHDOG=1\n"]);
        assert!(messages[5].starts_with("STOPPING=1\n"));
        assert_eq!(messages.len(), 6);
    }

    #[test]
    fn sockets_are_given_to_keep() {
        if speaks() {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            store("listen-1", &socket);
            return forget("listen-1");
        }
        let messages = heard("sockets_are_given_to_keep");
        assert_eq!(messages[0], ("FDSTORE=1\nFDNAME=listen-1\n".to_owned(), 1));
        assert_eq!(messages[1], ("FDSTOREREMOVE=1\nFDNAME=listen-1\n".to_owned(), 0));
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_patience() {
        if speaks() {
            assert_eq!(Watchdog::from_environment(), Some(Watchdog { interval_ms: 1500, next_ms: 0 }));
            return;
        }
        drop(heard("the_watchdog_is_fed_at_half_its_patience"));
        assert_eq!(Watchdog::new(Duration::ZERO), None);
        let mut watchdog = Watchdog::new(Duration::from_secs(10)).unwrap();
        assert!(watchdog.due(100_000));
        assert_eq!(watchdog.deadline_ms(), 105_000);
        assert!(!watchdog.due(104_999));
        assert!(watchdog.due(105_000));
    }

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\0c"), "a b c");
        assert_eq!(one_line(&"ä".repeat(400)).len(), MAX_STATUS);
        assert_eq!(one_line(&format!("x{}", "ä".repeat(400))).len(), MAX_STATUS - 1);
    }
}
