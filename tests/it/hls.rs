//! HLS: what is in the segments is what was published, and the list is one that every player can follow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use m3u8_rs::{MediaPlaylist, Playlist};
use nix::sys::signal::Signal;
use srs_tests::capture::{Recorder, ffmpeg_publish, publisher, tags};
use srs_tests::clip::{Clip, QUIET};
use srs_tests::http::ask;
use srs_tests::live::HttpViewer;
use srs_tests::process::{run, signal};
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::tools::nginx;
use srs_tests::transport::Transport;
use srs_tests::wait::{SOON, wait_for, wait_until};
use srs_tests::{marked, pattern, site};
use tempfile::TempDir;

/// A server with HLS; `hls` is what stands in the block.
fn server(hls: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let text = text(directory.path(), hls);
    Server::start_in(directory, &text)
}

fn text(directory: &Path, hls: &str) -> String {
    let html = directory.join("html");
    let ctx = if hls.contains("hls_ctx") { "" } else { "hls_ctx off;" };
    // What is sent faster than time passes stays in the ring until it is read, however busy the machine is.
    let own = format!(
        "ring {{ initial 4m; }}\nhttp_server {{ enabled on; listen 127.0.0.1:0; dir {0}; }}\nvhost __defaultVhost__ {{ hls {{ enabled on; hls_path {0}; {ctx} {hls} }} }}",
        html.display()
    );
    configuration(directory, &own)
}

/// What the web server says; `None` unless it is 200.
fn get(server: &Server, path: &str) -> Option<Vec<u8>> {
    let config = ureq::Agent::config_builder().timeout_global(Some(SOON)).proxy(None);
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(format!("{}{path}", server.web())).call().ok()?;
    response.body_mut().read_to_vec().ok()
}

/// The list, as an independent parser reads it.
fn list(server: &Server, name: &str) -> Option<MediaPlaylist> {
    let text = get(server, &format!("/live/{name}.m3u8"))?;
    match m3u8_rs::parse_playlist_res(&text) {
        Ok(Playlist::MediaPlaylist(list)) => {
            for segment in &list.segments {
                assert!(segment.duration.round() <= f32::from(u16::try_from(list.target_duration).unwrap()));
            }
            Some(list)
        }
        other => panic!("{other:?}"),
    }
}

/// Waits until so many segments are listed.
fn wait_listed(server: &Server, name: &str, count: usize) -> MediaPlaylist {
    wait_for(&format!("{count} segments"), SOON, || {
        list(server, name).filter(|list| list.segments.len() >= count)
    })
}

fn decoded(input: &Path, kind: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(input).args(["-map", &format!("0:{kind}"), "-f", "framemd5", "-"]);
    let text = run(&mut command, Duration::from_secs(60)).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

/// The sounds of a file, one by one, in a form that is the same wherever they come from.
fn bare(input: &Path, ending: &str) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(ending);
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(input).args(["-map", "0:a", "-c", "copy", "-f", ending]).arg(&file);
    drop(run(&mut command, SOON).expect_success());
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", if ending == "adts" { "aac" } else { "mp3" }, "-i"]).arg(&file);
    let text = run(command.args(["-c", "copy", "-f", "framemd5", "-"]), SOON).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

/// All segments of a list, one after the other.
fn whole(server: &Server, list: &MediaPlaylist) -> Vec<u8> {
    let fetch =
        |uri: &String| get(server, &format!("/live/{uri}")).unwrap_or_else(|| panic!("{uri} is listed"));
    list.segments.iter().flat_map(|segment| fetch(&segment.uri)).collect()
}

#[test]
fn the_memory_of_all_lists_together_has_a_bound_and_every_list_goes_on() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let hls = "hls_fragment 1; hls_window 600; hls_storage memory;";
    let text = format!("limits {{ hls_memory 2m; }}\n{}", text(directory.path(), hls));
    let server = Server::start_in(directory, &text);
    // The clip has half a megabyte: the first stream has it eight times, the others once.
    for name in ["a", "b", "a", "a", "c", "a", "a", "a", "a", "a"] {
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url(&format!("live/{name}")), false);
        drop(encoder.finish(SOON).expect_success());
    }
    let told = || ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"].as_array().unwrap().clone();
    // The first one has given up its oldest.
    wait_until("the last publish in the list", || {
        told().iter().any(|stream| stream["name"] == "a" && stream["sequence"].as_u64() >= Some(40))
    });
    let bytes: u64 = told().iter().map(|stream| stream["bytes"].as_u64().unwrap()).sum();
    assert!((1 << 20..=2 << 20).contains(&bytes), "{bytes} bytes are kept");
    for name in ["a", "b", "c"] {
        let list = list(&server, name).unwrap();
        assert!(list.segments.len() >= 2, "{name}: {list:?}");
        assert!(!whole(&server, &list).is_empty(), "what is listed can be had");
    }
}

