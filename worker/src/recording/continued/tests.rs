use std::path::Path;

use flv::file::{Reader, Tag};
use tempfile::TempDir;

use super::*;
use crate::disk::FilePath;
use crate::disk::recordings::{Recordings, repair};

const CONFIG: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x02\x68\xee";
const SOUND: &[u8] = b"\xaf\0\x12\x10";

fn track_set() -> TrackSet {
    let mut track_set = TrackSet::default();
    track_set.see(Kind::Video, &Bytes::from_static(CONFIG)).unwrap();
    track_set.see(Kind::Audio, &Bytes::from_static(SOUND)).unwrap();
    track_set
}

fn start(first_seq: u64, dts_ms: i64, is_mp4: bool) -> Start {
    Start {
        key: StreamKey { vhost: "v".into(), app: "live".into(), stream: "a".into() },
        publish: Publish { born_ns: u64::MAX - 1, first_seq },
        dts_ms,
        absolute: false,
        is_mp4,
        metadata: None,
        headers: [CONFIG, SOUND].map(|header| Some(Bytes::from_static(header))),
        track_set: track_set(),
    }
}

/// Pictures and sounds with their numbers in them; a key frame is every tenth.
fn pieces(numbers: std::ops::Range<u32>, from_ms: i64, is_mp4: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for n in numbers {
        for kind in [Kind::Video, Kind::Audio] {
            let is_video = kind == Kind::Video;
            let is_key = is_video && n % 10 == 0;
            let dts_ms = from_ms + i64::from(n) * 40 + if is_video { 0 } else { 7 };
            let head: &[u8] = match (kind, is_key) {
                (Kind::Video, true) => b"\x17\x01\0\0\0",
                (Kind::Video, false) => b"\x27\x01\0\0\0",
                _ => b"\xaf\x01",
            };
            let body = Bytes::from([head, format!("<{n}>").as_bytes()].concat());
            let flags = if is_key { Flags::KEY } else { Flags::default() };
            pieces.push(if is_mp4 {
                let data = body.slice(head.len()..);
                Piece::Sample(dts_ms, AccessUnit { kind, track: 0, is_key, composition_ms: 0, data })
            } else {
                Piece::Tag { kind, dts_ms, flags, body }
            });
        }
    }
    pieces
}

fn tags(path: &Path) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(&std::fs::read(path).unwrap());
    std::iter::from_fn(|| reader.next_tag().unwrap()).collect()
}

/// Times of the pictures, or sounds, of an FLV file.
fn times(path: &Path, kind: Kind) -> Vec<u32> {
    let is_coded = |tag: &Tag| tag.kind == kind && !flv::classify(kind, &tag.body).sequence_header;
    tags(path).iter().filter(|tag| is_coded(tag)).map(|tag| tag.timestamp_ms).collect()
}

struct HlsStreams {
    top: TempDir,
    recordings: Recordings,
    place: FilePath,
}

impl HlsStreams {
    fn new(name: &str) -> Self {
        let top = TempDir::new().unwrap();
        let place = FilePath { root: top.path().to_owned(), below: name.to_owned() };
        Self { top, recordings: Recordings::default(), place }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.top.path().join(name)
    }

    fn publish(&mut self, seq: u64, from_ms: i64, numbers: std::ops::Range<u32>, is_mp4: bool) -> Length {
        let start = start(seq, from_ms + i64::from(numbers.start) * 40, is_mp4);
        let before = self.recordings.go_on(1, &self.place, &start).unwrap();
        for piece in pieces(numbers, from_ms, is_mp4) {
            self.recordings.take(1, &[piece]).unwrap();
        }
        before
    }

