//! Where a viewer stands in a stream, and all that its bytes depend on.

use media::Kind;
use media::number::low_u32;
use mediaring::{Flags, Lapped, Record};
use serde::{Deserialize, Serialize};

use crate::packets::Packets;
use crate::window::Window;

/// Where a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// It has no place in the stream yet.
    Joining,
    /// At the beginning of a packet, or at the live edge.
    AtPacket,
    /// Perhaps inside of a packet whose first bytes went out.
    MidPacket,
    /// Inside of a packet that is gone: nothing can complete it.
    Lost,
}

/// How a cursor's packets go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// As they lie in the ring, equal for all.
    Shared,
    /// One by one, each with a header of the viewer's own.
    Own(Reason),
}

/// Why packets need headers of a viewer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Its connection plays several streams.
    SeveralStreams,
    /// Its connection has chunks of another size.
    ChunkSize,
    /// It ends after a time that it has asked for.
    TimeLimit,
}

/// What a peer says of what it wants to get (RTMP 7.2.2.4, 7.2.2.5, 7.2.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRequest {
    /// pause: nothing until it goes on.
    Pause(bool),
    /// receiveAudio.
    ReceiveAudio(bool),
    /// receiveVideo.
    ReceiveVideo(bool),
}

/// What a viewer has of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Headers {
    pub(crate) metadata: bool,
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

impl Headers {
    pub(crate) const ALL: Self = Self { metadata: true, video: true, audio: true };

    pub(crate) fn any(self) -> bool {
        self.metadata || self.video || self.audio
    }
}

/// A value of each track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracks {
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

impl Tracks {
    pub(crate) fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
            Kind::Data => false,
        }
    }

    pub(crate) fn set(&mut self, kind: Kind, value: bool) {
        match kind {
            Kind::Audio => self.audio = value,
            Kind::Video => self.video = value,
            Kind::Data => {}
        }
    }
}

/// A viewer's place in a stream. It decides what comes next and touches no socket: see [`Cursor::step`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub(crate) place: Place,
    pub(crate) position: u64,
    pub(crate) delivery: Delivery,
    /// The peer has paused.
    pub(crate) paused: bool,
    /// Tracks that the peer wants.
    pub(crate) wanted: Tracks,
    /// After a jump into the middle of a group of pictures: no pictures before the next key frame.
    pub(crate) awaits_key: bool,
    /// Headers that it has not got yet.
    pub(crate) due: Headers,
    /// Tracks whose last packet in the ring went to it: the next one's delta counts from there.
    pub(crate) delta_base: Tracks,
    /// All can go as it lies in the ring: derived from the above.
    #[serde(skip)]
    plain: bool,
    /// Chunk stream group: 0 for the first stream of a connection, then 1, 2 …
    pub(crate) group: u8,
    pub(crate) msid: u32,
    /// Viewer time = ring time − base; unknown before the first frame.
    pub(crate) base_ms: Option<i64>,
    /// Viewer time at which it begins (it goes on from another stream of the name), ms.
    pub(crate) resume_ms: i64,
    /// When it joined, monotonic ns.
    pub(crate) joined_ns: u64,
    /// It ends at this ring time, ms.
    pub(crate) until_ms: Option<i64>,
    /// How long it wants to watch, ms.
    pub(crate) duration_ms: Option<u64>,
    /// Its first packet, and how many it did not get since.
    pub(crate) first_seq: u64,
    pub(crate) dropped: u64,
    pub(crate) jumps: u32,
    /// Grows with each change that does not follow from the bytes that were taken.
    pub(crate) changes: u64,
}

impl Cursor {
    /// A newcomer on message stream `msid`.
    #[must_use]
    pub fn new(msid: u32, group: u8, joined_ns: u64) -> Self {
        Self {
            place: Place::Joining,
            position: 0,
            delivery: Delivery::Shared,
            paused: false,
            wanted: Tracks { audio: true, video: true },
            awaits_key: false,
            due: Headers::ALL,
            delta_base: Tracks::default(),
            plain: false,
            group,
            msid,
            base_ms: None,
            resume_ms: 0,
            joined_ns,
            until_ms: None,
            duration_ms: None,
            first_seq: 0,
            dropped: 0,
            jumps: 0,
            changes: 0,
        }
    }

    /// Ends after so much of the stream.
    #[must_use]
    pub fn for_duration(mut self, duration_ms: Option<u64>) -> Self {
        if duration_ms.is_some() {
            self.duration_ms = duration_ms;
            self.delivery = Delivery::Own(Reason::TimeLimit);
        }
        self
    }

    /// Where the next byte is.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Message stream id.
    #[must_use]
    pub fn msid(&self) -> u32 {
        self.msid
    }

    /// When it joined, monotonic ns.
    #[must_use]
    pub fn joined_ns(&self) -> u64 {
        self.joined_ns
    }

