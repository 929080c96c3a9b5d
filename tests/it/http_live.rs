//! Live streams over HTTP: what ffmpeg gets as FLV, MPEG-TS, MP4 and bare audio is what was published.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::{Frames, Recorder, ffmpeg_publish, publisher};
use srs_tests::clip::{Clip, QUIET};
use srs_tests::marked::{self, Unit};
use srs_tests::pattern;
use srs_tests::process::{Running, run, signal};
use srs_tests::program::{have, optional};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

const WEB: &str = "http_server { enabled on; listen 127.0.0.1:0; dir ./conf; stream_wait 20; }
vhost __defaultVhost__ { http_remux { enabled on; } }";

/// How many packets ffmpeg may hold back until its own end.
const HELD_BACK: usize = 12;

/// The pictures and sounds of something that ffmpeg can read, decoded: what is the same in every container.
fn decoded(input: &str, options: &[&str], kind: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(options).args(["-i", input, "-map", &format!("0:{kind}")]);
    command.args(["-f", "framemd5", "-"]);
    let text = run(&mut command, Duration::from_secs(60)).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

#[test]
fn every_packet_is_the_same_over_http_flv() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start(WEB);
    for (at, clip) in [Clip::H264Aac, Clip::BFrames, Clip::H264Mp3, Clip::AudioOnly, Clip::VideoOnly]
        .into_iter()
        .enumerate()
    {
        let source = Frames::of_file(&clip.path());
        let recorder = Recorder::start(&format!("{}/live/{at}.flv", server.web()));
        wait_waiting(&server, 1);
        let encoder = ffmpeg_publish(&clip.path(), &server.url(&format!("live/{at}")), false);
        let played = recorder.finish(source.len() - HELD_BACK);
        drop(encoder.finish(SOON).expect_success());
        played.assert_part_of(&source, false);
        assert_eq!(
            played.video.first().map(|frame| &frame.hash),
            source.video.first().map(|frame| &frame.hash)
        );
        assert_eq!(
            played.audio.first().map(|frame| &frame.hash),
            source.audio.first().map(|frame| &frame.hash)
        );
        wait_waiting(&server, 0);
    }
}

/// Waits until so many clients are connected over HTTP.
fn wait_waiting(server: &Server, count: usize) {
    wait_until(&format!("{count} clients over HTTP"), || {
        server.clients().iter().filter(|client| client.process.starts_with("http")).count() == count
    });
}

/// What a client gets of a live stream from its first byte until the stream has ended for good.
fn fetch_whole(server: &Server, clip: Clip, name: &str, ending: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join(format!("out.{ending}"));
    let url = format!("{}/live/{name}.{ending}", server.web());
    let curl = Running::start(Command::new("curl").args(["-sS", "--fail", "-o"]).arg(&file).arg(&url));
    wait_waiting(server, 1);
    let encoder = ffmpeg_publish(&clip.path(), &server.url(&format!("live/{name}")), false);
    drop(encoder.finish(Duration::from_secs(60)).expect_success());
    // The answer ends when nobody has published for a while.
    drop(curl.finish(Duration::from_secs(60)).expect_success());
    (directory, file.to_string_lossy().into_owned())
}

const SHORT_GRACE: &str = "http_server { enabled on; listen 127.0.0.1:0; stream_wait 5; }
vhost __defaultVhost__ { http_remux { enabled on; } }";

#[test]
fn pictures_and_sounds_are_the_same_in_every_container() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let threads: Vec<_> = [
        (Clip::H264Aac, "ts"),
        (Clip::BFrames, "ts"),
        (Clip::H264Mp3, "ts"),
        (Clip::AudioOnly, "ts"),
        (Clip::VideoOnly, "ts"),
        (Clip::H264Aac, "mp4"),
        (Clip::BFrames, "mp4"),
        (Clip::H264Mp3, "mp4"),
        (Clip::AudioOnly, "mp4"),
        (Clip::AudioOnly, "aac"),
        (Clip::H264Mp3, "mp3"),
    ]
    .into_iter()
    .map(|(clip, ending)| {
        std::thread::spawn(move || {
            let server = Server::start(SHORT_GRACE);
            let source = clip.path();
            let source = source.to_string_lossy();
            let (_directory, file) = fetch_whole(&server, clip, "a", ending);
            let kinds: &[&str] = match (clip, ending) {
                (_, "aac" | "mp3") | (Clip::AudioOnly, _) => &["a"],
                (Clip::VideoOnly, _) => &["v"],
                _ => &["v", "a"],
            };
            for kind in kinds {
                let (got, wanted) = (decoded(&file, &[], kind), decoded(&source, &[], kind));
                // ffmpeg does not always give out the very last sound of a container.
                let missing = wanted.len() - got.len().min(wanted.len());
                assert!(
                    missing <= usize::from(*kind == "a"),
                    "{clip:?}.{ending}:{kind}: {} of {}",
                    got.len(),
                    wanted.len()
                );
                assert_eq!(got[..], wanted[..wanted.len() - missing], "{clip:?}.{ending}:{kind}");
            }
        })
    })
    .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Sends a request and reads what comes until `enough`, at most a few seconds.
