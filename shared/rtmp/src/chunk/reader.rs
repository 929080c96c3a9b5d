//! Chunks to messages. Assembly is per chunk stream; memory grows with what arrived, not with what was announced.
//!
//! Peers disagree about the extended timestamp in fmt 3 chunks: Adobe's programs repeat it, some others do not. The
//! reader looks at the four bytes where it would stand: equal to the last extended field, they are the repetition;
//! otherwise they are payload already. Bytes are compared as they arrive, so that it only ever waits for a fourth
//! byte while the ones it has look like a repetition.

use super::header::{Fields, Header, MAX_HEADER};
use crate::limits::Limits;
use crate::message::{self, Message};
use bytes::{Bytes, BytesMut};
use media::cursor::Cursor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The peer broke the chunk layer, or wants more of us than the limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk stream begins with a header that refers to a previous one.
    #[error("chunk stream {csid}: the first chunk refers to a previous one, at byte {offset}")]
    NoPreviousHeader {
        /// Chunk stream.
        csid: u32,
        /// Offset of the chunk in the chunk layer's input.
        offset: u64,
    },
    /// A later chunk of a message changes its length or type.
    #[error("chunk stream {csid}: message of {length} bytes goes on as one of {changed}, at byte {offset}")]
    HeaderChanged {
        /// Chunk stream.
        csid: u32,
        /// Length in the first chunk.
        length: u32,
        /// Length in this chunk.
        changed: u32,
        /// Offset of the chunk.
        offset: u64,
    },
    /// A message is longer than allowed for its type.
    #[error(
        "chunk stream {csid}: message of type {type_id} with {length} bytes, {max} allowed, at byte {offset}"
    )]
    MessageTooLong {
        /// Chunk stream.
        csid: u32,
        /// Message type.
        type_id: u8,
        /// Announced length.
        length: u32,
        /// Largest allowed.
        max: u32,
        /// Offset of the chunk.
        offset: u64,
    },
    /// Too many messages are unfinished at the same time.
    #[error("chunk stream {csid}: one unfinished message too many, at byte {offset}")]
    TooManyInFlight {
        /// Chunk stream.
        csid: u32,
        /// Offset of the chunk.
        offset: u64,
    },
    /// The unfinished messages are too large together.
    #[error("chunk stream {csid}: unfinished messages of {bytes} bytes, at byte {offset}")]
    ReassemblyTooLarge {
        /// Chunk stream.
        csid: u32,
        /// Bytes of all unfinished messages.
        bytes: usize,
        /// Offset of the chunk.
        offset: u64,
    },
    /// A chunk size that is 0, has the first bit set, or is outside the limits.
    #[error("chunk size {size}, {least} to {most} allowed")]
    ChunkSizeOutOfRange {
        /// As it stood in the message.
        size: u32,
        /// Smallest allowed.
        least: u32,
        /// Largest allowed.
        most: u32,
    },
}

impl ChunkError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPreviousHeader { .. } => "chunk_no_previous_header",
            Self::HeaderChanged { .. } => "chunk_header_changed",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::TooManyInFlight { .. } => "too_many_messages_in_flight",
            Self::ReassemblyTooLarge { .. } => "reassembly_too_large",
            Self::ChunkSizeOutOfRange { .. } => "chunk_size_out_of_range",
        }
    }
}

/// The largest chunk size that the specification allows: the first bit of the field is always 0.
const MOST_CHUNK: u32 = i32::MAX.unsigned_abs();

/// The reading half of the chunk layer. A plain value that can be stored at any byte and go on elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChunkReader {
    limits: Arc<Limits>,
    chunk_size: u32,
    streams: Vec<ChunkStream>,
    /// Bytes of a header that has not arrived entirely, or bytes that looked like a repeated timestamp and were not.
    held: BytesMut,
    /// The chunk whose payload is being read.
    current: Option<Current>,
    /// Bytes taken from the input so far, the held ones included.
    offset: u64,
    clock: u64,
    dropped_partials: u64,
    /// Messages that were left out, until somebody asks; no more than headers fit into the input.
    skipped: Vec<Skipped>,
}

