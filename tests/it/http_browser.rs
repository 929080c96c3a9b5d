//! A plain `<video>` element of a real browser plays live fragmented MP4, and HLS.

use std::fs;
use std::process::Command;

use srs_tests::browser::Browser;
use srs_tests::clip::{Clip, QUIET};
use srs_tests::process::Running;
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::wait_until;
use tempfile::TempDir;

/// Waits until the page's video plays: its time and its decoded frames grow.
fn assert_plays(browser: &Browser, what: &str) {
    let frames = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames";
    let time = "document.querySelector('video').currentTime";
    wait_until(&format!("frames of {what}"), || browser.number(frames) > 5.0);
    let (first, at) = (browser.number(frames), browser.number(time));
    wait_until(&format!("more of {what}"), || {
        browser.number(frames) > first + 30.0 && browser.number(time) > at + 1.0
    });
}

#[test]
fn a_video_element_plays_live_mp4_and_hls() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let Some(browser) = Browser::start(640, 480) else { return };
    let directory = TempDir::new().unwrap();
    let html = directory.path().join("html");
    fs::create_dir(&html).unwrap();
    for (page, source) in [("mp4", "/live/a.mp4"), ("hls", "/live/a.m3u8")] {
        let text = format!("<!doctype html><video muted autoplay playsinline src=\"{source}\"></video>");
        fs::write(html.join(format!("{page}.html")), text).unwrap();
    }
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir {}; }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_storage memory; hls_fragment 1; hls_window 10; }} }}",
        html.display()
    );
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-re", "-stream_loop", "-1", "-i"]).arg(Clip::H264Aac.path());
    let encoder = Running::start(command.args(["-c", "copy", "-f", "flv"]).arg(server.url("live/a")));
    server.wait_published("live/a");
    browser.open(&format!("{}/mp4.html", server.web()));
    assert_plays(&browser, "live MP4");
    let can_hls =
        browser.run("return document.createElement('video').canPlayType('application/vnd.apple.mpegurl')");
    if can_hls.as_str().is_none_or(str::is_empty) {
        srs_tests::skipped!("this browser does not play HLS by itself");
    } else {
        browser.open(&format!("{}/hls.html", server.web()));
        assert_plays(&browser, "HLS");
    }
    drop(encoder);
}
