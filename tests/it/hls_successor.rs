//! HLS whose process dies between two writes of its lists: its successor goes on with what any of them names.

use std::fs;

use client::Publisher;
use m3u8_rs::{MediaPlaylist, Playlist, parse_playlist_res};
use nix::sys::signal::Signal;
use srs_tests::capture::{publish_tags, publisher};
use srs_tests::http::ask;
use srs_tests::process::signal;
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::several::Several;
use srs_tests::site::{get, segments};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// The lists of a stream of two pictures and two sounds, in the order in which they are written.
const LISTS: [&str; 4] = ["a%main.m3u8", "a%video1.m3u8", "a%audio1.m3u8", "a.m3u8"];

/// A server whose http process dies when it has written a list, once the file `armed` is there.
fn doomed(list: &str, ctx: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let top = directory.path().display().to_string();
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; }}\n\
         vhost __defaultVhost__ {{ hls {{ enabled on; hls_fragment 1; hls_window 60; hls_path {top}/html; \
         hls_cleanup on; hls_storage disk; hls_dispose 60; hls_ctx {ctx}; }} }}"
    );
    let text = configuration(directory.path(), &own);
    let wanted = format!("live/{list}:{top}/armed");
    Server::start_with(directory, &text, &[("SRS_TEST_CRASH_AT", &wanted)])
}

fn arm(server: &Server) {
    fs::write(server.directory().join("armed"), "").unwrap();
}

fn wait_death(server: &Server, list: &str) {
    let trigger = server.directory().join("armed");
    wait_until(&format!("a death behind {list}"), || !trigger.exists());
}

fn list(server: &Server, name: &str) -> Option<MediaPlaylist> {
    let name = name.replace('%', "%25");
    match parse_playlist_res(&get(&server.web(), &format!("/live/{name}"))?) {
        Ok(Playlist::MediaPlaylist(list)) => Some(list),
        _ => None,
    }
}

/// What the lists on the disk name, or listed before.
fn named(server: &Server) -> Vec<String> {
    let texts = LISTS.map(|name| fs::read_to_string(server.directory().join("html/live").join(name)));
    let texts: Vec<String> = texts.into_iter().filter_map(Result::ok).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.ends_with(".ts"));
    lines.map(|line| line.replace("%25", "%")).collect()
}

/// What was named is there, all members have the same segments, and all can be had.
fn assert_goes_on(server: &Server, several: &Several, publisher: &mut Publisher, after: &str) {
    let mut offset_ms = 4000;
    let lists = wait_for(&format!("lists of all members, behind {after}"), SOON, || {
        // Whatever was published while nobody read it.
        offset_ms += 4000;
        publish_tags(publisher, &several.tags, offset_ms);
        let lists: Option<Vec<_>> = LISTS[..3].iter().map(|name| list(server, name)).collect();
        let end = |list: &MediaPlaylist| list.media_sequence + list.segments.len() as u64;
        lists.filter(|lists| end(&lists[0]) >= 7 && lists.iter().all(|list| end(list) == end(&lists[0])))
    });
    for (name, list) in LISTS.iter().zip(&lists) {
        assert_eq!(list.media_sequence, 0, "behind {after}: what {name} listed still is");
        let all = segments(server, "live/x", list);
        assert!(all.iter().all(|segment| segment.len() > 376), "behind {after}: {name}");
    }
}

#[test]
fn no_death_between_two_lists_costs_a_segment_that_one_of_them_names() {
    if !have(&["ffmpeg"]) {
        return;
    }
    for name in LISTS {
        // While the first segment of all is listed, and later. The list of lists is written when a figure in it is another.
        for is_first in [true, false].into_iter().filter(|is_first| *is_first || name != "a.m3u8") {
            let server = doomed(name, "off");
            let several = Several::make(server.directory(), 4);
            if is_first {
                arm(&server);
            }
            let mut publisher = publisher(&server.url("live/a"));
            publish_tags(&mut publisher, &several.tags, 0);
            if !is_first {
                wait_until("lists with three segments", || {
                    let least =
                        |name: &&str| list(&server, name).is_some_and(|list| list.segments.len() >= 3);
                    LISTS[..3].iter().all(least) && named(&server).len() >= 9
                });
                arm(&server);
                publish_tags(&mut publisher, &several.tags, 4000);
            }
            wait_death(&server, name);
            let before = named(&server);
            assert!(!before.is_empty());
            let after = format!("{name}, first: {is_first}");
            assert_goes_on(&server, &several, &mut publisher, &after);
            let directory = server.directory().join("html/live");
            let gone: Vec<_> = before.iter().filter(|file| !directory.join(file).exists()).collect();
            assert!(gone.is_empty(), "{after}: {gone:?} were named and are gone");
        }
    }
}

#[test]
fn what_there_is_to_choose_and_what_it_needs_outlive_the_process() {
    if !have(&["ffmpeg"]) {
        return;
    }
    // With identities for players, a stream of one track of each kind has a list of its list, too.
    for (ctx, is_several) in [("off", true), ("on", true), ("on", false)] {
        let server = doomed("none", ctx);
        let several = Several::make(server.directory(), 3);
        let tags =
            if is_several { several.tags.clone() } else { srs_tests::capture::tags(&several.sources[0]) };
        let mut publisher = publisher(&server.url("live/a"));
        publish_tags(&mut publisher, &tags, 0);
        drop(publisher.finish());
        let rests = || {
            let told = ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"][0].clone();
            told["segments"] == 3 && told["live"] == false
        };
        wait_until("a stream that rests", rests);
        let told = || {
            let text = get(&server.web(), "/live/a.m3u8").unwrap_or_default();
            let text = String::from_utf8(text).unwrap();
            // Each player has another identity.
            let lines =
                text.lines().map(|line| line.split_once("hls_ctx=").map_or(line, |(before, _)| before));
            lines.map(str::to_owned).collect::<Vec<String>>()
        };
        let before = told();
        assert!(!before.iter().any(|line| line.contains("BANDWIDTH=1,") || line.ends_with("BANDWIDTH=1")));
        assert_eq!(before.iter().any(|line| line.starts_with("#EXT-X-MEDIA:")), is_several, "{before:?}");
        wait_until("it is noted", || {
            fs::read_to_string(server.directory().join("run/hls-0.json"))
                .is_ok_and(|text| text.contains("live"))
        });
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
        wait_until("its successor has the stream", rests);
        assert_eq!(told(), before);
    }
}
