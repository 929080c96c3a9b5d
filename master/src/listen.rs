//! Listening sockets: bound here, or taken from the service manager, which is given them to keep. A kept socket's backlog
//! outlives the master: clients that come while the unit is started again wait instead of being refused.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{inherited, systemd};

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
    let name = kept_name(address);
    if passed.is_empty() {
        let (address, sockets) = bound(address, count).map_err(fail)?;
        keep(address, &sockets);
        return Ok((address, sockets));
    }
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    if let Some(more) = passed.len().checked_sub(wanted).filter(|more| *more > 0) {
        tracing::warn!(
            "{address}: {} sockets were kept, {count} are needed: clients that wait in {more} are lost",
            passed.len()
        );
        systemd::forget(&name);
    }
    let sockets = completed(address, passed, wanted).map_err(fail)?;
    tracing::info!("{address}: listening goes on with sockets of the service manager");
    keep(address, &sockets);
    Ok((address, sockets))
}

/// The service manager is to keep the sockets of an address no longer: the server does not listen there any more.
pub fn forget(address: SocketAddr) {
    systemd::forget(&kept_name(address));
}

/// Sockets of our own for an address on which nobody else may listen.
fn bound(address: SocketAddr, count: u32) -> std::io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut actual = address;
    if address.port() != 0 {
        let probe = socket(address, false)?;
        probe.listen(1)?;
    }
    let mut sockets = Vec::new();
    for _ in 0..count {
        let listener = listening(actual)?;
        actual = listener.local_addr()?;
        sockets.push(OwnedFd::from(listener));
    }
    Ok((actual, sockets))
}

fn listening(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = socket(address, true)?;
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from(listener))
}

/// Makes `wanted` sockets of those that were passed: too many are closed, and where there are several but too few, more
/// are bound beside them if they allow it.
fn completed(address: SocketAddr, mut passed: Vec<OwnedFd>, wanted: usize) -> std::io::Result<Vec<OwnedFd>> {
    passed.truncate(wanted);
    for listener in &passed {
        let listener = SockRef::from(listener);
        listener.set_nonblocking(true)?;
        listener.set_out_of_band_inline(true)?;
        // On a socket that listens this changes the length of its queue alone.
        listener.listen(BACKLOG)?;
    }
    let alone = passed.len() == 1;
    for number in passed.len()..wanted {
        let own = if alone { None } else { listening(address).ok() };
        let next = match (own, passed.get(number % passed.len())) {
            (Some(own), _) => own.into(),
            (None, Some(other)) => other.try_clone()?,
            (None, None) => break,
        };
        passed.push(next);
    }
    Ok(passed)
}

fn keep(address: SocketAddr, sockets: &[OwnedFd]) {
    let name = kept_name(address);
    for socket in sockets {
        systemd::store(&name, socket);
    }
}

/// The name under which the sockets of an address are kept. Colons separate names in `LISTEN_FDNAMES`.
fn kept_name(address: SocketAddr) -> String {
    format!("listen-{address}").replace(':', "_")
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
        let (address, sockets) = bound(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let before = inodes(&sockets);
        let sockets = completed(address, sockets, 4).unwrap();
        assert_eq!((sockets.len(), inodes(&sockets).len()), (4, 4));
        assert!(inodes(&sockets).is_superset(&before));
        let sockets = completed(address, sockets, 1).unwrap();
        assert_eq!(sockets.len(), 1);
    }

    #[test]
    fn names_of_kept_sockets_have_no_colon() {
        let names: Vec<String> =
            ["0.0.0.0:1935", "[::1]:1935"].iter().map(|text| kept_name(text.parse().unwrap())).collect();
        assert_eq!(names, ["listen-0.0.0.0_1935", "listen-[__1]_1935"]);
    }
}
