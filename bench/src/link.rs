//! One non-blocking TCP connection with what could not be written yet.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

/// Connections from one source address: there are about 28,000 ephemeral ports.
const PER_ADDRESS: usize = 20_000;

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// So many bytes, and when the kernel got the last of them (wall ns; 0 when not asked for).
    Bytes(usize, u64),
    /// Nothing now.
    Nothing,
    /// The other side is gone.
    End,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    outbox: Vec<u8>,
    stamped: bool,
}

impl Link {
    /// Begins to connect. `number` spreads many connections over the addresses of the loopback network.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn connect(to: SocketAddr, number: usize, receive_buffer: Option<usize>) -> io::Result<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if to.ip().is_loopback() && to.is_ipv4() && number >= PER_ADDRESS {
            let host = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        Ok(Self { stream: TcpStream::from_std(socket.into()), outbox: Vec::new(), stamped: false })
    }

    /// For the event loop.
    pub fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Asks the kernel to tell when bytes arrived.
    pub fn stamp(&mut self) {
        self.stamped = setsockopt(&self.stream.as_fd(), sockopt::ReceiveTimestampns, &true).is_ok();
    }

    /// Sends, or keeps for later what the socket does not take.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what was kept.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.outbox.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Still connecting, or full.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.outbox.drain(..sent);
        Ok(())
    }

    /// Reads into `buffer`.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        if self.stamped {
            return self.read_stamped(buffer);
        }
        match self.stream.read(buffer) {
            Ok(0) => Ok(Arrived::End),
            Ok(count) => Ok(Arrived::Bytes(count, 0)),
            Err(error) => nothing(error),
        }
    }

    fn read_stamped(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut space = nix::cmsg_space!(TimeSpec);
        let mut vectors = [io::IoSliceMut::new(buffer)];
        let fd = self.stream.as_raw_fd();
        match recvmsg::<()>(fd, &mut vectors, Some(&mut space), MsgFlags::MSG_DONTWAIT) {
            Ok(message) if message.bytes == 0 => Ok(Arrived::End),
            Ok(message) => {
                let mut wall_ns = 0;
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmTimestampns(time) = control {
                        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
                        wall_ns = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0);
                    }
                }
                Ok(Arrived::Bytes(message.bytes, wall_ns))
            }
            Err(error) => nothing(error.into()),
        }
    }

    /// Takes what has arrived, up to `buffer.len()` bytes, without looking: the kernel drops it and nothing is copied.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn discard(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        match recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Ok(Arrived::End),
            Ok(count) => Ok(Arrived::Bytes(count, 0)),
            Err(error) => nothing(error.into()),
        }
    }
}

fn nothing(error: io::Error) -> io::Result<Arrived> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected => {
            Ok(Arrived::Nothing)
        }
        _ => Err(error),
    }
}
