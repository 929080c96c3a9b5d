//! What is kept of a stream for those who join later: the sequence header of each track, and what a track says beside it
//! (colours, the order of channels). One packet stays as it is; several are put together in a form that no packet has.

use bytes::Bytes;
use media::{Kind, cursor::Cursor};

use crate::classify;

/// What several packets begin with: no video or audio packet that is kept does.
const SEVERAL: u8 = 0;
/// Most packets that are kept of one kind.
const MOST: usize = 16;

/// What is kept when a packet has come that is to be; `known` is what was before.
#[must_use]
pub fn with(kind: Kind, known: Option<&Bytes>, packet: &Bytes) -> Bytes {
    let place = |packet: &[u8]| {
        let info = classify(kind, packet);
        (info.track, !info.sequence_header)
    };
    let mut all = known.map(split).unwrap_or_default();
    match all.iter_mut().find(|known| place(known) == place(packet)) {
        Some(same) => *same = packet.clone(),
        None => all.push(packet.clone()),
    }
    // The first track comes first, and its header before what is beside it.
    all.sort_by_key(|packet| place(packet));
    all.truncate(MOST);
    match all.as_slice() {
        [one] => one.clone(),
        all => {
            let mut out = vec![SEVERAL];
            for packet in all {
                out.extend_from_slice(&u32::try_from(packet.len()).unwrap_or(0).to_be_bytes());
                out.extend_from_slice(packet);
            }
            out.into()
        }
    }
}

/// The packets that are kept, in their order.
#[must_use]
pub fn split(kept: &Bytes) -> Vec<Bytes> {
    if kept.first() != Some(&SEVERAL) {
        return if kept.is_empty() { Vec::new() } else { vec![kept.clone()] };
    }
    let mut cursor = Cursor::new(kept.get(1..).unwrap_or(&[]));
    let mut all = Vec::new();
    while all.len() < MOST
        && let Ok(len) = cursor.u32()
        && let Ok(packet) = cursor.take(len as usize)
    {
        all.push(kept.slice_ref(packet));
    }
    all
}

/// The sequence header of the first track.
#[must_use]
pub fn main(kept: &Bytes) -> Option<Bytes> {
    split(kept).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_track_keeps_its_own_and_one_packet_stays_what_it_is() {
        let first = Bytes::from_static(b"\xaf\x00\x11\x88");
        let second = Bytes::from_static(b"\x95\x00mp4a\x01\x12\x08");
        let channels = Bytes::from_static(b"\x95\x04mp4a\x01\x01\x01");
        let mut kept = with(Kind::Audio, None, &first);
        assert_eq!((kept.clone(), split(&kept)), (first.clone(), vec![first.clone()]));
        for packet in [&channels, &second, &first, &second] {
            kept = with(Kind::Audio, Some(&kept), packet);
        }
        assert_eq!(split(&kept), [first.clone(), second.clone(), channels.clone()]);
        let other = Bytes::from_static(b"\xaf\x00\x12\x10");
        kept = with(Kind::Audio, Some(&kept), &other);
        assert_eq!((split(&kept).len(), main(&kept)), (3, Some(other)));
        assert_eq!(split(&Bytes::new()), Vec::<Bytes>::new());
        // Colours of the only track.
        let header = Bytes::from_static(b"\x90hvc1record");
        let colours = Bytes::from_static(b"\x94hvc1colorInfo");
        let kept = with(Kind::Video, Some(&with(Kind::Video, None, &colours)), &header);
        assert_eq!(split(&kept), [header, colours]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_split_without_harm(bytes in proptest::collection::vec(0_u8..6, 0..64)) {
            let _ = split(&bytes.into());
        }
    }
}