/// A message that was read over because it is too long to be kept, and not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Message type.
    pub type_id: u8,
    /// Its length in bytes.
    pub length: u32,
    /// Largest allowed.
    pub max: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ChunkStream {
    csid: u32,
    timestamp: u32,
    /// The last timestamp field, absolute or delta: what a fmt 3 chunk that begins a message adds.
    field: u32,
    extended: bool,
    length: u32,
    type_id: u8,
    stream_id: u32,
    /// What arrived of an unfinished message.
    partial: Option<BytesMut>,
    /// Bytes that are still to come of a message that is read over.
    skipping: Option<usize>,
    used: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Current {
    csid: u32,
    left: usize,
}

/// How the four bytes behind a fmt 3 header look.
enum Repetition {
    Yes,
    No,
    NeedMore,
}

impl ChunkReader {
    /// A reader at the beginning of the chunk layer: chunk size 128, no history.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::with(Arc::new(limits.clone()))
    }

    /// As [`Self::new`], with limits that others share.
    #[must_use]
    pub fn with(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            chunk_size: 128,
            streams: Vec::new(),
            held: BytesMut::new(),
            current: None,
            offset: 0,
            clock: 0,
            dropped_partials: 0,
            skipped: Vec::new(),
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next message; `None` when `input` is used up.
    ///
    /// Set Chunk Size and Abort messages are returned like all others: give them to [`Self::set_chunk_size`] and
    /// [`Self::abort`] before reading on.
    ///
    /// # Errors
    /// See [`ChunkError`]; reading cannot go on then.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            let done = match self.current {
                Some(current) => self.read_payload(current, input)?,
                None => self.read_header(input)?,
            };
            match done {
                Step::Message(message) => return Ok(Some(message)),
                Step::Again => {}
                Step::NeedMore => return Ok(None),
            }
        }
    }

    /// Applies a Set Chunk Size message from the next chunk on.
    ///
    /// # Errors
    /// When the size is out of the limits' range, or has its first bit set.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        let limits = &self.limits;
        let most =
            if limits.tolerate_large_chunk_size { MOST_CHUNK } else { limits.chunk_size_max.min(MOST_CHUNK) };
        let least = limits.chunk_size_min.max(1);
        if size < least || size > most {
            return Err(ChunkError::ChunkSizeOutOfRange { size, least, most });
        }
        self.chunk_size = size;
        Ok(())
    }

    /// Forgets the unfinished message of a chunk stream; its header history stays. Unknown ids are no fault.
    pub fn abort(&mut self, csid: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.csid == csid) {
            self.dropped_partials += u64::from(stream.partial.take().is_some());
            stream.skipping = None;
        }
    }

    /// The chunk size that holds for the next chunk.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Bytes held of unfinished headers and messages.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.len() + self.assembling()
    }

    /// Goes by these limits from now on.
    pub(crate) fn set_limits(&mut self, limits: &Arc<Limits>) {
        self.limits = Arc::clone(limits);
    }

    /// Gives back memory that nothing is kept in.
    pub fn compact(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        self.streams.shrink_to_fit();
    }

    /// Messages that were read over because they are too long, each once.
    pub fn take_skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.skipped)
    }

    /// Unfinished messages that were dropped, by Abort or because a new one began on their chunk stream.
    #[must_use]
    pub fn dropped_partials(&self) -> u64 {
        self.dropped_partials
    }

    fn assembling(&self) -> usize {
        self.streams.iter().filter_map(|stream| stream.partial.as_ref()).map(BytesMut::len).sum()
    }

    /// Messages of other chunk streams that have begun.
    fn in_flight_beside(&self, csid: u32) -> usize {
        self.streams.iter().filter(|stream| stream.csid != csid && stream.partial.is_some()).count()
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Step, ChunkError> {
        if self.held.is_empty() {
            if input.is_empty() {
                return Ok(Step::NeedMore);
            }
            let start = self.offset;
            if let Some((header, len)) = self.parse(input, start)? {
                *input = input.get(len..).unwrap_or_default();
                self.offset += len as u64;
                return self.begin_chunk(header, start);
            }
        }
        // The header comes in pieces: one byte at a time, until it is complete.
        loop {
            let start = self.offset - self.held.len() as u64;
            if let Some((header, len)) = self.parse(&self.held, start)? {
                drop(self.held.split_to(len));
                return self.begin_chunk(header, start);
            }
            debug_assert!(self.held.len() < MAX_HEADER + 4);
            let Some((byte, rest)) = input.split_first() else { return Ok(Step::NeedMore) };
            self.held.extend_from_slice(&[*byte]);
            self.offset += 1;
            *input = rest;
        }
    }

    /// The header at the beginning of `bytes` and its length, a repeated extended timestamp included.
    fn parse(&self, bytes: &[u8], offset: u64) -> Result<Option<(Header, usize)>, ChunkError> {
        let mut cursor = Cursor::new(bytes);
        let Ok(header) = Header::read(&mut cursor) else { return Ok(None) };
        let len = cursor.position();
        if header.fields != Fields::Nothing {
            return Ok(Some((header, len)));
        }
        let Some(stream) = self.streams.iter().find(|stream| stream.csid == header.csid) else {
            return Err(ChunkError::NoPreviousHeader { csid: header.csid, offset });
        };
        if !stream.extended {
            return Ok(Some((header, len)));
        }
        Ok(match repetition(cursor.rest(), stream.field) {
            Repetition::Yes => Some((header, len + 4)),
            Repetition::No => Some((header, len)),
            Repetition::NeedMore => None,
        })
    }

    fn begin_chunk(&mut self, header: Header, offset: u64) -> Result<Step, ChunkError> {
        let csid = header.csid;
        self.clock += 1;
        let clock = self.clock;
        let position = match self.streams.iter().position(|stream| stream.csid == csid) {
            Some(position) => position,
            None => self.add_stream(&header, offset)?,
        };
        // Looked at closely only where there could be too many.
        let most = self.limits.max_messages_in_flight;
        let is_crowded = self.streams.len() > most && self.in_flight_beside(csid) >= most;
        let Some(stream) = self.streams.get_mut(position) else { return Ok(Step::Again) };
        stream.used = clock;
        if matches!(header.fields, Fields::Full { .. }) {
            stream.skipping = None;
            self.dropped_partials += u64::from(stream.partial.take().is_some());
        }
        stream.apply(&header, offset)?;
        if !stream.is_unfinished() {
            let max = self.limits.message_bytes(stream.type_id);
            if stream.length > max {
                let (type_id, length) = (stream.type_id, stream.length);
                if !message::is_data(type_id) {
                    return Err(ChunkError::MessageTooLong { csid, type_id, length, max, offset });
                }
                // The stream does without it: it is read over, and nothing of it is kept.
                stream.skipping = Some(self::length(length));
                self.skipped.push(Skipped { type_id, length, max });
            } else if is_crowded && stream.length > self.chunk_size {
                return Err(ChunkError::TooManyInFlight { csid, offset });
            }
        }
        let received = stream.partial.as_ref().map_or(0, BytesMut::len);
        let left = stream.skipping.unwrap_or_else(|| length(stream.length).saturating_sub(received));
        self.current = Some(Current { csid, left: left.min(length(self.chunk_size)) });
        Ok(Step::Again)
    }

    /// A place for a chunk stream that has no history; the one unused for longest makes room.
    fn add_stream(&mut self, header: &Header, offset: u64) -> Result<usize, ChunkError> {
        let csid = header.csid;
        // librtmp begins its control stream with fmt 1; the fields it leaves out are zero.
        if matches!(header.fields, Fields::SameLength { .. } | Fields::Nothing) {
            return Err(ChunkError::NoPreviousHeader { csid, offset });
        }
        if self.streams.len() >= self.limits.max_csids.max(1) {
            let idle = self.streams.iter().enumerate().filter(|(_, stream)| !stream.is_unfinished());
            let Some((oldest, _)) = idle.min_by_key(|(_, stream)| stream.used) else {
                return Err(ChunkError::TooManyInFlight { csid, offset });
            };
            self.streams.swap_remove(oldest);
        }
        self.streams.push(ChunkStream {
            csid,
            timestamp: 0,
            field: 0,
            extended: false,
            length: 0,
            type_id: 0,
            stream_id: 0,
            partial: None,
            skipping: None,
            used: self.clock,
        });
        Ok(self.streams.len() - 1)
    }

    fn read_payload(&mut self, current: Current, input: &mut &[u8]) -> Result<Step, ChunkError> {
        let Current { csid, left } = current;
        let held = self.held.len().min(left);
        let fresh = input.len().min(left - held);
        if left > 0 && held + fresh == 0 {
            return Ok(Step::NeedMore);
        }
        let place = self.streams.iter().position(|stream| stream.csid == csid).unwrap_or(usize::MAX);
        let Some(stream) = self.streams.get_mut(place) else {
            self.current = None;
            return Ok(Step::Again);
        };
        let (head, rest) = input.split_at_checked(fresh).unwrap_or((input, &[]));
        *input = rest;
        self.offset += head.len() as u64;
        if let Some(more) = stream.skipping {
            drop(self.held.split_to(held));
            let more = more.saturating_sub(held + fresh);
            stream.skipping = (more > 0).then_some(more);
            let left = left - held - fresh;
            self.current = (left > 0).then_some(Current { csid, left });
            return Ok(Step::Again);
        }
        let whole = length(stream.length);
        if held == 0 && stream.partial.is_none() && head.len() == whole {
            self.current = None;
            return Ok(Step::Message(stream.message(Bytes::copy_from_slice(head))));
        }
        let bytes = self.assembling() + held + fresh;
        if bytes > self.limits.max_reassembly {
            return Err(ChunkError::ReassemblyTooLarge { csid, bytes, offset: self.offset });
        }
        let Some(stream) = self.streams.get_mut(place) else { return Ok(Step::Again) };
        let partial = stream.partial.get_or_insert_default();
        reserve(partial, whole, held + fresh);
        if held > 0 {
            partial.extend_from_slice(&self.held.split_to(held));
        }
        partial.extend_from_slice(head);
        let left = left - held - fresh;
        if left > 0 {
            self.current = Some(Current { csid, left });
            return Ok(Step::Again);
        }
        self.current = None;
        if partial.len() < whole {
            return Ok(Step::Again);
        }
        let payload = stream.partial.take().unwrap_or_default().freeze();
        Ok(Step::Message(stream.message(payload)))
    }
}

