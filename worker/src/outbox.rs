//! Bytes on their way to a client: shared pieces, written together.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};

/// Most pieces in one write.
const PIECES: usize = 64;

/// What waits for a socket, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, piece: impl Into<Bytes>) {
        let piece = piece.into();
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes out all that waits.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let bytes = self.bytes();
        *self = Self::default();
        bytes
    }

    /// A copy of all that waits.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flatten().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes what the socket takes. Returns how much that was, and whether the socket takes no more now.
    pub(crate) fn write(&mut self, to: &mut impl Write) -> io::Result<(usize, bool)> {
        let mut written = 0;
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut wanted = 0;
            let mut filled = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                wanted += piece.len();
                filled += 1;
            }
            let written_now = match slices.get(..filled).unwrap_or_default() {
                [one] => to.write(one),
                several => to.write_vectored(several),
            };
            let count = match written_now {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((written, true)),
                Err(error) => return Err(error),
            };
            written += count;
            self.take(count);
            if count < wanted {
                return Ok((written, true));
            }
        }
        Ok((written, false))
    }

    fn take(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_goes_out_once_however_narrow_the_way() {
        for width in 1..20 {
            let mut outbox = Outbox::default();
            for n in 0..10_u8 {
                outbox.push(vec![n; usize::from(n)]);
            }
            let mut narrow = Narrow(Vec::new(), width);
            while !outbox.is_empty() {
                outbox.write(&mut narrow).unwrap();
            }
            let wanted: Vec<u8> = (0..10_u8).flat_map(|n| vec![n; usize::from(n)]).collect();
            assert_eq!(narrow.0, wanted);
        }
    }
}
