//! Binding listening sockets.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted (the kernel's own bound applies, too).
const BACKLOG: i32 = 4096;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("cannot listen on {address}: another program uses this port; stop it, or set another `listen`")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "cannot listen on {address}: permission denied; use a port of 1024 or more, or grant CAP_NET_BIND_SERVICE"
    )]
    Denied {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel refused for another reason.
    #[error("cannot listen on {address}: {source}")]
    Os {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
}

fn error(address: SocketAddr, source: std::io::Error) -> ListenError {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => ListenError::InUse { address },
        std::io::ErrorKind::PermissionDenied => ListenError::Denied { address },
        _ => ListenError::Os { address, source },
    }
}

fn socket(address: SocketAddr, shared: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Inherited by accepted connections: an urgent byte stays in the stream from the first one on.
    socket.set_out_of_band_inline(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// `count` sockets that share one address (`SO_REUSEPORT`): the kernel spreads connections over them, and a connection
/// waits in the backlog of its socket even while the process behind it is started again. Returns the address with the
/// port that the kernel chose where it was 0.
///
/// # Errors
/// [`ListenError`]; also when another program listens there with `SO_REUSEPORT`, which the kernel would allow.
pub fn shared(address: SocketAddr, count: u32) -> Result<(SocketAddr, Vec<OwnedFd>), ListenError> {
    let fail = |source| error(address, source);
    let mut actual = address;
    if address.port() != 0 {
        let probe = socket(address, false).map_err(fail)?;
        probe.listen(1).map_err(fail)?;
    }
    let mut sockets = Vec::new();
    for _ in 0..count {
        let (address, mut one) = bind(actual, 1)?;
        actual = address;
        sockets.append(&mut one);
    }
    Ok((actual, sockets))
}

/// More sockets for an address that is ours already.
///
/// # Errors
/// [`ListenError`].
pub fn more(address: SocketAddr, count: usize) -> Result<Vec<OwnedFd>, ListenError> {
    bind(address, count).map(|(_, sockets)| sockets)
}

fn bind(address: SocketAddr, count: usize) -> Result<(SocketAddr, Vec<OwnedFd>), ListenError> {
    let fail = |source| error(address, source);
    let (mut actual, mut sockets) = (address, Vec::new());
    for _ in 0..count {
        let listener = socket(actual, true).map_err(fail)?;
        listener.listen(BACKLOG).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let listener = TcpListener::from(listener);
        actual = listener.local_addr().map_err(fail)?;
        sockets.push(OwnedFd::from(listener));
    }
    Ok((actual, sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_serves_many_processes_but_not_two_servers() {
        let (address, sockets) = shared(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(matches!(shared(address, 1), Err(ListenError::InUse { .. })));
    }
}
