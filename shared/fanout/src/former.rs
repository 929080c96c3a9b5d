//! Cursors as former releases wrote them: a process of such a release may hand over a connection.

use serde::Deserialize;

use crate::cursor::{Cursor, Delivery, Headers, Place, Reason, Tracks};

/// A cursor of 0.1 as of November 2026: one word of flags.
#[derive(Debug, Clone, Deserialize)]
pub struct FormerCursor {
    msid: u32,
    flags: u16,
    position: u64,
    base_ms: Option<i64>,
    first_seq: u64,
    dropped: u64,
    jumps: u32,
    duration_ms: Option<u64>,
    until_ms: Option<i64>,
    #[serde(default)]
    joined_ns: u64,
}

impl From<FormerCursor> for Cursor {
    fn from(former: FormerCursor) -> Self {
        let has = |flag: u16| former.flags & flag != 0;
        let mut cursor = Self::new(former.msid, 0, former.joined_ns).for_duration(former.duration_ms);
        cursor.paused = has(4);
        cursor.wanted = Tracks { audio: !has(8), video: !has(16) };
        cursor.awaits_key = has(32);
        if has(64) && cursor.delivery == Delivery::Shared {
            cursor.delivery = Delivery::Own(Reason::SeveralStreams);
        }
        cursor.place = match (has(256), has(128)) {
            (true, true) => Place::Lost,
            (true, false) => Place::Joining,
            (false, true) => Place::MidPacket,
            (false, false) => Place::AtPacket,
        };
        cursor.due = Headers { metadata: has(512), video: has(1024), audio: has(2048) };
        cursor.delta_base = Tracks { audio: has(4096), video: has(8192) };
        cursor.position = former.position;
        cursor.base_ms = former.base_ms;
        cursor.until_ms = former.until_ms;
        cursor.first_seq = former.first_seq;
        cursor.dropped = former.dropped;
        cursor.jumps = former.jumps;
        cursor.changed();
        cursor
    }
}
