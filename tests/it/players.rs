//! Players of others: what VLC and GStreamer show is what was published, picture by picture.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use srs_tests::clip::Clip;
use srs_tests::process::{Running, run};
use srs_tests::program::{have, optional};
use srs_tests::server::Server;
use srs_tests::site::{assert_part_of_endless, decoded, endless, site, wait_listed};
use srs_tests::wait::wait_for;
use tempfile::TempDir;

/// The user that nobody is: VLC does not run as the superuser.
const NOBODY: u32 = 65534;

/// Bytes of a decoded picture of the clips: 320 x 180, planes of 4:2:0.
const PICTURE: usize = 320 * 180 * 3 / 2;

/// A server with everything that can be played, a film in it.
fn everything() -> Server {
    let server = site(
        "http_remux { enabled on; } hls { enabled on; hls_fragment 1; hls_window 20; hls_storage memory; hls_path TOP/html; }",
    );
    let films = server.directory().join("html/films");
    fs::create_dir_all(&films).unwrap();
    fs::copy(Clip::BFrames.path(), films.join("b.flv")).unwrap();
    server
}

/// VLC that plays for some seconds, or to the end, and writes what it gets, unchanged, into a file.
fn vlc(directory: &Path, url: &str, seconds: Option<u32>, file: &Path) -> Running {
    let mut command = Command::new("vlc");
    command.args(["-I", "dummy", "-q", "--no-color", "--sout"]);
    command.arg(format!("#std{{access=file,mux=ts,dst={}}}", file.display()));
    if let Some(seconds) = seconds {
        command.args(["--run-time", &seconds.to_string()]);
    }
    command.args([url, "vlc://quit"]).env("HOME", directory).env_remove("DISPLAY").env("no_proxy", "*");
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Running::start(&mut command)
}

#[test]
fn vlc_plays_live_streams_and_films() {
    if !have(&["ffmpeg"]) || !optional(&["vlc"]) {
        return;
    }
    let server = everything();
    let source = decoded(&Clip::BFrames.path().to_string_lossy(), "v");
    let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
    drop(wait_listed(&server, "live/a", 1.9));
    let directory = TempDir::new().unwrap();
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(directory.path(), Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    }
    let cases = [
        ("live/a.m3u8", Some(4)),
        ("live/a.flv", Some(4)),
        ("live/a.ts", Some(4)),
        ("films/b.flv.m3u8", None),
    ];
    // All at once: each takes as long as it plays.
    let players = cases.map(|(path, seconds)| {
        let file = directory.path().join(format!("{}.ts", path.replace('/', "-")));
        let player = vlc(directory.path(), &format!("{}/{path}", server.web()), seconds, &file);
        (path, file, player)
    });
    for (path, file, player) in players {
        drop(player.finish(Duration::from_secs(60)));
        let mut pictures = decoded(&file.to_string_lossy(), "v");
        // It may be stopped between a picture and those that need it.
        pictures.truncate(pictures.len().saturating_sub(4));
        assert_part_of_endless(path, &pictures, &source);
        assert!(!decoded(&file.to_string_lossy(), "a").is_empty(), "{path}: sound");
        let wanted = if path.starts_with("films") { source.len() - 10 } else { 50 };
        assert!(pictures.len() >= wanted, "{path}: {} pictures", pictures.len());
    }
    drop(encoder);
}

/// Pictures as GStreamer decodes them, in a file: it is ended when there are `count`, or ends by itself before.
fn gstreamer(pipeline: &str, file: &Path, count: usize) -> Vec<String> {
    let mut command = Command::new("gst-launch-1.0");
    let sink = format!("filesink sync=false buffer-mode=unbuffered location={}", file.display());
    command.arg("-q").args(pipeline.split(' ')).arg("!").args(sink.split(' '));
    let mut player = Running::start(command.env("http_proxy", "").env("no_proxy", "*"));
    // An element that has nobody behind it for a while says so, and is no error; a list that has no end never ends it.
    wait_for(&format!("{count} pictures of {pipeline}"), Duration::from_secs(30), || {
        let ended = player.try_wait();
        let length = fs::metadata(file).map_or(0, |file| file.len());
        let got = usize::try_from(length).unwrap() / PICTURE;
        assert!(ended.is_none() || got >= count, "{got} pictures of {pipeline}: {}", player.stderr());
        (got >= count).then_some(())
    });
    drop(player);
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / PICTURE * PICTURE]).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(srs_tests::clip::QUIET);
    command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "320x180", "-i"]).arg(file);
    let text = run(command.args(["-f", "framemd5", "-"]), Duration::from_secs(60)).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

#[test]
fn gstreamer_plays_lists() {
    if !have(&["ffmpeg"]) || !optional(&["gst-launch-1.0"]) {
        return;
    }
    let server = everything();
    let source = decoded(&Clip::BFrames.path().to_string_lossy(), "v");
    let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
    drop(wait_listed(&server, "live/a", 1.9));
    for (path, count) in [("live/a.m3u8", 50), ("films/b.flv.m3u8", source.len())] {
        let url = format!("{}/{path}", server.web());
        let pipelines = [
            // The older element, and the newer one, which works only where it may make its own streams.
            format!("souphttpsrc location={url} ! hlsdemux ! tsdemux ! h264parse ! avdec_h264"),
            format!("uridecodebin3 uri={url} caps=video/x-raw ! video/x-raw,format=I420"),
        ];
        for pipeline in pipelines {
            let file = server.directory().join("pictures");
            let pictures = gstreamer(&pipeline, &file, count);
            assert_part_of_endless(&pipeline, &pictures, &source);
        }
    }
    drop(encoder);
}
