//! Listening sockets: taken from the service manager where it has passed some, else bound.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::inherited;

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

/// `count` sockets for one address, one for each process that accepts. Those that the service manager passed come first.
/// One alone is shared by all: they accept from the same queue, so that nothing waits in a queue which the service manager
/// does not have. Otherwise each process has its own socket (`SO_REUSEPORT`): the kernel spreads connections over them, and a
/// connection waits in the backlog of its socket even while the process behind it is started again. Returns the address
/// with the port that the kernel chose where it was 0.
///
/// # Errors
/// [`ListenError`]; also when another program listens there with `SO_REUSEPORT`, which the kernel would allow.
pub fn shared(address: SocketAddr, count: u32) -> Result<(SocketAddr, Vec<OwnedFd>), ListenError> {
    let fail = |source| error(address, source);
    let passed = inherited::take(address);
    if !passed.is_empty() {
        return completed(address, passed, count as usize).map(|sockets| (address, sockets)).map_err(fail);
    }
    let mut actual = address;
    if address.port() != 0 {
        drop(probe(address)?);
    }
    let mut sockets = Vec::new();
    for _ in 0..count {
        let (address, mut one) = bind(actual, 1)?;
        actual = address;
        sockets.append(&mut one);
    }
    Ok((actual, sockets))
}

/// Whether an address can be listened on: taken for as long as what is returned lives.
///
/// # Errors
/// [`ListenError`].
pub fn probe(address: SocketAddr) -> Result<OwnedFd, ListenError> {
    let fail = |source| error(address, source);
    let probe = socket(address, false).map_err(fail)?;
    probe.listen(1).map_err(fail)?;
    Ok(OwnedFd::from(TcpListener::from(probe)))
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

/// Makes a socket that was passed like one of our own.
///
/// # Errors
/// When the kernel refuses.
pub fn prepare(passed: &OwnedFd) -> std::io::Result<()> {
    let listener = SockRef::from(passed);
    listener.set_nonblocking(true)?;
    listener.set_out_of_band_inline(true)?;
    // On a socket that listens this changes the length of its queue alone.
    listener.listen(BACKLOG)
}

/// Makes `wanted` sockets of those that were passed: too many are closed, and where there are several but too few, more
/// are bound beside them if they allow it.
fn completed(address: SocketAddr, mut passed: Vec<OwnedFd>, wanted: usize) -> std::io::Result<Vec<OwnedFd>> {
    if passed.len() > wanted {
        let more = passed.len() - wanted;
        tracing::warn!("{address}: {more} sockets too many were kept: clients that wait in them are lost");
        passed.truncate(wanted);
    }
    passed.iter().try_for_each(prepare)?;
    tracing::info!("{address}: listens with {} sockets of the service manager", passed.len());
    let alone = passed.len() == 1;
    for number in passed.len()..wanted {
        let own = if alone { None } else { more(address, 1).ok().and_then(|mut one| one.pop()) };
        let next = match (own, passed.get(number % passed.len())) {
            (Some(own), _) => own,
            (None, Some(other)) => other.try_clone()?,
            (None, None) => break,
        };
        passed.push(next);
    }
    Ok(passed)
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

    fn inodes(sockets: &[OwnedFd]) -> std::collections::HashSet<u64> {
        sockets.iter().map(|socket| nix::sys::stat::fstat(socket).unwrap().st_ino).collect()
    }

    #[test]
    fn one_passed_socket_is_shared_by_all() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let sockets = completed(address, vec![socket.into()], 3).unwrap();
        assert_eq!((sockets.len(), inodes(&sockets).len()), (3, 1));
        let flags = nix::fcntl::fcntl(&sockets[0], nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(nix::fcntl::OFlag::from_bits_retain(flags).contains(nix::fcntl::OFlag::O_NONBLOCK));
    }

    #[test]
    fn several_passed_sockets_are_completed_or_cut() {
        let (address, sockets) = shared(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let before = inodes(&sockets);
        let sockets = completed(address, sockets, 4).unwrap();
        assert_eq!((sockets.len(), inodes(&sockets).len()), (4, 4));
        assert!(inodes(&sockets).is_superset(&before));
        let sockets = completed(address, sockets, 1).unwrap();
        assert_eq!(sockets.len(), 1);
    }
}
