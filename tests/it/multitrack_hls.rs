//! HLS of streams with several tracks: further sounds as renditions, further pictures as variants, each with a list of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use client::Kind;
use flv::file::Tag;
use m3u8_rs::{MasterPlaylist, MediaPlaylist, Playlist, parse_playlist_res};
use nix::sys::signal::Signal;
use srs_tests::capture::{publish_tags, publisher, tags};
use srs_tests::clip::Clip;
use srs_tests::http::ask;
use srs_tests::live::HttpViewer;
use srs_tests::process::{run, signal, wait_gone};
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::several::{Paced, Several, assert_decoded, streams};
use srs_tests::site::{decoded, get, segments, site};
use srs_tests::wait::{SOON, wait_for, wait_until};

/// The list of lists of a stream; what stands behind its name is given.
fn lists(server: &Server, path: &str, query: &str) -> Option<MasterPlaylist> {
    let text = get(&server.web(), &format!("/{path}.m3u8{query}"))?;
    match parse_playlist_res(&text) {
        Ok(Playlist::MasterPlaylist(master)) => Some(master),
        other => panic!("{other:?}"),
    }
}

fn list(server: &Server, uri: &str) -> Option<MediaPlaylist> {
    match parse_playlist_res(&get(&server.web(), &format!("/live/{uri}"))?) {
        Ok(Playlist::MediaPlaylist(list)) => Some(list),
        other => panic!("{uri}: {other:?}"),
    }
}

/// The addresses of the first tracks, of the second pictures and of the second sounds.
fn addresses(master: &MasterPlaylist) -> [String; 3] {
    let variant = |at: usize| {
        assert_eq!(master.variants[at].audio.as_deref(), Some("audio"));
        master.variants[at].uri.clone()
    };
    assert_eq!((master.variants.len(), master.alternatives.len()), (2, 2));
    let [first, second] = &master.alternatives[..] else { unreachable!("two") };
    assert_eq!((first.uri.as_deref(), first.default), (None, true), "it is in the variants");
    assert_eq!((second.default, first.name != second.name), (false, true));
    [variant(0), variant(1), second.uri.clone().unwrap()]
}

/// What a player of each list gets is what was encoded.
fn assert_carried(server: &Server, several: &Several, addresses: &[String; 3], lost: usize) {
    let wanted: [&[(&str, usize)]; 3] = [&[("v", 0), ("a", 0)], &[("v", 1), ("a", 0)], &[("a", 1)]];
    let all = addresses.each_ref().map(|uri| list(server, uri).unwrap());
    for ((uri, list), wanted) in addresses.iter().zip(&all).zip(wanted) {
        // The same numbers and lengths everywhere.
        let facts = |list: &MediaPlaylist| {
            let lengths: Vec<f32> = list.segments.iter().map(|segment| segment.duration).collect();
            (list.media_sequence, list.discontinuity_sequence, list.target_duration, lengths)
        };
        assert_eq!(facts(list), facts(&all[0]), "{uri}");
        let file = server.directory().join("got.ts");
        fs::write(&file, segments(server, "live/x", list).concat()).unwrap();
        for (kind, number) in wanted {
            let source = decoded(&several.sources[*number].to_string_lossy(), kind);
            assert_decoded(&format!("{uri}, {kind}"), &decoded(&file.to_string_lossy(), kind), &source, lost);
        }
        if wanted.len() == 1 {
            assert_eq!(streams(&file), [("audio".to_owned(), 48_000)], "{uri}: sounds alone");
        }
    }
}

fn hls(more: &str) -> Server {
    site(&format!(
        "hls {{ enabled on; hls_fragment 1; hls_window 60; hls_path TOP/html; hls_cleanup on; {more} }}"
    ))
}

fn wait_lists(server: &Server, path: &str, query: &str) -> MasterPlaylist {
    wait_for("the list of lists", SOON, || lists(server, path, query))
}

