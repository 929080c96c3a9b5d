//! What all viewers of a stream know of it together: which packets were looked at, and what was seen in them.

use std::collections::VecDeque;

use media::Kind;
use mediaring::{Flags, Lapped, Record};

use crate::cursor::Cursor;
use crate::packets::Packets;

/// The packets that were looked at so far, up to the live edge.
#[derive(Debug, Default)]
pub struct Window {
    /// The next packet to look at.
    scanned: u64,
    /// Position behind the last packet looked at.
    head_position: u64,
    /// Time of the newest frame, ms.
    head_dts_ms: i64,
    /// Positions of packets that every viewer needs with a header of its own.
    own_headers: VecDeque<u64>,
    last_audio: Option<u64>,
    last_video: Option<u64>,
    /// The stream has shown a key frame.
    has_keys: bool,
}

impl Window {
    /// Position of the live edge.
    #[must_use]
    pub fn head_position(&self) -> u64 {
        self.head_position
    }

    /// Time of the live edge, ms.
    #[must_use]
    pub fn head_dts_ms(&self) -> i64 {
        self.head_dts_ms
    }

    /// Sequence number of the live edge.
    #[must_use]
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Whether the stream has shown a key frame.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.has_keys
    }

    /// Whether the stream has shown a picture.
    pub(crate) fn has_video(&self) -> bool {
        self.last_video.is_some()
    }

    /// Whether `packets`, of the same stream, go on behind what was looked at.
    #[must_use]
    pub fn goes_on_in(&self, packets: &impl Packets) -> bool {
        packets.head() >= self.scanned && packets.tail() <= self.scanned
    }

    /// Begins anew at the oldest packet of another stream: own headers of all that a viewer may be placed at have to be
    /// known.
    pub fn restart(&mut self, packets: &impl Packets) {
        let scanned = packets.tail();
        let head_position = match packets.record(scanned) {
            Ok(record) => record.position,
            Err(Lapped) => packets
                .record(scanned.wrapping_sub(1))
                .map_or_else(|_| packets.tail_position(), |last| last.end()),
        };
        let has_keys = packets.key().is_some();
        *self = Self { scanned, head_position, has_keys, ..Self::default() };
    }

    /// Looks at what the writer has added. Returns whether there is something.
    pub fn scan(&mut self, packets: &impl Packets) -> bool {
        let head = packets.head();
        if head == self.scanned {
            return false;
        }
        self.scanned = self.scanned.max(packets.tail());
        while self.scanned < head {
            let Ok(record) = packets.record(self.scanned) else {
                self.scanned = packets.tail().max(self.scanned + 1);
                continue;
            };
            self.scanned += 1;
            self.see(&record);
        }
        let tail = packets.tail_position();
        while self.own_headers.front().is_some_and(|position| *position < tail) {
            self.own_headers.pop_front();
        }
        true
    }

    fn see(&mut self, record: &Record) {
        self.head_position = record.end();
        match record.kind {
            Kind::Audio => self.last_audio = Some(record.position),
            Kind::Video => self.last_video = Some(record.position),
            Kind::Data => {}
        }
        if needs_own_header(record) {
            self.own_headers.push_back(record.position);
        }
        if record.kind != Kind::Data {
            self.head_dts_ms = record.dts_ms;
        }
        self.has_keys |= record.flags.contains(Flags::KEY);
    }

    /// Where a run of packets that go as they lie there, from `position`, ends.
    #[must_use]
    pub fn run_end(&self, position: u64) -> u64 {
        // They are few; the newest matter most, since viewers are near the live edge.
        let mut end = self.head_position;
        for own in self.own_headers.iter().rev() {
            if *own < position {
                break;
            }
            end = *own;
        }
        end
    }

    /// Whether each packet ahead of a viewer follows one of its track that the viewer got.
    pub(crate) fn follows(&self, cursor: &Cursor) -> bool {
        let ahead = |last: Option<u64>| last.is_some_and(|last| last >= cursor.position());
        (cursor.delta_base.audio || !ahead(self.last_audio))
            && (cursor.delta_base.video || !ahead(self.last_video))
    }
}

/// Whether a packet can't go as it lies there: it has no time to count from, or is no frame.
pub(crate) fn needs_own_header(record: &Record) -> bool {
    record.kind == Kind::Data || record.flags.contains(Flags::ABSOLUTE)
}
