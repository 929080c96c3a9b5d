//! Recordings: every packet that was published, in files that are whole whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::{Frames, Recorder, ffmpeg_publish, player, publisher, receive_frames};
use srs_tests::clip::{Clip, QUIET, assert_playable};
use srs_tests::http::ask;
use srs_tests::process::{Running, run, signal};
use srs_tests::program::{self, have};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use srs_tests::{marked, pattern};
use tempfile::TempDir;

/// A server that records; `dvr` is what stands in the block.
fn server(dvr: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let own = format!(
        "vhost __defaultVhost__ {{ dvr {{ enabled on; {} }} }}",
        dvr.replace("TOP", &directory.path().display().to_string())
    );
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

/// Finished recordings, by name.
fn files(server: &Server, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(server.directory().join("rec/live"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|known| known == ending))
        .collect();
    found.sort();
    found
}

fn wait_files(server: &Server, ending: &str, count: usize) -> Vec<PathBuf> {
    wait_for(&format!("{count} recordings"), SOON, || {
        Some(files(server, ending)).filter(|found| found.len() >= count)
    })
}

/// A number that ffprobe finds in a file.
fn probe(path: &Path, entry: &str) -> f64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", entry, "-of", "csv=p=0"]).arg(path);
    run(&mut command, SOON).expect_success().trim().lines().next().unwrap().parse().unwrap()
}

#[test]
fn a_session_is_one_file_with_every_packet_its_length_and_an_index() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = server("dvr_path TOP/rec/[app]/[stream].flv;");
    for (name, clip) in
        [("a", Clip::H264Aac), ("b", Clip::BFrames), ("c", Clip::H264Mp3), ("d", Clip::AudioOnly)]
    {
        let encoder = ffmpeg_publish(&clip.path(), &server.url(&format!("live/{name}")), false);
        drop(encoder.finish(SOON).expect_success());
        let path = server.directory().join(format!("rec/live/{name}.flv"));
        wait_until("the recording", || path.exists());
        let (recorded, source) = (Frames::of_file(&path), Frames::of_file(&clip.path()));
        recorded.assert_part_of(&source, true);
        // A sound that came before the first key frame is not in it.
        assert!(recorded.len() + 2 >= source.len() && recorded.video.len() == source.video.len());
        assert!((probe(&path, "format=duration") - 6.0).abs() < 0.1);
        if clip != Clip::AudioOnly {
            let bytes = fs::read(&path).unwrap();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(has(b"keyframes") && has(b"filepositions") && has(b"framerate"));
        }
    }
}

#[test]
fn segments_begin_with_key_frames_and_lose_nothing_between_them() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for (ending, own) in [("flv", ""), ("mp4", "")] {
        let server = server(&format!(
            "dvr_plan segment; dvr_duration 2; dvr_path TOP/rec/[app]/[stream]-[timestamp].{ending}; {own}"
        ));
        let source = Frames::of_file(&Clip::H264Aac.path());
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
        drop(encoder.finish(SOON).expect_success());
        let files = wait_files(&server, ending, 3);
        assert_eq!(files.len(), 3);
        let mut all = Frames::default();
        for path in &files {
            assert_playable(path);
            let frames = Frames::of_file(path);
            all.video.extend(frames.video);
            all.audio.extend(frames.audio);
        }
        let hashes = |frames: &[srs_tests::capture::Frame]| {
            frames.iter().map(|frame| frame.hash.clone()).collect::<Vec<_>>()
        };
        assert_eq!(hashes(&all.video), hashes(&source.video), "{ending}");
        let (got, wanted) = (hashes(&all.audio), hashes(&source.audio));
        assert!(
            wanted.ends_with(&got) && got.len() + 2 >= wanted.len(),
            "{ending}: {} of {}",
            got.len(),
            wanted.len()
        );
        assert!(!files[0].with_extension(format!("{ending}.tmp")).exists());
    }
}

