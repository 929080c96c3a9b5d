//! HLS of streams that have ended: their lists say so and their files go, whatever becomes of the process that made them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use srs_tests::capture::publisher;
use srs_tests::http::ask;
use srs_tests::live::HttpViewer;
use srs_tests::marked;
use srs_tests::process::{run, signal};
use srs_tests::program::srs_cli;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

fn text(directory: &Path, hls: &str) -> String {
    let html = directory.join("html");
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir {0}; }}\nvhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_path {0}; hls_ctx off; hls_fragment 1; {hls} }} }}",
        html.display()
    );
    configuration(directory, &own)
}

fn server(hls: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let text = text(directory.path(), hls);
    Server::start_in(directory, &text)
}

/// What `/api/v1/hls` says of the one stream: how many segments it has, and whether somebody publishes it.
fn told(server: &Server) -> Option<(u64, bool)> {
    let json = ask(&server.api(), "GET", "/api/v1/hls", &[]).json();
    let first = json["hls"].as_array()?.first()?.clone();
    Some((first["segments"].as_u64()?, first["live"].as_bool()?))
}

/// Publishes three segments and ends. Returns the file of the list, and the directory of all files.
fn publish(server: &Server) -> (PathBuf, PathBuf) {
    let mut publisher = publisher(&server.url("live/a"));
    marked::send_headers(&mut publisher, true, true);
    marked::usual(2500, 1000).iter().for_each(|unit| unit.send(&mut publisher));
    drop(publisher.finish());
    wait_until("the stream rests", || told(server) == Some((3, false)));
    let directory = server.directory().join("html/live");
    (directory.join("a.m3u8"), directory)
}

