//! FLV files with several tracks of a kind, played from the middle.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests panic when they fail")]

use vod::{From, start};

const HEAD: &[u8] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
const AVCC: &[u8] = b"\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce";

fn tag(kind: u8, time: u32, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let [t3, t2, t1, t0] = time.to_be_bytes();
    let [_, s2, s1, s0] = u32::try_from(body.len()).unwrap().to_be_bytes();
    let behind = u32::try_from(body.len() + 11).unwrap().to_be_bytes();
    [&[kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0], &body[..], &behind].concat()
}

/// A second of two tracks of each kind, with a key frame of both at its beginning.
fn second(from: u32) -> Vec<u8> {
    let pictures = |n: u32| {
        let (first, further) = if n == 0 { (0x17, 0x96) } else { (0x27, 0xa6) };
        let nalu: &[u8] = b"\0\0\0\0\0\0\x01\x65";
        [
            tag(9, from + n * 40, &[&[first, 1], &nalu[1..]]),
            tag(9, from + n * 40, &[&[further, 1], b"avc1\x01", &nalu[1..]]),
            tag(8, from + n * 40, &[b"\xaf\x01abc"]),
            tag(8, from + n * 40, &[b"\x95\x01mp4a\x01abc"]),
        ]
        .concat()
    };
    (0..25).flat_map(pictures).collect()
}

#[test]
fn what_goes_in_front_has_the_newest_header_of_each_track() {
    let video = tag(9, 0, &[b"\x17\0\0\0\0", AVCC]);
    let sound = tag(8, 0, &[b"\xaf\0\x12\x10"]);
    let further_video = tag(9, 0, &[b"\x96\0avc1\x01", AVCC]);
    let further_sound = tag(8, 0, &[b"\x95\0mp4a\x01\x12\x08"]);
    let colours = tag(9, 0, &[b"\xd4avc1\x02\0\x09colorInfo"]);
    let other_sound = tag(8, 1000, &[b"\x95\0mp4a\x01\x13\x88"]);
    let both_sounds = tag(8, 2000, &[b"\x95\x10mp4a\x00\0\0\x02\x11\x88\x01\0\0\x02\x11\x88"]);
    let late = tag(8, 3000, &[b"\x95\0mp4a\x01\x12\x10"]);
    let parts = [
        [HEAD, &video, &sound, &further_video, &further_sound, &colours, &second(0)].concat(),
        [&other_sound[..], &second(1000)].concat(),
        [&both_sounds[..], &second(2000)].concat(),
        [&late[..], &second(3000)].concat(),
    ];
    let file = parts.concat();
    let wanted: [&[&[u8]]; 4] = [
        &[&video, &sound, &further_video, &further_sound, &colours],
        &[&video, &sound, &further_video, &colours, &other_sound],
        &[&video, &further_video, &colours, &both_sounds],
        // One of them is another now: that of the other track is still needed.
        &[&video, &further_video, &colours, &both_sounds, &late],
    ];
    let mut end = 0;
    for (number, (part, wanted)) in (0..).zip(parts.iter().zip(wanted)) {
        end += part.len();
        let at = end - second(0).len();
        for from in [From::Time(number * 1000 + 500), From::Byte(u64::try_from(at).unwrap())] {
            let start = start(&file[..], from).unwrap();
            assert_eq!(start.at, u64::try_from(at).unwrap(), "{from:?}");
            assert_eq!(start.lead, [HEAD, &wanted.concat()].concat(), "{from:?}");
        }
    }
}