#[test]
fn segments_hold_what_was_published_whatever_the_clip_and_the_storage() {
    if !have(&["ffmpeg"]) {
        return;
    }
    for storage in ["memory", "disk", "both"] {
        let server = server(&format!("hls_fragment 2; hls_window 60; hls_storage {storage};"));
        let clips = [Clip::H264Aac, Clip::BFrames, Clip::H264Mp3, Clip::AudioOnly, Clip::VideoOnly];
        for (at, clip) in clips.into_iter().enumerate() {
            let name = format!("{at}");
            let encoder = ffmpeg_publish(&clip.path(), &server.url(&format!("live/{name}")), false);
            drop(encoder.finish(SOON).expect_success());
            let list = wait_for("all of the clip in the list", SOON, || {
                let list = list(&server, &name)?;
                let length: f32 = list.segments.iter().map(|segment| segment.duration).sum();
                (length > 5.7).then_some(list)
            });
            assert_eq!(list.segments.len(), 3, "{list:?}");
            let bytes = whole(&server, &list);
            let mut transport = Transport::default();
            transport.read(&bytes);
            assert!(transport.longest_clock_step_ms() <= 100, "{} ms", transport.longest_clock_step_ms());
            let types: Vec<u8> = transport.streams.values().copied().collect();
            let wanted: &[u8] = match clip {
                Clip::AudioOnly => &[0x0f],
                Clip::VideoOnly => &[0x1b],
                Clip::H264Mp3 => &[0x1b, 0x03],
                _ => &[0x1b, 0x0f],
            };
            assert_eq!(types, wanted, "what is announced is what is there");
            let file = server.directory().join("whole.ts");
            fs::write(&file, &bytes).unwrap();
            for kind in ["v", "a"] {
                if kind == "v" && clip == Clip::AudioOnly || kind == "a" && clip == Clip::VideoOnly {
                    continue;
                }
                if kind == "v" {
                    assert_eq!(decoded(&file, kind), decoded(&clip.path(), kind), "{clip:?}");
                    continue;
                }
                // A segment begins with a key frame: a sound that came before the very first one is not in it.
                let ending = if clip == Clip::H264Mp3 { "mp3" } else { "adts" };
                let (got, wanted) = (bare(&file, ending), bare(&clip.path(), ending));
                // ffmpeg writes something of its own into the first frame of MP3.
                let part = &got[usize::from(ending == "mp3")..];
                let at = wanted.windows(part.len()).position(|other| other == part);
                assert!(
                    at.is_some_and(|at| at <= 2),
                    "{clip:?}: {} of {} at {at:?}",
                    got.len(),
                    wanted.len()
                );
                assert!(got.len() + 2 >= wanted.len());
            }
            let on_disk = server.directory().join(format!("html/live/{name}-0.ts")).exists();
            assert_eq!(on_disk, storage != "memory");
            assert!(!server.directory().join(format!("html/live/{name}-0.ts.tmp")).exists());
        }
    }
}

#[test]
fn a_player_follows_a_live_stream_and_is_counted() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("hls_fragment 1; hls_storage memory; hls_ctx on;");
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    let player = Recorder::start_with(
        &format!("{}/live/a.m3u8", server.web()),
        &["-live_start_index", "0", "-reconnect", "1"],
    );
    wait_for("pictures over HLS", SOON, || (player.frames().video.len() > 60).then_some(()));
    let clients = server.clients();
    let client = clients.iter().find(|client| client.kind == "hls-play").expect("the player is listed");
    assert_eq!((client.stream.as_str(), client.ip.as_str()), ("live/a", "127.0.0.1"));
    assert!(client.send_bytes > 10_000);
    drop((player, encoder));
}

