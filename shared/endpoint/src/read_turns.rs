//! Whose bytes are read next: connections that the kernel says are ready, and those whose turn was over before all was read.

use std::collections::VecDeque;

use reactor::Ready;

/// One read.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Ready connections that may wait for the next turn.
const MAX_READY: usize = 4096;

/// Connections that wait for being served.
#[derive(Debug)]
pub(crate) struct ReadTurns {
    ready: VecDeque<Ready>,
    unread: VecDeque<usize>,
    buffer: Vec<u8>,
}

impl Default for ReadTurns {
    fn default() -> Self {
        Self { ready: VecDeque::new(), unread: VecDeque::new(), buffer: vec![0; READ_BYTES] }
    }
}

impl ReadTurns {
    /// The kernel says that a connection is ready.
    pub(crate) fn push(&mut self, event: Ready) {
        self.ready.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Whether what is ready may wait for the next turn: beyond the bound there is no hurry for anything else.
    pub(crate) fn may_leave(&self) -> bool {
        self.ready.len() < MAX_READY
    }

    /// A connection's turn is over, and more may wait in its socket.
    pub(crate) fn again(&mut self, key: usize) {
        if !self.unread.contains(&key) {
            self.unread.push_back(key);
        }
    }

    /// Those whose turn was over before all was read.
    pub(crate) fn take_unread(&mut self) -> VecDeque<usize> {
        std::mem::take(&mut self.unread)
    }

    /// Whether somebody waits.
    pub(crate) fn is_behind(&self) -> bool {
        !self.unread.is_empty() || !self.ready.is_empty()
    }

    /// The buffer for one turn of reading; it comes back with [`Self::give_back`].
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        let buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() { vec![0; READ_BYTES] } else { buffer }
    }

    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }
}