/// Files of the stream, by their endings.
fn files(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.directory().join("html/live")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn every_track_is_listed_cut_alike_and_as_it_was_encoded() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for (storage, ctx, query) in [
        ("memory", "off", ""),
        ("disk", "on", "?vhost=__defaultVhost__"),
        ("both", "off", "?vhost=127.0.0.1"),
    ] {
        let server = hls(&format!("hls_storage {storage}; hls_ctx {ctx};"));
        let several = Several::make(server.directory(), 4);
        let mut publisher = publisher(&server.url("live/a"));
        publish_tags(&mut publisher, &several.tags, 0);
        drop(publisher.finish());
        let whole = || {
            let main = wait_lists(&server, "live/a", query).variants[0].uri.clone();
            list(&server, &main).is_some_and(|list| list.segments.len() == 4)
        };
        wait_until("four segments", whole);
        let master = wait_lists(&server, "live/a", query);
        let all = addresses(&master);
        assert!(all.iter().all(|uri| uri.contains("hls_ctx=") == (ctx == "on")), "{all:?}");
        assert!(query.is_empty() || all.iter().all(|uri| uri.contains("vhost=")), "{all:?}");
        let sizes: Vec<_> = master.variants.iter().filter_map(|variant| variant.resolution).collect();
        assert_eq!(
            sizes.iter().map(|size| (size.width, size.height)).collect::<Vec<_>>(),
            [(320, 180), (160, 90)]
        );
        let codecs = master.variants[0].codecs.as_deref();
        assert!(codecs.is_some_and(|codecs| codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2")));
        assert_carried(&server, &several, &all, 3);
        if storage != "memory" {
            // Whoever serves the directory finds the same.
            let text = fs::read_to_string(server.directory().join("html/live/a.m3u8")).unwrap();
            assert!(
                text.contains("URI=\"a%25audio1.m3u8\"") && text.contains("\na%25video1.m3u8\n"),
                "{text}"
            );
            assert_eq!(files(&server).iter().filter(|file| file.extension().unwrap() == "ts").count(), 12);
        }
        let told = &ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"][0];
        assert_eq!(told["renditions"], serde_json::json!(["video1", "audio1"]));
        assert_eq!((&told["left_out"], &told["refused"]), (&serde_json::json!([]), &0.into()));
    }
}

/// The lowest number takes the place of a track 0 that is not there, of each kind for itself.
#[test]
fn a_stream_without_a_track_0_has_what_others_have() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } \
         hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    let several = Several::make(server.directory(), 4);
    let is_further = |tag: &Tag| flv::classify(tag.kind, &tag.body).track > 0;
    let of = |picks: fn(&Tag, bool) -> bool| -> Vec<Tag> {
        let is_in = |tag: &&Tag| tag.kind == Kind::Data || picks(tag, is_further(tag));
        several.tags.iter().filter(is_in).cloned().collect()
    };
    let cases = [
        ("both", of(|_, is_further| is_further), [1, 1]),
        ("sounds", of(|tag, is_further| is_further == (tag.kind == Kind::Audio)), [0, 1]),
        ("pictures", of(|tag, is_further| is_further == (tag.kind == Kind::Video)), [1, 0]),
    ];
    for (name, tags, [pictures, sounds]) in cases {
        let _publisher = Paced::start(&server.url(&format!("live/{name}")), tags);
        let viewer = HttpViewer::start(&server.web(), &format!("/live/{name}.ts"));
        // A list of segments, as of any stream with one track of each kind.
        let list = wait_for("three segments", SOON, || {
            list(&server, &format!("{name}.m3u8")).filter(|list| list.segments.len() >= 3)
        });
        let got = segments(&server, "live/x", &list).concat();
        let file = server.directory().join("got.ts");
        let wanted =
            [("video".to_owned(), [320, 160][pictures]), ("audio".to_owned(), [44_100, 48_000][sounds])];
        for (what, bytes) in [("HLS", got), (".ts", viewer.bytes())] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(streams(&file), wanted, "{name}: {what}");
        }
        let picture = ask(&server.web(), "GET", &format!("/live/{name}.jpg"), &["Connection: close"]);
        assert_eq!(picture.status, 200, "{name}: {}", picture.head);
        let told = ask(&server.api(), "GET", "/api/v1/streams", &[]).json()["streams"].clone();
        let told = told.as_array().unwrap().iter().find(|told| told["name"] == name).unwrap().clone();
        assert_eq!(told["left_out"], serde_json::json!([]), "{name}");
    }
    assert!(!server.log().contains(" lacks "), "{}", server.log());
}

#[test]
fn lists_end_together_and_nothing_of_them_stays() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = hls("hls_storage disk; hls_ctx off; hls_dispose 1;");
    let several = Several::make(server.directory(), 4);
    let mut publisher = publisher(&server.url("live/a"));
    publish_tags(&mut publisher, &several.tags, 0);
    drop(publisher.finish());
    let all = addresses(&wait_lists(&server, "live/a", ""));
    wait_until("the end of all lists", || {
        all.iter().all(|uri| list(&server, uri).is_some_and(|list| list.end_list))
    });
    // As a player of others reads it: pictures and sounds of both variants, and the rendition.
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=index,codec_type", "-of", "csv=p=0"]);
    let said = run(command.arg(format!("{}/live/a.m3u8", server.web())), SOON).expect_success();
    let mut kinds: Vec<&str> = said.lines().map(str::trim).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let count = |kind: &str| kinds.iter().filter(|line| line.ends_with(kind)).count();
    assert_eq!((count("video"), count("audio")), (2, 3), "{said}");
    wait_until("nothing of it", || files(&server).is_empty());
    assert!(all.iter().all(|uri| get(&server.web(), &format!("/live/{uri}")).is_none()));
}