/// Publishes a second of pictures from `from` on.
fn publish_second(server: &Server, name: &str) {
    let tags = tags(&Clip::H264Aac.path());
    let mut publisher = publisher(&server.url(&format!("live/{name}")));
    for tag in tags.iter().filter(|tag| tag.timestamp_ms < 1400) {
        publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
    }
    publisher.finish().unwrap();
}

#[test]
fn numbers_go_on_over_fifty_publishers() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("hls_fragment 1; hls_window 20; hls_storage both;");
    let mut last: Option<MediaPlaylist> = None;
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..50 {
        let before = last.as_ref().map_or(0, |list| list.media_sequence + list.segments.len() as u64);
        publish_second(&server, "a");
        let now =
            wait_for(&format!("segments {before} and the next in round {round} of {last:?}"), SOON, || {
                list(&server, "a")
                    .filter(|list| list.media_sequence + list.segments.len() as u64 >= before + 2)
            });
        for (number, segment) in (now.media_sequence..).zip(&now.segments) {
            let uri = seen.entry(number).or_insert_with(|| segment.uri.clone());
            assert_eq!(*uri, segment.uri, "a number always means the same segment");
        }
        if let Some(last) = &last {
            assert_eq!(now.target_duration, last.target_duration);
            assert!(now.discontinuity_sequence >= last.discontinuity_sequence);
        }
        if round > 0 {
            assert!(now.segments.iter().any(|segment| segment.discontinuity));
        }
        last = Some(now);
    }
    let numbers: Vec<u64> = seen.keys().copied().collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<u64>>(), "no number is left out");
    let last = last.unwrap();
    let breaks = last.segments.iter().filter(|segment| segment.discontinuity).count() as u64;
    assert_eq!(last.discontinuity_sequence + breaks, 49);
    // Only what is listed, or was a moment ago, is still a file.
    let files = fs::read_dir(server.directory().join("html/live")).unwrap().count();
    assert!(files <= last.segments.len() + 6, "{files} files for {} segments", last.segments.len());
}

#[test]
fn numbers_go_on_when_the_process_dies_in_the_middle_of_a_segment() {
    if !have(&["ffmpeg"]) {
        return;
    }
    for storage in ["disk", "memory"] {
        let server = server(&format!("hls_fragment 1; hls_window 60; hls_storage {storage};"));
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
        let before = wait_listed(&server, "a", 2);
        let stray = server.directory().join("html/live/a-77.ts");
        if storage == "disk" {
            fs::write(&stray, "left behind").unwrap();
        }
        let pid = server.pids("http")[0];
        signal(pid, Signal::SIGKILL);
        wait_until("another http process", || server.pids("http").first().is_some_and(|now| *now != pid));
        let next = before.media_sequence + before.segments.len() as u64;
        let after = wait_for("a new segment", SOON, || {
            list(&server, "a").filter(|list| list.media_sequence + list.segments.len() as u64 > next)
        });
        assert_eq!(after.target_duration, before.target_duration);
        if storage == "disk" {
            assert_eq!(after.media_sequence, before.media_sequence);
            for (old, new) in before.segments.iter().zip(&after.segments) {
                assert_eq!(old.uri, new.uri);
            }
            assert!(!stray.exists(), "what nobody lists is removed");
        } else {
            assert!(after.media_sequence >= next);
        }
        for segment in &after.segments {
            Transport::default().read(&get(&server, &format!("/live/{}", segment.uri)).unwrap());
        }
        drop(encoder);
    }
}