    /// The process dies, and another one looks through the directory.
    fn die(&mut self) {
        self.recordings = Recordings::default();
        repair(self.top.path());
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.top.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn what_follows_has_its_times_behind_what_is_there_and_repeats_no_header() {
    let mut house = HlsStreams::new("a.flv");
    for (n, from_ms) in [(0_u64, 50_000_i64), (1, 1_000), (2, 9_000_000)] {
        let before = house.publish(n, from_ms, 0..100, false);
        assert_eq!(before.duration_ms, (n * 4007).saturating_sub(40));
        let ended = house.recordings.finish(1, None).unwrap();
        assert_eq!(ended.path, house.path("a.flv"));
        assert_eq!(std::fs::metadata(&ended.path).unwrap().len(), ended.length.unwrap().bytes);
    }
    let path = house.path("a.flv");
    for kind in [Kind::Video, Kind::Audio] {
        let times = times(&path, kind);
        assert!(times.len() == 300 && times.windows(2).all(|pair| (1..=80).contains(&(pair[1] - pair[0]))));
    }
    let is_header = |tag: &&Tag| flv::classify(tag.kind, &tag.body).sequence_header;
    assert_eq!(tags(&path).iter().filter(is_header).count(), 2);
    assert_eq!(house.names(), ["a.flv"]);
}

#[test]
fn a_file_is_continued_the_same_whether_its_end_is_looked_up_or_all_of_it_read() {
    let results = [false, true].map(|all| {
        let mut house = HlsStreams::new("a.flv");
        house.publish(0, 0, 0..2000, false);
        drop(house.recordings.finish(1, None).unwrap());
        let path = house.path("a.flv");
        if all {
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(9).position(|window| window == b"recording").unwrap();
            bytes[at] = b'x';
            std::fs::write(&path, bytes).unwrap();
        }
        let mut begun = start(1, 500, false);
        begun.headers[1] = Some(Bytes::from_static(b"\xaf\0\x11\x90"));
        house.recordings.go_on(1, &house.place, &begun).unwrap();
        house.recordings.take(1, &pieces(0..2000, 500, false)).unwrap();
        drop(house.recordings.finish(1, None).unwrap());
        let mut tags = tags(&path);
        let first = super::super::flv_file::all_properties(&tags.remove(0).body);
        let named =
            |name: &str| first.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        (tags, ["duration", "filesize", "keyframes", "recording"].map(named))
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn a_process_that_dies_is_succeeded_without_a_hole_or_a_repeat() {
    for name in ["a.flv", "a.mp4"] {
        let is_mp4 = name == "a.mp4";
        let whole = {
            let mut house = HlsStreams::new(name);
            house.publish(7, 1_000, 0..200, is_mp4);
            drop(house.recordings.finish(1, None).unwrap());
            std::fs::read(house.path(name)).unwrap()
        };
        let mut house = HlsStreams::new(name);
        house.publish(7, 1_000, 0..57, is_mp4);
        house.die();
        // Behind a key frame, and before the sound that belongs to it.
        let begun = start(7, 1_000, is_mp4);
        house.recordings.go_on(1, &house.place, &begun).unwrap();
        house.recordings.take(1, &pieces(0..61, 1_000, is_mp4)[..121]).unwrap();
        house.die();
        assert_eq!(house.names(), [name]);
        // From the first packet of the publish, and a second time from a key frame.
        house.publish(7, 1_000, 0..133, is_mp4);
        house.die();
        house.publish(7, 1_000, 70..200, is_mp4);
        drop(house.recordings.finish(1, None).unwrap());
        let path = house.path(name);
        if is_mp4 {
            let numbers = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let mut all: Vec<u32> =
                    text.split('<').filter_map(|rest| rest.split_once('>')?.0.parse().ok()).collect();
                all.sort_unstable();
                all
            };
            assert_eq!(numbers(&std::fs::read(&path).unwrap()), numbers(&whole));
        } else {
            for kind in [Kind::Video, Kind::Audio] {
                let wanted: Vec<u32> =
                    (0..200).map(|n| n * 40 + u32::from(kind == Kind::Audio) * 7).collect();
                assert_eq!(times(&path, kind), wanted);
            }
        }
    }
}

#[test]
fn what_a_crash_tore_is_cut_off() {
    let mut house = HlsStreams::new("a.flv");
    house.publish(0, 0, 0..100, false);
    house.recordings = Recordings::default();
    let temporary = house.path("a.flv.tmp");
    let bytes = std::fs::read(&temporary).unwrap();
    std::fs::write(&temporary, &bytes[..bytes.len() - 3]).unwrap();
    // Without anybody having looked through the directory.
    house.publish(1, 0, 0..100, false);
    drop(house.recordings.finish(1, None).unwrap());
    let path = house.path("a.flv");
    assert_eq!((times(&path, Kind::Video).len(), times(&path, Kind::Audio).len()), (200, 199));
    assert_eq!(house.names(), ["a.flv"]);
}

#[test]
fn what_is_no_recording_is_set_aside_and_other_tracks_get_another_file() {
    for name in ["a.flv", "a.mp4"] {
        let is_mp4 = name == "a.mp4";
        let mut house = HlsStreams::new(name);
        for n in 0..2 {
            std::fs::write(house.path(name), format!("somebody's {n}")).unwrap();
            house.publish(n, 0, 0..20, is_mp4);
            drop(house.recordings.finish(1, None).unwrap());
        }
        std::fs::remove_file(house.path(name)).unwrap();
        std::os::unix::fs::symlink("/dev/null", house.path(name)).unwrap();
        house.publish(9, 0, 0..20, is_mp4);
        drop(house.recordings.finish(1, None).unwrap());
        let aside = ["", ".other", ".other-1", ".other-2"].map(|behind| format!("{name}{behind}"));
        assert_eq!(house.names(), aside);
        let kept = std::fs::read_to_string(house.path(&aside[2])).unwrap();
        assert_eq!(kept, "somebody's 1");
    }
    let mut house = HlsStreams::new("a.mp4");
    for (n, has_audio) in [(0, true), (1, false), (2, true), (3, false)] {
        let mut start = start(n, 0, true);
        if !has_audio {
            start.track_set.audio = None;
        }
        house.recordings.go_on(1, &house.place, &start).unwrap();
        let all = pieces(0..50, 0, true).into_iter();
        let fit = |piece: &Piece| {
            has_audio || matches!(piece, Piece::Sample(_, coded) if coded.kind == Kind::Video)
        };
        house.recordings.take(1, &all.filter(fit).collect::<Vec<_>>()).unwrap();
        let ended = house.recordings.finish(1, None).unwrap();
        assert!((2000 * (n / 2 + 1)..2060 * (n / 2 + 1)).contains(&ended.length.unwrap().duration_ms));
    }
    assert_eq!(house.names(), ["a-1.mp4", "a.mp4"]);
}

#[test]
fn two_streams_do_not_write_into_one_file() {
    let mut house = HlsStreams::new("a.flv");
    house.publish(0, 0, 0..20, false);
    let begun = start(1, 0, false);
    house.recordings.go_on(2, &house.place, &begun).unwrap();
    house.recordings.take(2, &pieces(0..20, 0, false)).unwrap();
    drop((house.recordings.finish(1, None).unwrap(), house.recordings.finish(2, None).unwrap()));
    assert_eq!(house.names(), ["a-1.flv", "a.flv"]);
}
