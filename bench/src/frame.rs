//! How the floor's sender puts packets one after the other, since it speaks no RTMP: about as many bytes around a packet
//! as RTMP has.
//!
//! ```text
//! length of the packet 4 | kind 1 | when it was due 8 | packet
//! ```
//!
//! Numbers are little-endian; the time is monotonic nanoseconds.

use rtmp::MediaKind;

const HEAD_BYTES: usize = 13;
/// A larger packet is a mistake of ours.
const MAX_PACKET_BYTES: usize = 16 << 20;

/// A packet as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// When it was to be sent, monotonic ns.
    pub due_ns: u64,
    /// The packet.
    pub packet: &'a [u8],
}

/// Appends a packet to `out`.
pub fn write(out: &mut Vec<u8>, frame: Frame<'_>) {
    let len = u32::try_from(frame.packet.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.push(if frame.kind == MediaKind::Audio { 8 } else { 9 });
    out.extend_from_slice(&frame.due_ns.to_le_bytes());
    out.extend_from_slice(frame.packet);
}

/// Puts arriving bytes together again.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
}

impl Frames {
    /// Takes bytes and hands each packet that is complete to `each`. `false` when these are no frames.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) -> bool {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        let sound = loop {
            let rest = self.held.get(at..).unwrap_or(&[]);
            let Some((head, rest)) = rest.split_first_chunk::<HEAD_BYTES>() else { break true };
            let [a, b, c, d, kind, due @ ..] = *head;
            let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let kind = match kind {
                8 => MediaKind::Audio,
                9 => MediaKind::Video,
                _ => break false,
            };
            if len > MAX_PACKET_BYTES {
                break false;
            }
            let Some(packet) = rest.get(..len) else { break true };
            each(Frame { kind, due_ns: u64::from_le_bytes(due), packet });
            at += HEAD_BYTES + len;
        };
        self.held.drain(..at);
        sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_whole_however_the_bytes_are_cut() {
        let packets: [(MediaKind, u64, &[u8]); 3] =
            [(MediaKind::Video, 7, &[1; 300]), (MediaKind::Audio, 8, &[]), (MediaKind::Audio, 9, &[3; 5])];
        let mut bytes = Vec::new();
        for (kind, due_ns, packet) in packets {
            write(&mut bytes, Frame { kind, due_ns, packet });
        }
        for cut in 0..bytes.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                assert!(frames.take(piece, |frame| found.push((
                    frame.kind,
                    frame.due_ns,
                    frame.packet.to_vec()
                ))));
            }
            assert_eq!(found, packets.map(|(kind, due_ns, packet)| (kind, due_ns, packet.to_vec())));
        }
        assert!(!Frames::default().take(&[0xa5; 40], |_| {}));
    }
}