#[test]
fn two_servers_of_one_encoder_make_the_same_segments() {
    let hls = "hls_fragment 1; hls_window 60; hls_storage memory;";
    let pair: Vec<Server> = (0..2)
        .map(|_| {
            let directory = TempDir::new().unwrap();
            let text = text(directory.path(), hls).replace("{ hls {", "{ atc on; hls {");
            Server::start_in(directory, &text)
        })
        .collect();
    if !have(&["ffmpeg"]) {
        return;
    }
    let tags = tags(&Clip::BFrames.path());
    let base = 3_600_000;
    let mut publishers: Vec<_> = pair.iter().map(|server| publisher(&server.url("live/a"))).collect();
    for (at, publisher) in publishers.iter_mut().enumerate() {
        for tag in &tags {
            // The second one gets the stream two seconds later than the first.
            let is_header = tag.timestamp_ms == 0 && tag.body.get(1) == Some(&0);
            if at == 0 || tag.timestamp_ms >= 2200 || is_header {
                publisher.send(tag.kind, base + tag.timestamp_ms, &tag.body).unwrap();
            }
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.finish().unwrap());
    let lists: Vec<MediaPlaylist> = pair.iter().map(|server| wait_listed(server, "a", 3)).collect();
    let mut same = 0;
    for segment in &lists[1].segments[..lists[1].segments.len() - 1] {
        let at = lists[0].segments.iter().position(|other| other.uri == segment.uri).expect("the same names");
        assert_eq!(lists[0].segments[at].duration, segment.duration);
        let bytes = pair.each_fetch(&segment.uri);
        assert!(bytes[0] == bytes[1], "{} is the same on both", segment.uri);
        let number = |list: &MediaPlaylist, uri: &str| {
            list.media_sequence + list.segments.iter().position(|segment| segment.uri == uri).unwrap() as u64
        };
        assert_eq!(number(&lists[0], &segment.uri), number(&lists[1], &segment.uri));
        same += 1;
    }
    assert!(same >= 2, "{lists:?}");
    assert_eq!(lists[0].target_duration, lists[1].target_duration);
}

trait EachFetch {
    fn each_fetch(&self, uri: &str) -> Vec<Vec<u8>>;
}

impl EachFetch for Vec<Server> {
    fn each_fetch(&self, uri: &str) -> Vec<Vec<u8>> {
        self.iter().map(|server| get(server, &format!("/live/{uri}")).unwrap()).collect()
    }
}

#[test]
fn hostile_packets_and_names_harm_neither_list_nor_disk() {
    let server = server("hls_fragment 1; hls_storage both;");
    let mut publisher = publisher(&server.url("live/a.b"));
    let hostile: [&[u8]; 9] = [
        &[0x17],
        &[0x17, 0xff, 0x80, 0, 0],
        b"\x17\x00\0\0\0\x01\x64\0\x1f\xfe\xff\xff\xff\x67",
        b"\x17\x00\0\0\0\x01\x64\0\x1f\xff\xe0\0",
        b"\x17\x01\x80\0\0\xff\xff\xff\xff\x65",
        b"\x97\0\0\x07\0\0\x07",
        b"\x96\x01hvc1",
        b"\x57\x01",
        b"\x27\x01\0\0\0",
    ];
    for (at, bytes) in hostile.iter().enumerate() {
        publisher.send(media::Kind::Video, u32::try_from(at).unwrap() * 40, bytes).unwrap();
        publisher.send(media::Kind::Audio, u32::try_from(at).unwrap() * 40, &[0xaf, 0, 0x17]).unwrap();
    }
    publisher.send(media::Kind::Video, 400, &[vec![0x17, 1, 0, 0, 0], vec![0; 3_000_000]].concat()).unwrap();
    // Behind all that a stream that is none the worse for it.
    pattern::send_headers(&mut publisher);
    server.wait_published("live/a.b");
    publish_second(&server, "b");
    wait_listed(&server, "b", 1);
    let outside = fs::read_dir(server.directory()).unwrap().flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = outside.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["html", "log", "run", "srs.conf", "srs.pid"].map(str::to_owned));
    assert_eq!(server.pids("http").len(), 1);
    assert!(!server.log().contains("panicked"));
}

