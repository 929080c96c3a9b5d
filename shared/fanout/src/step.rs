//! What a viewer gets next.

use bytes::Bytes;
use media::Kind;
use media::number::as_i64;
use mediaring::{Flags, HeaderKind, Record};

use crate::cursor::{Cursor, Delivery, Place, Reason, Tracks};
use crate::packets::Packets;
use crate::window::{Window, needs_own_header};
use crate::wire;

/// A stream as a cursor sees it.
#[derive(Debug)]
pub struct Stream<'a, P> {
    /// Its packets.
    pub packets: &'a P,
    /// What was seen of them.
    pub window: &'a Window,
    /// Newcomers begin at the newest key frame, not at the live edge.
    pub gop_cache: bool,
    /// Somebody publishes it.
    pub has_publisher: bool,
    /// Monotonic ms.
    pub now_ms: u64,
}

/// Where bytes of a viewer's own go.
#[derive(Debug)]
pub struct Wire<'a> {
    /// They are appended here, and go out before what comes next from the ring.
    pub out: &'a mut Vec<u8>,
    /// Chunk size of the connection.
    pub chunk_size: u32,
    /// Nothing else is played on it: its chunk size may be that of the ring.
    pub alone: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// These bytes of the ring, as they lie there; then [`Cursor::take`] says how many went.
    Ring {
        /// Where they begin.
        from: u64,
        /// Where they end.
        to: u64,
    },
    /// A packet was put into the wire, or passed over.
    Own,
    /// What follows is cut in chunks of this size: the peer has to be told, and [`Wire::chunk_size`] is another then.
    ChunkSize(u32),
    /// It was moved to a newer packet, past so many.
    Jump {
        /// Packets that it does not get.
        dropped: u64,
    },
    /// Nothing for now.
    Wait,
    /// The other track of a new publish has not shown itself; it is waited for, up to half a second.
    AwaitsTrack,
    /// The time it asked for is over.
    Finished,
    /// It stands inside of a packet that is gone: the connection can't go on.
    Lost,
}

impl Cursor {
    /// Decides what comes next. After [`Step::Own`], [`Step::Jump`] and [`Step::ChunkSize`] there may be more.
    ///
    /// What comes out is a function of the cursor, of the packets and of the bytes that were taken, wherever
    /// [`Cursor::changes`] stays the same: however often it is asked, and however far the stream has gone on.
    pub fn step<P: Packets>(&mut self, stream: &Stream<'_, P>, wire: &mut Wire<'_>) -> Step {
        match self.place {
            Place::Lost => return Step::Lost,
            Place::Joining => self.join(stream),
            Place::AtPacket | Place::MidPacket => {}
        }
        let window = stream.window;
        if let Some((from, to)) = self.run(window) {
            if from < to && from >= stream.packets.tail_position() {
                return Step::Ring { from, to };
            }
            if from == to {
                self.place = Place::AtPacket;
            }
        }
        if self.place == Place::MidPacket {
            if self.position < window.head_position() {
                match stream.packets.find(self.position) {
                    Ok(record) if record.position < self.position => {
                        return Step::Ring { from: self.position, to: record.end() };
                    }
                    Ok(_) => {}
                    Err(_) => {
                        self.place = Place::Lost;
                        self.changed();
                        return Step::Lost;
                    }
                }
            }
            self.place = Place::AtPacket;
        }
        if !self.has_next(window) {
            return Step::Wait;
        }
        match stream.packets.find(self.position) {
            // The other track's first packet is still to come; this one follows what went before.
            Ok(record)
                if self.is_plain() && self.delta_base.has(record.kind) && !needs_own_header(&record) =>
            {
                Step::Ring { from: record.position, to: record.end() }
            }
            Ok(record) => self.put(stream, &record, wire),
            Err(_) => Step::Jump { dropped: self.jump(stream) },
        }
    }

    /// Whether there is a packet that it may get now.
    #[must_use]
    pub fn has_next(&self, window: &Window) -> bool {
        self.position < window.head_position() && !self.paused && !self.is_joining()
    }

