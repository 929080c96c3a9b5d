//! Programs of others that the server runs: ffmpeg for an ingest.

use std::fs;
use std::process::Command;

use api::Reload;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};
use srs_tests::capture::{assert_continuous, player, receive_frames};
use srs_tests::process::{children, is_alive, run, signal, wait_gone};
use srs_tests::program::{self, have, source_tree};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A server with an ingest by a program; its logs are in `logs` of its directory.
fn start(program: &str, more: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let clip = source_tree().join("conf/demo.flv");
    let own = format!(
        "ff_log_dir {}/logs;\nvhost __defaultVhost__ {{ ingest clip {{ enabled on; ffmpeg {program}; \
         input {{ type file; url {}; }} {more} }} }}",
        directory.path().display(),
        clip.display()
    );
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

/// The program that the ingester runs.
fn external(server: &Server) -> u32 {
    wait_for("the program", SOON, || {
        let ingester = *server.pids("ingest").first()?;
        let pid = *children(ingester).first()?;
        // It is another program by now.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "ffmpeg" && is_alive(pid)).then_some(pid)
    })
}

fn ffmpeg() -> Option<String> {
    if !have(&["ffmpeg"]) {
        return None;
    }
    let found = run(Command::new("sh").args(["-c", "command -v ffmpeg"]), SOON).expect_success();
    Some(found.trim().to_owned())
}

#[test]
fn an_ingest_by_ffmpeg_lives_and_dies_with_those_who_run_it() {
    let Some(path) = ffmpeg() else { return };
    let mut server = start(&path, "");
    server.wait_published("live/clip");
    let mut viewer = player(&server.url("live/clip"));
    assert_continuous(&receive_frames(&mut viewer, 50));
    // In a group of its own, so that signals to ours don't reach it.
    let first = external(&server);
    let group = |pid: u32| getpgid(Some(Pid::from_raw(i32::try_from(pid).unwrap()))).unwrap().as_raw();
    assert_eq!(group(first), i32::try_from(first).unwrap());
    let log =
        fs::read_to_string(server.directory().join("logs/ffmpeg-ingest-__defaultVhost__-live-clip.log"));
    assert!(log.as_ref().is_ok_and(|log| log.contains(&path) && log.contains("Input #0")), "{log:?}");
    // Operators see it.
    let socket = server.directory().join("run/srs.sock");
    let mut command = Command::new(program::srs_cli());
    command.arg("status").arg("--api").arg(&socket);
    let told = run(&mut command, SOON).expect_success();
    assert!(told.contains("ingest clip") && told.contains(&first.to_string()), "{told}");
    // It is started again when it ends, and viewers go on.
    signal(first, Signal::SIGKILL);
    wait_gone("ffmpeg", first, SOON);
    let second = external(&server);
    assert_ne!(first, second);
    assert_continuous(&receive_frames(&mut viewer, 50));
    // The death of the master changes nothing for it.
    server.kill_master();
    drop(receive_frames(&mut viewer, 20));
    server.start_master();
    assert_eq!(external(&server), second);
    // Its own process dies: the kernel ends it, and the successor starts another.
    let ingester = server.pids("ingest")[0];
    signal(ingester, Signal::SIGKILL);
    wait_gone("ffmpeg", second, SOON);
    let third = external(&server);
    assert_continuous(&receive_frames(&mut viewer, 50));
    // Taken out of the configuration, it ends.
    let text = configuration(server.directory(), "vhost __defaultVhost__ { }");
    fs::write(server.directory().join("srs.conf"), text).unwrap();
    let mut command = Command::new(program::srs_cli());
    command.args(["--format", "json", "reload", "--socket"]).arg(socket);
    let result: Reload = serde_json::from_str(&run(&mut command, SOON).expect_success()).unwrap();
    assert!(result.changes.iter().any(|change| change.contains("ingest clip has gone")), "{result:?}");
    wait_gone("ffmpeg", third, SOON);
}

#[test]
fn programs_end_with_the_server() {
    let Some(path) = ffmpeg() else { return };
    for mode in ["multi", "single"] {
        let mut server = {
            let directory = TempDir::new().unwrap();
            let clip = source_tree().join("conf/demo.flv");
            let own = format!(
                "process_mode {mode};\nff_log_dir /dev/null;\nvhost __defaultVhost__ {{ ingest clip {{ enabled on; \
                 ffmpeg {path}; input {{ url {}; }} engine {{ output rtmp://127.0.0.1:[port]/live/made; }} }} }}",
                clip.display()
            );
            let text = configuration(directory.path(), &own);
            Server::start_in(directory, &text)
        };
        server.wait_published("live/made");
        let pid = if mode == "multi" {
            external(&server)
        } else {
            *children(server.pid()).first().expect("the program")
        };
        assert!(is_alive(pid));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_end(SOON).code(), Some(0), "{mode}");
        assert!(!is_alive(pid), "{mode}: the server waits for it");
    }
}

#[test]
fn a_program_that_is_not_there_is_said_and_tried_again() {
    let server = start("/nonexistent/ffmpeg", "");
    wait_until("a second try", || {
        server.log().matches("ingest clip: /nonexistent/ffmpeg has ended by exit code 127").count() >= 2
    });
    let log = server.directory().join("logs/ffmpeg-ingest-__defaultVhost__-live-clip.log");
    assert!(fs::read_to_string(log).unwrap().contains("/nonexistent/ffmpeg can't be started"));
    // Everything else works.
    let url = server.url("live/other");
    let live = srs_tests::pattern::Live::start(&url, std::time::Duration::from_millis(10));
    live.wait_more(10);
}

/// An ingest by a program and one of the server's own: each process writes a line in as many periods as there are ingests.
#[test]
fn ingests_say_now_and_then_that_they_work() {
    let Some(path) = ffmpeg() else { return };
    let clip = source_tree().join("conf/demo.flv");
    let more = format!(
        "}} }} pithy_print {{ ingester 100; }} vhost own {{ ingest own {{ enabled on; input {{ type file; url {}; }}",
        clip.display()
    );
    let server = start(&path, &more);
    wait_until("lines of both", || {
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("-> IGS time=")).collect();
        let processes: std::collections::BTreeSet<&str> =
            lines.iter().filter_map(|line| line.split('[').nth(3)).collect();
        lines.iter().all(|line| line.contains(", ingesters=2, input=") && line.contains("demo.flv"))
            && processes.len() == 2
    });
}