/// The index at the end of an MP4 file: when a key frame is shown (ms), and where its fragment begins.
fn index(bytes: &[u8]) -> Vec<(u64, usize)> {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let len = u32::from_be_bytes(bytes[bytes.len() - 4..].try_into().unwrap());
    let mfra = bytes.len() - usize::try_from(len).unwrap();
    assert_eq!((&bytes[mfra + 4..mfra + 8], &bytes[mfra + 12..mfra + 16]), (&b"mfra"[..], &b"tfra"[..]));
    let count = u32::from_be_bytes(bytes[mfra + 28..mfra + 32].try_into().unwrap());
    (0..usize::try_from(count).unwrap())
        .map(|n| mfra + 32 + n * 19)
        .map(|at| (number(at), usize::try_from(number(at + 8)).unwrap()))
        .collect()
}

/// Decoded pictures by their hashes: all, or so many from a place on.
fn pictures(path: &Path, from: Option<(&str, &str)>) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET);
    if let Some((from_s, _)) = from {
        command.args(["-ss", from_s]);
    }
    command.arg("-i").arg(path).args(["-map", "0:v"]);
    if let Some((_, count)) = from {
        command.args(["-frames:v", count]);
    }
    command.args(["-f", "framemd5", "-"]);
    let frames = Frames::parse(&run(&mut command, SOON).expect_success());
    frames.video.into_iter().map(|frame| frame.hash).collect()
}

#[test]
fn a_finished_mp4_file_has_its_length_and_an_index_of_key_frames() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = server("dvr_path TOP/rec/[app]/[stream].mp4;");
    for (name, clip) in [("a", Clip::BFrames), ("b", Clip::AudioOnly)] {
        let encoder = ffmpeg_publish(&clip.path(), &server.url(&format!("live/{name}")), false);
        drop(encoder.finish(SOON).expect_success());
        let path = server.directory().join(format!("rec/live/{name}.mp4"));
        wait_until("the recording", || path.exists());
        assert_playable(&path);
        // To the end of the last sound; it begins with the first picture, which is shown a little later.
        assert!((probe(&path, "format=duration") - 6.05).abs() < 0.1);
        let bytes = fs::read(&path).unwrap();
        let find = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
        let (mvhd, mehd) = (find(b"mvhd") + 20, find(b"mehd") + 8);
        let short = u32::from_be_bytes(bytes[mvhd..mvhd + 4].try_into().unwrap());
        let long = u64::from_be_bytes(bytes[mehd..mehd + 8].try_into().unwrap());
        assert!(u64::from(short) == long && (5950..6150).contains(&long), "{short} {long}");
        let index = index(&bytes);
        assert!(index.iter().all(|(_, at)| &bytes[at + 4..at + 8] == b"moof"));
        assert!(index.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        if clip == Clip::BFrames {
            let first = index[0].0;
            let times: Vec<u64> = index.iter().map(|(shown_ms, _)| (shown_ms - first) / 100).collect();
            assert_eq!(times, [0, 10, 20, 30, 40, 50]);
            let (all, found) = (pictures(&clip.path(), None), pictures(&path, Some(("4", "3"))));
            let at = all.iter().position(|hash| *hash == found[0]).unwrap();
            assert!((99..=101).contains(&at) && all[at..].starts_with(&found), "{at}");
        } else {
            assert!((5..=7).contains(&index.len()));
        }
    }
}

