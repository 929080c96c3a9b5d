//! The socket in the runtime directory at which children find a new master when theirs has died.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use socket2::{Domain, SockAddr, Socket, Type};

/// Its name.
pub const RENDEZVOUS: &str = "children.sock";

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The master's side.
#[derive(Debug)]
pub struct Rendezvous(Socket);

impl Rendezvous {
    /// Waits for children at `path`. What is there already belongs to nobody: who calls this holds the server's lock.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let socket = socket()?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(256)?;
        Ok(Self(socket))
    }

    /// The next process that came, with its id as the kernel knows it; `None` when none waits. Processes of other users are
    /// turned away.
    #[must_use]
    pub fn accept(&self) -> Option<(OwnedFd, u32)> {
        loop {
            let (socket, _) = self.0.accept().ok()?;
            let peer = getsockopt(&socket, PeerCredentials).ok()?;
            if peer.uid() == nix::unistd::geteuid().as_raw() && socket.set_nonblocking(true).is_ok() {
                return Some((socket.into(), u32::try_from(peer.pid()).ok()?));
            }
        }
    }
}

/// The child's side: a connection to whoever waits at `path`.
///
/// # Errors
/// When nobody does.
pub fn find_master(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}
