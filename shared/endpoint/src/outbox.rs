//! Bytes that wait for a socket.

use std::io::{self, Write};

use mediaring::Sent;

/// A queue of bytes, sent from the front. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts bytes before all that wait.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let mut all = Vec::with_capacity(bytes.len() + self.len());
        all.extend_from_slice(bytes);
        all.extend_from_slice(self.waiting());
        self.bytes = all;
        self.sent = 0;
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or(&[])
    }

    /// Of what was sent, these bytes came first: takes them away and returns what was sent of the ring behind them.
    pub(crate) fn take(&mut self, sent: Sent) -> Sent {
        let Sent::Bytes(count) = sent else { return sent };
        let own = count.min(self.len());
        self.sent += own;
        if self.is_empty() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
        Sent::Bytes(count - own)
    }

    /// Sends what the socket takes; returns how much, and whether it would take no more.
    pub(crate) fn flush(&mut self, mut socket: impl Write) -> io::Result<(usize, bool)> {
        let mut total = 0;
        while !self.is_empty() {
            match socket.write(self.waiting()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((total, true)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes = Vec::new();
        self.sent = 0;
        Ok((total, false))
    }
}
