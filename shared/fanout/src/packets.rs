//! What a cursor is told of a stream: the packets that are there.

use mediaring::{HeaderKind, Lapped, Record, RingReader, StoredHeader};

/// Note of a ring (word 0): the stream keeps its publisher's absolute time (`atc`, or `time_jitter off`), so that viewers
/// are not rebased.
pub const NOTE_ABSOLUTE_TIME: usize = 0;
/// Note of a ring (word 3): when the publish began, monotonic ns. Who joined before that gets it from its first packet on.
pub const NOTE_BEGAN_NS: usize = 3;
/// Note of a ring (word 4): sequence number of that first packet, plus one; 0 when nobody has published yet.
pub const NOTE_FIRST_SEQ: usize = 4;
/// Note of a ring (word 5): when the stream's first ring was made, monotonic ns. All its generations have the same; another
/// means another stream of the same name.
pub const NOTE_BORN_NS: usize = 5;

/// The packets of a stream, of which the oldest go as new ones come. Positions count bytes, sequence numbers packets; both
/// only grow.
pub trait Packets {
    /// Sequence number of the next packet that is to come.
    fn head(&self) -> u64;

    /// Sequence number of the oldest packet.
    fn tail(&self) -> u64;

    /// Position of the oldest byte.
    fn tail_position(&self) -> u64;

    /// Most bytes that are there at once.
    fn capacity(&self) -> u64;

    /// A packet by its number.
    ///
    /// # Errors
    /// [`Lapped`] when it is no longer, or not yet, there.
    fn record(&self, seq: u64) -> Result<Record, Lapped>;

    /// The packet that holds a position, or begins there.
    ///
    /// # Errors
    /// [`Lapped`] when none does.
    fn find(&self, position: u64) -> Result<Record, Lapped>;

    /// The newest key frame.
    fn key(&self) -> Option<u64>;

    /// The metadata or sequence header that holds for packet `seq`.
    fn header(&self, kind: HeaderKind, seq: u64) -> Option<StoredHeader>;

    /// Chunk size that packet `seq` was cut with.
    fn chunk_size_at(&self, seq: u64) -> u32;

    /// A word that the stream's writer keeps, see the `NOTE_` constants.
    fn note(&self, n: usize) -> u64;

    /// Appends the bytes of the positions `from..from + len`.
    ///
    /// # Errors
    /// [`Lapped`] when they are gone; `out` is as before then.
    fn copy(&self, from: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Lapped>;

    /// Whether times are the publisher's.
    fn is_absolute(&self) -> bool {
        self.note(NOTE_ABSOLUTE_TIME) != 0
    }

    /// The first packet of the publish, where somebody publishes or has published.
    fn first(&self) -> Option<u64> {
        self.note(NOTE_FIRST_SEQ).checked_sub(1)
    }
}

impl Packets for RingReader {
    fn head(&self) -> u64 {
        self.head()
    }

    fn tail(&self) -> u64 {
        self.tail()
    }

    fn tail_position(&self) -> u64 {
        self.tail_position()
    }

    fn capacity(&self) -> u64 {
        self.shape().data_bytes
    }

    fn record(&self, seq: u64) -> Result<Record, Lapped> {
        self.record(seq)
    }

    fn find(&self, position: u64) -> Result<Record, Lapped> {
        self.find(position)
    }

    fn key(&self) -> Option<u64> {
        self.key()
    }

    fn header(&self, kind: HeaderKind, seq: u64) -> Option<StoredHeader> {
        self.header(kind, seq)
    }

    fn chunk_size_at(&self, seq: u64) -> u32 {
        self.chunk_size_at(seq)
    }

    fn note(&self, n: usize) -> u64 {
        self.note(n)
    }

    fn copy(&self, from: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Lapped> {
        self.copy(from, len, out)
    }
}
