//! Descriptors that cross process borders.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use crate::frame::MAX_FDS;

/// What `recvmsg` brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes of the datagram.
    pub(crate) len: usize,
    /// The datagram was longer than the buffer.
    pub(crate) truncated: bool,
    /// Descriptors that came with it are lost: the process had no room for them, or there were too many (recvmsg(2),
    /// `MSG_CTRUNC`).
    pub(crate) fds_lost: bool,
    /// Those that arrived.
    pub(crate) fds: Vec<OwnedFd>,
}

/// One datagram with descriptors. `WouldBlock` when none waits; length 0 without descriptors is the end.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut vectors = [io::IoSliceMut::new(buffer)];
    let message = recvmsg(socket, &mut vectors, &mut control, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
            fds.extend(rights);
        }
    }
    Ok(Received {
        len: message.bytes,
        truncated: message.flags.contains(ReturnFlags::TRUNC),
        fds_lost: message.flags.contains(ReturnFlags::CTRUNC),
        fds,
    })
}

/// Sends one datagram with descriptors, whole or not at all.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[io::IoSlice::new(bytes)], control, flags, None)?;
    Ok(())
}

/// Takes the control socket that the master gave a child as its standard input, and puts /dev/null in its place.
///
/// # Errors
/// When standard input is not a socket.
pub fn take_stdin() -> io::Result<OwnedFd> {
    use nix::sys::socket::{GetSockOpt, sockopt};
    let stdin = io::stdin();
    let control = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned()?;
    sockopt::SockType.get(&control).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "standard input is no socket: this role is started by the master",
        )
    })?;
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(null)?;
    Ok(control)
}