#[test]
fn jumps_and_wraps_of_the_encoders_clock_are_no_segments() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("hls_fragment 1; hls_window 60; hls_storage memory;");
    let tags = tags(&Clip::BFrames.path());
    let mut publisher = publisher(&server.url("live/a"));
    for tag in &tags {
        // The 32 bits wrap after two seconds; after four the clock goes an hour ahead, after five a day back.
        let jump = match tag.timestamp_ms {
            0..4000 => 0,
            4000..5000 => 3_600_000,
            _ => 0_u32.wrapping_sub(86_400_000),
        };
        let time = tag.timestamp_ms.wrapping_sub(2000).wrapping_add(jump);
        publisher.send(tag.kind, time, &tag.body).unwrap();
    }
    publisher.finish().unwrap();
    let list = wait_for("all of the clip in the list", SOON, || {
        let list = list(&server, "a")?;
        let length: f32 = list.segments.iter().map(|segment| segment.duration).sum();
        (length > 5.7).then_some(list)
    });
    let length: f32 = list.segments.iter().map(|segment| segment.duration).sum();
    assert!(length < 6.7, "{length} s of six");
    assert!(list.segments.iter().all(|segment| segment.duration < 2.0 * 1.5));
    let mut transport = Transport::default();
    transport.read(&whole(&server, &list));
    for times in transport.times.values() {
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 90_000), "no hole of a second");
    }
}

#[test]
fn a_player_behind_a_proxy_does_not_notice_that_one_of_two_servers_dies() {
    let Some(nginx) = nginx().filter(|_| have(&["ffmpeg"])) else { return };
    let mut pair: Vec<Server> = (0..2)
        .map(|_| {
            let directory = TempDir::new().unwrap();
            let hls = "hls_fragment 1; hls_window 60; hls_storage memory;";
            let text = text(directory.path(), hls).replace("{ hls {", "{ atc on; hls {");
            Server::start_in(directory, &text)
        })
        .collect();
    let directory = TempDir::new().unwrap();
    let at = directory.path().display();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error; worker_processes 1; events {{ }}
http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
upstream servers {{ server {} max_fails=1; server {} backup; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://servers; proxy_next_upstream error timeout http_404; }} }} }}",
        pair[0].web_address(),
        pair[1].web_address()
    );
    let file = directory.path().join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new(nginx);
    let nginx = srs_tests::process::Running::start(command.arg("-c").arg(&file));
    // One encoder for both.
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-re", "-stream_loop", "3", "-i"]).arg(Clip::H264Aac.path());
    let both = format!("[f=flv]{}|[f=flv]{}", pair[0].url("live/a"), pair[1].url("live/a"));
    command.args(["-map", "0", "-c", "copy", "-f", "tee"]).arg(both);
    let encoder = srs_tests::process::Running::start(&mut command);
    wait_listed(&pair[0], "a", 2);
    let player =
        Recorder::start_with(&format!("http://127.0.0.1:{port}/live/a.m3u8"), &["-live_start_index", "0"]);
    wait_for("pictures of the first server", SOON, || (player.frames().video.len() > 60).then_some(()));
    drop(pair.remove(0));
    let seen = player.frames().video.len();
    let frames = wait_for("pictures of the second", SOON, || {
        Some(player.frames()).filter(|frames| frames.video.len() > seen + 150)
    });
    for step in frames.video.windows(2) {
        let ms = step[1].dts_ms - step[0].dts_ms;
        assert!((35..=45).contains(&ms), "{ms} ms between two pictures");
    }
    drop((player, encoder, nginx));
}

/// A clip of three seconds that ffmpeg makes with these options.
fn make(directory: &Path, name: &str, options: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(options.split(' ')).args(["-t", "3"]).arg(&path);
    drop(run(&mut command, Duration::from_secs(60)).expect_success());
    path
}

#[test]
fn another_picture_size_and_sound_in_the_middle_are_a_discontinuity() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("hls_fragment 1; hls_window 60; hls_storage memory;");
    let x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -sc_threshold 0 -c:a aac";
    let large = make(
        server.directory(),
        "large.flv",
        &format!(
            "-f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=300:sample_rate=48000 {x264} -x264-params aud=1:slices=4 -ac 2"
        ),
    );
    let mut publisher = publisher(&server.url("live/a"));
    for (clip, base) in [(Clip::BFrames.path(), 0), (large.clone(), 6000)] {
        for tag in tags(&clip) {
            publisher.send(tag.kind, base + tag.timestamp_ms, &tag.body).unwrap();
        }
    }
    publisher.finish().unwrap();
    let list = wait_for("all of both clips in the list", SOON, || {
        let list = list(&server, "a")?;
        let length: f32 = list.segments.iter().map(|segment| segment.duration).sum();
        (length > 8.7).then_some(list)
    });
    let breaks: Vec<usize> = (1..list.segments.len()).filter(|at| list.segments[*at].discontinuity).collect();
    assert_eq!(breaks.len(), 1, "{list:?}");
    let part = |segments: &[m3u8_rs::MediaSegment]| {
        let list = MediaPlaylist { segments: segments.to_vec(), ..MediaPlaylist::default() };
        let file = server.directory().join("part.ts");
        fs::write(&file, whole(&server, &list)).unwrap();
        decoded(&file, "v")
    };
    let (first, second) = list.segments.split_at(breaks[0]);
    assert_eq!(part(first), decoded(&Clip::BFrames.path(), "v"));
    assert_eq!(part(second), decoded(&large, "v"));
}

