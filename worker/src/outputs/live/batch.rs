//! Items of a live stream put together to be sent at once. Whoever is at the same place with the same times gets the same
//! bytes, which are put together once.

use bytes::{Bytes, BytesMut};

use crate::outbox::Outbox;

/// Packets shorter than this are copied behind one another: cheaper than a piece of their own for each viewer.
const COPIED_BYTES: usize = 4096;
/// Room for what stands in front of a chunk or frame.
const FRONT_BYTES: usize = 16;
/// Batches that are kept for others.
const KEPT: usize = 256;

/// How the bytes of an endless body are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Chunks.
    Chunked,
    /// Until the connection ends: for clients of HTTP/1.0.
    Plain,
    /// Binary frames of a WebSocket.
    WebSocket,
}

/// Pieces that go out together.
#[derive(Debug)]
pub(crate) struct Batch {
    pieces: Vec<Bytes>,
    small: BytesMut,
    pub(crate) len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { pieces: Vec::new(), small: BytesMut::zeroed(FRONT_BYTES), len: 0 }
    }
}

impl Batch {
    pub(crate) fn own(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.small.extend_from_slice(bytes);
    }

    pub(crate) fn push(&mut self, piece: &Bytes) {
        if piece.len() < COPIED_BYTES {
            self.own(piece);
        } else {
            self.len += piece.len();
            self.pieces.push(self.small.split().freeze());
            self.pieces.push(piece.clone());
        }
    }

    /// The pieces with their framing.
    pub(crate) fn framed(mut self, framing: Framing) -> Vec<Bytes> {
        let front = match framing {
            Framing::Chunked => http1::chunked::chunk_head(self.len),
            Framing::WebSocket => http1::websocket::binary_head(self.len),
            Framing::Plain => Vec::new(),
        };
        if framing == Framing::Chunked {
            self.small.extend_from_slice(http1::chunked::CHUNK_END);
        }
        self.pieces.push(self.small.freeze());
        // The first piece begins with room for it.
        let unused = FRONT_BYTES.saturating_sub(front.len());
        if let Some(first) = self.pieces.first_mut() {
            let mut bytes = BytesMut::from(std::mem::take(first));
            if let Some(room) = bytes.get_mut(unused..FRONT_BYTES) {
                room.copy_from_slice(&front);
            }
            *first = bytes.freeze().slice(unused..);
        }
        self.pieces
    }
}

/// Where a viewer stands, and what its bytes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchKey {
    pub(crate) next: u64,
    pub(crate) base_ms: Option<i64>,
    pub(crate) framing: Framing,
}

/// What somebody at that place gets, and where it stands then.
#[derive(Debug, Clone)]
pub(crate) struct ReadyBatch {
    pieces: Vec<Bytes>,
    pub(crate) next: u64,
}

impl ReadyBatch {
    pub(crate) fn new(pieces: Vec<Bytes>, next: u64) -> Self {
        Self { pieces, next }
    }

    pub(crate) fn send(&self, outbox: &mut Outbox) {
        for piece in &self.pieces {
            outbox.push(piece.clone());
        }
    }
}

/// Batches that were put together since the last item came.
#[derive(Debug, Default)]
pub(crate) struct BatchCache {
    end: u64,
    kept: Vec<(BatchKey, ReadyBatch)>,
}

impl BatchCache {
    /// What is ready for somebody there; `end` is the number of the next item that is to come.
    pub(crate) fn find(&mut self, end: u64, place: BatchKey) -> Option<&ReadyBatch> {
        if self.end != end {
            self.end = end;
            self.kept.clear();
        }
        // Those who came last have the same times most often.
        self.kept.iter().rev().find(|(kept, _)| *kept == place).map(|(_, ready)| ready)
    }

    pub(crate) fn keep(&mut self, place: BatchKey, ready: ReadyBatch) {
        if self.kept.len() < KEPT {
            self.kept.push((place, ready));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pieces: &[Bytes]) -> Vec<u8> {
        pieces.concat()
    }

    #[test]
    fn small_and_large_pieces_come_in_their_order_with_their_framing() {
        let pieces = [vec![1; 10], vec![2; 9000], vec![3; 20], vec![4; 30], vec![5; 5000]].map(Bytes::from);
        for first in 0..pieces.len() {
            let mut batch = Batch::default();
            pieces[first..].iter().for_each(|piece| batch.push(piece));
            let body = sent(&pieces[first..]);
            let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
            assert_eq!(sent(&batch.framed(Framing::Chunked)), chunk);
            let mut batch = Batch::default();
            pieces[first..].iter().for_each(|piece| batch.push(piece));
            assert_eq!(sent(&batch.framed(Framing::Plain)), body);
            let mut batch = Batch::default();
            pieces[first..].iter().for_each(|piece| batch.push(piece));
            let frame = [http1::websocket::binary_head(body.len()), body].concat();
            assert_eq!(sent(&batch.framed(Framing::WebSocket)), frame);
        }
    }

    #[test]
    fn what_is_ready_is_for_the_same_place_until_more_comes() {
        let place = BatchKey { next: 5, base_ms: Some(7), framing: Framing::Chunked };
        let mut batches = BatchCache::default();
        assert!(batches.find(9, place).is_none());
        batches.keep(place, ReadyBatch::new(vec![Bytes::from_static(b"x")], 9));
        assert_eq!(batches.find(9, place).map(|ready| ready.next), Some(9));
        assert!(batches.find(9, BatchKey { base_ms: Some(8), ..place }).is_none());
        assert!(batches.find(10, place).is_none());
    }
}
