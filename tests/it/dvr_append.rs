//! Recordings that each publish continues (`dvr_plan append`): one file, whatever dies meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::{Frame, Frames, ffmpeg_publish, tags};
use srs_tests::clip::{Clip, assert_playable};
use srs_tests::http::ask;
use srs_tests::process::{run, signal, wait_gone};
use srs_tests::program::{self, have};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A server that records into `rec/live/NAME.ending`.
fn server(ending: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let top = directory.path().display();
    let own = format!(
        "vhost __defaultVhost__ {{ dvr {{ enabled on; dvr_plan append; dvr_path {top}/rec/[app]/[stream].{ending}; }} }}"
    );
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

fn path(server: &Server, name: &str) -> PathBuf {
    server.directory().join("rec/live").join(name)
}

/// Files that the server has finished, as its API tells them.
fn recorded(server: &Server) -> Vec<serde_json::Value> {
    let dvr = ask(&server.api(), "GET", "/api/v1/dvr", &[]).json();
    dvr["recorded"].as_array().cloned().unwrap_or_default()
}

fn wait_recorded(server: &Server, count: usize) -> Vec<serde_json::Value> {
    wait_for(&format!("{count} finished recordings"), SOON, || {
        Some(recorded(server)).filter(|recorded| recorded.len() >= count)
    })
}

fn publish(server: &Server, clip: Clip) {
    let encoder = ffmpeg_publish(&clip.path(), &server.url("live/a"), false);
    drop(encoder.finish(SOON).expect_success());
}

fn duration_s(path: &Path) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]).arg(path);
    run(&mut command, SOON).expect_success().trim().parse().unwrap()
}

fn hashes(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.hash.as_str()).collect()
}

/// Asserts that a file has so many times all pictures of a clip, and its sounds but those before the first picture; that no
/// track's time goes back, and that both go on together.
fn assert_whole(path: &Path, clip: Clip, times: usize) {
    assert_playable(path);
    let (frames, source) = (Frames::of_file(path), Frames::of_file(&clip.path()));
    assert_eq!(hashes(&frames.video), hashes(&source.video).repeat(times));
    let (sounds, mut left) = (hashes(&source.audio), hashes(&frames.audio));
    for _ in 0..times {
        let skipped = (0..3).find(|skipped| left.starts_with(&sounds[*skipped..])).expect("all sounds");
        left.drain(..sounds.len() - skipped);
    }
    assert!(left.is_empty());
    for track in [&frames.video, &frames.audio] {
        assert!(track.windows(2).all(|pair| (1..=150).contains(&(pair[1].dts_ms - pair[0].dts_ms))));
    }
    let length = 6.0 * f64::from(u32::try_from(times).unwrap());
    assert!((duration_s(path) - length).abs() < 0.15 * length / 6.0, "{}", duration_s(path));
}

