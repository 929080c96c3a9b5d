//! The socket at which the children of a server find their master, when theirs has died or the channel to it has broken.
//!
//! It is an abstract Unix socket (unix(7)): no directory that is full, removed or hangs can keep a child from its master,
//! and only one master at a time can have it. Its name is the server's family: random, made by the server's first master,
//! taken over by those that follow.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use socket2::{Domain, SockAddr, Socket, Type};

/// Children that may wait to be accepted.
const BACKLOG: i32 = 256;

fn socket() -> io::Result<Socket> {
    // Not by fcntl: a process that is confined may not change the flags of a descriptor.
    Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)
}

fn address(family: &str) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0srs-{family}"))
}

/// Whether who is at the other end is our own user, or root; and its process id.
fn peer(socket: &Socket) -> Option<u32> {
    let peer = getsockopt(socket, PeerCredentials).ok()?;
    let ours = peer.uid() == nix::unistd::geteuid().as_raw() || peer.uid() == 0;
    ours.then(|| u32::try_from(peer.pid()).ok()).flatten()
}

/// The master's side.
#[derive(Debug)]
pub struct Rendezvous(Socket);

impl Rendezvous {
    /// Waits for the children of a family.
    ///
    /// # Errors
    /// `AddrInUse` when a master of this family lives; others when no socket can be made.
    pub fn open(family: &str) -> io::Result<Self> {
        let socket = socket()?;
        socket.bind(&address(family)?)?;
        socket.listen(BACKLOG)?;
        Ok(Self(socket))
    }

    /// The next process that came, with its id as the kernel knows it; `None` when none waits. Processes of other users are
    /// turned away.
    #[must_use]
    pub fn accept(&self) -> Option<(OwnedFd, u32)> {
        loop {
            let (socket, _) = self.0.accept().ok()?;
            if let Some(pid) = peer(&socket).filter(|_| socket.set_nonblocking(true).is_ok()) {
                return Some((socket.into(), pid));
            }
        }
    }
}

impl std::os::fd::AsRawFd for Rendezvous {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

/// The child's side: a connection to the master of a family.
///
/// # Errors
/// When there is none, or somebody else has taken its place.
pub fn find_master(family: &str) -> io::Result<OwnedFd> {
    connect(family).map(|(socket, _)| socket.into())
}

/// The process id of the master of a family, if one lives.
#[must_use]
pub fn master_of(family: &str) -> Option<u32> {
    connect(family).ok().map(|(_, pid)| pid)
}

/// A connection to the master of a family, and its process id.
fn connect(family: &str) -> io::Result<(Socket, u32)> {
    let socket = socket()?;
    socket.connect(&address(family)?)?;
    let pid = peer(&socket).ok_or(io::ErrorKind::PermissionDenied)?;
    Ok((socket, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_master_at_a_time_has_a_family_and_its_children_find_it() {
        let family = format!("test-{}", std::process::id());
        assert!(find_master(&family).is_err());
        assert_eq!(master_of(&family), None);
        let master = Rendezvous::open(&family).unwrap();
        assert_eq!(master_of(&family), Some(std::process::id()));
        drop(master.accept());
        assert_eq!(Rendezvous::open(&family).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(master.accept().is_none());
        let _child = find_master(&family).unwrap();
        assert_eq!(master.accept().unwrap().1, std::process::id());
        drop(master);
        assert!(find_master(&family).is_err());
    }
}