/// Whether the list in this file says that nothing follows.
fn is_over(list: &Path) -> bool {
    fs::read_to_string(list).is_ok_and(|text| text.ends_with("#EXT-X-ENDLIST\n"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Waits until the next list says that nothing follows, and until all files are gone.
fn wait_gone(list: &Path, directory: &Path) {
    wait_until("the end is listed", || is_over(list));
    wait_until("the files go", || names(directory).is_empty());
}

#[test]
fn a_list_ends_and_its_files_go_when_the_process_dies_that_made_them() {
    for storage in ["disk", "both"] {
        let server = server(&format!("hls_dispose 3; hls_storage {storage};"));
        let (list, directory) = publish(&server);
        wait_until("it is noted", || {
            fs::read_to_string(server.directory().join("run/hls-0.json"))
                .is_ok_and(|text| text.contains("live"))
        });
        fs::write(directory.join("a-77.ts"), "listed nowhere").unwrap();
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
        wait_until("its successor has the stream", || told(&server) == Some((3, false)));
        wait_gone(&list, &directory);
        wait_until("nothing is shown", || told(&server).is_none());
        let (list, directory) = publish(&server);
        let text = wait_for("its list", SOON, || fs::read_to_string(&list).ok());
        assert!(!text.contains("a-0.ts") && !text.contains("ENDLIST"), "numbers go on: {text}");
        wait_gone(&list, &directory);
    }
}

#[test]
fn a_publisher_comes_back_to_a_list_whose_process_died() {
    let server = server("hls_dispose 60; hls_window 60; hls_storage disk;");
    let (list, _) = publish(&server);
    wait_until("it is noted", || {
        fs::read_to_string(server.directory().join("run/hls-0.json")).is_ok_and(|text| text.contains("live"))
    });
    let before = fs::read_to_string(&list).unwrap();
    let pid = server.pids("http")[0];
    signal(pid, Signal::SIGKILL);
    wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
    wait_until("its successor has the stream", || told(&server) == Some((3, false)));
    let mut publisher = publisher(&server.url("live/a"));
    marked::send_headers(&mut publisher, true, true);
    marked::usual(2500, 1000).iter().for_each(|unit| unit.send(&mut publisher));
    wait_until("it is published", || told(&server).is_some_and(|(segments, live)| segments >= 5 && live));
    drop(publisher.finish());
    wait_until("it goes on", || told(&server) == Some((6, false)));
    let after = fs::read_to_string(&list).unwrap();
    assert!(after.starts_with(&before), "{before}{after}");
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{after}");
}

/// Whoever is there first, viewer or publisher.
#[test]
fn a_stream_whose_process_died_is_watched_again() {
    for viewer_is_first in [true, false] {
        let server = server("hls_dispose 60; hls_window 60; hls_storage disk;");
        let (list, _) = publish(&server);
        wait_until("it is noted", || {
            fs::read_to_string(server.directory().join("run/hls-0.json"))
                .is_ok_and(|text| text.contains("live"))
        });
        let before = fs::read_to_string(&list).unwrap();
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
        wait_until("its successor has the stream", || told(&server) == Some((3, false)));
        let watch = || HttpViewer::start(&server.web(), "/live/a.flv");
        let waiting = viewer_is_first.then(watch);
        let mut publisher = publisher(&server.url("live/a"));
        marked::send_headers(&mut publisher, true, true);
        let units = marked::usual(2500, 1000);
        let (first, rest) = units.split_at(units.len() / 2);
        first.iter().for_each(|unit| unit.send(&mut publisher));
        let viewer = waiting.unwrap_or_else(watch);
        wait_until("something to see", || viewer.has_begun());
        rest.iter().for_each(|unit| unit.send(&mut publisher));
        let last = marked::of_kind(&units, true).pop().unwrap();
        wait_until("the last picture", || viewer.has(&last.mark()));
        drop(publisher.finish());
        wait_until("it goes on", || told(&server) == Some((6, false)));
        let after = fs::read_to_string(&list).unwrap();
        assert!(after.starts_with(&before), "{before}{after}");
    }
}

fn reload(server: &Server, text: &str) {
    fs::write(server.directory().join("srs.conf"), text).unwrap();
    let mut command = Command::new(srs_cli());
    drop(run(command.arg("--socket").arg(server.socket()).arg("reload"), SOON).expect_success());
}

#[test]
fn hls_that_is_switched_off_leaves_no_list_that_seems_to_go_on() {
    for (dispose, is_live) in [(60, false), (60, true), (0, false), (0, true)] {
        let own = format!("hls_dispose {dispose}; hls_window 60; hls_storage disk;");
        let server = server(&own);
        let (list, directory) = publish(&server);
        let publisher = is_live.then(|| {
            let mut publisher = publisher(&server.url("live/a"));
            marked::send_headers(&mut publisher, true, true);
            marked::usual(2500, 1000).iter().for_each(|unit| unit.send(&mut publisher));
            wait_until("it is published", || {
                told(&server).is_some_and(|(segments, live)| segments >= 5 && live)
            });
            publisher
        });
        reload(&server, &text(server.directory(), &own).replace("hls { enabled on;", "hls { enabled off;"));
        wait_until("no stream with HLS", || told(&server).is_none());
        if dispose > 0 {
            wait_until("the files go", || names(&directory).is_empty());
            continue;
        }
        wait_until("the end is listed", || is_over(&list));
        let text = fs::read_to_string(&list).unwrap();
        wait_until("nothing but what is listed", || {
            names(&directory).iter().all(|name| name == "a.m3u8" || text.contains(name.as_str()))
        });
        drop(publisher);
    }
}

#[test]
fn a_reload_of_a_live_stream_leaves_no_files_that_nobody_lists() {
    let own = |more: &str| format!("hls_dispose 60; hls_window 60; hls_cleanup on; {more}");
    let server = server(&own("hls_storage both;"));
    let mut publisher = publisher(&server.url("live/a"));
    marked::send_headers(&mut publisher, true, true);
    let units = marked::usual(30_000, 1000);
    let mut sent = 0;
    let mut until = |end_ms: i64| {
        let end = units.iter().position(|unit| unit.dts_ms >= end_ms).unwrap();
        units[sent..end].iter().for_each(|unit| unit.send(&mut publisher));
        sent = end;
    };
    let at_least =
        |count: u64| move |told: Option<(u64, bool)>| told.is_some_and(|(segments, _)| segments >= count);
    until(4500);
    wait_until("four segments", || at_least(4)(told(&server)));
    let directory = server.directory().join("html/live");
    let list = directory.join("a.m3u8");
    let before = wait_for("its list", SOON, || fs::read_to_string(&list).ok());
    // The same files: what was listed still is.
    reload(&server, &text(server.directory(), &own("hls_storage disk;")));
    until(9500);
    wait_until("more of it", || at_least(7)(told(&server)));
    wait_until("all of it in its file", || {
        fs::read_to_string(&list)
            .is_ok_and(|text| text.starts_with(&before) && text.matches(".ts").count() >= 7)
    });
    let text_now = || fs::read_to_string(&list).unwrap_or_default();
    wait_until("nothing but what is listed", || {
        let text = text_now();
        names(&directory).iter().all(|name| name == "a.m3u8" || text.contains(name.as_str()))
    });
    // No files any more.
    reload(&server, &text(server.directory(), &own("hls_storage memory;")));
    wait_until("no files", || names(&directory).is_empty());
    until(14_500);
    wait_until("what is in memory", || at_least(3)(told(&server)));
    assert_eq!(names(&directory), [""; 0]);
    drop(publisher.finish());
}

#[test]
fn another_storage_while_a_stream_rests_leaves_no_files() {
    let server = server("hls_dispose 3; hls_storage both;");
    let (list, directory) = publish(&server);
    let reload = |hls: &str| reload(&server, &text(server.directory(), hls));
    reload("hls_dispose 3; hls_storage memory;");
    assert_eq!(told(&server), Some((3, false)), "it goes on");
    wait_gone(&list, &directory);
    reload("hls_dispose 60; hls_storage disk;");
    let (_, directory) = publish(&server);
    reload("hls_dispose 60; hls_storage memory;");
    publish(&server);
    wait_until("the files are replaced by what is in memory", || names(&directory).is_empty());
}
