//! The unsafe room: descriptors that cross process borders.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::frame::MAX_FDS;

/// What `recvmsg` brought: the bytes' number, whether the message was longer than the buffer, and the descriptors.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) truncated: bool,
    pub(crate) fds: Vec<OwnedFd>,
}

/// One datagram with descriptors. `WouldBlock` when none waits; length 0 without descriptors is the end.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut vectors = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just installed this descriptor for us, and nobody else knows its number; owning it is
                // what keeps it from leaking when the message turns out to be bad.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    let truncated = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    Ok(Received { len: message.bytes, truncated, fds })
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