enum Step {
    Message(Message),
    Again,
    NeedMore,
}

impl ChunkStream {
    /// Whether a message has begun whose last byte has not come.
    fn is_unfinished(&self) -> bool {
        self.partial.is_some() || self.skipping.is_some()
    }

    fn apply(&mut self, header: &Header, offset: u64) -> Result<(), ChunkError> {
        let goes_on = self.is_unfinished();
        match header.fields {
            Fields::Full { timestamp, length, type_id, stream_id } => {
                self.timestamp = timestamp;
                self.field = timestamp;
                self.length = length;
                self.type_id = type_id;
                self.stream_id = stream_id;
            }
            Fields::SameStream { delta, length, type_id } => {
                if goes_on && (length != self.length || type_id != self.type_id) {
                    let csid = self.csid;
                    return Err(ChunkError::HeaderChanged {
                        csid,
                        length: self.length,
                        changed: length,
                        offset,
                    });
                }
                self.timestamp = self.timestamp.wrapping_add(delta);
                self.field = delta;
                self.length = length;
                self.type_id = type_id;
            }
            Fields::SameLength { delta } => {
                self.timestamp = self.timestamp.wrapping_add(delta);
                self.field = delta;
            }
            Fields::Nothing => {
                if !goes_on {
                    self.timestamp = self.timestamp.wrapping_add(self.field);
                }
                return Ok(());
            }
        }
        self.extended = header.extended;
        Ok(())
    }

    fn message(&self, payload: Bytes) -> Message {
        Message {
            csid: self.csid,
            timestamp: self.timestamp,
            type_id: self.type_id,
            stream_id: self.stream_id,
            payload,
        }
    }
}

/// Makes room for `more` bytes of a message of `whole` bytes: at most 64 KiB or as much again as arrived beyond that.
fn reserve(partial: &mut BytesMut, whole: usize, more: usize) {
    const AT_ONCE: usize = 64 << 10;
    if partial.capacity() - partial.len() < more {
        let room = partial.len().max(AT_ONCE).max(more);
        partial.reserve(room.min(whole.saturating_sub(partial.len())).max(more));
    }
}

fn repetition(bytes: &[u8], field: u32) -> Repetition {
    let expected = field.to_be_bytes();
    let seen = bytes.len().min(expected.len());
    if bytes.get(..seen) != expected.get(..seen) {
        Repetition::No
    } else if seen < expected.len() {
        Repetition::NeedMore
    } else {
        Repetition::Yes
    }
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "patterns in payloads")]
mod tests;
