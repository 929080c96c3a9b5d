//! Whatever a recorded file says of itself: it is indexed, cut and packed, or refused.

use vod::Index;

/// Segments of one input that are packed.
const SEGMENTS: usize = 4;

/// One input: a file, FLV or MP4.
pub(crate) fn run(input: &[u8]) {
    let Ok(index) = Index::read(input) else { return };
    assert!(!index.samples.is_empty() && !index.parts.is_empty());
    let target_ms = 2_000;
    let text = vod::playlist(&index, target_ms, |number| format!("{number}.ts"));
    assert!(text.starts_with("#EXTM3U\n") && text.ends_with("#EXT-X-ENDLIST\n"));
    for number in 0..index.segments(target_ms).min(SEGMENTS) {
        if let Ok(Some(packets)) = index.segment(input, target_ms, number) {
            assert!(packets.chunks(188).all(|packet| packet.len() == 188 && packet.first() == Some(&0x47)));
        }
    }
}
