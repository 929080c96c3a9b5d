//! Pictures of live streams that a page can embed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use srs_tests::clip::Clip;
use srs_tests::http::ask;
use srs_tests::process::{children, run};
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::site::{endless, site, site_with};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A server with live streams over HTTP, and more in that block.
fn server(remux: &str) -> Server {
    site(&format!("http_remux {{ enabled on; {remux} }}"))
}

/// Size of a JPEG in pixels.
fn size(picture: &[u8]) -> String {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("picture.jpg");
    fs::write(&file, picture).unwrap();
    let mut probe = Command::new("ffprobe");
    probe
        .args(["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"])
        .arg(file);
    run(&mut probe, SOON).expect_success().trim().to_owned()
}

/// A program that takes no notice of anything.
fn hangs(directory: &Path) -> String {
    let path = directory.join("hangs");
    fs::write(&path, "#!/bin/sh\nexec sleep 100\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn the_newest_key_frame_is_a_picture() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = server("");
    let web = server.web();
    let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
    server.wait_published("live/a");
    let picture = ask(&web, "GET", "/live/a.jpg", &[]);
    assert_eq!(picture.status, 200, "{}", picture.head);
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    assert_eq!(size(&picture.body), "mjpeg,320,180");
    // Others who ask at the same time get theirs, too, and none waits as a viewer.
    let all: Vec<_> = (0..8)
        .map(|_| {
            let web = web.clone();
            std::thread::spawn(move || ask(&web, "GET", "/live/a.jpeg?any=1", &[]))
        })
        .collect();
    for answer in all {
        assert_eq!(size(&answer.join().unwrap().body), "mjpeg,320,180");
    }
    assert_eq!(ask(&web, "HEAD", "/live/a.jpg", &[]).status, 200);
    let http = server.pids("http")[0];
    wait_until("no program left", || children(http).is_empty());
    drop(encoder);
    assert_eq!(ask(&web, "GET", "/live/nobody.jpg", &[]).status, 404);
}

#[test]
fn a_picture_of_what_nobody_publishes_is_not_waited_for() {
    let server = site_with("stream_wait 3600;", "http_remux { enabled on; }");
    for name in ["nobody.jpg", "nobody.jpeg"] {
        let answer = ask(&server.web(), "GET", &format!("/live/{name}"), &["Connection: close"]);
        assert_eq!(answer.status, 404, "{name}");
    }
}

#[test]
fn a_picture_that_cannot_be_made_is_said_and_holds_up_nobody() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cases = [
        ("snapshot_ffmpeg /nonexistent/ffmpeg;".to_owned(), 501),
        (format!("snapshot_ffmpeg {};", hangs(directory.path())), 503),
        ("snapshot_ffmpeg off;".to_owned(), 404),
    ];
    for (remux, status) in cases {
        let server = server(&remux);
        let web = server.web();
        let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
        server.wait_published("live/a");
        let asked = std::thread::spawn({
            let web = web.clone();
            move || ask(&web, "GET", "/live/a.jpg", &[]).status
        });
        // Meanwhile the others are served.
        let other = ask(&web, "GET", "/live/a.mp4?snapshot=1", &[]);
        assert_eq!((other.status, other.body.is_empty()), (200, false), "{remux}");
        assert_eq!(asked.join().unwrap(), status, "{remux}");
        assert_eq!(server.log().contains("makes no picture of a stream"), status > 500, "{remux}");
        let http = server.pids("http")[0];
        assert!(children(http).is_empty(), "{remux}");
        drop(encoder);
    }
}

/// What makes pictures ends with the process that wants them, and with all that it has started.
#[test]
fn no_program_outlives_its_picture() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    // A shell that waits for a child of its own, and a number by which that is found.
    let seconds = 100_000 + std::process::id();
    let path = directory.path().join("waits");
    fs::write(&path, format!("#!/bin/sh\n/bin/sleep {seconds}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let sleeps = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(&seconds.to_string()) && line.contains("sleep")).count()
    };
    let server = server(&format!("snapshot_ffmpeg {};", path.display()));
    let web = server.web();
    let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
    server.wait_published("live/a");
    assert_eq!(ask(&web, "GET", "/live/a.jpg", &[]).status, 503);
    wait_until("the end of what it has started", || sleeps() == 0);
    let asked = std::thread::spawn({
        let address = server.web_address();
        move || {
            use std::io::{Read, Write};
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.write_all(b"GET /live/a.jpg HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            drop(socket.read_to_end(&mut answer));
        }
    });
    wait_until("the next one", || sleeps() == 1);
    let http = server.pids("http")[0];
    let shells = children(http);
    srs_tests::process::signal(http, nix::sys::signal::Signal::SIGKILL);
    wait_until("the end of the program", || {
        !shells.is_empty() && shells.iter().all(|pid| !srs_tests::process::is_alive(*pid))
    });
    asked.join().unwrap();
    drop(encoder);
    // Of what it had started nobody knows any more.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains(&seconds.to_string()) && line.contains("sleep") {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            srs_tests::process::signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn a_stream_of_sounds_has_no_picture() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server("");
    let mut sounds = Command::new("ffmpeg");
    sounds.args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "sine", "-c:a", "aac", "-f", "flv"]);
    let encoder = srs_tests::process::Running::start(sounds.arg(server.url("live/sounds")));
    server.wait_published("live/sounds");
    let answer = ask(&server.web(), "GET", "/live/sounds.jpg", &[]);
    assert_eq!((answer.status, answer.body.as_slice()), (404, &b"This stream has no pictures\n"[..]));
    assert!(!server.log().contains("makes no picture"));
    drop(encoder);
}
