//! Several http processes: each can be asked for everything, and one alone has a stream's HLS and recording.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use m3u8_rs::Playlist;
use nix::sys::signal::Signal;
use srs_tests::capture::{Frames, Recorder, ffmpeg_publish};
use srs_tests::certificate::certify;
use srs_tests::clip::Clip;
use srs_tests::http::ask;
use srs_tests::process::{run, signal};
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

const STREAMS: usize = 8;

fn text(directory: &Path, workers: u32, hls: &str) -> String {
    let at = directory.display();
    let own = format!(
        "http_workers {workers};
http_server {{ enabled on; listen 127.0.0.1:0; dir {at}/html; https {{ enabled on; listen 127.0.0.1:0; key {at}/server.key; cert {at}/server.crt; }} }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_path {at}/html; hls_fragment 2; {hls} }}
    dvr {{ enabled off; dvr_path {at}/rec/[app]/[stream].flv; }} }}"
    );
    configuration(directory, &own)
}

fn server(workers: u32, hls: &str) -> Server {
    let directory = TempDir::new().unwrap();
    certify(directory.path(), "a.example");
    let text = text(directory.path(), workers, hls);
    Server::start_in(directory, &text)
}

/// Publishes the clip as so many streams, and waits until all of them are listed.
fn publish(server: &Server, segments: usize) {
    for n in 0..STREAMS {
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url(&format!("live/cam-{n}")), false);
        drop(encoder.finish(SOON).expect_success());
    }
    let all: Vec<String> = (0..STREAMS).map(|n| format!("/live/cam-{n}.m3u8")).collect();
    wait_until("all segments of all streams", || {
        let lists = curl(server, false, &all);
        all.iter().all(|path| listed(&lists[path]).len() >= segments)
    });
}

/// Asks for all paths over one connection, one after the other.
fn curl(server: &Server, tls: bool, paths: &[String]) -> BTreeMap<String, Vec<u8>> {
    let top = TempDir::new().unwrap();
    let base = if tls {
        format!("https://{}", server.web_tls_address())
    } else {
        server.web().trim_end_matches('/').to_owned()
    };
    let mut command = Command::new("curl");
    command.args(["-sk", "--max-time", "15", "-w", "%{http_code} %{num_connects} %{url}\n"]);
    for (n, path) in paths.iter().enumerate() {
        command.arg("-o").arg(top.path().join(n.to_string())).arg(format!("{base}{path}"));
    }
    let said = run(&mut command, SOON).expect_success();
    let codes: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(codes.iter().all(|code| *code == "200") && codes.len() == paths.len(), "{said}");
    let connections: u32 = said.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u32>().ok()).sum();
    assert_eq!(connections, 1, "one connection for all: {said}");
    let read =
        |(n, path): (usize, &String)| (path.clone(), fs::read(top.path().join(n.to_string())).unwrap());
    paths.iter().enumerate().map(read).collect()
}