#[test]
fn a_recording_that_its_process_left_is_repaired() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for ending in ["flv", "mp4"] {
        let server = server(&format!("dvr_path TOP/rec/[app]/[stream]-[timestamp].{ending};"));
        let rtmp = Recorder::start(&server.url("live/a"));
        server.wait_players(1);
        let source = Frames::of_file(&Clip::H264Aac.path());
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
        let unfinished = || {
            let entries = fs::read_dir(server.directory().join("rec/live")).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|ending| ending == "tmp"))
        };
        wait_until("two seconds of it on the disk", || {
            unfinished().is_some_and(|path| fs::metadata(path).is_ok_and(|file| file.len() > 150_000))
        });
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        let repaired = wait_files(&server, ending, 1);
        assert_playable(&repaired[0]);
        assert!(probe(&repaired[0], "format=duration") > 1.0);
        if ending == "mp4" {
            assert!(!index(&fs::read(&repaired[0]).unwrap()).is_empty());
        }
        let first = Frames::of_file(&repaired[0]);
        assert!(first.video.len() > 25);
        // Operators see it like any other.
        let told = || ask(&server.api(), "GET", "/api/v1/dvr", &[]).json()["recorded"][0].clone();
        wait_until("it is in the list", || told()["path"].is_string());
        let told = told();
        assert_eq!(told["path"].as_str(), repaired[0].to_str());
        assert_eq!((told["app"].as_str(), told["name"].as_str()), (Some("live"), Some("a")));
        assert_eq!(told["bytes"].as_u64(), fs::metadata(&repaired[0]).ok().map(|file| file.len()));
        assert!(
            told["duration_ms"].as_f64().unwrap() / 1000.0 + 0.1 > probe(&repaired[0], "format=duration")
        );
        drop(encoder.finish(Duration::from_secs(30)).expect_success());
        // The successor went on in another file.
        let both = wait_files(&server, ending, 2);
        both.iter().for_each(|path| assert_playable(path));
        assert!(unfinished().is_none());
        let played = rtmp.finish(source.len() - 10);
        played.assert_part_of(&source, false);
    }
}

#[test]
fn only_streams_that_are_named_are_recorded() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("dvr_apply live/a live/x; dvr_path TOP/rec;");
    for name in ["b", "a"] {
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url(&format!("live/{name}")), false);
        drop(encoder.finish(SOON).expect_success());
    }
    let files = wait_files(&server, "flv", 1);
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(files.len() == 1 && name.starts_with("a."), "{files:?}");
}

#[test]
fn an_order_begins_and_ends_a_recording() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let own = format!(
        "http_api {{ enabled on; listen 127.0.0.1:0; }}\nvhost __defaultVhost__ {{ dvr {{ dvr_path {}/rec/[app]/[stream]-[timestamp].flv; }} }}",
        directory.path().display()
    );
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-re", "-stream_loop", "-1", "-i"]).arg(Clip::H264Aac.path());
    let encoder = Running::start(command.args(["-c", "copy", "-f", "flv", &server.url("live/a")]));
    server.wait_published("live/a");
    let dvr = || ask(&server.api(), "GET", "/api/v1/dvr", &[]).json();
    assert!(dvr()["recordings"].as_array().unwrap().is_empty());
    // By the API: with the token only, and only what is there.
    let authorization = format!("Authorization: Bearer {}", server.token());
    let post = |path: &str| ask(&server.api(), "POST", path, &[&authorization]);
    assert_eq!(post("/api/v1/dvr/start?app=live").status, 400);
    assert_eq!(post("/api/v1/dvr/start?app=live&stream=none").status, 409);
    assert_eq!(ask(&server.api(), "POST", "/api/v1/dvr/start?app=live&stream=a", &[]).status, 401);
    wait_until("a recording", || post("/api/v1/dvr/start?app=live&stream=a").status == 200);
    wait_until("its first second", || {
        let told = dvr()["recordings"][0].clone();
        told["by_operator"] == true && told["duration_ms"].as_u64() >= Some(1000)
    });
    // The order outlives the process that has it.
    let pid = server.pids("http")[0];
    signal(pid, Signal::SIGKILL);
    wait_until("it is recorded by a successor", || {
        let told = dvr()["recordings"][0].clone();
        server.pids("http").first().is_some_and(|now| *now != pid)
            && told["by_operator"] == true
            && told["duration_ms"].as_u64() >= Some(500)
    });
    assert_eq!(post("/api/v1/dvr/stop?app=live&stream=a").json()["recording"], false);
    wait_until("the file", || dvr()["recorded"][0]["path"].is_string());
    let path = PathBuf::from(dvr()["recorded"][0]["path"].as_str().unwrap());
    assert_playable(&path);
    let length = probe(&path, "format=duration");
    assert!((length * 1000.0 - dvr()["recorded"][0]["duration_ms"].as_f64().unwrap()).abs() < 100.0);
    // By srs-cli; the end of the publish ends it, too.
    let cli = |arguments: &[&str]| {
        let mut command = Command::new(program::srs_cli());
        command.arg("--socket").arg(server.socket()).args(arguments);
        run(&mut command, SOON).expect_success()
    };
    cli(&["dvr", "--start", "live/a"]);
    wait_until("records", || cli(&["dvr"]).contains("records"));
    signal(encoder.pid(), Signal::SIGTERM);
    wait_files(&server, "flv", 3).iter().for_each(|path| assert_playable(path));
    wait_until("nothing recorded", || cli(&["dvr"]).contains("nothing is recorded"));
}

