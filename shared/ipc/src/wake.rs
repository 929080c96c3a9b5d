//! Wake-ups: after each turn of its loop a writer of rings sends each reader process one datagram with the ids of the
//! rings that advanced. A reader that does not keep up finds the socket full; then it is told to look at everything.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::fd;

/// Most ids in one datagram; more means "look at everything".
const MAX_IDS: usize = 1024;

/// What a wake-up says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// These streams have something new.
    Streams(Vec<u32>),
    /// Any may have.
    All,
}

/// The writer's end.
#[derive(Debug)]
pub struct WakeSender {
    socket: OwnedFd,
    missed: bool,
    buffer: Vec<u8>,
}

impl WakeSender {
    /// A sender over one end of a [`crate::Channel::pair`].
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, missed: false, buffer: Vec::new() }
    }

    /// Tells the reader that these streams advanced.
    ///
    /// # Errors
    /// When the reader has gone.
    pub fn wake(&mut self, streams: &[u32]) -> io::Result<()> {
        if streams.is_empty() && !self.missed {
            return Ok(());
        }
        self.buffer.clear();
        if !self.missed && streams.len() <= MAX_IDS {
            for stream in streams {
                self.buffer.extend_from_slice(&stream.to_ne_bytes());
            }
        } else {
            self.buffer.push(0);
        }
        match fd::send(self.socket.as_fd(), &self.buffer, &[]) {
            Ok(()) => {
                self.missed = false;
                Ok(())
            }
            // The reader has wake-ups enough to look at what is there now, but not at what comes while it works them off:
            // the next one says "everything".
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.missed = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the reader has missed something and must be told at the next opportunity.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.missed
    }
}

/// The reader's end.
#[derive(Debug)]
pub struct WakeReceiver {
    socket: OwnedFd,
}

impl WakeReceiver {
    /// A receiver over one end of a [`crate::Channel::pair`].
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Takes all waiting wake-ups together; `None` when none waits.
    ///
    /// # Errors
    /// `UnexpectedEof` when the writer has gone.
    pub fn receive(&mut self) -> io::Result<Option<Wake>> {
        let mut buffer = [0; MAX_IDS * 4];
        let mut all = false;
        let mut streams: Vec<u32> = Vec::new();
        let mut any = false;
        // Bounded: a writer in full flight must not keep us here.
        for _ in 0..64 {
            match fd::receive(self.socket.as_fd(), &mut buffer) {
                Ok(received) if received.len == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(received) => {
                    any = true;
                    let bytes = buffer.get(..received.len).unwrap_or(&[]);
                    let (ids, rest) = bytes.as_chunks::<4>();
                    all |= !rest.is_empty();
                    streams.extend(ids.iter().map(|id| u32::from_ne_bytes(*id)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !any {
            return Ok(None);
        }
        streams.sort_unstable();
        streams.dedup();
        Ok(Some(if all { Wake::All } else { Wake::Streams(streams) }))
    }
}

impl AsFd for WakeReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for WakeReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_lags_is_told_to_look_at_everything() {
        let (a, b) = crate::Channel::pair().unwrap();
        let (mut sender, mut receiver) = (WakeSender::new(a), WakeReceiver::new(b));
        assert_eq!(receiver.receive().unwrap(), None);
        sender.wake(&[3, 1]).unwrap();
        sender.wake(&[3]).unwrap();
        assert_eq!(receiver.receive().unwrap(), Some(Wake::Streams(vec![1, 3])));
        while !sender.missed() {
            sender.wake(&[9]).unwrap();
        }
        while receiver.receive().unwrap().is_some() {}
        sender.wake(&[]).unwrap();
        assert_eq!(receiver.receive().unwrap(), Some(Wake::All));
        drop(sender);
        assert!(receiver.receive().is_err());
    }
}