/// Paths of the segments of a list.
fn listed(list: &[u8]) -> Vec<String> {
    match m3u8_rs::parse_playlist_res(list) {
        Ok(Playlist::MediaPlaylist(list)) => {
            list.segments.iter().map(|segment| format!("/live/{}", segment.uri)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_process_can_be_asked_for_every_stream_with_and_without_tls() {
    if !have(&["ffmpeg", "curl", "openssl"]) {
        return;
    }
    for storage in ["memory", "disk"] {
        let server = server(3, &format!("hls_ctx off; hls_window 60; hls_storage {storage};"));
        assert_eq!(server.pids("http").len(), 3);
        publish(&server, 3);
        let told: serde_json::Value = ask(&server.api(), "GET", "/api/v1/hls", &[]).json();
        let told = told["hls"].as_array().unwrap().clone();
        assert_eq!(told.len(), STREAMS, "each stream has one owner: {told:?}");
        let owners: BTreeSet<&str> = told.iter().map(|stream| stream["process"].as_str().unwrap()).collect();
        assert!(owners.len() >= 2, "they are divided: {owners:?}");
        let lists: Vec<String> = (0..STREAMS).map(|n| format!("/live/cam-{n}.m3u8")).collect();
        let mut first = None;
        for (round, tls) in [false, true, false, true, false, true].into_iter().enumerate() {
            let got = curl(&server, tls, &lists);
            // Segments of all streams in turn, so that the connection goes from process to process.
            let mut segments: Vec<Vec<String>> = lists.iter().map(|list| listed(&got[list])).collect();
            let mut paths = Vec::new();
            while segments.iter().any(|of_one| !of_one.is_empty()) {
                paths.extend(segments.iter_mut().filter_map(Vec::pop));
            }
            assert_eq!(paths.len(), 3 * STREAMS);
            let bytes = curl(&server, tls, &paths);
            let known = first.get_or_insert_with(|| bytes.clone());
            assert!(*known == bytes, "the same whoever was asked, round {round}");
        }
        // There and back many times over the same connection.
        let all: Vec<String> = (0..20).flat_map(|_| lists.clone()).collect();
        assert_eq!(curl(&server, false, &all).len(), STREAMS);
        assert_eq!(curl(&server, true, &all).len(), STREAMS);
    }
}

#[test]
fn players_are_counted_once_and_live_streams_come_from_every_process() {
    if !have(&["ffmpeg", "curl", "openssl"]) {
        return;
    }
    let server = server(3, "hls_window 60; hls_storage memory;");
    let encoders: Vec<_> = (0..3)
        .map(|n| ffmpeg_publish(&Clip::H264Aac.path(), &server.url(&format!("live/cam-{n}")), true))
        .collect();
    let source = Frames::of_file(&Clip::H264Aac.path());
    let recorders: Vec<Recorder> =
        (0..12).map(|n| Recorder::start(&format!("{}/live/cam-{}.flv", server.web(), n % 3))).collect();
    wait_until("viewers at several processes", || {
        let clients = server.clients();
        let at: BTreeSet<&str> = clients
            .iter()
            .filter(|client| client.kind == "flv-play")
            .map(|client| client.process.as_str())
            .collect();
        clients.iter().filter(|client| client.kind == "flv-play").count() == 12 && at.len() >= 2
    });
    // A player of each stream: its lists and segments come over connections of their own.
    let lists: Vec<String> = (0..3)
        .map(|n| {
            let path = format!("/live/cam-{n}.m3u8");
            let master =
                String::from_utf8(curl(&server, false, std::slice::from_ref(&path))[&path].clone()).unwrap();
            format!("/live/{}", master.lines().last().unwrap())
        })
        .collect();
    for list in &lists {
        for tls in [false, true, false, false, true, false] {
            curl(&server, tls, std::slice::from_ref(list));
        }
    }
    let players: Vec<String> = server
        .clients()
        .into_iter()
        .filter(|client| client.kind == "hls-play")
        .map(|client| client.name)
        .collect();
    assert_eq!(players.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(players.len(), 3, "each is counted once, whoever it asked: {players:?}");
    for encoder in encoders {
        drop(encoder.finish(SOON).expect_success());
    }
    for recorder in recorders {
        recorder.finish(100).assert_part_of(&source, false);
    }
}

#[test]
fn the_death_of_one_process_is_waited_for_and_numbers_go_on_with_more_and_fewer_of_them() {
    if !have(&["ffmpeg", "curl", "openssl"]) {
        return;
    }
    let mut server = server(3, "hls_ctx off; hls_window 60; hls_storage disk;");
    publish(&server, 3);
    let lists: Vec<String> = (0..STREAMS).map(|n| format!("/live/cam-{n}.m3u8")).collect();
    let before = curl(&server, false, &lists);
    for pid in server.pids("http") {
        signal(pid, Signal::SIGKILL);
        // At once: whoever is asked waits for the owner.
        let now = curl(&server, false, &lists);
        assert!(lists.iter().all(|list| listed(&now[list]) == listed(&before[list])), "nothing is lost");
    }
    for workers in [1, 2] {
        server.signal(Signal::SIGTERM);
        server.wait_end(SOON);
        let text = text(server.directory(), workers, "hls_ctx off; hls_window 60; hls_storage disk;");
        fs::write(server.directory().join("srs.conf"), text).unwrap();
        server.start_master();
        publish(&server, 4);
        let now = curl(&server, false, &lists);
        for list in &lists {
            let (old, new) = (listed(&before[list]), listed(&now[list]));
            assert!(new.starts_with(&old[..1]) && new.len() > old.len(), "{list} goes on: {old:?} {new:?}");
        }
    }
}

#[test]
fn a_stream_is_recorded_by_the_process_that_it_belongs_to() {
    if !have(&["ffmpeg", "curl", "openssl"]) {
        return;
    }
    let server = server(3, "hls_storage memory;");
    let encoders: Vec<_> = (0..STREAMS)
        .map(|n| ffmpeg_publish(&Clip::H264Aac.path(), &server.url(&format!("live/cam-{n}")), true))
        .collect();
    let authorization = format!("Authorization: Bearer {}", server.token());
    for n in 0..STREAMS {
        let order = format!("/api/v1/dvr/start?app=live&stream=cam-{n}");
        wait_until("a recording", || ask(&server.api(), "POST", &order, &[&authorization]).status == 200);
    }
    let none = ask(&server.api(), "POST", "/api/v1/dvr/start?app=live&stream=none", &[&authorization]);
    assert_eq!(none.status, 409);
    assert!(String::from_utf8_lossy(&none.body).contains("there is no such stream"));
    let by: BTreeSet<String> = wait_for("all of them", SOON, || {
        let told = ask(&server.api(), "GET", "/api/v1/dvr", &[]).json();
        let recordings = told["recordings"].as_array()?.clone();
        (recordings.len() == STREAMS)
            .then(|| recordings.iter().filter_map(|it| Some(it["process"].as_str()?.to_owned())).collect())
    });
    assert!(by.len() >= 2, "they are divided: {by:?}");
    for encoder in encoders {
        drop(encoder.finish(SOON).expect_success());
    }
    wait_until("a file of each", || {
        let files = fs::read_dir(server.directory().join("rec/live")).into_iter().flatten().flatten();
        files.filter(|file| file.path().extension().is_some_and(|ending| ending == "flv")).count() == STREAMS
    });
}
