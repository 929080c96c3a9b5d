//! A fragment: where its samples are and when (`moof`), and the samples (`mdat`).

use bytes::Bytes;
use media::number::len_u32;

use crate::boxes::{boxed, full, patch, u32, u64};

/// A picture or a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Until the next one of its track, ms.
    pub duration_ms: u32,
    /// How much later than its DTS it is shown, ms.
    pub composition_ms: i32,
    /// A decoder can begin here.
    pub is_sync: bool,
    /// The coded bytes, as in FLV.
    pub data: Bytes,
}

/// Samples of one track that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Number of the track.
    pub track: u32,
    /// DTS of the first sample, ms.
    pub dts_ms: u64,
    /// The samples, at least one.
    pub samples: Vec<Sample>,
}

/// One fragment with a run of each of some tracks. `sequence` counts fragments from 1.
#[must_use]
pub fn fragment(sequence: u32, runs: &[Run]) -> Vec<u8> {
    let bytes: usize = runs.iter().flat_map(|run| &run.samples).map(|sample| sample.data.len()).sum();
    let count: usize = runs.iter().map(|run| run.samples.len()).sum();
    let mut out = Vec::with_capacity(bytes + 16 * count + 128);
    let mut offsets = Vec::new();
    boxed(&mut out, *b"moof", |out| {
        full(out, *b"mfhd", 0, 0, |out| u32(out, sequence));
        for run in runs {
            boxed(out, *b"traf", |out| {
                // Offsets count from the beginning of the fragment.
                full(out, *b"tfhd", 0, 0x02_0000, |out| u32(out, run.track));
                full(out, *b"tfdt", 1, 0, |out| u64(out, run.dts_ms));
                full(out, *b"trun", 1, 0xf01, |out| {
                    u32(out, len_u32(run.samples.len()));
                    offsets.push(out.len());
                    u32(out, 0);
                    for sample in &run.samples {
                        u32(out, sample.duration_ms);
                        u32(out, len_u32(sample.data.len()));
                        u32(out, if sample.is_sync { 0x0200_0000 } else { 0x0101_0000 });
                        u32(out, sample.composition_ms.cast_unsigned());
                    }
                });
            });
        }
    });
    let mut at = out.len() + 8;
    for (place, run) in offsets.into_iter().zip(runs) {
        patch(&mut out, place, u32::try_from(at).unwrap_or(u32::MAX));
        at += run.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
    }
    boxed(&mut out, *b"mdat", |out| {
        for sample in runs.iter().flat_map(|run| &run.samples) {
            out.extend_from_slice(&sample.data);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, TrackInfo, init};

    /// The boxes of a level: name and content.
    fn boxes(mut bytes: &[u8]) -> Vec<(String, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            found.push((String::from_utf8_lossy(&bytes[4..8]).into_owned(), &bytes[8..len]));
            bytes = &bytes[len..];
        }
        found
    }

    fn inside<'a>(bytes: &'a [u8], path: &str) -> &'a [u8] {
        path.split('/').fold(bytes, |bytes, name| {
            boxes(bytes).into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
        })
    }

    #[test]
    fn offsets_point_at_the_samples() {
        let sample = |data: &'static [u8], is_sync| Sample {
            duration_ms: 40,
            composition_ms: -40,
            is_sync,
            data: Bytes::from_static(data),
        };
        let runs = [
            Run { track: 1, dts_ms: 1 << 33, samples: vec![sample(b"key", true), sample(b"pp", false)] },
            Run { track: 2, dts_ms: 5, samples: vec![sample(b"sound", true)] },
        ];
        let out = fragment(7, &runs);
        let names: Vec<String> = boxes(&out).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["moof", "mdat"]);
        assert_eq!(inside(&out, "mdat"), b"keyppsound");
        let trafs: Vec<&[u8]> =
            boxes(inside(&out, "moof")).into_iter().skip(1).map(|(_, traf)| traf).collect();
        for (traf, first) in trafs.iter().zip([&b"key"[..], b"sound"]) {
            let run = inside(traf, "trun");
            let offset = u32::from_be_bytes(run[8..12].try_into().unwrap()) as usize;
            assert!(out[offset..].starts_with(first));
        }
        assert_eq!(inside(trafs[0], "tfdt")[4..], (1_u64 << 33).to_be_bytes());
    }

    #[test]
    fn the_initialisation_describes_each_track() {
        let tracks = [
            TrackInfo {
                id: 1,
                entry: Entry::Avc { record: Bytes::from_static(b"record"), size: (640, 360) },
                colours: None,
            },
            TrackInfo {
                id: 2,
                entry: Entry::Aac {
                    record: Bytes::from_static(b"\x12\x10"),
                    channels: 2,
                    sample_rate: 44_100,
                },
                colours: None,
            },
        ];
        let out = init(&tracks);
        let traks: Vec<&[u8]> = boxes(inside(&out, "moov"))
            .into_iter()
            .filter(|(name, _)| name == "trak")
            .map(|(_, t)| t)
            .collect();
        let entries = |trak| &inside(trak, "mdia/minf/stbl/stsd")[8..];
        let avc1 = inside(entries(traks[0]), "avc1");
        assert_eq!(inside(&avc1[78..], "avcC"), b"record");
        assert_eq!(avc1[24..28], [2, 128, 1, 104]);
        let mp4a = inside(entries(traks[1]), "mp4a");
        let esds = inside(&mp4a[28..], "esds");
        assert!(esds.windows(7).any(|window| window == b"\x05\x80\x80\x80\x02\x12\x10"));
        assert_eq!(boxes(inside(&out, "moov/mvex")).len(), 2);
    }

    #[test]
    fn of_several_tracks_of_a_kind_one_is_played() {
        let sound =
            |id, sample_rate| TrackInfo { id, entry: Entry::Mp3 { channels: 2, sample_rate }, colours: None };
        let heads = |tracks: &[TrackInfo]| {
            let out = init(tracks);
            let traks = boxes(inside(&out, "moov")).into_iter().filter(|(name, _)| name == "trak");
            // Flags, and the group of which one is chosen.
            traks
                .map(|(_, trak)| {
                    let head = inside(trak, "tkhd");
                    (head[3], u16::from_be_bytes([head[34], head[35]]))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(heads(&[sound(2, 44_100)]), [(3, 0)]);
        assert_eq!(heads(&[sound(2, 44_100), sound(4, 48_000)]), [(3, 2), (2, 2)]);
    }
}
