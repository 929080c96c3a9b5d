//! AAC of many channels: numbered, described one by one, and numbered as no ADTS header can say.

use std::fs;
use std::path::Path;
use std::process::Command;

use srs_tests::capture::{ffmpeg_publish, publish_tags, publisher, tags};
use srs_tests::clip::QUIET;
use srs_tests::http::ask;
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::site::{decoded, segments, site, wait_listed};
use srs_tests::wait::{SOON, wait_until};

fn sound(layout: &str, to: &Path) {
    let source =
        format!("aevalsrc=exprs=sin(440*2*PI*t):d=3:c=mono:s=48000,aformat=channel_layouts={layout}");
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", "lavfi", "-i", &source, "-c:a", "aac", "-b:a", "256k"]).arg(to);
    drop(run(&mut command, SOON).expect_success());
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
        "dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } \
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
    // Numbered 12, which needs four bits.
    let mut twelve = tags(&server.directory().join("b.flv"));
    let header = twelve.iter_mut().find(|tag| tag.body.starts_with(&[0xaf, 0])).unwrap();
    header.body = vec![0xaf, 0, 0x11, 0xe0].into();
    let mut publisher = publisher(&server.url("live/twelve"));
    publish_tags(&mut publisher, &twelve, 0);
    let told = || ask(&server.api(), "GET", "/api/v1/hls", &[]).json()["hls"].as_array().unwrap().clone();
    wait_until("what HLS lacks is told", || {
        let told = told();
        let twelve = told.iter().find(|stream| stream["name"] == "twelve");
        twelve.is_some_and(|stream| {
            stream["left_out"][0] == "its sound, AAC" && stream["refused"].as_u64() > Some(0)
        })
    });
    assert_eq!(server.log().matches("hls of __defaultVhost__/live/twelve lacks its sound, AAC").count(), 1);
    drop(publisher.finish());
    let film = server.directory().join("html/rec/twelve.mp4");
    wait_until("the recording", || film.exists());
    assert_eq!(channels(&film), "8");
}
