//! A viewer of a stream: its place in the fan-out, and what its socket does.

use std::os::fd::RawFd;

use fanout::{Cursor, FormerCursor};
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::end::End;

/// What stands between a viewer's ring and its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    Free,
    /// Bytes wait in the connection's outbox.
    Queued,
    /// The socket takes nothing now; its writability brings the viewer back.
    Full,
}

/// A viewer of one audience.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// Where it stands.
    pub(crate) cursor: Cursor,
    pub(crate) socket: RawFd,
    /// Key of its connection in the hub.
    pub(crate) connection: usize,
    pub(crate) way: Way,
    /// Bytes that its socket took since it joined.
    pub(crate) sent: u64,
    /// When it last took a byte, ms.
    pub(crate) progress_ms: u64,
    /// Bytes sent when its drain rate was last looked at, and when.
    pub(crate) drain_mark: (u64, u64),
}

impl Viewer {
    pub(crate) fn new(cursor: Cursor, socket: RawFd, connection: usize, now_ms: u64) -> Self {
        Self {
            cursor,
            socket,
            connection,
            way: Way::Free,
            sent: 0,
            progress_ms: now_ms,
            drain_mark: (0, now_ms),
        }
    }

    /// Sends what waits in its connection's outbox, on its account; `true` when the socket takes no more.
    pub(crate) fn flush(&mut self, connection: &mut Connection, now_ms: u64) -> Result<bool, End> {
        let before = connection.traffic.bytes_out;
        let blocked = connection.flush()?;
        let sent = connection.traffic.bytes_out - before;
        connection.traffic.bytes_out = before;
        self.count(sent, now_ms);
        self.way = if blocked { Way::Full } else { Way::Free };
        Ok(blocked)
    }

    /// Whether its socket takes nothing now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.way == Way::Full
    }

    /// Bytes wait in the connection's outbox.
    pub(crate) fn queued(&mut self) {
        if self.way == Way::Free {
            self.way = Way::Queued;
        }
    }

    /// So many bytes went out.
    pub(crate) fn count(&mut self, sent: u64, now_ms: u64) {
        self.sent += sent;
        if sent > 0 {
            self.progress_ms = now_ms;
        }
    }
}

/// What of a viewer travels to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Travelled")]
pub(crate) struct ViewerSnapshot {
    cursor: Cursor,
    sent: u64,
}

/// All forms in which viewers come.
#[derive(Deserialize)]
#[serde(untagged)]
enum Travelled {
    Now {
        cursor: Cursor,
        sent: u64,
    },
    Former {
        #[serde(flatten)]
        cursor: FormerCursor,
        sent: u64,
    },
}

impl From<Travelled> for ViewerSnapshot {
    fn from(travelled: Travelled) -> Self {
        match travelled {
            Travelled::Now { cursor, sent } => Self { cursor, sent },
            Travelled::Former { cursor, sent } => Self { cursor: cursor.into(), sent },
        }
    }
}

impl From<&Viewer> for ViewerSnapshot {
    fn from(viewer: &Viewer) -> Self {
        Self { cursor: viewer.cursor.clone(), sent: viewer.sent }
    }
}

impl ViewerSnapshot {
    pub(crate) fn into_viewer(self, socket: RawFd, connection: usize, now_ms: u64) -> Viewer {
        Viewer { sent: self.sent, ..Viewer::new(self.cursor, socket, connection, now_ms) }
    }
}
