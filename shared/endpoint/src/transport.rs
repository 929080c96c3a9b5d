//! What bytes of an upstream connection go over.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// A way to another server. Plain TCP is the only one so far.
#[derive(Debug)]
pub(crate) enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
}

impl Transport {
    /// Begins to connect, and does not wait for it: the socket becomes writable when it has connected, or failed
    /// ([`Self::connected`]).
    ///
    /// # Errors
    /// When no descriptor is left, or the kernel knows at once that there is no way to the address.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        let socket = TcpStream::from(socket);
        crate::hub::prepare(&socket)?;
        match socket2::SockRef::from(&socket).connect(&address.into()) {
            Err(error) if !is_under_way(&error) => Err(error),
            _ => Ok(Self::Plain(socket)),
        }
    }

    /// Whether the other end has answered; `None` while that is awaited.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let Self::Plain(socket) = self;
        match (socket.take_error(), socket.peer_addr()) {
            (Ok(Some(error)) | Err(error), _) => Some(Err(error)),
            (Ok(None), Ok(_)) => Some(Ok(())),
            (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => None,
            (Ok(None), Err(error)) => Some(Err(error)),
        }
    }
}

/// The kernel connects: EINPROGRESS, or EWOULDBLOCK where that is another word for it.
fn is_under_way(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = 115;
    error.raw_os_error() == Some(EINPROGRESS) || error.kind() == io::ErrorKind::WouldBlock
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        let Self::Plain(socket) = self;
        socket.as_raw_fd()
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        socket.read(buffer)
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self::Plain(socket) = self;
        socket.flush()
    }
}
