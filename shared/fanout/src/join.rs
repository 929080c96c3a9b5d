//! Where newcomers begin, and at which time.

use media::Kind;
use mediaring::{Flags, Record};

use crate::cursor::{Cursor, Place, Tracks};
use crate::packets::{NOTE_BEGAN_NS, Packets};
use crate::step::Stream;

/// How far apart audio and video may lie when a viewer's base is chosen, in packets looked at.
const BASE_SEARCH: u64 = 128;
/// How much of a new publish may pass until its other track shows itself, ms.
const OTHER_TRACK_MS: i64 = 500;
/// Frames of two tracks that are further apart than this do not belong together, ms.
const MAX_APART_MS: i64 = 10_000;

impl Cursor {
    /// Gives a newcomer its place: the first packet of a publish that it waited for, else the newest key frame, else the
    /// live edge.
    pub(crate) fn join<P: Packets>(&mut self, stream: &Stream<'_, P>) {
        let packets = stream.packets;
        let waited = self.joined_ns <= packets.note(NOTE_BEGAN_NS);
        let first = packets.first().filter(|_| waited);
        let key = if stream.gop_cache { packets.key() } else { None };
        let place = [first, key].into_iter().flatten().find_map(|seq| packets.record(seq).ok());
        // It may lie beyond what was looked at so far: then the viewer gets it with the next look.
        (self.position, self.first_seq) = place.map_or_else(
            || (stream.window.head_position(), stream.window.scanned()),
            |record| (record.position, record.seq),
        );
        self.place = Place::AtPacket;
        self.delta_base = Tracks::default();
        self.changed();
    }
}

impl<P: Packets> Stream<'_, P> {
    /// The base of a viewer whose first frame is `record`: its time, or that of the other track where that lies behind, so
    /// that nothing has to be sent before 0. `None` when the other track has not shown itself in a publish that has just
    /// begun: then it is waited for, up to half a second.
    pub(crate) fn base_for(&self, record: &Record) -> Option<i64> {
        let packets = self.packets;
        if packets.is_absolute() {
            return Some(0);
        }
        let is_other = |other: &Record| {
            other.kind != record.kind
                && other.kind != Kind::Data
                && !other.flags.contains(Flags::SEQUENCE_HEADER)
        };
        let near = |other: &i64| (record.dts_ms - other).abs() <= MAX_APART_MS;
        let before = (1..=BASE_SEARCH.min(record.seq)).map(|back| record.seq - back);
        let after = record.seq + 1..self.window.scanned().min(record.seq + BASE_SEARCH);
        let find = |seqs: &mut dyn Iterator<Item = u64>| {
            seqs.filter_map(|seq| packets.record(seq).ok())
                .find(is_other)
                .map(|other| other.dts_ms)
                .filter(near)
        };
        if let Some(other) = find(&mut before.into_iter()).or_else(|| find(&mut after.into_iter())) {
            return Some(record.dts_ms.min(other));
        }
        let first = packets.first().and_then(|seq| packets.record(seq).ok());
        let is_new = first.is_some_and(|first| self.window.head_dts_ms() - first.dts_ms < OTHER_TRACK_MS);
        let age_ms = self.now_ms.saturating_sub(packets.note(NOTE_BEGAN_NS) / 1_000_000);
        let is_young = age_ms < OTHER_TRACK_MS.unsigned_abs();
        (!is_new || !is_young || !self.has_publisher).then_some(record.dts_ms)
    }
}