/// What the index of an FLV file says: seconds and places.
fn index(path: &Path) -> Vec<(f64, usize)> {
    let first = &tags(path)[0];
    let values =
        amf0::decode_all(&first.body, &amf0::Limits { nodes: 10_000, ..amf0::Limits::default() }).unwrap();
    let Some(amf0::Value::EcmaArray(all)) = values.get(1) else { panic!("{values:?}") };
    let of = |list: &[(String, amf0::Value)], name: &str| {
        list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let Some(amf0::Value::Object(keyframes)) = of(all, "keyframes") else { panic!() };
    let numbers = |name| match of(&keyframes, name) {
        Some(amf0::Value::StrictArray(values)) => {
            values.iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
        }
        _ => panic!(),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places in a small file")]
    let places = numbers("filepositions").into_iter().map(|at| at as usize);
    numbers("times").into_iter().zip(places).collect()
}

#[test]
fn each_publish_continues_the_file_over_a_restart_of_the_server_too() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for (ending, clip) in [("flv", Clip::H264Aac), ("mp4", Clip::H264Aac), ("flv", Clip::BFrames)] {
        let mut server = server(ending);
        let path = path(&server, &format!("a.{ending}"));
        publish(&server, clip);
        wait_recorded(&server, 1);
        publish(&server, clip);
        let told = wait_recorded(&server, 2);
        assert_whole(&path, clip, 2);
        assert_eq!(told[1]["path"].as_str(), path.to_str());
        let told_s = told[1]["duration_ms"].as_f64().unwrap() / 1000.0;
        assert!((told_s - duration_s(&path)).abs() < 0.2, "{told_s}");
        // Another server, the same file.
        server.signal(Signal::SIGTERM);
        assert!(server.wait_end(SOON).success());
        server.start_master();
        publish(&server, clip);
        wait_recorded(&server, 1);
        assert_whole(&path, clip, 3);
        let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing but the file");
        if ending == "flv" {
            let bytes = fs::read(&path).unwrap();
            let index = index(&path);
            assert_eq!(index.len(), 18);
            assert!(index.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
            assert!(index.iter().all(|(_, at)| bytes[*at] == 9 && bytes[at + 11] == 0x17));
        }
    }
}

#[test]
fn a_killed_http_process_leaves_no_hole_and_repeats_nothing() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for ending in ["flv", "mp4"] {
        let server = server(ending);
        let path = path(&server, &format!("a.{ending}"));
        publish(&server, Clip::H264Aac);
        wait_recorded(&server, 1);
        let before = fs::metadata(&path).unwrap().len();
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
        wait_until("two seconds more", || fs::metadata(&path).is_ok_and(|file| file.len() > before + 80_000));
        // The file has its name all the time.
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        let cli = || {
            let mut command = Command::new(program::srs_cli());
            command.arg("--socket").arg(server.socket()).arg("dvr");
            // It says by its status that a process does not answer while that is dead.
            run(&mut command, SOON).stdout
        };
        wait_until("the plan in the list", || cli().contains("append"));
        drop(encoder.finish(Duration::from_secs(30)).expect_success());
        wait_recorded(&server, 1);
        assert_playable(&path);
        let (frames, source) = (Frames::of_file(&path), Frames::of_file(&Clip::H264Aac.path()));
        let (first, rest) = frames.video.split_at(source.video.len());
        assert_eq!(hashes(first), hashes(&source.video));
        // What the ring did not hold any more may be missing; nothing is there twice, or out of order.
        let mut at = 0;
        for frame in rest {
            let found = source.video[at..].iter().position(|known| known.hash == frame.hash);
            at += found.unwrap_or_else(|| panic!("{ending}: a picture that is not the next one")) + 1;
        }
        assert!(rest.len() + 30 >= source.video.len() && at == source.video.len(), "{} pictures", rest.len());
        for track in [&frames.video, &frames.audio] {
            assert!(track.windows(2).all(|pair| pair[0].dts_ms < pair[1].dts_ms));
        }
        // Where something is missing, time has passed.
        let length = (frames.video.last().unwrap().dts_ms - rest[0].dts_ms) - 5960;
        assert!(length.abs() <= 80, "{length}");
        assert!((duration_s(&path) - 12.0).abs() < 0.3);
    }
}

#[test]
fn a_server_that_is_killed_whole_goes_on_with_the_file() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let mut server = server("flv");
    let path = path(&server, "a.flv");
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    let unfinished = path.with_extension("flv.tmp");
    wait_until("two seconds", || fs::metadata(&unfinished).is_ok_and(|file| file.len() > 90_000));
    let mut family: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
    family.retain(|pid| *pid != server.pid());
    server.kill_master();
    for pid in family {
        signal(pid, Signal::SIGKILL);
        wait_gone("a process of the server", pid, SOON);
    }
    drop(encoder);
    // As if the last write had not been done.
    let bytes = fs::read(&unfinished).unwrap();
    fs::write(&unfinished, &bytes[..bytes.len() - 7]).unwrap();
    server.start_master();
    publish(&server, Clip::H264Aac);
    wait_recorded(&server, 1);
    assert_playable(&path);
    let (frames, source) = (Frames::of_file(&path), Frames::of_file(&Clip::H264Aac.path()));
    let first = frames.video.len() - source.video.len();
    assert!(first > 20, "{first} pictures of before");
    assert_eq!(hashes(&frames.video[..first]), hashes(&source.video[..first]));
    assert_eq!(hashes(&frames.video[first..]), hashes(&source.video));
    assert!(frames.video.windows(2).all(|pair| pair[0].dts_ms < pair[1].dts_ms));
    assert!(!unfinished.exists());
}

#[test]
fn what_is_no_recording_is_kept_under_another_name() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for ending in ["flv", "mp4"] {
        let server = server(ending);
        let path = path(&server, &format!("a.{ending}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "my diary").unwrap();
        publish(&server, Clip::H264Aac);
        wait_recorded(&server, 1);
        assert_whole(&path, Clip::H264Aac, 1);
        let aside = path.with_extension(format!("{ending}.other"));
        assert_eq!(fs::read_to_string(&aside).unwrap(), "my diary");
        wait_until("a word of it", || server.log().contains(&format!("it is called a.{ending}.other now")));
    }
}

#[test]
fn other_tracks_get_another_mp4_file() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = server("mp4");
    for (n, clip) in [Clip::H264Aac, Clip::BFrames, Clip::H264Aac, Clip::BFrames].into_iter().enumerate() {
        publish(&server, clip);
        wait_recorded(&server, n + 1);
    }
    assert_whole(&path(&server, "a.mp4"), Clip::H264Aac, 2);
    assert_whole(&path(&server, "a-1.mp4"), Clip::BFrames, 2);
    wait_until("the line about it", || server.log().contains("has other tracks: it goes on in another file"));
}
