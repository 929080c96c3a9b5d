//! Listening sockets that outlive the master, because the service manager has them, too: those that it passed to this
//! process (of a socket unit, or given to it by an earlier master: `LISTEN_FDS`, sd_listen_fds(3)), and those that it is to
//! keep ([`Kept`]). Clients that come while the unit is started again wait in them instead of being refused.
//!
//! A socket belongs to the configured address that it is bound to; its name plays no part. What was passed to this process
//! is a fact about the process, as its environment is, so it stands in one place: [`receive`] fills it at start,
//! [`take`] is for whoever listens, [`close_rest`] says what nobody wanted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::systemd;

/// The first descriptor that the service manager passes (sd_listen_fds(3)); those below are the standard streams.
const FIRST_PASSED: i32 = 3;
/// Sockets that the service manager may pass at most; more are left where they are.
const MAX_SOCKETS: usize = 4096;

static PASSED: Mutex<Inherited> = Mutex::new(Inherited { sockets: Vec::new() });

/// A socket that was passed.
#[derive(Debug)]
struct Passed {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

/// Passed sockets that nobody has taken yet.
#[derive(Debug, Default)]
struct Inherited {
    sockets: Vec<Passed>,
}

impl Inherited {
    fn add(&mut self, name: String, socket: TcpListener) {
        match socket.local_addr() {
            Ok(address) if SockRef::from(&socket).is_listener().unwrap_or(false) => {
                self.sockets.push(Passed { name, address, socket });
            }
            _ => tracing::warn!("the service manager passed {name}, which does not listen: closed"),
        }
    }

    /// All that listen on an address, in the order in which they were passed, the same socket only once (a socket unit's
    /// socket that was also kept comes twice).
    fn take(&mut self, address: SocketAddr) -> Vec<OwnedFd> {
        let mut seen = HashSet::new();
        let (mine, others) =
            std::mem::take(&mut self.sockets).into_iter().partition(|passed| passed.address == address);
        self.sockets = others;
        let new = |passed: &Passed| identity(&passed.socket).is_some_and(|identity| seen.insert(identity));
        let mine: Vec<Passed> = mine;
        mine.into_iter().filter(new).map(|passed| passed.socket.into()).collect()
    }
}

/// Takes over what the service manager passed, and removes the variables from our environment. To be called once, before
/// there is a second thread.
pub fn receive() {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut passed = ListenFd::from_env();
    let mut inherited = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    for index in 0..passed.len().min(MAX_SOCKETS) {
        let name = names.get(index).filter(|name| !name.is_empty()).copied().unwrap_or("a socket");
        match passed.take_tcp_listener(index) {
            Ok(Some(socket)) => inherited.add(name.to_owned(), socket),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("the service manager passed {name}, which is of no use: {error}");
                if let Ok(Some(number)) = passed.take_raw_fd(index) {
                    let _ = nix::unistd::close(number);
                }
            }
        }
    }
}

/// Closes what this process has beside its standard streams and what the service manager passed to it: descriptors of whoever
/// started it, who may wait for their end. To be called before it opens any.
pub fn close_others() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let is_meant = number("LISTEN_PID").is_some_and(|pid| pid.unsigned_abs() == std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_meant).unwrap_or(0);
    let first = FIRST_PASSED.saturating_add(count.max(0));
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // That of the directory is among them, and closed already.
    for number in open.into_iter().filter(|number| *number >= first) {
        let _ = nix::unistd::close(number);
    }
}

/// The sockets that listen on an address; from now on they are the caller's.
#[must_use]
pub fn take(address: SocketAddr) -> Vec<OwnedFd> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner).take(address)
}

/// As [`take`], without those that the caller has already: a child that outlived the last master brought them.
#[must_use]
pub fn take_beside<'a>(address: SocketAddr, have: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<OwnedFd> {
    let have: HashSet<u64> = have.into_iter().filter_map(identity).collect();
    let passed = take(address);
    passed.into_iter().filter(|socket| !identity(socket).is_some_and(|known| have.contains(&known))).collect()
}

/// Closes what nobody has taken, and has the service manager forget it: name and address of each.
pub fn close_rest() -> Vec<(String, SocketAddr)> {
    let rest = std::mem::take(&mut *PASSED.lock().unwrap_or_else(PoisonError::into_inner));
    rest.sockets
        .into_iter()
        .map(|passed| {
            systemd::forget(&passed.name);
            (passed.name, passed.address)
        })
        .collect()
}

/// What the service manager keeps for the next master.
#[derive(Debug, Default)]
pub struct Kept {
    /// By name: which sockets.
    sockets: BTreeMap<String, BTreeSet<u64>>,
}

impl Kept {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These are the addresses on which the server listens from now on, with their sockets: what is new is given to keep,
    /// what is gone is forgotten. To be called when the server serves, and when a reload has changed where.
    pub fn update<'a>(&mut self, listening: impl IntoIterator<Item = (SocketAddr, &'a [OwnedFd])>) {
        let mut now = BTreeMap::new();
        for (address, sockets) in listening {
            let name = name(address);
            let identities: BTreeSet<u64> = sockets.iter().filter_map(identity).collect();
            if self.sockets.get(&name) != Some(&identities) {
                // One name has all sockets of an address: they can be forgotten only together.
                systemd::forget(&name);
                let mut seen = HashSet::new();
                let new = |socket: &&OwnedFd| identity(socket).is_some_and(|identity| seen.insert(identity));
                for socket in sockets.iter().filter(new) {
                    systemd::store(&name, socket);
                }
            }
            now.insert(name, identities);
        }
        for name in self.sockets.keys().filter(|name| !now.contains_key(*name)) {
            systemd::forget(name);
        }
        self.sockets = now;
    }
}

/// The name under which the sockets of an address are kept. Colons separate names in `LISTEN_FDNAMES`.
fn name(address: SocketAddr) -> String {
    format!("listen-{address}").replace(':', "_")
}

/// What two descriptors of one socket have in common.
fn identity(socket: impl AsFd) -> Option<u64> {
    nix::sys::stat::fstat(socket).ok().map(|status| status.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> (SocketAddr, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket)
    }

    #[test]
    fn sockets_are_found_by_their_address_and_once() {
        let mut inherited = Inherited::default();
        let (first, socket) = listener();
        inherited.add("srs.socket".to_owned(), socket.try_clone().unwrap());
        inherited.add("kept".to_owned(), socket);
        let (second, socket) = listener();
        inherited.add("other".to_owned(), socket);
        assert_eq!(inherited.take(first).len(), 1, "one socket, passed twice");
        assert!(inherited.take(first).is_empty());
        assert_eq!(inherited.sockets.len(), 1);
        assert_eq!(inherited.take(second).len(), 1);
    }

    #[test]
    fn what_does_not_listen_is_not_kept() {
        let mut inherited = Inherited::default();
        let (address, socket) = listener();
        let client = std::net::TcpStream::connect(address).unwrap();
        inherited.add("client".to_owned(), TcpListener::from(OwnedFd::from(client)));
        assert!(inherited.sockets.is_empty());
        drop(socket);
    }

    #[test]
    fn names_of_kept_sockets_have_no_colon() {
        let names: Vec<String> =
            ["0.0.0.0:1935", "[::1]:1935"].iter().map(|text| name(text.parse().unwrap())).collect();
        assert_eq!(names, ["listen-0.0.0.0_1935", "listen-[__1]_1935"]);
    }
}