#[test]
fn a_publisher_whose_codec_has_no_place_in_hls_is_ended_if_that_is_wanted() {
    for (word, ends) in [("ignore", false), ("continue", false), ("disconnect", true)] {
        let server = server(&format!("hls_fragment 1; hls_storage memory; hls_on_error {word};"));
        let mut publisher = publisher(&server.url("live/a"));
        server.wait_published("live/a");
        // Speex beside AAC.
        for at in 0..20 {
            let _ = publisher.send(media::Kind::Audio, at * 20, &[0xb6, 1, 2, 3]);
        }
        if ends {
            wait_until("its end", || server.streams().iter().all(|stream| !stream.publish.active));
        } else {
            publisher.send(media::Kind::Audio, 400, &[0xaf, 0, 0x12, 0x10]).unwrap();
            for at in 20..100 {
                publisher.send(media::Kind::Audio, at * 23, &[0xaf, 1, 0x21, 0x10]).unwrap();
            }
            wait_listed(&server, "a", 1);
        }
    }
}

/// What of an address is encoded, is encoded once; names of files are the names, whatever the language.
#[test]
fn names_are_encoded_once_in_addresses_and_not_at_all_in_files() {
    let server = server("hls_fragment 1; hls_storage both; hls_ctx on;");
    let units = marked::usual(2500, 1000);
    let names = [
        ("a b", "a%20b", "a b"),
        ("客厅", "%E5%AE%A2%E5%8E%85", "客厅"),
        ("a+b@c", "a+b@c", "a+b@c"),
        ("a#1", "a%231", "a#1"),
        ("x[1]{2}", "x%5B1%5D%7B2%7D", "x[1]{2}"),
        ("50%", "50%25", "50%25"),
    ];
    for (name, written, file) in names {
        let mut publisher = publisher(&server.url(&format!("live/{name}")));
        marked::send_headers(&mut publisher, true, true);
        units.iter().for_each(|unit| unit.send(&mut publisher));
        drop(publisher.finish());
        let directory = server.directory().join("html/live");
        wait_until("the list on the disk", || directory.join(format!("{file}.m3u8")).exists());
        wait_until("its first segment", || directory.join(format!("{file}-0.ts")).exists());
        let listed = wait_for(&format!("the list of {name}"), SOON, || {
            site::list(&server, &format!("live/{written}")).filter(|list| list.segments.len() == 3)
        });
        let bytes = site::segments(&server, "live/x", &listed).concat();
        marked::assert_shown(name, &marked::of_ts(&bytes), &units, 1);
    }
}

