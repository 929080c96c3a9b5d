//! Rings as those read them who want packets, and the links that bring them: all that this crate's HTTP side takes of `endpoint` and
//! of the notes that back-sources write into rings.

use bytes::Bytes;
use fanout::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ};
use media::Kind;
use mediaring::{Flags, Lapped, Record, RingReader};

pub(crate) use endpoint::{AudienceId, LinkEvent, Links, is_page_allowed, unestablished_places};

/// Tokens below this are those of links, listeners and the process itself.
pub(crate) const FIRST_FREE_TOKEN: usize = endpoint::FIRST_TOKEN;
/// Packets that are looked through for the beginning of both tracks.
pub(crate) const LOOK_AHEAD: u64 = 200;

/// Which publish of all that there ever were: the birth of its stream (ns since 1970), and its first packet there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) born_ns: u64,
    pub(crate) first_seq: u64,
}

/// What its writer notes in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingNotes {
    /// When the stream was born, ns since 1970.
    pub(crate) born_ns: u64,
    /// When the newest publish began, monotonic ns.
    pub(crate) began_ns: u64,
    /// Number of its first packet, once there is one.
    pub(crate) first_seq: Option<u64>,
    /// Times are the publisher's own.
    pub(crate) is_absolute: bool,
}

impl RingNotes {
    pub(crate) fn of(ring: &RingReader) -> Self {
        Self {
            born_ns: ring.note(NOTE_BORN_NS),
            began_ns: ring.note(NOTE_BEGAN_NS),
            first_seq: ring.note(NOTE_FIRST_SEQ).checked_sub(1),
            is_absolute: ring.note(NOTE_ABSOLUTE_TIME) != 0,
        }
    }

    /// The newest publish.
    pub(crate) fn publish(&self) -> Publish {
        Publish { born_ns: self.born_ns, first_seq: self.first_seq.unwrap_or(0) }
    }
}

/// A packet as it lay in the ring, without headers of its chunks.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) dts_ms: i64,
    pub(crate) flags: Flags,
    pub(crate) payload: Bytes,
}

impl Packet {
    /// Copies one out of a ring.
    ///
    /// # Errors
    /// It is there no longer.
    pub(crate) fn read(ring: &RingReader, record: &Record) -> Result<Self, Lapped> {
        let mut wire = Vec::new();
        ring.copy(record.position, record.wire_len, &mut wire)?;
        let mut payload = Vec::new();
        let chunk_size = ring.chunk_size_at(record.seq);
        if !fanout::unpack(&wire, record.payload_len as usize, chunk_size, &mut payload) {
            return Err(Lapped);
        }
        let payload = Bytes::from(payload);
        Ok(Self { kind: record.kind, dts_ms: record.dts_ms, flags: record.flags, payload })
    }
}

/// DTS (ms) of the earlier of the first picture and the first sound from a packet on, as far as they are there: the track that comes
/// second may lie before the first.
pub(crate) fn first_dts(ring: &RingReader, from: u64) -> Option<i64> {
    let mut first: [Option<i64>; 2] = [None; 2];
    for record in (from..ring.head().min(from + LOOK_AHEAD)).map_while(|seq| ring.record(seq).ok()) {
        if record.kind != Kind::Data && !record.flags.contains(Flags::SEQUENCE_HEADER) {
            let place = first.get_mut(usize::from(record.kind == Kind::Audio))?;
            place.get_or_insert(record.dts_ms);
        }
        if first.iter().all(Option::is_some) {
            break;
        }
    }
    first.into_iter().flatten().min()
}