    /// Puts one packet into the wire with a header of the viewer's own (or passes over it), and moves on.
    fn put<P: Packets>(&mut self, stream: &Stream<'_, P>, record: &Record, wire: &mut Wire<'_>) -> Step {
        let is_frame = record.kind != Kind::Data;
        let is_key = record.flags.contains(Flags::KEY);
        if self.passes_over(record) {
            self.position = record.end();
            self.delta_base.set(record.kind, false);
            self.dropped += u64::from(self.awaits_key);
            self.changed();
            return Step::Own;
        }
        if is_frame && self.base_ms.is_none() {
            match stream.base_for(record) {
                Some(base) => self.base_ms = Some(base - self.resume_ms),
                None => return Step::AwaitsTrack,
            }
        }
        if is_frame && self.base_ms.is_some_and(|base| base != 0 && record.dts_ms < base) {
            // The clock stepped back behind the viewer's beginning: both tracks go on from there, or one would be late.
            self.base_ms = Some(record.dts_ms);
            self.delta_base = Tracks::default();
        }
        if let (Some(duration), None, true) = (self.duration_ms, self.until_ms, is_frame) {
            self.until_ms = Some(record.dts_ms.saturating_add(as_i64(duration)));
        }
        if is_frame && self.until_ms.is_some_and(|until| record.dts_ms >= until) {
            return Step::Finished;
        }
        let chunk_size = stream.packets.chunk_size_at(record.seq);
        if self.delivery == Delivery::Shared && wire.alone && wire.chunk_size != chunk_size {
            // What follows goes as it lies in the ring, cut like this packet.
            self.changed();
            return Step::ChunkSize(chunk_size);
        }
        let (mut payload, mut bytes) = (Vec::new(), Vec::new());
        if stream.packets.copy(record.position, record.wire_len, &mut bytes).is_err()
            || !wire::unpack(&bytes, record.payload_len as usize, chunk_size, &mut payload)
        {
            // Lapped between finding and copying.
            return Step::Jump { dropped: self.jump(stream) };
        }
        self.put_headers(stream, record, wire);
        let is_metadata = record.flags.contains(Flags::METADATA);
        let time = if is_metadata && !stream.packets.is_absolute() { 0 } else { self.time(record.dts_ms) };
        self.write(record.kind, time, &payload, wire);
        self.awaits_key &= !is_key;
        self.position = record.end();
        if self.delivery == Delivery::Shared && wire.chunk_size != chunk_size {
            self.delivery = Delivery::Own(Reason::ChunkSize);
        }
        self.delta_base.set(record.kind, self.delivery == Delivery::Shared && is_frame);
        self.changed();
        Step::Own
    }

    /// The kept headers that hold for `record`, where it has not got them.
    fn put_headers<P: Packets>(&mut self, stream: &Stream<'_, P>, record: &Record, wire: &mut Wire<'_>) {
        let is_header =
            record.flags.contains(Flags::SEQUENCE_HEADER) && !record.flags.contains(Flags::FURTHER);
        match (record.kind, is_header) {
            (Kind::Video, true) => self.due.video = false,
            (Kind::Audio, true) => self.due.audio = false,
            (Kind::Data, _) if record.flags.contains(Flags::METADATA) => self.due.metadata = false,
            _ => {}
        }
        if record.kind == Kind::Data || !self.due.any() {
            return;
        }
        let due = std::mem::take(&mut self.due);
        for (is_due, header, kind) in [
            (due.metadata, HeaderKind::Metadata, Kind::Data),
            (due.video, HeaderKind::Video, Kind::Video),
            (due.audio, HeaderKind::Audio, Kind::Audio),
        ] {
            if !is_due {
                continue;
            }
            // A header that comes only behind this packet is still ahead in the ring.
            let stored = stream.packets.header(header, record.seq).filter(|stored| stored.seq <= record.seq);
            if let Some(stored) = stored {
                let is_zero = kind == Kind::Data && !stream.packets.is_absolute();
                let time = if is_zero { 0 } else { self.time(record.dts_ms) };
                let bytes = Bytes::from(stored.bytes);
                let all = if kind == Kind::Data { vec![bytes] } else { flv::kept::split(&bytes) };
                all.iter().for_each(|packet| self.write(kind, time, packet, wire));
            }
        }
    }

    /// One message into the wire (RTMP 5.3.1.2.1: a header of type 0).
    fn write(&self, kind: Kind, time: u32, payload: &[u8], wire: &mut Wire<'_>) {
        let (csid, type_id) = (self.csid(kind), kind.type_id());
        rtmp::chunk::writer::write_message(
            wire.out,
            csid,
            time,
            type_id,
            self.msid,
            payload,
            wire.chunk_size,
        );
    }
}
