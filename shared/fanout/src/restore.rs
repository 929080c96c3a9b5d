//! Where a viewer stands whose owner has died: from the last cursor that somebody kept, and from how many bytes the kernel
//! says the peer was sent since.

use crate::cursor::{Cursor, Tracks};
use crate::packets::Packets;
use crate::step::{Step, Stream, Wire};
use media::number::as_len;

/// A viewer as its former owner left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// It goes on from here.
    pub cursor: Cursor,
    /// Once these bytes have been sent: the rest of a packet with a header of its own.
    pub rest: Vec<u8>,
}

/// Why a viewer can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The ring does not hold any longer what it was sent.
    #[error("what was sent is no longer in the ring")]
    Gone,
    /// More was sent than follows from the cursor: it is not the last one.
    #[error("{0} bytes were sent that do not follow from the cursor")]
    Unexplained(u64),
}

impl Cursor {
    /// The viewer after `bytes` more bytes of media. `chunk_size` and `alone` as for [`Wire`]; `self` is the cursor as it
    /// was at its last change ([`Cursor::changes`]), `stream` what a successor sees.
    ///
    /// # Errors
    /// [`RestoreError`]; the connection has to be closed then.
    pub fn after<P: Packets>(
        mut self,
        bytes: u64,
        stream: &Stream<'_, P>,
        chunk_size: u32,
        alone: bool,
    ) -> Result<Restored, RestoreError> {
        self.derive();
        let mut left = bytes;
        // As they lie there: also where the packets at its old position are gone.
        let to = self.position.saturating_add(left);
        if self.is_plain()
            && self.delta_base == (Tracks { audio: true, video: true })
            && to <= stream.window.run_end(self.position)
        {
            self.take(left, to.saturating_add(1));
            left = 0;
        }
        while left > 0 {
            let mut out = Vec::new();
            let mut wire = Wire { out: &mut out, chunk_size, alone };
            match self.step(stream, &mut wire) {
                Step::Ring { from, to } => {
                    let taken = left.min(to - from);
                    self.take(taken, to);
                    left -= taken;
                }
                Step::Own => {
                    let made = out.len() as u64;
                    if made > left {
                        let rest = out.split_off(as_len(left));
                        return Ok(Restored { cursor: self, rest });
                    }
                    left -= made;
                }
                Step::Lost | Step::Jump { .. } => return Err(RestoreError::Gone),
                Step::ChunkSize(_) | Step::Wait | Step::AwaitsTrack | Step::Finished => {
                    return Err(RestoreError::Unexplained(left));
                }
            }
        }
        if self.position < stream.packets.tail_position() {
            return Err(RestoreError::Gone);
        }
        Ok(Restored { cursor: self, rest: Vec::new() })
    }
}
