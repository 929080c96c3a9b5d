//! One end of a control connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals};
use serde::{Serialize, de::DeserializeOwned};

use crate::fd;
use crate::frame::{
    FrameError, HEADER_BYTES, INLINE_BYTES, MAX_BODY_BYTES, MAX_FDS, decode_header, encode_header,
};
use crate::unknown::unknown_variant;

/// Messages that may wait for a peer that does not read: beyond that the channel is broken.
const MAX_QUEUED: usize = 65_536;

/// What keeps a body as it was when it was sent.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// What can go wrong on a channel. All but `Encode` and `Unknown` end it.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer has gone, or one direction of the channel is shut.
    #[error("the peer has closed its end")]
    Closed,
    /// The peer does not take its messages. The channel is shut in both directions: what it missed can't be told later.
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
    /// The message is one of another version of this program; the channel goes on behind it.
    #[error("a control message of the name {0} is not known here")]
    Unknown(String),
    /// Our own message can't be written.
    #[error("a control message can't be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A message that the peer has not taken yet.
#[derive(Debug)]
struct Queued {
    /// What goes out: header and body, or the header of a body in a memfd.
    datagram: Vec<u8>,
    /// A body that has to go through a memfd and has none yet.
    body: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// A non-blocking channel of typed messages with descriptors.
///
/// The end of a channel is only what `receive` says. The peer's end shows first as an error of a write, or as
/// `ECONNRESET` of a read, while messages of the peer still wait; these are given out before [`ChannelError::Closed`].
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    queue: VecDeque<Queued>,
    buffer: Vec<u8>,
    /// Largest body that is accepted, bytes.
    max_body: usize,
    /// Nothing can be sent any more.
    broken: bool,
    /// Something that was sent did not arrive whole.
    lost: bool,
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
        Self::with_limit(socket, MAX_BODY_BYTES)
    }

    /// A channel whose peer may send bodies of at most `max_body` bytes.
    #[must_use]
    pub fn with_limit(socket: OwnedFd, max_body: usize) -> Self {
        Self { socket, queue: VecDeque::new(), buffer: Vec::new(), max_body, broken: false, lost: false }
    }

    /// Sends a message and descriptors, now or when the peer takes it ([`Self::flush`]).
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the peer has gone, [`ChannelError::Full`] when it does not read.
    pub fn send<T: Serialize>(&mut self, message: &T, fds: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let body = rmp_serde::to_vec_named(message)?;
        let in_memfd = body.len() > INLINE_BYTES;
        if body.len() > MAX_BODY_BYTES {
            return Err(FrameError::Length { said: body.len(), there: MAX_BODY_BYTES }.into());
        }
        if fds.len() + usize::from(in_memfd) > MAX_FDS {
            return Err(FrameError::Descriptors(fds.len()).into());
        }
        if self.broken {
            return Err(ChannelError::Closed);
        }
        if self.queue.len() >= MAX_QUEUED {
            self.shut();
            return Err(ChannelError::Full);
        }
        let mut datagram = encode_header(body.len(), in_memfd).to_vec();
        if in_memfd {
            self.queue.push_back(Queued { datagram, body, fds });
        } else {
            datagram.extend_from_slice(&body);
            self.queue.push_back(Queued { datagram, body: Vec::new(), fds });
        }
        self.flush()?;
        if self.broken { Err(ChannelError::Closed) } else { Ok(()) }
    }

    /// Sends what waits; `true` when nothing waits any more. That the peer has gone is told by [`Self::receive`], behind
    /// the peer's last messages.
    ///
    /// # Errors
    /// When the kernel refuses for a reason that does not pass.
    pub fn flush(&mut self) -> Result<bool, ChannelError> {
        while let Some(front) = self.queue.front_mut() {
            if !front.body.is_empty() {
                match memory_of(&front.body) {
                    Ok(memory) => {
                        front.fds.push(memory);
                        front.body = Vec::new();
                    }
                    // No descriptor or no memory: later.
                    Err(_) => return Ok(false),
                }
            }
            match fd::send(self.socket.as_fd(), &front.datagram, &front.fds) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    self.broken = true;
                    self.queue.clear();
                }
                // Too many descriptors in flight for this user (ETOOMANYREFS), or no memory in the kernel: later.
                Err(error) if is_shortage(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// The next message; `None` when none waits.
    ///
    /// # Errors
    /// Everything but `Full` and `Encode`: the channel is of no further use then, but after [`ChannelError::Unknown`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        loop {
            self.buffer.resize(HEADER_BYTES + INLINE_BYTES, 0);
            let Some(received) = self.receive_datagram()? else {
                // An idle channel holds no memory.
                self.buffer = Vec::new();
                return if self.broken { Err(ChannelError::Closed) } else { Ok(None) };
            };
            let mut fds = received.fds;
            if received.truncated {
                return Err(FrameError::Short(received.len).into());
            }
            if received.fds_lost && fds.len() >= MAX_FDS {
                return Err(FrameError::Descriptors(fds.len()).into());
            }
            if received.len == 0 {
                return Err(ChannelError::Closed);
            }
            self.lost |= received.fds_lost;
            let datagram = self.buffer.get(..received.len).unwrap_or(&[]);
            let (said, in_memfd, body) = decode_header(datagram)?;
            if said > self.max_body {
                return Err(FrameError::Length { said, there: self.max_body }.into());
            }
            if !in_memfd {
                return Ok(Some((read_message(body)?, fds)));
            }
            if received.fds_lost {
                // The body was the last of the descriptors. What it said has to be asked for again.
                continue;
            }
            let body = read_body(fds.pop().ok_or(FrameError::Descriptors(0))?, said)?;
            return Ok(Some((read_message(&body)?, fds)));
        }
    }

    fn receive_datagram(&mut self) -> Result<Option<fd::Received>, ChannelError> {
        loop {
            match fd::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It is reported once, before what the peer had sent (unix(7)): the end comes behind that.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.broken = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether messages wait for the peer.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether something that the peer sent was lost for want of descriptors since this was last asked. The channel
    /// goes on; what was lost has to be asked for again.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Whether the peer, or one direction, has gone already, seen before the messages that still wait are read.
    #[must_use]
    pub fn is_going(&self) -> bool {
        let mut wanted = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP | PollFlags::NVAL;
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let polled = poll(&mut wanted, Some(&now)).is_ok();
        self.broken || (polled && wanted.iter().any(|end| end.revents().intersects(gone)))
    }

    /// Ends both directions, so that both sides see it.
    pub fn shut(&mut self) {
        self.broken = true;
        self.queue.clear();
        let _ = socket2::SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

/// Whether an error of the kernel passes by itself.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ETOOMANYREFS};
    error.raw_os_error().is_some_and(|code| [ETOOMANYREFS, ENOBUFS, ENOMEM, EMFILE, ENFILE].contains(&code))
}

/// The message of a body.
fn read_message<T: DeserializeOwned>(body: &[u8]) -> Result<T, ChannelError> {
    rmp_serde::from_slice(body).map_err(|error| {
        unknown_variant::<T>(body).map_or(ChannelError::Decode(error), ChannelError::Unknown)
    })
}

/// A body as sealed memory.
fn memory_of(body: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("srs-message", flags)?);
    file.write_all(body)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// Reads a body of `said` bytes. Only sealed memory is read: it can't block, and has the length that it says.
fn read_body(fd: OwnedFd, said: usize) -> Result<Vec<u8>, ChannelError> {
    if !fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(SEALS)) {
        return Err(FrameError::NotSealed.into());
    }
    let file = File::from(fd);
    let there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if there != said {
        return Err(FrameError::Length { said, there }.into());
    }
    let mut body = vec![0; said];
    file.read_exact_at(&mut body, 0)?;
    Ok(body)
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

    #[test]
    fn what_a_peer_said_before_it_went_is_heard_though_it_left_messages_unread() {
        let (mut a, mut b) = channels();
        b.send(&0_u32, Vec::new()).unwrap();
        for n in 1..4_u32 {
            a.send(&n, Vec::new()).unwrap();
        }
        // The peer goes with a message unread: the kernel says ECONNRESET first.
        drop(a);
        assert!(b.is_going());
        assert!(matches!(b.send(&5_u32, Vec::new()), Err(ChannelError::Closed)));
        for n in 1..4 {
            assert_eq!(b.receive::<u32>().unwrap().unwrap().0, n);
        }
        assert!(matches!(b.receive::<u32>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn one_direction_that_is_shut_is_the_end_of_both() {
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            let (mut a, mut b) = channels();
            a.send(&1_u32, Vec::new()).unwrap();
            socket2::SockRef::from(&a.socket).shutdown(how).unwrap();
            let _ = b.send(&2_u32, Vec::new());
            let mut said = Vec::new();
            while let Ok(Some((number, _))) = b.receive::<u32>() {
                said.push(number);
            }
            assert_eq!(said, [1], "{how:?}");
            assert!(matches!(b.receive::<u32>(), Err(ChannelError::Closed)), "{how:?}");
            let _ = a.send(&3_u32, Vec::new());
            while a.receive::<u32>().is_ok_and(|message| message.is_some()) {}
            assert!(matches!(a.receive::<u32>(), Err(ChannelError::Closed)), "{how:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_sealed_memory_is_refused_and_nothing_blocks() {
        let event = nix::sys::eventfd::EventFd::new().unwrap();
        let plain = File::from(memfd_create("plain", MFdFlags::MFD_CLOEXEC).unwrap());
        plain.set_len(100).unwrap();
        for body in [OwnedFd::from(event), plain.into(), File::open("/dev/zero").unwrap().into()] {
            let (a, mut b) = channels();
            fd::send(a.as_fd(), &encode_header(100, true), &[body]).unwrap();
            assert!(matches!(b.receive::<u32>(), Err(ChannelError::Frame(FrameError::NotSealed))));
        }
        let (mut a, b) = channels();
        let mut b = Channel::with_limit(b.socket, 1000);
        a.send(&vec![7_u32; 100_000], Vec::new()).unwrap();
        assert!(matches!(b.receive::<Vec<u32>>(), Err(ChannelError::Frame(FrameError::Length { .. }))));
    }

    #[test]
    fn too_many_descriptors_are_refused_and_none_of_them_stays() {
        let (a, mut b) = channels();
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let many: Vec<OwnedFd> = (0..200).map(|_| File::open("/dev/null").unwrap().into()).collect();
        for _ in 0..20 {
            let mut datagram = encode_header(1, false).to_vec();
            datagram.push(1);
            fd::send(a.as_fd(), &datagram, &many).unwrap();
            assert!(matches!(b.receive::<u32>(), Err(ChannelError::Frame(FrameError::Descriptors(_)))));
        }
        drop(many);
        // Other tests of this process open and close some meanwhile.
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() < before + 200);
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