#[test]
fn another_process_goes_on_with_all_lists() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = hls("hls_storage disk; hls_ctx off;");
    let several = Several::make(server.directory(), 4);
    let mut publisher = publisher(&server.url("live/a"));
    publish_tags(&mut publisher, &several.tags, 0);
    let all = addresses(&wait_lists(&server, "live/a", ""));
    let listed = |least: usize| {
        let all = all.each_ref().map(|uri| list(&server, uri));
        all.iter().all(|list| list.as_ref().is_some_and(|list| list.segments.len() >= least))
    };
    wait_until("three segments", || listed(3));
    let pid = server.pids("http")[0];
    signal(pid, Signal::SIGKILL);
    wait_gone("the http process", pid, SOON);
    wait_until("its successor", || listed(3));
    publish_tags(&mut publisher, &several.tags, 4000);
    drop(publisher.finish());
    let lists = wait_for("what comes then, in all lists", SOON, || {
        let lists: Option<Vec<_>> = all.iter().map(|uri| list(&server, uri)).collect();
        lists.filter(|lists| {
            let len = lists[0].segments.len();
            len >= 7 && lists.iter().all(|list| list.segments.len() == len)
        })
    });
    for (uri, list) in all.iter().zip(&lists) {
        assert_eq!(list.media_sequence, 0, "{uri}: what was listed still is");
        assert!(segments(&server, "live/x", list).iter().all(|segment| segment.len() > 376), "{uri}");
    }
}

#[test]
fn a_track_that_comes_later_and_one_that_goes_break_nobody() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = hls("hls_storage both; hls_ctx off;");
    let several = Several::make(server.directory(), 3);
    // One track of each kind: the list is the one of segments, as ever.
    let mut first = publisher(&server.url("live/a"));
    publish_tags(&mut first, &tags(&Clip::H264Aac.path()), 0);
    let plain = wait_for("a list", SOON, || list(&server, "a.m3u8"));
    assert!(!plain.segments.is_empty());
    // In the midst of a publish nobody who has the list can be led to another.
    publish_tags(&mut first, &several.tags, 6000);
    wait_until("a word of it", || server.log().contains("live/a lacks its sound, track 1, AAC"));
    assert!(list(&server, "a.m3u8").is_some());
    drop(first.finish());
    // The next publish has all its tracks, and a third has none again: then the list of lists names the one that is left.
    let mut second = publisher(&server.url("live/a"));
    publish_tags(&mut second, &several.tags, 0);
    drop(second.finish());
    wait_until("a list of lists", || {
        let text = get(&server.web(), "/live/a.m3u8").unwrap_or_default();
        String::from_utf8_lossy(&text).contains("#EXT-X-STREAM-INF")
    });
    let [main, _, sounds] = addresses(&lists(&server, "live/a", "").unwrap());
    let last = |list: &MediaPlaylist| list.media_sequence + list.segments.len() as u64;
    let (main_list, sounds) = wait_for("the end of the second publish", SOON, || {
        let (main, sounds) = (list(&server, &main)?, list(&server, &sounds)?);
        Some((main, sounds)).filter(|(main, sounds)| sounds.segments.len() == 3 && last(main) == last(sounds))
    });
    assert!(sounds.media_sequence > 0 && sounds.segments.len() < main_list.segments.len());
    let mut third = publisher(&server.url("live/a"));
    publish_tags(&mut third, &tags(&Clip::H264Aac.path()), 0);
    drop(third.finish());
    wait_until("more of the first", || {
        list(&server, &main).is_some_and(|list| last(&list) > last(&main_list) + 3)
    });
    let master = lists(&server, "live/a", "").unwrap();
    assert_eq!((master.variants.len(), master.alternatives.len()), (1, 0));
}

#[test]
fn a_track_that_has_gone_leaves_a_list_that_has_ended_and_then_nothing() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(
        "hls { enabled on; hls_fragment 1; hls_window 4; hls_aof_ratio 1; hls_path TOP/html; hls_cleanup on; \
         hls_storage disk; hls_ctx off; }",
    );
    let several = Several::make(server.directory(), 4);
    let mut first = publisher(&server.url("live/a"));
    publish_tags(&mut first, &several.tags, 0);
    drop(first.finish());
    let [_, _, sounds] = addresses(&wait_lists(&server, "live/a", ""));
    let further = |ending: &str| {
        let names: Vec<PathBuf> = files(&server);
        let is_one = |file: &&PathBuf| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            name.contains("%audio1") && name.ends_with(ending)
        };
        names.iter().filter(is_one).count()
    };
    wait_until("all of the first publish", || further(".ts") >= 4);
    let is_over = || list(&server, &sounds).is_some_and(|list| list.end_list);
    assert!(!is_over());
    let plain = several.without(Kind::Audio);
    let mut second = publisher(&server.url("live/a"));
    publish_tags(&mut second, &plain, 0);
    wait_until("the end of the list of the sounds", is_over);
    wait_until("the end of its file", || {
        let file = server.directory().join("html/live/a%audio1.m3u8");
        fs::read_to_string(file).is_ok_and(|text| text.ends_with("#EXT-X-ENDLIST\n"))
    });
    assert_eq!(wait_lists(&server, "live/a", "").alternatives.len(), 0, "nobody is led there");
    let mut offset = 0;
    wait_until("the end of its files", || {
        offset += 4000;
        publish_tags(&mut second, &plain, offset);
        further(".ts") + further(".m3u8") == 0
    });
    assert_eq!(get(&server.web(), &format!("/live/{sounds}")), None);
    drop(second.finish());
}