/// A list that is asked for by the name of a vhost has segments that can be had.
#[test]
fn segments_are_asked_for_in_the_vhost_of_their_list() {
    let directory = TempDir::new().unwrap();
    let top = directory.path().display().to_string();
    for (own, is_known) in [
        ("hls_ctx on; hls_ts_ctx on;", true),
        ("hls_ctx on; hls_ts_ctx off;", false),
        ("hls_ctx off;", false),
    ] {
        let directory = TempDir::new().unwrap();
        let own = format!(
            "http_server {{ enabled on; listen 127.0.0.1:0; vod on; dir {top}/html; }}
            vhost __defaultVhost__ {{ }}
            vhost a.example {{ hls {{ enabled on; hls_storage memory; hls_path {top}/html; hls_fragment 1; {own} }} }}"
        );
        let text = configuration(directory.path(), &own);
        let server = Server::start_in(directory, &text);
        let units = marked::usual(2500, 1000);
        let mut publisher = publisher(&server.url("live?vhost=a.example/a"));
        marked::send_headers(&mut publisher, true, true);
        units.iter().for_each(|unit| unit.send(&mut publisher));
        drop(publisher.finish());
        let path = "/live/a.m3u8?vhost=a.example";
        wait_until("three segments", || {
            let text = get(&server, path).unwrap_or_default();
            let text = String::from_utf8(text).unwrap();
            let inner = text.lines().find(|line| line.contains(".m3u8")).map(|line| format!("/live/{line}"));
            let text = inner.map_or(text, |inner| String::from_utf8(get(&server, &inner).unwrap()).unwrap());
            let names: Vec<&str> = text.lines().filter(|line| line.contains(".ts")).collect();
            let bytes: Vec<u8> = names
                .iter()
                .flat_map(|name| {
                    assert_eq!(name.contains("hls_ctx"), is_known, "{name}");
                    get(&server, &format!("/live/{name}")).unwrap_or_else(|| panic!("{name} is listed"))
                })
                .collect();
            if names.len() == 3 {
                marked::assert_shown(&own, &marked::of_ts(&bytes), &units, 1);
            }
            names.len() == 3
        });
    }
}

/// The list of a stream that nobody publishes any more says that nothing follows; when somebody does all the same, it goes on.
#[test]
fn a_list_says_when_nothing_follows() {
    let server = server("hls_fragment 1; hls_dispose 1; hls_storage both;");
    let over = |name: &str| list(&server, name).is_some_and(|list| list.end_list);
    let units = marked::usual(2500, 1000);
    let publish = || {
        let mut publisher = publisher(&server.url("live/a"));
        marked::send_headers(&mut publisher, true, true);
        units.iter().for_each(|unit| unit.send(&mut publisher));
        publisher
    };
    let mut publisher = publish();
    let first = wait_listed(&server, "a", 2);
    assert!(!first.end_list && first.target_duration == 2, "{first:?}");
    drop(publisher.finish());
    wait_until("the end is listed", || over("a"));
    let file = server.directory().join("html/live/a.m3u8");
    wait_until("the file says so, too", || {
        fs::read_to_string(&file).is_ok_and(|text| text.ends_with("#EXT-X-ENDLIST\n"))
    });
    assert_eq!(list(&server, "a").unwrap().segments.len(), 3);
    publisher = publish();
    wait_until("it goes on", || {
        list(&server, "a").is_some_and(|list| !list.end_list && list.segments.len() > 3)
    });
    drop(publisher.finish());
    wait_until("its end is listed, too", || over("a"));
    wait_until("its files go", || !file.exists());
}

/// A name may be that of a segment, or of a live stream: what the stream's list has passed will not come.
#[test]
fn a_segment_that_has_left_the_list_is_not_waited_for() {
    let server = site::site_with(
        "stream_wait 3600;",
        "http_remux { enabled on; } \
         hls { enabled on; hls_fragment 1; hls_aof_ratio 1; hls_window 3; hls_storage memory; hls_path TOP/html; }",
    );
    let mut first = publisher(&server.url("live/a"));
    marked::send_headers(&mut first, true, true);
    marked::usual(12_000, 1000).iter().for_each(|unit| unit.send(&mut first));
    let list = || site::list(&server, "live/a");
    wait_until("segments that have left", || list().is_some_and(|list| list.media_sequence > 5));
    for name in ["a-0.ts", "a-1.ts", "a-0%25audio1.ts"] {
        let answer = ask(&server.web(), "GET", &format!("/live/{name}"), &["Connection: close"]);
        assert_eq!(answer.status, 404, "{name}");
    }
    // A stream that is called so is there.
    let mut other = publisher(&server.url("live/a-0"));
    marked::send_headers(&mut other, true, true);
    marked::usual(2000, 1000).iter().for_each(|unit| unit.send(&mut other));
    let viewer = HttpViewer::start(&server.web(), "/live/a-0.ts");
    wait_until("the stream", || viewer.has_begun());
}
