//! The same bytes give the same messages however they are cut.

use rtmp::chunk::reader::{ChunkError, ChunkReader};
use rtmp::{Limits, Message};

fn read(input: &[u8], step: usize) -> Result<Vec<Message>, ChunkError> {
    let mut reader = ChunkReader::new(&Limits::default());
    let mut messages = Vec::new();
    for mut piece in input.chunks(step) {
        while let Some(message) = reader.read(&mut piece)? {
            match (message.type_id, message.payload.first_chunk()) {
                (1, Some(size)) => reader.set_chunk_size(u32::from_be_bytes(*size))?,
                (2, Some(csid)) => reader.abort(u32::from_be_bytes(*csid)),
                _ => {}
            }
            messages.push(message);
        }
    }
    Ok(messages)
}

/// One input.
pub(crate) fn run(input: &[u8]) {
    let Some((step, input)) = input.split_first() else { return };
    let step = usize::from(*step).max(1);
    assert_eq!(read(input, input.len().max(1)).ok(), read(input, step).ok());
}