fn ask(server: &Server, head: &str, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.web_address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    while !enough(&got) {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
        }
    }
    got
}

#[test]
fn a_stream_that_nobody_publishes_is_waited_for_and_then_not_found() {
    let server = Server::start(
        "http_server { enabled on; listen 127.0.0.1:0; stream_wait 1; }\nvhost __defaultVhost__ { http_remux { enabled on; } }",
    );
    let began = std::time::Instant::now();
    let answer =
        ask(&server, "GET /live/nobody.flv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", |_| false);
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(began.elapsed() < Duration::from_secs(10), "no longer than that");
    // Of a stream that has no sound there is none.
    let mut publisher = publisher(&server.url("live/mute"));
    publisher.send(media::Kind::Video, 0, pattern::VIDEO_CONFIGURATION).unwrap();
    server.wait_published("live/mute");
    let answer =
        ask(&server, "HEAD /live/mute.flv HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", |_| false);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(answer.ends_with(b"\r\n\r\n"));
}

#[test]
fn a_websocket_carries_the_same_flv() {
    let server = Server::start(WEB);
    let mut publisher = publisher(&server.url("live/ws"));
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..100);
    server.wait_published("live/ws");
    let greeting = "GET /live/ws.flv HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = ask(&server, greeting, |got| got.len() > 2000);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let frame = &answer[at..];
    assert_eq!(frame[0], 0x82);
    let skip = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    assert!(frame[skip..].starts_with(b"FLV\x01\x05"), "{:x?}", &frame[..20]);
}

#[test]
fn the_death_of_the_http_process_disturbs_nobody_else() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start(WEB);
    let source = Frames::of_file(&Clip::H264Aac.path());
    let rtmp = Recorder::start(&server.url("live/a"));
    server.wait_players(1);
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    let http = Recorder::start(&format!("{}/live/a.flv", server.web()));
    wait_for("a second of the stream over HTTP", SOON, || (http.frames().len() > 40).then_some(()));
    let pid = server.pids("http")[0];
    signal(pid, Signal::SIGKILL);
    wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
    // It serves as its predecessor did, from the same socket.
    let again = Recorder::start(&format!("{}/live/a.flv", server.web()));
    wait_for("the stream from another process", SOON, || (again.frames().len() > 20).then_some(()));
    again.frames().assert_part_of(&source, false);
    let played = rtmp.finish(source.len() - 10);
    drop(encoder.finish(SOON).expect_success());
    played.assert_part_of(&source, false);
    assert!(played.len() + 10 >= source.len());
}

#[test]
fn gstreamer_plays_the_live_containers() {
    if !have(&["ffmpeg"]) || !optional(&["gst-launch-1.0"]) {
        return;
    }
    let server = Server::start(WEB);
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-re", "-stream_loop", "-1", "-i"]).arg(Clip::BFrames.path());
    let encoder = Running::start(command.args(["-c", "copy", "-f", "flv"]).arg(server.url("live/a")));
    server.wait_published("live/a");
    let cases = [("flv", "flvdemux"), ("ts", "tsdemux"), ("mp4", "qtdemux")];
    for (ending, elements) in cases {
        // It ends when fifty pictures have been decoded.
        let pipeline = format!(
            "souphttpsrc location={}/live/a.{ending} ! {elements} ! h264parse ! avdec_h264 ! fakesink num-buffers=50 sync=false",
            server.web()
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split(' ')).env("http_proxy", "").env("no_proxy", "*");
        let ended = run(&mut command, Duration::from_secs(30));
        assert!(ended.status.success() && !ended.stderr.contains("ERROR"), "{ending}: {}", ended.stderr);
    }
    drop(encoder);
}

/// The numbers of the frames in FLV bytes, each frame checked.
fn numbers(reader: &mut flv::file::Reader, bytes: &[u8]) -> Vec<u64> {
    reader.push(bytes);
    let mut numbers = Vec::new();
    while let Ok(Some(tag)) = reader.next_tag() {
        let packet = client::Packet { kind: tag.kind, timestamp: tag.timestamp_ms, payload: tag.body };
        numbers.extend(pattern::number(packet.kind, &packet.payload));
        if let Some(number) = pattern::number(packet.kind, &packet.payload) {
            assert_eq!(packet.payload, pattern::frame(number).body, "frame {number} is whole");
        }
    }
    numbers
}

