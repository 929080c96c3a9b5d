//! Whatever stands in a stream's packets, the packagers write whole packets and boxes, or nothing.

use bytes::Bytes;
use media::Kind;
use remux::{Mp4Packager, Probe, TrackSet, TsPackager};

/// One input: packets one after the other, each a byte of kind (audio or video), a byte of time, two bytes of length.
pub(crate) fn run(input: &[u8]) {
    let mut track_set = TrackSet::default();
    let (mut ts, mut mp4) = (TsPackager::new(70), Mp4Packager::new(100));
    let (mut packets, mut fragments) = (Vec::new(), Vec::new());
    let (mut rest, mut dts_ms) = (input, 0_i64);
    while let Some(([kind, step, high, low], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (payload, behind) = behind.split_at(len);
        rest = behind;
        let kind = if kind & 1 == 0 { Kind::Video } else { Kind::Audio };
        dts_ms += i64::from(*step);
        for seen in track_set.see_all(kind, &Bytes::copy_from_slice(payload)).unwrap_or_default() {
            match seen {
                Ok(Probe::Config { changed: true }) => {
                    ts.begin(&track_set, &mut packets);
                    fragments.extend(Mp4Packager::init(&track_set));
                }
                Ok(Probe::AccessUnit(coded) | Probe::Began(coded)) => {
                    let before = packets.len();
                    if ts.push(&track_set, dts_ms, &coded, &mut packets).is_err() {
                        assert!(packets.len() >= before);
                    }
                    fragments.extend(mp4.push(dts_ms, coded).map(|fragment| fragment.bytes));
                }
                _ => {}
            }
        }
    }
    ts.flush(&mut packets);
    fragments.extend(mp4.flush().map(|fragment| fragment.bytes));
    assert!(packets.chunks(188).all(|packet| packet.len() == 188 && packet.first() == Some(&0x47)));
    for mut bytes in fragments.iter().map(Vec::as_slice) {
        while let Some((len, _)) = bytes.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            assert!(len >= 8 && len <= bytes.len());
            bytes = &bytes[len..];
        }
    }
}
