//! One viewer: a position in a ring and little else.

use std::os::fd::RawFd;

use media::Kind;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::end::End;

/// The socket takes nothing now; its writability brings the viewer back.
pub(crate) const BLOCKED: u16 = 1;
/// Bytes wait in the connection's outbox.
pub(crate) const QUEUED: u16 = 2;
/// The viewer has paused.
pub(crate) const PAUSED: u16 = 4;
/// It wants no audio, or no video.
pub(crate) const NO_AUDIO: u16 = 8;
pub(crate) const NO_VIDEO: u16 = 16;
/// After a jump into the middle of a group of pictures: no video until the next key frame.
pub(crate) const GATED: u16 = 32;
/// Each packet gets a header of its own: several streams on one connection, another chunk size, a time limit.
pub(crate) const PRIVATE: u16 = 64;
/// The last send ended in the middle of a packet.
pub(crate) const PARTIAL: u16 = 128;
/// The viewer has no place in the ring yet.
pub(crate) const WAITING: u16 = 256;
/// Headers that it has not got yet.
pub(crate) const WANTS_METADATA: u16 = 512;
pub(crate) const WANTS_VIDEO_HEADER: u16 = 1024;
pub(crate) const WANTS_AUDIO_HEADER: u16 = 2048;
/// The last packet of the track in the ring went to it: what follows can go as it lies there.
pub(crate) const PRIMED_AUDIO: u16 = 4096;
pub(crate) const PRIMED_VIDEO: u16 = 8192;
/// It may begin at a key frame that is already there.
pub(crate) const FROM_KEY: u16 = 16384;

pub(crate) const WANTS_HEADERS: u16 = WANTS_METADATA | WANTS_VIDEO_HEADER | WANTS_AUDIO_HEADER;
/// With any of these set, packets are looked at one by one.
const SLOW: u16 = QUEUED | PAUSED | NO_AUDIO | NO_VIDEO | GATED | PRIVATE | WAITING | WANTS_HEADERS;

/// A viewer of one audience.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) socket: RawFd,
    pub(crate) flags: u16,
    /// Chunk stream group: 0 for the first stream of a connection, then 1, 2 …
    pub(crate) lane: u8,
    /// Key of its connection in the hub.
    pub(crate) connection: usize,
    /// Position of the next ring byte to send.
    pub(crate) position: u64,
    /// Viewer time = ring time − base; unknown before the first packet.
    pub(crate) base_ms: Option<i64>,
    /// Viewer time at which it begins (it goes on from another ring).
    pub(crate) resume_ms: i64,
    /// Sequence number of its first packet, and how many it did not get since.
    pub(crate) first_seq: u64,
    pub(crate) dropped: u64,
    /// Bytes that its socket took since it joined.
    pub(crate) sent: u64,
    /// When it joined, ns.
    pub(crate) joined_ns: u64,
    /// When it last took a byte, ms.
    pub(crate) progress_ms: u64,
    /// Message stream id.
    pub(crate) msid: u32,
    pub(crate) jumps: u32,
    /// It ends at this ring time.
    pub(crate) until_ms: Option<i64>,
    pub(crate) duration_ms: Option<u64>,
    /// Bytes sent when its drain rate was last looked at, and when.
    pub(crate) drain_mark: (u64, u64),
}

impl Viewer {
    pub(crate) fn new(socket: RawFd, connection: usize, msid: u32, now_ms: u64) -> Self {
        Self {
            socket,
            flags: WAITING | WANTS_HEADERS | FROM_KEY,
            lane: 0,
            connection,
            position: 0,
            base_ms: None,
            resume_ms: 0,
            first_seq: 0,
            dropped: 0,
            sent: 0,
            joined_ns: reactor::now_ns(),
            progress_ms: now_ms,
            msid,
            jumps: 0,
            until_ms: None,
            duration_ms: None,
            drain_mark: (0, now_ms),
        }
    }

    /// Sends what waits in its connection's outbox, on its account; `true` when the socket takes no more.
    pub(crate) fn flush(&mut self, connection: &mut Connection, now_ms: u64) -> Result<bool, End> {
        let before = connection.bytes_out;
        let blocked = connection.flush()?;
        let sent = connection.bytes_out - before;
        connection.bytes_out = before;
        self.sent += sent;
        if sent > 0 {
            self.progress_ms = now_ms;
        }
        Ok(blocked)
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// Whether packets must be looked at one by one.
    pub(crate) fn is_slow(&self) -> bool {
        self.flags & SLOW != 0
    }

    pub(crate) fn primed(kind: Kind) -> u16 {
        match kind {
            Kind::Audio => PRIMED_AUDIO,
            Kind::Video => PRIMED_VIDEO,
            Kind::Data => 0,
        }
    }

    /// Chunk stream for a kind of packet.
    pub(crate) fn csid(&self, kind: Kind) -> u8 {
        let first = match kind {
            Kind::Data => 4,
            Kind::Video => 6,
            Kind::Audio => 7,
        };
        self.lane.min(14) * 4 + first
    }

    /// Ring time as this viewer's RTMP timestamp.
    pub(crate) fn time(&self, dts_ms: i64) -> u32 {
        let time = match self.base_ms {
            Some(base) if base != 0 => (dts_ms - base).max(0),
            _ => dts_ms,
        };
        u32::try_from(time & 0xffff_ffff).unwrap_or(0)
    }
}

/// What of a viewer travels to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ViewerSnapshot {
    pub(crate) msid: u32,
    pub(crate) flags: u16,
    pub(crate) position: u64,
    pub(crate) base_ms: Option<i64>,
    pub(crate) first_seq: u64,
    pub(crate) dropped: u64,
    pub(crate) sent: u64,
    pub(crate) jumps: u32,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) until_ms: Option<i64>,
    #[serde(default)]
    pub(crate) joined_ns: u64,
}

impl From<&Viewer> for ViewerSnapshot {
    fn from(viewer: &Viewer) -> Self {
        Self {
            msid: viewer.msid,
            flags: viewer.flags,
            position: viewer.position,
            base_ms: viewer.base_ms,
            first_seq: viewer.first_seq,
            dropped: viewer.dropped,
            sent: viewer.sent,
            jumps: viewer.jumps,
            duration_ms: viewer.duration_ms,
            until_ms: viewer.until_ms,
            joined_ns: viewer.joined_ns,
        }
    }
}

impl ViewerSnapshot {
    pub(crate) fn into_viewer(self, socket: RawFd, connection: usize, now_ms: u64) -> Viewer {
        Viewer {
            flags: self.flags & !BLOCKED,
            position: self.position,
            base_ms: self.base_ms,
            first_seq: self.first_seq,
            dropped: self.dropped,
            sent: self.sent,
            jumps: self.jumps,
            duration_ms: self.duration_ms,
            until_ms: self.until_ms,
            joined_ns: self.joined_ns,
            ..Viewer::new(socket, connection, self.msid, now_ms)
        }
    }
}
