//! What a vhost says of its live streams over HTTP (`http_remux`): what is announced and dropped, and sound that is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use client::{Kind, Publisher};
use flv::file::{Reader, Tag};
use srs_tests::capture::{Frames, publish_tags, publisher, tags};
use srs_tests::clip::Clip;
use srs_tests::process::{Running, run};
use srs_tests::program::{self, have};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

fn text(rules: &str) -> String {
    format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir ./conf; stream_wait 20; }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; {rules} }} }}"
    )
}

/// curl that gets a live stream into a file.
struct Listener {
    file: PathBuf,
    _curl: Running,
    _directory: TempDir,
}

impl Listener {
    fn start(server: &Server, name: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(name);
        let url = format!("{}/live/{name}", server.web());
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--no-buffer", "-o"]).arg(&file).arg(url);
        Self { _curl: Running::start(&mut command), file, _directory: directory }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }

    /// The tags that have come.
    fn tags(&self) -> Vec<Tag> {
        let mut reader = Reader::new();
        reader.push(&self.bytes());
        std::iter::from_fn(|| reader.next_tag().unwrap()).collect()
    }

    fn wait_tags(&self, kind: Kind, count: usize) -> Vec<Tag> {
        wait_for(&format!("{count} tags"), SOON, || {
            let tags = self.tags();
            (tags.iter().filter(|tag| tag.kind == kind).count() >= count).then_some(tags)
        })
    }

    fn wait_bytes(&self, count: usize) {
        wait_until(&format!("{count} bytes"), || self.bytes().len() >= count);
    }
}

/// Waits until so many requests for streams are there: those of whom wait for one.
fn wait_asked(server: &Server, count: usize) {
    wait_until(&format!("{count} requests"), || {
        server.clients().iter().filter(|client| client.tc_url.contains("/live/")).count() == count
    });
}

/// The kinds of streams in a file, as ffprobe tells them.
fn kinds(path: &Path) -> Vec<&'static str> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0"]).arg(path);
    let told = run(&mut command, SOON).expect_success();
    ["audio", "video"].into_iter().filter(|kind| told.contains(kind)).collect()
}

/// Publishes the first tags of a clip, and stays.
fn publish(server: &Server, name: &str, clip: Clip, count: usize) -> (Publisher, Vec<Tag>) {
    let mut publisher = publisher(&server.url(&format!("live/{name}")));
    let all = tags(&clip.path());
    publish_tags(&mut publisher, &all[..count.min(all.len())], 0);
    (publisher, all)
}

#[test]
fn what_is_denied_is_neither_announced_nor_sent() {
    if !have(&["curl", "ffprobe"]) {
        return;
    }
    for (rules, flags, denied, left, kept) in [
        ("", 5, Kind::Data, &["audio", "video"][..], true),
        ("has_audio off;", 1, Kind::Audio, &["video"], false),
        ("has_video off;", 4, Kind::Video, &["audio"], false),
        ("has_audio off; guess_has_av off;", 1, Kind::Audio, &["video"], false),
        ("has_audio off; drop_if_not_match off;", 1, Kind::Audio, &["video"], true),
    ] {
        let server = Server::start(&text(rules));
        let listeners = ["flv", "ts", "mp4"].map(|ending| Listener::start(&server, &format!("a.{ending}")));
        wait_asked(&server, 3);
        let (_publisher, all) = publish(&server, "a", Clip::H264Aac, usize::MAX);
        let other = if denied == Kind::Video { Kind::Audio } else { Kind::Video };
        let wanted = all.iter().filter(|tag| tag.kind == other).count();
        let [flv, ts, mp4] = &listeners;
        // ffmpeg's mark of the end of sequence is one of them, and not passed on to MP4 and TS.
        let got = flv.wait_tags(other, wanted - 1);
        assert_eq!(flv.bytes()[4], flags, "{rules}");
        let has_denied = got.iter().any(|tag| tag.kind == denied && denied != Kind::Data);
        assert_eq!(has_denied, kept && denied != Kind::Data, "{rules}");
        ts.wait_bytes(20_000);
        mp4.wait_bytes(20_000);
        assert_eq!((kinds(&ts.file).as_slice(), kinds(&mp4.file).as_slice()), (left, left), "{rules}");
        if !has_denied && denied != Kind::Data {
            assert_eq!(kinds(&flv.file), left, "{rules}");
        }
        // Somebody who comes later begins at a place where that can be begun.
        let late = Listener::start(&server, "a.flv");
        // Of sound alone that is the newest.
        let got = late.wait_tags(other, if denied == Kind::Video { 1 } else { 3 });
        assert_eq!(late.bytes()[4], flags, "{rules}");
        if has_denied || denied == Kind::Data {
            late.wait_tags(Kind::Audio, 3);
        } else {
            assert!(got.iter().all(|tag| tag.kind != denied), "{rules}");
        }
    }
}

#[test]
fn what_the_stream_has_is_announced_unless_the_configuration_is_to_decide() {
    if !have(&["curl"]) {
        return;
    }
    for (rules, clip, flags) in [
        ("guess_has_av on;", Clip::VideoOnly, 1),
        ("guess_has_av on;", Clip::AudioOnly, 4),
        ("guess_has_av off;", Clip::VideoOnly, 5),
        ("guess_has_av off; has_video off;", Clip::AudioOnly, 4),
        ("guess_has_av off; has_video off;", Clip::H264Aac, 4),
    ] {
        let server = Server::start(&text(rules));
        let listener = Listener::start(&server, "a.flv");
        wait_asked(&server, 1);
        let (_publisher, _) = publish(&server, "a", clip, usize::MAX);
        listener.wait_bytes(1000);
        assert_eq!(listener.bytes()[4], flags, "{rules} {clip:?}");
    }
}

