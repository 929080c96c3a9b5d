//! AAC of many channels: numbered, described one by one, and numbered as no ADTS header can say.

use std::fs;
use std::path::Path;
use std::process::Command;

use flv::file::Tag;
use srs_tests::capture::{ffmpeg_publish, publish_tags, publisher, tags};
use srs_tests::clip::QUIET;
use srs_tests::http::ask;
use srs_tests::live::HttpViewer;
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::several::assert_decoded;
use srs_tests::site::{decoded, segments, site, wait_listed};
use srs_tests::wait::{SOON, wait_until};

fn sound(layout: &str, to: &Path) {
    let source =
        format!("aevalsrc=exprs=sin(440*2*PI*t):d=3:c=mono:s=48000,aformat=channel_layouts={layout}");
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", "lavfi", "-i", &source, "-c:a", "aac", "-b:a", "256k"]).arg(to);
    drop(run(&mut command, SOON).expect_success());
}

/// A file of these tags.
fn film(tags: &[Tag]) -> Vec<u8> {
    let mut out = flv::file::header(true, false).to_vec();
    for tag in tags {
        let size = u32::try_from(tag.body.len()).unwrap();
        out.extend_from_slice(&flv::file::tag_head(tag.kind, tag.timestamp_ms, size));
        out.extend_from_slice(&tag.body);
        out.extend_from_slice(&flv::file::tag_end(size));
    }
    out
}

fn channels(file: &Path) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=channels", "-of", "csv=p=0"]).arg(file);
    run(&mut command, SOON).expect_success().lines().next().unwrap_or_default().trim().to_owned()
}

#[test]
fn all_channels_are_there_in_every_container_that_can_say_them() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } \
         hls { enabled on; hls_fragment 2; hls_window 60; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    for (name, layout, count) in
        [("a", "5.1", "6"), ("b", "7.1", "8"), ("c", "6.1", "7"), ("d", "quad", "4"), ("e", "octagonal", "8")]
    {
        let file = server.directory().join(format!("{name}.flv"));
        sound(layout, &file);
        let encoder = ffmpeg_publish(&file, &server.url(&format!("live/{name}")), false);
        drop(encoder.finish(SOON).expect_success());
        let source = decoded(&file.to_string_lossy(), "a");
        let film = server.directory().join(format!("html/rec/{name}.mp4"));
        wait_until("the recording", || film.exists());
        let path = format!("live/{name}");
        let list = wait_listed(&server, &path, 2.8);
        let live = server.directory().join("live.ts");
        fs::write(&live, segments(&server, &path, &list).concat()).unwrap();
        for file in [&film, &live] {
            assert_eq!(channels(file), count, "{layout}: {}", file.display());
            let got = decoded(&file.to_string_lossy(), "a");
            assert!(got.len() + 3 >= source.len(), "{layout}: {} of {}", got.len(), source.len());
            // What comes before the first time of all is cut off there.
            let at = source.iter().position(|sound| *sound == got[3]).unwrap();
            assert_eq!(got[3..got.len() - 1], source[at..at + got.len() - 4], "{layout}: {}", file.display());
        }
    }
    numbered_in_four_bits(&server);
}

/// Channel configuration 12, whose frames are laid out like those of 7: headers of ADTS have three bits, so each frame has a
/// description of the channels.
fn numbered_in_four_bits(server: &Server) {
    let mut all = tags(&server.directory().join("b.flv"));
    let header = all.iter_mut().find(|tag| tag.body.starts_with(&[0xaf, 0])).unwrap();
    header.body = vec![0xaf, 0, 0x11, 0xe0].into();
    let source = server.directory().join("numbered.flv");
    fs::write(&source, film(&all)).unwrap();
    let source = decoded(&source.to_string_lossy(), "a");
    let listener = HttpViewer::start(&server.web(), "/live/numbered.aac");
    wait_until("the listener", || !server.clients().is_empty());
    let mut publisher = publisher(&server.url("live/numbered"));
    publish_tags(&mut publisher, &all, 0);
    drop(publisher.finish());
    let movie = server.directory().join("html/rec/numbered.mp4");
    wait_until("the recording", || movie.exists());
    let path = "live/numbered";
    let list = wait_listed(server, path, 2.8);
    let [live, bare] = ["live.ts", "live.aac"].map(|name| server.directory().join(name));
    fs::write(&live, segments(server, path, &list).concat()).unwrap();
    fs::write(&bare, listener.whole()).unwrap();
    for file in [&movie, &live, &bare] {
        assert_eq!(channels(file), "8", "{}", file.display());
        assert_decoded(&file.display().to_string(), &decoded(&file.to_string_lossy(), "a"), &source, 3);
    }
    let told = ask(&server.api(), "GET", "/api/v1/hls", &[]).json();
    let all = told["hls"].as_array().unwrap();
    let one = all.iter().find(|stream| stream["name"] == "numbered").unwrap();
    assert_eq!((&one["left_out"], &one["refused"]), (&serde_json::json!([]), &0.into()));
}

/// What no header of ADTS can say: a sampling rate that has no number.
#[test]
fn sounds_without_a_place_in_a_transport_stream_are_told() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = site(
        "dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } \
         hls { enabled on; hls_fragment 2; hls_window 60; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    sound("stereo", &server.directory().join("b.flv"));
    let mut odd = tags(&server.directory().join("b.flv"));
    let header = odd.iter_mut().find(|tag| tag.body.starts_with(&[0xaf, 0])).unwrap();
    // 47,999 Hz in 24 bits.
    header.body = vec![0xaf, 0, 0x17, 0x80, 0x5d, 0xbf, 0x90].into();
    let mut publisher = publisher(&server.url("live/odd"));
    publish_tags(&mut publisher, &odd, 0);
    let told = || ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"].as_array().unwrap().clone();
    wait_until("what HLS lacks is told", || {
        let told = told();
        let odd = told.iter().find(|stream| stream["name"] == "odd");
        odd.is_some_and(|stream| {
            stream["left_out"][0] == "its sound, AAC" && stream["refused"].as_u64() > Some(0)
        })
    });
    assert_eq!(server.log().matches("hls of __defaultVhost__/live/odd lacks its sound, AAC").count(), 1);
    drop(publisher.finish());
    let film = server.directory().join("html/rec/odd.mp4");
    wait_until("the recording", || film.exists());
    assert!(fs::metadata(&film).unwrap().len() > 10_000);
}