    /// Whether it has no place yet.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.place == Place::Joining
    }

    /// Whether its peer has paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether everything it gets can go as it lies in the ring.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Packets that it did not get.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How often it was moved to a newer packet.
    #[must_use]
    pub fn jumps(&self) -> u32 {
        self.jumps
    }

    /// Grows with each change that does not follow from the bytes that were taken: who keeps cursors for
    /// [`Self::after`] keeps this one then.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Does what its peer wants. Pictures that were switched off begin again with one that a decoder can begin with, where
    /// the stream has such.
    pub fn request(&mut self, request: PeerRequest, window: &Window) {
        match request {
            PeerRequest::Pause(on) => self.paused = on,
            PeerRequest::ReceiveAudio(on) => self.wanted.audio = on,
            PeerRequest::ReceiveVideo(on) => {
                self.wanted.video = on;
                self.awaits_key |= on && window.has_keys();
            }
        }
        self.changed();
    }

    /// Its packets have headers of its own from now on.
    pub fn own(&mut self, reason: Reason) {
        self.delivery = Delivery::Own(reason);
        self.changed();
    }

    /// Takes its place among the streams of its connection, with what was derived from what travelled.
    #[must_use]
    pub fn attached(mut self, group: u8) -> Self {
        self.group = group;
        self.changed();
        self
    }

    /// Something other than bytes has changed it.
    pub(crate) fn changed(&mut self) {
        self.changes += 1;
        self.derive();
    }

    /// What follows from the rest, and does not travel.
    pub(crate) fn derive(&mut self) {
        self.plain = matches!(self.place, Place::AtPacket | Place::MidPacket)
            && self.delivery == Delivery::Shared
            && !self.paused
            && self.wanted.audio
            && self.wanted.video
            && !self.awaits_key
            && !self.due.any();
    }

    /// The stream was replaced by another of its name, which ended at `head_dts_ms`: begins anew there, its time goes on.
    pub fn restart(&mut self, head_dts_ms: i64) {
        self.place = if self.place == Place::MidPacket { Place::Lost } else { Place::Joining };
        self.due = Headers::ALL;
        if let Some(base) = self.base_ms.take() {
            self.resume_ms = (head_dts_ms - base + 40).max(0);
        }
        self.changed();
    }

    /// What goes out as it lies there; `None` when [`Self::step`] has to decide.
    #[must_use]
    #[inline]
    pub fn run(&self, window: &Window) -> Option<(u64, u64)> {
        (self.plain && window.follows(self)).then(|| (self.position, window.run_end(self.position)))
    }

    /// So many of the bytes up to position `to` were taken.
    pub fn take(&mut self, bytes: u64, to: u64) {
        self.position += bytes;
        self.place = if self.position < to { Place::MidPacket } else { Place::AtPacket };
    }

    /// Goes to the end of the packet in which it stands, and returns that packet's remaining bytes, which go out before
    /// anything else: the cursor can get other bytes, or another owner.
    ///
    /// # Errors
    /// When they are gone.
    pub fn finish_packet(&mut self, packets: &impl Packets) -> Result<Vec<u8>, Lapped> {
        let mut rest = Vec::new();
        if self.place == Place::Lost {
            return Err(Lapped);
        }
        if self.place == Place::MidPacket {
            let record = packets.find(self.position)?;
            if record.position < self.position {
                let left = u32::try_from(record.end() - self.position).map_err(|_| Lapped)?;
                packets.copy(self.position, left, &mut rest)?;
                self.position = record.end();
            }
            self.place = Place::AtPacket;
            self.changed();
        }
        Ok(rest)
    }

    /// How many packets it got.
    #[must_use]
    pub fn frames(&self, window: &Window, packets: &impl Packets) -> u64 {
        if self.is_joining() {
            return 0;
        }
        let at = packets.find(self.position).map_or_else(|_| window.scanned(), |record| record.seq);
        at.saturating_sub(self.first_seq).saturating_sub(self.dropped)
    }

    /// How far behind the newest packet what it gets next is, ms.
    #[must_use]
    pub fn lag_ms(&self, window: &Window, packets: &impl Packets) -> u64 {
        if self.is_joining() || self.position >= window.head_position() {
            return 0;
        }
        let next = packets.find(self.position);
        next.map_or(0, |record| u64::try_from(window.head_dts_ms() - record.dts_ms).unwrap_or(0))
    }

    /// Chunk stream for a kind of packet.
    pub(crate) fn csid(&self, kind: Kind) -> u8 {
        let first = match kind {
            Kind::Data => 4,
            Kind::Video => 6,
            Kind::Audio => 7,
        };
        self.group.min(14) * 4 + first
    }

    /// Ring time as this viewer's RTMP timestamp: 32 bits, which wrap.
    pub(crate) fn time(&self, dts_ms: i64) -> u32 {
        let time = match self.base_ms {
            Some(base) if base != 0 => (dts_ms - base).max(0),
            _ => dts_ms,
        };
        low_u32(time.cast_unsigned())
    }

    /// Whether this packet is passed over.
    pub(crate) fn passes_over(&self, record: &Record) -> bool {
        let unwanted = match record.kind {
            Kind::Audio => !self.wanted.audio,
            Kind::Video => !self.wanted.video || self.awaits_key && !record.flags.contains(Flags::KEY),
            Kind::Data => false,
        };
        unwanted && !record.flags.contains(Flags::SEQUENCE_HEADER)
    }
}
