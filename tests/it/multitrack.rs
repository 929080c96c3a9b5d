//! Enhanced RTMP with several tracks of a kind: each keeps its own header, and is in all outputs that can carry several.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use client::{Kind, Packet};
use flv::file::Tag;
use srs_tests::browser::Browser;
use srs_tests::capture::{player, publish_tags, publisher, receive_frames, tags};
use srs_tests::http::ask;
use srs_tests::live::HttpViewer;
use srs_tests::marked::{self, Unit};
use srs_tests::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION};
use srs_tests::process::{run, signal, wait_gone};
use srs_tests::program::{self, have};
use srs_tests::server::Server;
use srs_tests::several::{Paced, Several, assert_decoded, further, streams};
use srs_tests::site::{decoded, get, site};
use srs_tests::transport::Transport;
use srs_tests::wait::{SOON, wait_until};

/// The second track of a kind: another sampling rate, another picture.
const SECOND_SOUND: &[u8] = b"\x95\x00mp4a\x01\x13\x88";
const SECOND_PICTURES: &[u8] =
    b"\x96\x00avc1\x01\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x02\x68\xee";
/// What the first tracks say beside their configurations.
const COLOURS: &[u8] = b"\xd4avc1\x02\0\x09colorInfo";
const CHANNELS: &[u8] = b"\x94mp4a\x01\x02\0\0\0\x03";

/// The same of the second track, which has key frames of its own.
fn second(unit: &Unit) -> Vec<u8> {
    let body = unit.body();
    if unit.is_video {
        let first = if unit.is_key { 0x96 } else { 0xa6 };
        [&[first][..], b"\x01avc1\x01", &body[2..]].concat()
    } else {
        [&b"\x95\x01mp4a\x01"[..], &body[2..]].concat()
    }
}

fn headers(packets: &[Packet]) -> Vec<Vec<u8>> {
    let is_kept = |packet: &&Packet| {
        let info = flv::classify(packet.kind, &packet.payload);
        info.sequence_header || info.beside
    };
    packets.iter().filter(is_kept).map(|packet| packet.payload.to_vec()).collect()
}

