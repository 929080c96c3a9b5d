//! Files over HTTP as players want them: as HLS, by seconds, by bytes; and files that mean harm.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use m3u8_rs::{MediaPlaylist, MediaPlaylistType, Playlist};
use srs_tests::capture::tags;
use srs_tests::clip::{Clip, QUIET};
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::transport::Transport;
use srs_tests::wait::SOON;
use tempfile::TempDir;

fn server() -> Server {
    let directory = TempDir::new().unwrap();
    let top = directory.path().join("html/films");
    fs::create_dir_all(&top).unwrap();
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; vod on; dir {}/html; }}",
        directory.path().display()
    );
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

/// What the web server says, with its status.
fn get(server: &Server, path: &str) -> (u16, Vec<u8>) {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(SOON * 2)).http_status_as_error(false).proxy(None);
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(format!("{}{path}", server.web())).call().unwrap();
    (response.status().as_u16(), response.body_mut().with_config().limit(256 << 20).read_to_vec().unwrap())
}

fn list(server: &Server, path: &str) -> MediaPlaylist {
    let (status, text) = get(server, path);
    assert_eq!(status, 200);
    match m3u8_rs::parse_playlist_res(&text) {
        Ok(Playlist::MediaPlaylist(list)) => list,
        other => panic!("{other:?}"),
    }
}

fn decoded(input: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-i", input, "-map", "0:v", "-f", "framemd5", "-"]);
    let text = run(&mut command, Duration::from_secs(60)).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

fn to_mp4(from: &Path, to: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(from).args(["-c", "copy"]).arg(to);
    drop(run(&mut command, SOON).expect_success());
}

#[test]
fn files_are_played_as_hls_whatever_they_are() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server();
    let films = server.directory().join("html/films");
    for (name, clip) in [("a", Clip::H264Aac), ("b", Clip::BFrames), ("c", Clip::H264Mp3)] {
        let flv = films.join(format!("{name}.flv"));
        fs::copy(clip.path(), &flv).unwrap();
        to_mp4(&flv, &films.join(format!("{name}.mp4")));
        for ending in ["flv", "mp4"] {
            let path = format!("/films/{name}.{ending}.m3u8");
            let list = list(&server, &path);
            assert!(list.end_list && list.playlist_type == Some(MediaPlaylistType::Vod));
            let length: f32 = list.segments.iter().map(|segment| segment.duration).sum();
            assert!((5.8..6.2).contains(&length), "{length}");
            for segment in &list.segments {
                let (status, bytes) = get(&server, &format!("/films/{}", segment.uri));
                assert_eq!(status, 200);
                let mut transport = Transport::default();
                transport.read(&bytes);
                assert!(transport.longest_clock_step_ms() <= 100);
                assert_eq!(transport.streams.len(), 2, "{name}.{ending}");
            }
            let played = decoded(&format!("{}{path}", server.web()));
            assert_eq!(played, decoded(&clip.path().to_string_lossy()), "{name}.{ending}");
        }
    }
    assert_eq!(get(&server, "/films/none.mp4.m3u8").0, 404);
    assert_eq!(get(&server, "/films/a.mp4.999.ts").0, 404);
}

#[test]
fn flv_files_are_sent_from_a_place() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = server();
    let film = server.directory().join("html/films/a.flv");
    // With an index of key frames, as recordings have it.
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(Clip::H264Aac.path()).args([
        "-c",
        "copy",
        "-flvflags",
        "add_keyframe_index",
    ]);
    drop(run(command.arg(&film), SOON).expect_success());
    let whole = fs::read(&film).unwrap();
    let (status, part) = get(&server, "/films/a.flv?start=3.5");
    assert_eq!(status, 200);
    assert!(part.len() < whole.len() * 2 / 3 && whole.ends_with(&part[part.len() / 2..]));
    let file = server.directory().join("part.flv");
    fs::write(&file, &part).unwrap();
    // From the key frame at three seconds on: seventy-five pictures.
    assert_eq!(decoded(&file.to_string_lossy()).len(), 75);
    // The same by bytes: where the tag of that key frame begins.
    let headers: usize = tags(&file).iter().take(2).map(|tag| tag.body.len() + 15).sum();
    let place = whole.len() - (part.len() - 13 - headers);
    assert_eq!(whole[place], 9);
    assert!(get(&server, &format!("/films/a.flv?start={place}")).1 == part);
    // A place where no tag begins means the next key frame, one behind the end the whole file.
    let (_, next) = get(&server, &format!("/films/a.flv?start={}", place - 1));
    assert!(next == part);
    assert_eq!(get(&server, "/films/a.flv?start=99999999999").1, whole);
    assert_eq!(get(&server, "/films/a.flv?start=-1").1, whole);
}

#[test]
fn crafted_files_cost_little_and_harm_nobody() {
    let server = server();
    let pid = server.pids("http")[0];
    let films = server.directory().join("html/films");
    let nested = {
        let mut bytes = Vec::new();
        for depth in (1..2000_u32).rev() {
            bytes.splice(0..0, [(depth * 8 + 8).to_be_bytes().as_slice(), b"moov"].concat());
            if bytes.len() > 100_000 {
                break;
            }
        }
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("huge.mp4", b"\xff\xff\xff\xffmoov".to_vec()),
        ("long.mp4", b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("zero.mp4", b"\0\0\0\0moov".to_vec()),
        ("small.mp4", b"\0\0\0\x04moov\0\0\0\x08free".repeat(1000)),
        ("nested.mp4", nested),
        ("pssh.mp4", [b"\0\x0c\x35\x08moov".as_slice(), &b"\0\0\0\x08pssh".repeat(100_000)].concat()),
        ("free.mp4", b"\0\0\0\x08free".repeat(500_000)),
        ("empty.mp4", Vec::new()),
        ("empty.flv", Vec::new()),
        ("text.flv", b"no such file".to_vec()),
        (
            "tag.flv",
            [b"FLV\x01\x05\0\0\0\x09\0\0\0\0".as_slice(), b"\x09\xff\xff\xff\0\0\0\0\0\0\0"].concat(),
        ),
        (
            "tiny.flv",
            [
                b"FLV\x01\x05\0\0\0\x09\0\0\0\0".as_slice(),
                &b"\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b".repeat(200_000),
            ]
            .concat(),
        ),
    ];
    for (name, bytes) in &cases {
        fs::write(films.join(name), bytes).unwrap();
        let (status, _) = get(&server, &format!("/films/{name}.m3u8"));
        assert_eq!(status, 404, "{name}");
        assert_eq!(get(&server, &format!("/films/{name}.0.ts")).0, 404, "{name}");
        assert_eq!(get(&server, &format!("/films/{name}?start=5")).0, 200, "{name}");
    }
    assert_eq!(server.pids("http")[0], pid, "the process lives");
}