#[test]
fn a_new_listener_gets_the_last_seconds_of_sound_at_once() {
    if !have(&["curl", "ffprobe"]) {
        return;
    }
    for (clip, ending) in [(Clip::AudioOnly, "aac"), (Clip::H264Mp3, "mp3")] {
        let server = Server::start(&text("fast_cache 4;"));
        // Before anybody listens.
        let (mut publisher, all) = publish(&server, "a", clip, usize::MAX);
        let sounds: Vec<Tag> = all
            .iter()
            .filter(|tag| tag.kind == Kind::Audio && !flv::classify(tag.kind, &tag.body).sequence_header)
            .cloned()
            .collect();
        let last = sounds.last().unwrap().timestamp_ms;
        let wanted = sounds.iter().filter(|tag| last - tag.timestamp_ms <= 4000).count();
        let name = format!("a.{ending}");
        let source = Frames::of_file(&clip.path());
        let source: Vec<u64> = source.audio.iter().map(|frame| frame.size).collect();
        // Frames of AAC have a header each.
        let head = if ending == "aac" { 7 } else { 0 };
        // Whoever comes before the stream has begun gets all of it.
        let early = Listener::start(&server, &name);
        early.wait_bytes(1);
        for _ in 0..2 {
            let listener = Listener::start(&server, &name);
            let got = wait_for("four seconds of sound", SOON, || {
                let got = Some(listener.bytes()).filter(|bytes| bytes.len() > 20_000)?;
                let whole = listener.file.with_extension(format!("whole.{ending}"));
                fs::write(&whole, got).unwrap();
                let frames = Frames::of_file(&whole).audio;
                (frames.len() >= wanted - 1).then_some(frames)
            });
            let got: Vec<u64> = got.iter().map(|frame| frame.size - head).collect();
            assert!(
                source.len() > got.len() && got.len() <= wanted + 60,
                "{} of {}",
                got.len(),
                source.len()
            );
            let at = source.len() - got.len();
            // ffmpeg may keep the last one to itself.
            assert!(source[at..] == got[..] || source[at - 1..source.len() - 1] == got[..], "{ending}");
        }
        // None is kept from now on.
        reload(&server, &text("fast_cache 0;"));
        let listener = Listener::start(&server, &name);
        listener.wait_bytes(1);
        publish_tags(&mut publisher, &sounds[..40], last + 23);
        listener.wait_bytes(sounds[..40].iter().map(|tag| tag.body.len() - 2).sum());
        let most: usize = sounds[..44].iter().map(|tag| tag.body.len() + 7).sum();
        assert!(listener.bytes().len() < most, "{} bytes", listener.bytes().len());
        // And again, of a stream that goes on.
        reload(&server, &text("fast_cache 4;"));
        publish_tags(&mut publisher, &sounds[40..120], last + 23);
        let listener = Listener::start(&server, &name);
        listener.wait_bytes(sounds[40..115].iter().map(|tag| tag.body.len() - 2).sum());
    }
}

fn reload(server: &Server, own: &str) {
    fs::write(server.directory().join("srs.conf"), configuration(server.directory(), own)).unwrap();
    let mut command = Command::new(program::srs_cli());
    command.arg("reload").arg("--socket").arg(server.socket());
    drop(run(&mut command, SOON).expect_success());
}

#[test]
fn a_reload_denies_and_allows_for_those_who_watch() {
    if !have(&["curl", "ffprobe"]) {
        return;
    }
    let server = Server::start(&text(""));
    let listener = Listener::start(&server, "a.flv");
    let ts = Listener::start(&server, "a.ts");
    wait_asked(&server, 2);
    let (mut publisher, all) = publish(&server, "a", Clip::H264Aac, 100);
    let sounds = |tags: &[Tag]| tags.iter().filter(|tag| tag.kind == Kind::Audio).count();
    let pictures = |tags: &[Tag]| tags.iter().filter(|tag| tag.kind == Kind::Video).count();
    let first = listener.wait_tags(Kind::Audio, sounds(&all[..100]));
    reload(&server, &text("has_audio off;"));
    publish_tags(&mut publisher, &all[100..200], 0);
    let second = listener.wait_tags(Kind::Video, pictures(&all[..200]));
    assert_eq!(sounds(&second), sounds(&first));
    reload(&server, &text("has_audio on;"));
    publish_tags(&mut publisher, &all[200..300], 0);
    let third = listener.wait_tags(Kind::Audio, sounds(&first) + 1 + sounds(&all[200..300]));
    let again = third.iter().filter(|tag| tag.kind == Kind::Audio).nth(sounds(&first)).unwrap();
    assert!(flv::classify(again.kind, &again.body).sequence_header, "a decoder is told first");
    // A player of the transport stream finds its track again, too.
    let whole = ts.file.with_extension("whole.ts");
    wait_until("sound behind the hole", || {
        fs::write(&whole, ts.bytes()).unwrap();
        let frames = Frames::of_file(&whole).audio;
        frames.windows(2).any(|pair| pair[1].dts_ms - pair[0].dts_ms > 500)
    });
}