#[test]
fn each_track_keeps_its_header_and_its_units() {
    let server = site(
        "http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].flv; } \
         hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    let watch = |name: &str| HttpViewer::start(&server.web(), &format!("/live/{name}"));
    let early = ["a.flv", "a.ts", "a.mp4"].map(watch);
    wait_until("who waits", || server.clients().len() == 3);
    let mut publisher = publisher(&server.url("live/a"));
    let all: [(Kind, &[u8]); 6] = [
        (Kind::Video, VIDEO_CONFIGURATION),
        (Kind::Audio, AUDIO_CONFIGURATION),
        (Kind::Video, COLOURS),
        (Kind::Audio, CHANNELS),
        (Kind::Video, SECOND_PICTURES),
        (Kind::Audio, SECOND_SOUND),
    ];
    for (kind, header) in all {
        publisher.send(kind, 0, header).unwrap();
    }
    let units = marked::usual(2500, 1000);
    for unit in &units {
        unit.send(&mut publisher);
        // Its key frames lie elsewhere.
        let other = Unit { number: unit.number + 10_000, is_key: unit.dts_ms == 1480, ..*unit };
        other.send_as(&mut publisher, &second(&other));
    }
    // Late, over RTMP and FLV: the headers of each track, and what they say beside; from the first track's key frame on.
    let mut late = player(&server.url("live/a"));
    let packets = receive_frames(&mut late, 2);
    let wanted: Vec<Vec<u8>> =
        [VIDEO_CONFIGURATION, COLOURS, SECOND_PICTURES, AUDIO_CONFIGURATION, CHANNELS, SECOND_SOUND]
            .map(<[u8]>::to_vec)
            .to_vec();
    assert_eq!(headers(&packets), wanted);
    let first =
        packets.iter().find(|packet| packet.payload.windows(4).any(|window| window == b"unit")).unwrap();
    assert_eq!(first.payload, units.iter().rfind(|unit| unit.is_key).unwrap().body());
    wait_until("all of it over HTTP", || {
        early[0].bytes().windows(4).filter(|at| at == b"unit").count() == 2 * units.len()
    });
    let flv = watch("a.flv");
    wait_until("a late viewer of FLV", || flv.bytes().windows(4).any(|at| at == b"unit"));
    for header in &wanted {
        assert!(flv.bytes().windows(header.len()).any(|window| window == header), "{header:x?}");
    }
    let stream = &ask(&server.api(), "GET", "/api/v1/streams", &[]).json()["streams"][0];
    assert_eq!((&stream["audio"]["codec"], &stream["audio"]["sample_rate"]), (&"AAC".into(), &44_100.into()));
    assert_eq!(stream["video"]["codec"], "H264");
    drop(publisher.finish());
    let [_, ts, mp4] = early.map(HttpViewer::whole);
    marked::assert_shown("ts", &marked::of_ts(&ts), &units, 1);
    marked::assert_same("mp4", &marked::of_mp4(&mp4), &units);
    // The second tracks have the same units, with numbers of their own and a key frame elsewhere.
    let is_key = |unit: &Unit| unit.is_video && unit.dts_ms == 1480;
    let others =
        units.iter().map(|unit| Unit { number: unit.number + 10_000, is_key: is_key(unit), ..*unit });
    let others: Vec<Unit> = others.collect();
    marked::assert_shown("ts, second", &marked::of_ts_tracks(&ts, 1), &others, 1);
    marked::assert_same("mp4, second", &marked::of_mp4_tracks(&mp4, [3, 4]), &others);
    let film = server.directory().join("html/rec/a.flv");
    wait_until("the recording", || film.exists());
    let film = fs::read(&film).unwrap();
    for header in &wanted {
        assert!(film.windows(header.len()).any(|window| window == header), "{header:x?} is recorded");
    }
    assert!(!server.log().contains("lacks its"), "{}", server.log());
}

/// Asserts that a file has all four tracks, each as it was encoded, but for `lost` pictures and sounds.
fn assert_whole(file: &Path, several: &Several, lost: usize) {
    let is = |kind: &str, value| (kind.to_owned(), value);
    let wanted = [is("video", 320), is("video", 160), is("audio", 44_100), is("audio", 48_000)];
    assert_eq!(streams(file), wanted, "{}", file.display());
    for (number, source) in several.sources.iter().enumerate() {
        for kind in ["v", "a"] {
            let got = decoded(&file.to_string_lossy(), &format!("{kind}:{number}"));
            let what = format!("{}, {kind}:{number}", file.display());
            assert_decoded(&what, &got, &decoded(&source.to_string_lossy(), kind), lost);
        }
    }
}

fn recording_server() -> Server {
    site("http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; }")
}

#[test]
fn every_track_is_in_live_streams_and_recordings_as_it_was_encoded() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = recording_server();
    let several = Several::make(server.directory(), 3);
    let watch = |name: &str| HttpViewer::start(&server.web(), &format!("/live/{name}"));
    let early = ["a.ts", "a.mp4"].map(watch);
    wait_until("who waits", || server.clients().len() == 2);
    let mut publisher = publisher(&server.url("live/a"));
    let (first, rest) = several.tags.split_at(several.tags.len() / 2);
    publish_tags(&mut publisher, first, 0);
    wait_until("the middle", || early.iter().all(HttpViewer::has_begun));
    // From the newest key frame of the first pictures on.
    let late = ["a.ts", "a.mp4"].map(watch);
    wait_until("who came late", || late.iter().all(HttpViewer::has_begun));
    publish_tags(&mut publisher, rest, 0);
    drop(publisher.finish());
    for (viewer, name, lost) in early
        .into_iter()
        .zip(["early.ts", "early.mp4"])
        .map(|(viewer, name)| (viewer, name, 3))
        .chain(late.into_iter().zip(["late.ts", "late.mp4"]).map(|(viewer, name)| (viewer, name, 120)))
    {
        let file = server.directory().join(name);
        let bytes = viewer.whole();
        if name == "late.ts" {
            // It begins with a picture. Counters, clock and times of all tracks keep the rules.
            let mut transport = Transport::default();
            transport.read(&bytes);
            assert!(transport.longest_clock_step_ms() <= 100 && transport.longest_step_ms() <= 200, "{name}");
        }
        fs::write(&file, bytes).unwrap();
        assert_whole(&file, &several, lost);
    }
    let film = server.directory().join("html/rec/a.mp4");
    wait_until("the recording", || film.exists());
    assert_whole(&film, &several, 3);
    // On demand as HLS it has the first tracks, which is said.
    let part = get(&server.web(), "/rec/a.mp4.0.ts").unwrap();
    let file = server.directory().join("part.ts");
    fs::write(&file, part).unwrap();
    assert_eq!(streams(&file), [("video".to_owned(), 320), ("audio".to_owned(), 44_100)]);
    let said = "lacks what it has no place for: another track of pictures, another track of sound";
    wait_until("a word of it", || server.log().contains(said));
    let list = String::from_utf8(get(&server.web(), "/rec/a.mp4.m3u8").unwrap()).unwrap();
    assert!(list.lines().any(|line| line == format!("# {said}")), "{list}");
}