/// The only key frame came long before the order, and the tracks were described before that.
#[test]
fn a_recording_that_begins_in_mid_stream_has_what_a_decoder_needs() {
    for ending in ["flv", "mp4"] {
        let directory = TempDir::new().unwrap();
        let own = format!(
            "http_api {{ enabled on; listen 127.0.0.1:0; }}\nvhost __defaultVhost__ {{ dvr {{ dvr_path {}/rec/live/[stream].{ending}; }} }}",
            directory.path().display()
        );
        let text = configuration(directory.path(), &own);
        let server = Server::start_in(directory, &text);
        let units = marked::usual(3000, 10_000);
        let mut publisher = publisher(&server.url("live/a"));
        publisher.send_metadata(0, &pattern::metadata()).unwrap();
        marked::send_headers(&mut publisher, true, true);
        let (before, after) = units.split_at(units.len() / 2);
        let mut player = player(&server.url("live/a"));
        before.iter().for_each(|unit| unit.send(&mut publisher));
        assert!(receive_frames(&mut player, before.len()).len() > before.len());
        let authorization = format!("Authorization: Bearer {}", server.token());
        let order = |what: &str| {
            let path = format!("/api/v1/dvr/{what}?app=live&stream=a");
            ask(&server.api(), "POST", &path, &[&authorization]).status == 200
        };
        wait_until("the order is taken", || order("start"));
        after.iter().for_each(|unit| unit.send(&mut publisher));
        drop(receive_frames(&mut player, after.len()));
        drop(publisher.finish());
        let bytes = fs::read(&wait_files(&server, ending, 1)[0]).unwrap();
        let got = if ending == "flv" { marked::of_flv(&bytes) } else { marked::of_mp4(&bytes) };
        marked::assert_same(ending, &got, &units);
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(
            has(&pattern::VIDEO_CONFIGURATION[5..]) && has(&pattern::AUDIO_CONFIGURATION[2..]),
            "{ending}"
        );
        assert!(ending == "mp4" || has(b"testnumber"), "what the publisher said of itself");
    }
}

#[test]
fn a_full_disk_ends_files_where_they_are_whole_and_nothing_else() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let top = TempDir::new().unwrap();
    let disk = top.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        srs_tests::skipped!("a small file system can't be mounted here");
        return;
    }
    let _mounted = Mounted(disk.clone());
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 700_000]).unwrap();
    let at = disk.display();
    let server = Server::start(&format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir {at}; }}
vhost __defaultVhost__ {{ hls {{ enabled on; hls_fragment 1; hls_path {at}; hls_ctx off; }} dvr {{ enabled on; dvr_path {at}/[app]/[stream]-[timestamp].flv; }} }}"
    ));
    let source = Frames::of_file(&Clip::H264Aac.path());
    let rtmp = Recorder::start(&server.url("live/a"));
    server.wait_players(1);
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    wait_until("a full disk", || server.log().contains("dvr of") && server.log().contains("space"));
    fs::remove_file(&ballast).unwrap();
    drop(encoder.finish(SOON).expect_success());
    let played = rtmp.finish(source.len() - 10);
    played.assert_part_of(&source, false);
    let recorded = || {
        let entries =
            fs::read_dir(disk.join("live")).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "flv")).collect::<Vec<_>>()
    };
    wait_until("the recording", || !recorded().is_empty());
    recorded().iter().for_each(|path| assert_playable(path));
    // The list names what exists.
    let list = fs::read_to_string(disk.join("live/a.m3u8")).unwrap();
    for name in list.lines().filter(|line| !line.starts_with('#')) {
        assert!(disk.join("live").join(name).exists(), "{name} is listed:\n{list}");
    }
    drop(server);
}

/// A file system that goes with its test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
