//! An FLV file gives the same tags however it is cut, tags survive a round trip, and packets are looked at without harm.

use flv::file::{FlvError, Reader, Tag, header, write_tag};

fn read(input: &[u8], step: usize) -> (Vec<Tag>, Option<FlvError>) {
    let mut reader = Reader::new();
    let mut tags = Vec::new();
    for piece in input.chunks(step) {
        reader.push(piece);
        loop {
            match reader.next_tag() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(error) => return (tags, Some(error)),
            }
        }
    }
    (tags, None)
}

/// One input: a byte that says how the rest is cut, then a file.
pub(crate) fn run(input: &[u8]) {
    let Some((step, input)) = input.split_first() else { return };
    let (tags, error) = read(input, input.len().max(1));
    assert_eq!(read(input, usize::from(*step).max(1)), (tags.clone(), error));
    let mut again = header(true, true).to_vec();
    for tag in &tags {
        let info = flv::classify(tag.kind, &tag.body);
        assert!(!(info.key_frame && info.sequence_header));
        assert!(write_tag(&mut again, tag.kind, tag.timestamp_ms, &tag.body));
    }
    assert_eq!(read(&again, again.len()), (tags, None));
}