#[test]
fn a_recording_that_was_left_behind_has_all_tracks() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = recording_server();
    let several = Several::make(server.directory(), 4);
    let mut publisher = publisher(&server.url("live/a"));
    let (first, rest) = several.tags.split_at(several.tags.len() * 7 / 8);
    publish_tags(&mut publisher, first, 0);
    let unfinished = server.directory().join("html/rec/a.mp4.tmp");
    wait_until("two fragments", || fs::metadata(&unfinished).is_ok_and(|file| file.len() > 60_000));
    let pid = server.pids("http")[0];
    signal(pid, Signal::SIGKILL);
    wait_gone("the http process", pid, SOON);
    let film = server.directory().join("html/rec/a.mp4");
    wait_until("the recording", || film.exists());
    assert_whole(&film, &several, 150);
    publish_tags(&mut publisher, rest, 0);
    drop(publisher.finish());
}

/// What operators see of a stream with two tracks of a kind, and a third that MPEG-TS has no place for; and that browsers play it.
#[test]
fn operators_see_all_tracks_and_what_is_left_out() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } \
         hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; }",
    );
    let several = Several::make(server.directory(), 6);
    let mut all = several.tags.clone();
    let info = [&[0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xc4, 0x42, 0xf0][..], &[0; 20]].concat();
    let at = all.iter().position(|tag| tag.kind == Kind::Audio).unwrap();
    let flac = |packet_type: u8, data: &[u8]| {
        let body = [&[0x95, packet_type][..], b"fLaC\x02", data].concat().into();
        Tag { kind: Kind::Audio, timestamp_ms: 0, body }
    };
    all.insert(at, flac(0, &info));
    all.push(Tag { timestamp_ms: 5900, ..flac(1, b"frame") });
    let _publisher = Paced::start(&server.url("live/a"), all);
    let listener = HttpViewer::start(&server.web(), "/live/a.aac");
    wait_until("sounds", || listener.has_begun());
    let told = || ask(&server.api(), "GET", "/api/v1/streams", &[]).json()["streams"][0].clone();
    let lacks = |told: &serde_json::Value| -> Vec<String> {
        let all = told["left_out"].as_array().unwrap();
        all.iter().map(|what| what.as_str().unwrap().to_owned()).collect()
    };
    let wanted = [
        ".aac or .mp3: its sound, track 1, AAC",
        ".aac or .mp3: its sound, track 2, FLAC",
        "HLS: its sound, track 2, FLAC",
    ];
    wait_until("what is left out", || lacks(&told()) == wanted);
    let track = |number: usize| told()["tracks"][number].clone();
    wait_until("a rate", || track(0)["kbps"].as_u64() > Some(20));
    assert_eq!((&track(0)["video"]["width"], &track(1)["video"]["width"]), (&320.into(), &160.into()));
    let sounds = [2, 3, 4].map(|at| (track(at)["number"].clone(), track(at)["audio"]["sample_rate"].clone()));
    assert_eq!(sounds, [(0, 44_100), (1, 48_000), (2, 0)].map(|(number, rate)| (number.into(), rate.into())));
    let mut command = Command::new(program::srs_cli());
    let said = run(command.arg("--socket").arg(server.socket()).args(["stream", "live/a"]), SOON);
    let said = said.expect_success();
    for words in
        ["video 1  H264 160x90", "audio 1  AAC 48000 Hz", "lacks .aac or .mp3: its sound, track 1, AAC"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let mut command = Command::new(program::srs_cli());
    let said = run(command.arg("--socket").arg(server.socket()).arg("hls"), SOON).expect_success();
    assert!(
        said.contains("__defaultVhost__/live/a has 2 further tracks in lists of their own: video1, audio1"),
        "{said}"
    );
    let Some(browser) = Browser::start(1280, 900) else { return };
    for kind in ["mp4", "flv", "hls"] {
        browser.open(&format!("{}/console/stream.html?app=live&stream=a&kind={kind}", server.web()));
        browser.wait("document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames > 30");
        browser.wait("document.querySelector('video').videoWidth === 320");
        for words in ["video 1: H264", "audio 1: AAC", "HLS: its sound, track 2, FLAC"] {
            browser.wait(&format!("document.querySelector('#details').textContent.includes('{words}')"));
        }
    }
}

