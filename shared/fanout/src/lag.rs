//! Viewers who can't take their packets: how long they may lag, and where they go on.

use mediaring::Lapped;

use crate::cursor::{Cursor, Headers, Place, Tracks};
use crate::packets::Packets;
use crate::step::Stream;

/// Where a viewer without key frames goes on after a jump: this much behind the live edge, ms.
const AUDIO_JUMP_MS: i64 = 1000;
/// The least that a ring is asked to hold for somebody who lags, ms.
const LEAST_HOLD_MS: i64 = 500;

/// How much may wait for one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Time, ms.
    pub ms: i64,
    /// Bytes.
    pub bytes: u64,
}

/// What looking after a viewer came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Bytes that go out before all else: the rest of a packet that went out in part.
    pub rest: Vec<u8>,
    /// The ring should hold this much for it, ms.
    pub hold_ms: Option<u64>,
}

impl Cursor {
    /// Looks after a viewer that can't take its packets (its socket is full, or it has paused): moves it on before the
    /// ring laps it, or when more waits than may. `look_at_time`: also when only the time is over.
    pub fn watch<P: Packets>(
        &mut self,
        stream: &Stream<'_, P>,
        limits: QueueLimits,
        look_at_time: bool,
    ) -> Watched {
        let (packets, window) = (stream.packets, stream.window);
        let mut watched = Watched::default();
        if matches!(self.place, Place::Joining | Place::Lost) || self.position >= window.head_position() {
            return watched;
        }
        let capacity = packets.capacity();
        let behind = window.head_position() - self.position;
        let about_to_be_lapped = behind > capacity - capacity / 8 || self.position < packets.tail_position();
        let mut lag_ms = 0;
        let mut too_late = behind > limits.bytes;
        let wants_hold = behind > capacity / 2;
        if look_at_time || about_to_be_lapped || wants_hold {
            match packets.find(self.position) {
                Ok(record) => {
                    lag_ms = window.head_dts_ms() - record.dts_ms;
                    too_late |= lag_ms > limits.ms;
                }
                Err(Lapped) => too_late = true,
            }
        }
        if about_to_be_lapped || too_late {
            match self.finish_packet(packets) {
                Ok(rest) => watched.rest = rest,
                // The rest of its packet is gone: the next step says so.
                Err(Lapped) => return watched,
            }
            let (was, jumps) = (self.position, self.jumps);
            self.jump(stream);
            if self.position == was {
                self.jumps = jumps;
            }
        }
        if wants_hold && !too_late {
            watched.hold_ms = u64::try_from(lag_ms.max(LEAST_HOLD_MS)).ok();
        }
        watched
    }

    /// Moves a viewer that lags, or was lapped, to the newest key frame (it stands at a packet's beginning). Returns how
    /// many packets it passes over.
    pub(crate) fn jump<P: Packets>(&mut self, stream: &Stream<'_, P>) -> u64 {
        let (packets, window) = (stream.packets, stream.window);
        let from = packets.find(self.position).map(|record| record.seq).ok();
        let target = match packets.key().and_then(|key| packets.record(key).ok()) {
            Some(key) if key.position > self.position && key.position < window.head_position() => Some(key),
            _ if !window.has_video() => (packets.tail()..window.scanned()).rev().find_map(|seq| {
                let record = packets.record(seq).ok()?;
                (record.dts_ms <= window.head_dts_ms() - AUDIO_JUMP_MS).then_some(record)
            }),
            _ => None,
        };
        let target = target.filter(|target| target.position > self.position);
        let to = target.map_or_else(|| window.scanned(), |target| target.seq);
        self.position = target.map_or_else(|| window.head_position(), |target| target.position);
        self.awaits_key |= target.is_none() && window.has_keys() && window.has_video();
        // Without a record of where it stood, what lies below the ring's tail is all that can be counted.
        let from = from.unwrap_or_else(|| packets.tail());
        let dropped = to.saturating_sub(from);
        self.dropped += dropped;
        self.jumps += 1;
        self.delta_base = Tracks::default();
        self.due = Headers { metadata: self.due.metadata, video: true, audio: true };
        self.changed();
        dropped
    }
}
