//! One end of a control connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Serialize, de::DeserializeOwned};

use crate::fd;
use crate::frame::{
    FrameError, HEADER_BYTES, INLINE_BYTES, MAX_BODY_BYTES, MAX_FDS, decode_header, encode_header,
};

/// Messages that may wait for a peer that does not read: beyond that the peer is broken.
const MAX_QUEUED: usize = 65_536;

/// What can go wrong on a channel. All but `Full` and `Encode` end it.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer has gone.
    #[error("the peer has closed its end")]
    Closed,
    /// The peer does not take its messages.
    #[error("{MAX_QUEUED} messages wait for a peer that does not read")]
    Full,
    /// The kernel refused.
    #[error(transparent)]
    Os(#[from] io::Error),
    /// The peer sent something that is no control message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body is not what it should be.
    #[error("a control message can't be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// Our own message can't be written.
    #[error("a control message can't be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A non-blocking channel of typed messages with descriptors.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    queue: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
}

impl Channel {
    /// Both ends of a new connection.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
    }

    /// A channel over one end.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, queue: VecDeque::new(), buffer: Vec::new() }
    }

    /// Sends a message and descriptors, now or when the peer takes it ([`Self::flush`]).
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the peer has gone, [`ChannelError::Full`] when it does not read.
    pub fn send<T: Serialize>(&mut self, message: &T, mut fds: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let body = rmp_serde::to_vec_named(message)?;
        let in_memfd = body.len() > INLINE_BYTES;
        if body.len() > MAX_BODY_BYTES {
            return Err(FrameError::Length { said: body.len(), there: MAX_BODY_BYTES }.into());
        }
        if fds.len() + usize::from(in_memfd) > MAX_FDS {
            return Err(FrameError::Descriptors(fds.len()).into());
        }
        let mut datagram = encode_header(body.len(), in_memfd).to_vec();
        if in_memfd {
            let mut file =
                File::from(memfd_create("srs-message", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?);
            file.write_all(&body)?;
            fds.push(OwnedFd::from(file));
        } else {
            datagram.extend_from_slice(&body);
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(ChannelError::Full);
        }
        self.queue.push_back((datagram, fds));
        self.flush()?;
        Ok(())
    }

    /// Sends what waits; `true` when nothing waits any more.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the peer has gone.
    pub fn flush(&mut self) -> Result<bool, ChannelError> {
        while let Some((datagram, fds)) = self.queue.front() {
            match fd::send(self.socket.as_fd(), datagram, fds) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    return Err(ChannelError::Closed);
                }
                // Too many descriptors in flight for this user (ETOOMANYREFS): later.
                Err(error) if error.raw_os_error() == Some(nix::libc::ETOOMANYREFS) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// The next message; `None` when none waits.
    ///
    /// # Errors
    /// Everything but `Full` and `Encode`: the channel is of no further use then.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        self.buffer.resize(HEADER_BYTES + INLINE_BYTES, 0);
        let received = loop {
            match fd::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(received) => break received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // An idle channel holds no memory.
                    self.buffer = Vec::new();
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(ChannelError::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = received.fds;
        if received.truncated {
            return Err(FrameError::Short(received.len).into());
        }
        if received.len == 0 {
            return Err(ChannelError::Closed);
        }
        let datagram = self.buffer.get(..received.len).unwrap_or(&[]);
        let (said, in_memfd, body) = decode_header(datagram)?;
        if !in_memfd {
            return Ok(Some((rmp_serde::from_slice(body)?, fds)));
        }
        let mut file = File::from(fds.pop().ok_or(FrameError::Descriptors(0))?);
        let mut body = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(said as u64 + 1).read_to_end(&mut body)?;
        if body.len() != said {
            return Err(FrameError::Length { said, there: body.len() }.into());
        }
        Ok(Some((rmp_serde::from_slice(&body)?, fds)))
    }

    /// Whether messages wait for the peer.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> (Channel, Channel) {
        let (a, b) = Channel::pair().unwrap();
        (Channel::new(a), Channel::new(b))
    }

    #[test]
    fn messages_and_descriptors_arrive_in_order_small_and_large() {
        let (mut a, mut b) = channels();
        for size in [0, 10, 60_000, 70_000, 3_000_000] {
            let file = File::open("/dev/null").unwrap();
            a.send(&vec![7_u32; size], vec![OwnedFd::from(file)]).unwrap();
            let (message, fds) = b.receive::<Vec<u32>>().unwrap().unwrap();
            assert_eq!((message.len(), fds.len()), (size, 1));
        }
        assert!(b.receive::<Vec<u32>>().unwrap().is_none());
    }

    #[test]
    fn a_slow_peer_costs_only_a_queue_and_an_absent_one_is_noticed() {
        let (mut a, mut b) = channels();
        for n in 0..5000_u32 {
            a.send(&(n, vec![1_u8; 1000]), Vec::new()).unwrap();
        }
        assert!(a.wants_write());
        for n in 0..5000 {
            let (message, _) = match b.receive::<(u32, Vec<u8>)>().unwrap() {
                Some(message) => message,
                None => {
                    a.flush().unwrap();
                    b.receive().unwrap().unwrap()
                }
            };
            assert_eq!(message.0, n);
        }
        drop(b);
        assert!(matches!(a.send(&1, Vec::new()), Err(ChannelError::Closed)));
        assert!(matches!(a.receive::<u32>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (a, b) = Channel::pair().unwrap();
        let mut b = Channel::new(b);
        let cases: &[&[u8]] = &[
            b"x",
            b"XX\x01\0\0\0\0\0",
            b"SR\x09\0\0\0\0\0",
            b"SR\x01\0\x05\0\0\0ab",
            b"SR\x01\x01\x05\0\0\0",
            b"SR\x01\0\x01\0\0\0\xc1",
        ];
        for bytes in cases {
            nix::unistd::write(&a, bytes).unwrap();
            assert!(b.receive::<u32>().is_err(), "{bytes:x?}");
        }
        nix::unistd::write(&a, &[1_u8; 100_000]).unwrap();
        assert!(matches!(b.receive::<u32>(), Err(ChannelError::Frame(FrameError::Short(_)))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = decode_header(&bytes);
            let _ = rmp_serde::from_slice::<crate::MasterToChild>(&bytes);
            let _ = rmp_serde::from_slice::<crate::ReaderToSource>(&bytes);
        }
    }
}
