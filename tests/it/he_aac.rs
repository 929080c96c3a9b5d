//! HE-AAC: sound whose frames have half the rate that is heard. What the encoder says of it arrives unchanged where there is
//! a place for it, and where there is none the headers describe the frames.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use client::Kind;
use flv::file::Tag;
use srs_tests::capture::{player, publisher, receive_frames, tags};
use srs_tests::clip::QUIET;
use srs_tests::process::{Running, run};
use srs_tests::program::have;
use srs_tests::site::{segments, site_with, wait_listed};
use srs_tests::wait::{SOON, wait_until};

/// Ways to say it for a core of 22050 Hz and two channels: its own object type first, or behind what old decoders read.
const WAYS: [(&str, &[u8]); 2] =
    [("hierarchical", &[0x2b, 0x92, 0x08, 0x00]), ("backward", &[0x13, 0x90, 0x56, 0xe5, 0xa0])];

/// Frames of AAC LC at 22050 Hz and two channels, with a configuration in front.
fn sound(directory: &Path, configuration: &[u8]) -> Vec<Tag> {
    let file = directory.join("core.flv");
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=22050", "-t", "6"]);
    command.args(["-ac", "2", "-c:a", "aac", "-b:a", "32k", "-f", "flv"]).arg(&file);
    drop(run(&mut command, SOON).expect_success());
    let mut tags = tags(&file);
    tags.retain(|tag| tag.kind == Kind::Audio);
    assert_eq!(tags[0].body[..2], [0xaf, 0]);
    tags[0].body = [&[0xaf, 0], configuration].concat().into();
    tags
}

/// The rate of what ffprobe decodes, and how many sounds.
fn probe(file: &Path) -> (String, u32) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-show_entries"]);
    command.args(["stream=sample_rate,channels,nb_read_frames", "-of", "default=nw=1"]).arg(file);
    let ended = run(&mut command, SOON);
    assert!(ended.stderr.is_empty(), "{}: {}", file.display(), ended.stderr);
    let said = ended.expect_success();
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(value("channels"), "2");
    (value("sample_rate"), value("nb_read_frames").parse().unwrap())
}

#[test]
fn what_the_encoder_says_arrives_and_headers_describe_the_frames() {
    if !have(&["ffmpeg", "ffprobe", "curl"]) {
        return;
    }
    let server = site_with(
        "stream_wait 5;",
        "http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } \
         hls { enabled on; hls_fragment 2; hls_window 60; hls_storage memory; hls_path TOP/html; }",
    );
    for (name, configuration) in WAYS {
        let path = format!("live/{name}");
        let tags = sound(server.directory(), configuration);
        let file = |ending: &str| server.directory().join(format!("{name}.{ending}"));
        let mut viewer = player(&server.url(&path));
        let curls = ["flv", "mp4", "ts", "aac"].map(|ending| {
            let mut command = Command::new("curl");
            command.args(["-sS", "--fail", "--noproxy", "*", "-o"]).arg(file(ending));
            Running::start(command.arg(format!("{}/{path}.{ending}", server.web())))
        });
        wait_until("all who wait", || {
            // Not those who still hold connections on which they asked for something of the stream before.
            let clients = server.clients();
            let over_http = clients.iter().filter(|client| client.process.starts_with("http"));
            over_http.filter(|client| client.tc_url.contains(&path)).count() == curls.len()
        });
        let mut publisher = publisher(&server.url(&path));
        for tag in &tags {
            publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        // RTMP.
        let received = receive_frames(&mut viewer, tags.len() - 1);
        let received = received.iter().filter(|packet| packet.kind == Kind::Audio);
        assert!(received.map(|packet| &packet.payload).eq(tags.iter().map(|tag| &tag.body)), "{name}");
        publisher.finish().unwrap();
        // HTTP: answers end when nobody has published for a while.
        for curl in curls {
            drop(curl.finish(SOON * 2).expect_success());
        }
        let flv = srs_tests::capture::tags(&file("flv"));
        let first = flv.iter().find(|tag| tag.kind == Kind::Audio).unwrap();
        assert_eq!(first.body, tags[0].body, "{name}: FLV");
        // The recording.
        let recording = server.directory().join(format!("html/rec/{name}.mp4"));
        wait_until("the recording", || recording.exists());
        for mp4 in [file("mp4"), recording] {
            let bytes = fs::read(&mp4).unwrap();
            let has = bytes.windows(configuration.len()).any(|window| window == configuration);
            assert!(has, "{name}: {}", mp4.display());
        }
        let recording = server.directory().join(format!("html/rec/{name}.mp4"));
        // What is decoded has twice the rate of the core: the decoder was told, and believes it.
        let (rate, frames) = probe(&recording);
        assert_eq!(rate, "44100", "{name}");
        assert!(frames as usize + 2 >= tags.len(), "{name}: {frames} of {}", tags.len());
        // Where frames have headers of their own: those of the core, from which decoders find the rest in the frames.
        let list = wait_listed(&server, &path, 5.5);
        let whole = server.directory().join(format!("{name}-hls.ts"));
        fs::write(&whole, segments(&server, &path, &list).concat()).unwrap();
        for file in [whole, file("ts"), file("aac")] {
            let mut command = Command::new("ffmpeg");
            command.args(QUIET).arg("-i").arg(&file).args(["-c", "copy", "-f", "adts"]);
            let bare = file.with_extension("adts");
            drop(run(command.arg(&bare), Duration::from_secs(20)).expect_success());
            let bytes = fs::read(&bare).unwrap();
            // AAC LC, index 7 for 22050 Hz, two channels.
            assert_eq!((bytes[0], bytes[1] & 0xf6, bytes[2] >> 6), (0xff, 0xf0, 1), "{name}");
            assert_eq!((bytes[2] >> 2 & 0x0f, (bytes[2] & 1) << 2 | bytes[3] >> 6), (7, 2), "{name}");
            let (_, frames) = probe(&file);
            assert!(frames > 30, "{name}: {frames} in {}", file.display());
        }
    }
}
