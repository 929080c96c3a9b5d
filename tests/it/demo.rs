//! What a newcomer sees first: the demo configuration, its stream, and `srs-cli` beside it.

use std::process::Command;

use client::Kind;
use srs_tests::capture::{assert_continuous, frames, is_frame, player, receive_until, tags};
use srs_tests::process::{Ended, run};
use srs_tests::program::{self, source_tree};
use srs_tests::server::Server;
use srs_tests::wait::SOON;
use tempfile::TempDir;

/// The demo with ports and files of its own, and its clip.
fn demo() -> (Server, std::path::PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().display().to_string();
    let text = std::fs::read_to_string(source_tree().join("conf/demo.conf")).unwrap();
    let replaced = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "conf/demo.conf has no {from}");
        text.replace(from, to)
    };
    let text = replaced(text, "listen              1935;", "listen 127.0.0.1:0;");
    let text = replaced(text, "listen          8080;", "listen 127.0.0.1:0;");
    let text = replaced(text, "127.0.0.1:1985", "127.0.0.1:0");
    let text = replaced(text, "./objs/srs.demo.pid", &format!("{path}/srs.pid"));
    let text = format!("runtime_dir {path}/run;\n{text}");
    let clip = source_tree().join("conf/demo.flv");
    (Server::start_in(directory, &text), clip)
}

#[test]
fn the_demo_stream_plays_over_the_end_of_its_clip() {
    let (server, clip) = demo();
    server.wait_published("live/demo");
    let mut player = player(&server.url("live/demo"));
    let source: Vec<_> = tags(&clip);
    let is_picture = |kind, body: &[u8]| kind == Kind::Video && is_frame(kind, body);
    let pictures: Vec<_> = source.iter().filter(|tag| is_picture(tag.kind, &tag.body)).collect();
    // Until the clip's first picture comes for the second time: over the end at least once.
    let (mut firsts, mut after) = (0, 0);
    let packets = receive_until(&mut player, |packet| {
        firsts += u32::from(packet.payload == pictures[0].body);
        after += u32::from(firsts >= 2);
        after >= 50
    });
    assert_continuous(&packets);
    let played: Vec<_> = frames(&packets).into_iter().filter(|packet| packet.kind == Kind::Video).collect();
    let start = pictures.iter().position(|tag| tag.body == played[0].payload).unwrap();
    assert!(flv::classify(played[0].kind, &played[0].payload).key_frame);
    for (packet, tag) in played.iter().zip(pictures.iter().cycle().skip(start)) {
        assert_eq!(packet.payload, tag.body, "at {} ms", packet.timestamp);
    }
    for pair in played.windows(2) {
        assert_eq!(pair[1].timestamp - pair[0].timestamp, 40, "at {} ms", pair[0].timestamp);
    }
    let headers = packets.iter().filter(|packet| flv::classify(packet.kind, &packet.payload).sequence_header);
    assert_eq!(headers.count(), 2, "decoder configuration comes once per track");
}

fn cli(api: &str, arguments: &[&str]) -> Ended {
    run(Command::new(program::srs_cli()).args(["--api", api]).args(arguments), SOON)
}

#[test]
fn the_command_line_client_shows_what_runs() {
    let (server, _) = demo();
    server.wait_published("live/demo");
    let _player = player(&server.url("live/demo"));
    server.wait_players(1);
    let api = server.api();

    let table = cli(&api, &["streams"]).expect_success();
    let line = table.lines().find(|line| line.contains(" live/demo ")).unwrap();
    assert!(line.contains("H264") && line.contains("AAC") && line.contains("live"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours in a file");
    let json: serde_json::Value =
        serde_json::from_str(&cli(&api, &["--format", "json", "streams"]).expect_success()).unwrap();
    assert_eq!(json["code"], 0);
    assert_eq!(json["streams"][0]["name"], "demo");

    let table = cli(&api, &["clients"]).expect_success();
    assert!(table.contains("play") && table.contains("publish") && table.contains("127.0.0.1"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&cli(&api, &["clients", "--format", "json"]).expect_success()).unwrap();
    assert_eq!(json["clients"].as_array().unwrap().len(), 2);

    let version = cli(&api, &["version"]).expect_success();
    assert_eq!(version.lines().count(), 2, "{version}");
    let json: serde_json::Value =
        serde_json::from_str(&cli(&api, &["version", "--format", "json"]).expect_success()).unwrap();
    assert!(json["client"].is_string() && json["server"].is_string(), "{json}");
    // By the environment, too.
    let mut command = Command::new(program::srs_cli());
    let by_environment = run(command.env("SRS_API", &api).arg("streams"), SOON).expect_success();
    assert!(by_environment.contains("live/demo"));
}

#[test]
fn the_command_line_client_says_what_is_wrong() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for question in ["streams", "clients"] {
        let ended = cli(&format!("http://127.0.0.1:{port}"), &[question]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(
            ended.stderr.contains(&port.to_string()) && ended.stderr.contains("http_api"),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.is_empty());
    }
    assert_eq!(cli("http://127.0.0.1:1", &["nobody-knows"]).status.code(), Some(2));
    let version = cli(&format!("http://127.0.0.1:{port}"), &["version"]);
    assert!(version.status.success() && version.stdout.contains("srs-cli"));
}
