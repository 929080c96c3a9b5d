//! What the kernel knows of a TCP connection, whoever wrote to it: how many bytes were sent since it was accepted.
//!
//! A process that dies leaves its sockets to a successor, and no count of its own can be trusted: it may have died between
//! the write and the count. The kernel's are exact. What it has sent is what the peer has acknowledged and what still lies
//! in the queue; our FIN counts as one byte there.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Offsets in `struct tcp_info` (linux/tcp.h), which only grows.
const STATE_AT: usize = 0;
const BYTES_ACKED_AT: usize = 120;
const INFO_BYTES: usize = 136;
/// States of a connection whose own side is closed (net/tcp_states.h): FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING.
const FIN_SENT: [u8; 5] = [4, 5, 6, 9, 11];
/// TCP_CLOSE: the peer has gone.
const CLOSED: u8 = 7;
/// Acknowledgements come meanwhile: how often the counts are taken until they agree.
const TRIES: usize = 1000;

/// How many bytes were sent over an accepted socket; `None` when there is no peer any more. Exact when nobody writes
/// meanwhile.
///
/// # Errors
/// When the socket is none of TCP.
pub fn bytes_sent(socket: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let (_, mut before) = info(socket)?;
    for _ in 0..TRIES {
        let queued = queued(socket)?;
        let (state, acked) = info(socket)?;
        if acked == std::mem::replace(&mut before, acked) {
            let fin = u64::from(FIN_SENT.contains(&state));
            return Ok((state != CLOSED).then(|| (acked + queued).saturating_sub(fin)));
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// State, and bytes that the peer has acknowledged.
fn info(socket: BorrowedFd<'_>) -> io::Result<(u8, u64)> {
    let mut bytes = [0_u8; INFO_BYTES];
    let mut len = libc::socklen_t::try_from(INFO_BYTES).unwrap_or(0);
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which has that many, and says in `len` how many it were.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let acked = bytes.get(BYTES_ACKED_AT..).and_then(|rest| rest.first_chunk::<8>());
    match (acked, bytes.get(STATE_AT)) {
        (Some(acked), Some(state)) if len as usize >= BYTES_ACKED_AT + 8 => {
            Ok((*state, u64::from_ne_bytes(*acked)))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Bytes that the peer has not acknowledged.
fn queued(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, to `count`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn every_byte_counts_once_whether_it_was_read_or_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(bytes_sent(server.as_fd()).unwrap(), Some(0));
        server.set_nonblocking(true).unwrap();
        let (mut sent, chunk) = (0, vec![7; 10_007]);
        let mut taken = vec![0; 1 << 20];
        for _ in 0..200 {
            while let Ok(count) = server.write(&chunk) {
                sent += count as u64;
                assert_eq!(bytes_sent(server.as_fd()).unwrap(), Some(sent));
            }
            let count = client.read(&mut taken).unwrap();
            assert!(count > 0);
            assert_eq!(bytes_sent(server.as_fd()).unwrap(), Some(sent));
        }
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bytes_sent(server.as_fd()).unwrap(), Some(sent), "the FIN does not count");
    }

    #[test]
    fn a_peer_that_has_gone_and_other_sockets_have_no_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        reset_on_close(&client);
        drop(client);
        assert!(server.read(&mut [0]).is_err(), "it was reset");
        assert_eq!(bytes_sent(server.as_fd()).unwrap(), None);
        let (pair, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(bytes_sent(pair.as_fd()).is_err());
    }

    fn reset_on_close(socket: &TcpStream) {
        use nix::sys::socket::{setsockopt, sockopt};
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(socket, sockopt::Linger, &at_once).unwrap();
    }
}
