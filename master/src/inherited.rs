//! Listening sockets that the service manager passed to this process: those of a socket unit, and those that an earlier
//! master of this unit had given it to keep (`LISTEN_FDS`, sd_listen_fds(3)). Connections that wait in them are served.
//!
//! A socket belongs to the configured address that it is bound to; its name plays no part. What was passed to this process
//! is a fact about the process, as its environment is, so it stands in one place: [`receive`] fills it at start,
//! [`take`] is for whoever listens, [`close_rest`] says what nobody wanted.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use listenfd::ListenFd;
use socket2::SockRef;

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
        let new = |passed: &Passed| {
            nix::sys::stat::fstat(&passed.socket).is_ok_and(|identity| seen.insert(identity.st_ino))
        };
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

/// The sockets that listen on an address; from now on they are the caller's.
#[must_use]
pub fn take(address: SocketAddr) -> Vec<OwnedFd> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner).take(address)
}

/// Closes what nobody has taken, and has the service manager forget it: name and address of each.
pub fn close_rest() -> Vec<(String, SocketAddr)> {
    let rest = std::mem::take(&mut *PASSED.lock().unwrap_or_else(PoisonError::into_inner));
    rest.sockets
        .into_iter()
        .map(|passed| {
            crate::systemd::forget(&passed.name);
            (passed.name, passed.address)
        })
        .collect()
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
}