/// As a stranger may publish: all numbers that there are. It is said once how many are in no output, not of each.
#[test]
fn a_stream_of_250_tracks_is_told_of_in_a_few_lines() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } \
         hls { enabled on; hls_fragment 1; hls_storage memory; hls_path TOP/html; } \
         dvr { enabled on; dvr_plan session; dvr_path TOP/html/rec/[stream].mp4; }",
    );
    let several = Several::make(server.directory(), 2);
    let sounds: Vec<Tag> =
        tags(&several.sources[1]).into_iter().filter(|tag| tag.kind == Kind::Audio).collect();
    let all = sounds.iter().enumerate().flat_map(|(at, tag)| {
        // The headers of all, and their packets by turns.
        let numbers = if at == 0 { 0..=249 } else { 0..=(if at < 4 { 249 } else { 0 }) };
        numbers.map(|number| Tag { body: further(Kind::Audio, &tag.body, number), ..tag.clone() })
    });
    let mut publisher = publisher(&server.url("live/a"));
    publish_tags(&mut publisher, &all.collect::<Vec<_>>(), 0);
    let told = || ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"][0]["left_out"].to_string();
    wait_until("how many are in no list", || told().contains("242 of its tracks"));
    drop(publisher.finish());
    wait_until("the recording", || server.directory().join("html/rec/a.mp4").exists());
    let log = server.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("live/a") && line.contains("lacks")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("lacks 242 of its tracks: of those of a kind numbers 0 to 7 are carried"),
        "{lines:#?}"
    );
    let mut command = Command::new(program::srs_cli());
    let said = run(command.arg("--socket").arg(server.socket()).arg("hls"), SOON).expect_success();
    assert!(
        said.contains(
            "has 7 further tracks in lists of their own: audio1, audio2, audio3, audio4, and 3 more"
        ),
        "{said}"
    );
    assert!(log.lines().filter(|line| line.contains("live/a")).count() < 40, "{log}");
}