#[test]
fn a_viewer_who_lags_jumps_to_a_key_frame_and_disturbs_nobody() {
    let server = Server::start(
        "http_server { enabled on; listen 127.0.0.1:0; }
vhost __defaultVhost__ { http_remux { enabled on; } queue_length 2; }",
    );
    let mut publisher = publisher(&server.url("live/a"));
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..100);
    server.wait_published("live/a");
    // HTTP/1.0 has no chunks: what comes behind the head is FLV.
    let open = || {
        let mut socket = TcpStream::connect(server.web_address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket.write_all(b"GET /live/a.flv HTTP/1.0\r\n\r\n").unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        socket
    };
    let (mut slow, mut quick) = (open(), open());
    let mut of_quick = flv::file::Reader::new();
    let mut seen = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    // Twenty thousand frames, far more than sockets hold; a second of them at a time, so that the quick one does not lag.
    for from in (100..20_000).step_by(50) {
        pattern::send_frames(&mut publisher, from..from + 50);
        while seen.last().is_none_or(|last| *last < from + 30) {
            let count = quick.read(&mut buffer).unwrap();
            seen.extend(numbers(&mut of_quick, &buffer[..count]));
        }
    }
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "the quick one has every frame");
    wait_until("one lags, and one does not", || {
        let mut lags: Vec<u64> =
            server.clients().iter().filter(|one| one.kind == "flv-play").map(|one| one.lag_ms).collect();
        lags.sort_unstable();
        matches!(lags.as_slice(), [0, lag] if *lag > 0)
    });
    let mut of_slow = flv::file::Reader::new();
    let mut got = Vec::new();
    while let Ok(count @ 1..) = slow.read(&mut buffer) {
        got.extend(numbers(&mut of_slow, &buffer[..count]));
    }
    assert!(got.windows(2).all(|pair| pair[1] > pair[0]));
    let jumps: Vec<u64> = got.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| pair[1]).collect();
    assert!(!jumps.is_empty(), "it lagged");
    assert!(jumps.iter().all(|number| number.is_multiple_of(pattern::GOP)), "{jumps:?}");
    assert!(got.last().is_some_and(|last| *last > 19_900));
    let clients = server.clients();
    let lagged = clients.iter().filter(|client| client.jumps > 0 && client.dropped > 0).count();
    assert_eq!(lagged, 1, "{clients:?}");
}

/// What is asked for as AAC is AAC, and what is not there is not waited for.
#[test]
fn sound_is_what_its_name_says_or_not_found_at_once() {
    let server = Server::start(WEB);
    let mp3 = [&[0x2f, 0xff, 0xfb, 0x90, 0x00][..], &[7; 400]].concat();
    let (mut aac, mut mpeg) = (publisher(&server.url("live/aac")), publisher(&server.url("live/mpeg")));
    let mut silent = publisher(&server.url("live/silent"));
    marked::send_headers(&mut aac, true, true);
    marked::send_headers(&mut mpeg, true, false);
    marked::send_headers(&mut silent, true, false);
    for unit in marked::usual(2000, 1000) {
        unit.send(&mut aac);
        if unit.is_video {
            unit.send(&mut silent);
        }
        unit.send_as(&mut mpeg, if unit.is_video { unit.body() } else { mp3.clone() }.as_slice());
    }
    let began = std::time::Instant::now();
    for (path, is_there) in [
        ("live/aac.aac", true),
        ("live/aac.mp3", false),
        ("live/mpeg.mp3", true),
        ("live/mpeg.aac", false),
        ("live/silent.aac", false),
        ("live/silent.mp3", false),
    ] {
        let mut socket = TcpStream::connect(srs_tests::http::address(&server.web())).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        // The next sound; without one there may be nothing to begin with.
        for unit in [Unit::sound(9001, 2000), Unit::sound(9003, 2023)] {
            unit.send(&mut aac);
            unit.send_as(&mut mpeg, &mp3);
        }
        let mut answer = vec![0; 1000];
        let count = socket.read(&mut answer).unwrap();
        let status = String::from_utf8_lossy(&answer[..count]).into_owned();
        let wanted = if is_there { "HTTP/1.1 200" } else { "HTTP/1.1 404" };
        assert!(status.starts_with(wanted), "{path}: {status}");
    }
    assert!(began.elapsed() < SOON, "nothing is waited for");
}
