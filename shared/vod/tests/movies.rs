//! MP4 files made by hand: what they say is found, and what they lie about harms nobody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests panic when they fail")]

use bytes::Bytes;
use vod::{Index, VodError, playlist};

const AVCC: &[u8] = b"\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce";

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let inside = parts.concat();
    let mut out = u32::try_from(inside.len() + 8).unwrap().to_be_bytes().to_vec();
    out.extend(name);
    out.extend(inside);
    out
}

fn full(name: &[u8; 4], words: &[u32]) -> Vec<u8> {
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    boxed(name, &[&[0; 4], &words])
}

/// A file with ten pictures of five bytes, two in a chunk, a key frame each fifth, times at 25 a second.
fn movie() -> Vec<u8> {
    let ftyp = boxed(b"ftyp", &[b"isom\0\0\0\0"]);
    let mdat_at = u32::try_from(ftyp.len()).unwrap();
    let pictures: Vec<u8> = (0..10_u8).flat_map(|n| [0, 0, 0, 1, n]).collect();
    let mdat = boxed(b"mdat", &[&pictures]);
    let entry = boxed(b"avc1", &[&[0; 78], &boxed(b"avcC", &[AVCC])]);
    let chunks: Vec<u32> = (0..5).map(|chunk| mdat_at + 8 + chunk * 10).collect();
    let stbl = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]),
            &full(b"stts", &[1, 10, 512]),
            &full(b"ctts", &[2, 5, 1024, 5, 512]),
            &full(b"stss", &[2, 1, 6]),
            &full(b"stsc", &[1, 1, 2, 1]),
            &full(b"stsz", &[5, 10]),
            &full(b"stco", &[&[5], &chunks[..]].concat()),
        ],
    );
    let media = boxed(b"mdia", &[&full(b"mdhd", &[0, 0, 12_800, 5120, 0]), &boxed(b"minf", &[&stbl])]);
    let trak = boxed(b"trak", &[&full(b"tkhd", &[0, 0, 1, 0, 400]), &media]);
    let moov = boxed(b"moov", &[&full(b"mvhd", &[0, 0, 1000, 400]), &trak]);
    [ftyp, mdat, moov].concat()
}

#[test]
fn samples_of_a_movie_are_found_and_cut_at_key_frames() {
    let file = movie();
    let index = Index::read(&file[..]).unwrap();
    let times: Vec<(u32, i16, bool)> =
        index.samples.iter().map(|sample| (sample.dts_ms, sample.composition_ms, sample.is_key)).collect();
    let wanted: Vec<(u32, i16, bool)> =
        (0..10_u32).map(|n| (n * 40, if n < 5 { 80 } else { 40 }, n % 5 == 0)).collect();
    assert_eq!(times, wanted);
    for (n, sample) in index.samples.iter().enumerate() {
        let at = usize::try_from(sample.at).unwrap();
        assert_eq!(usize::from(file[at + 4]), n);
    }
    assert_eq!(index.duration_ms(), 400);
    let text = playlist(&index, 100, |number| format!("x-{number}.ts"));
    assert!(text.contains("#EXTINF:0.200,\nx-0.ts\n#EXTINF:0.200,\nx-1.ts\n#EXT-X-ENDLIST"), "{text}");
    let segment = index.segment(&file[..], 100, 1).unwrap().unwrap();
    assert!(segment.len().is_multiple_of(188) && segment[0] == 0x47);
    assert_eq!(index.segment(&file[..], 100, 2), Ok(None));
}

#[test]
fn one_picture_lasts_as_long_as_the_table_says() {
    let file = movie();
    let at = |name: &[u8; 4]| file.windows(4).position(|window| window == name).unwrap();
    let mut one = file.clone();
    // One sample, of three seconds.
    one[at(b"stsz") + 15] = 1;
    one[at(b"stts") + 15] = 1;
    one[at(b"stts") + 16..at(b"stts") + 20].copy_from_slice(&38_400_u32.to_be_bytes());
    let index = Index::read(&one[..]).unwrap();
    assert_eq!((index.samples.len(), index.duration_ms()), (1, 3000));
    let text = playlist(&index, 6000, |number| format!("x-{number}.ts"));
    assert!(text.contains("#EXT-X-TARGETDURATION:3\n") && text.contains("#EXTINF:3.000,\n"), "{text}");
}

#[test]
fn crafted_movies_never_panic_nor_ask_for_more_than_there_is() {
    let file = movie();
    for end in 0..file.len() {
        drop(Index::read(&file[..end]));
    }
    for at in 0..file.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut broken = file.clone();
            broken[at] = value;
            if let Ok(index) = Index::read(&broken[..]) {
                for number in 0..index.segments(100).min(4) {
                    drop(index.segment(&broken[..], 100, number));
                }
            }
        }
        // A length or a count of the largest kind.
        let mut broken = file.clone();
        for byte in broken.iter_mut().skip(at).take(4) {
            *byte = 0xff;
        }
        drop(Index::read(&broken[..]));
    }
}

#[test]
fn what_is_no_film_is_said_to_be_none() {
    assert_eq!(Index::read(&b"GIF89a and so on"[..]), Err(VodError::Kind));
    assert_eq!(Index::read(&b""[..]), Err(VodError::Kind));
    let nothing = boxed(b"ftyp", &[b"isom\0\0\0\0"]);
    assert_eq!(Index::read(&nothing[..]), Err(VodError::NoTrack));
    let nested = (0..100_000).fold(Vec::new(), |inside: Vec<u8>, _| {
        if inside.len() > 4 << 20 { inside } else { boxed(b"moov", &[&inside]) }
    });
    assert!(Index::read(&[boxed(b"ftyp", &[b"isom"]), nested].concat()[..]).is_err());
}

/// What the server itself records: fragments.
#[test]
fn fragments_are_found_like_listed_samples() {
    let tracks = [mp4::TrackInfo {
        id: 1,
        entry: mp4::Entry::Avc { record: Bytes::from_static(AVCC), size: (320, 180) },
        colours: None,
    }];
    let mut file = mp4::init(&tracks);
    for group in 0..3_u32 {
        let samples = (0..5).map(|n| sample(n == 0)).collect();
        let run = mp4::Run { track: 1, dts_ms: u64::from(group) * 200, samples };
        file.extend(mp4::fragment(group + 1, &[run]));
    }
    let index = Index::read(&file[..]).unwrap();
    assert_eq!(index.samples.len(), 15);
    assert_eq!(index.samples.iter().filter(|sample| sample.is_key).count(), 3);
    assert!(index.samples.windows(2).all(|pair| pair[1].dts_ms - pair[0].dts_ms == 40));
    for end in 0..file.len() {
        drop(Index::read(&file[..end]));
    }
}

fn sample(is_sync: bool) -> mp4::Sample {
    mp4::Sample { duration_ms: 40, composition_ms: 0, is_sync, data: Bytes::from_static(&[0, 0, 0, 1, 0x65]) }
}
