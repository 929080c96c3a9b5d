//! A log that nobody takes: lines are lost and counted, and nobody waits.

use std::fs;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use srs_tests::http::ask;
use srs_tests::pattern::{Live, Watcher};
use srs_tests::program;
use srs_tests::raw::Raw;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::wait_until;
use tempfile::TempDir;

/// Makes the server say much, beside a stream of which a viewer gets every byte.
fn talk(server: &Server) {
    let url = server.url("live/healthy");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(1);
    let before: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
    // Four lines or more for each.
    for _ in 0..600 {
        drop(Raw::connected(server.address(), "live"));
    }
    // Longer than a process may be without a sign of life.
    live.wait_more(150);
    watcher.wait_seen(live.sent());
    let now: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
    assert_eq!(now, before, "nobody hangs, so nobody is replaced");
    let _every_number = watcher.stop();
    let _undisturbed = live.stop();
}

/// A server whose standard output is this.
fn start(output: OwnedFd) -> Server {
    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), "watchdog 1;");
    let mut command = Command::new(program::srs());
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    Server::start_by(command, directory, &text)
}

/// Empties it in the background; what came so far.
fn drain(mut reader: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    text
}

/// Once somebody reads again, it is said how much is missing, and lines are whole.
fn assert_loss_is_told(server: &Server, text: &Mutex<String>) {
    wait_until("the loss in the log", || {
        drop(Raw::connected(server.address(), "live"));
        text.lock().unwrap().contains("lines before that were lost")
    });
    let text = text.lock().unwrap().clone();
    let (whole, _) = text.rsplit_once('\n').unwrap();
    for line in whole.lines() {
        assert!(line.starts_with("[20") && line.matches("][trace][").count() <= 1, "{line:?}");
    }
}

#[test]
fn a_pipe_that_nobody_empties_costs_lines_only() {
    let (reader, writer): (PipeReader, _) = pipe().unwrap();
    // It is full with a page.
    let _ = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let server = start(writer.into());
    talk(&server);
    assert_loss_is_told(&server, &drain(reader));
}

#[test]
fn a_socket_that_nobody_empties_costs_lines_only() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = start(theirs.into());
    talk(&server);
    assert_loss_is_told(&server, &drain(ours));
}

#[test]
fn a_full_disk_costs_lines_only() {
    let top = TempDir::new().unwrap();
    let disk = top.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        srs_tests::skipped!("a small file system can't be mounted here");
        return;
    }
    let mounted = Mounted(disk.clone());
    let (log, ballast) = (disk.join("srs.log"), disk.join("ballast"));
    fs::write(&ballast, vec![0; 40 << 10]).unwrap();
    let server = Server::start(&format!(
        "watchdog 1;\nsrs_log_tank file;\nsrs_log_file {};\nvhost __defaultVhost__ {{ }}",
        log.display()
    ));
    talk(&server);
    fs::remove_file(&ballast).unwrap();
    wait_until("the loss in the log", || {
        drop(Raw::connected(server.address(), "live"));
        fs::read_to_string(&log).is_ok_and(|text| text.contains("lines before that were lost"))
    });
    drop((server, mounted));
}

/// A cleaner of files removes the log with its directory: every process goes on in another one, without being told.
#[test]
fn a_log_that_was_removed_is_made_again() {
    let top = TempDir::new().unwrap();
    let log = top.path().join("log/srs.log");
    fs::create_dir(log.parent().unwrap()).unwrap();
    let server = Server::start(&format!("srs_log_tank file;\nsrs_log_file {};\n", log.display()));
    let lines = |what: &str| {
        drop(Raw::connected(server.address(), "live"));
        fs::read_to_string(&log).is_ok_and(|text| text.contains(what))
    };
    wait_until("lines of clients", || lines("RTMP client"));
    fs::remove_dir_all(log.parent().unwrap()).unwrap();
    wait_until("that it was removed", || lines("the log file was removed"));
    wait_until("lines of clients in the new one", || lines("RTMP client"));
    // A file that was renamed is written until somebody says that it is over.
    let renamed = top.path().join("log/srs.log.1");
    fs::rename(&log, &renamed).unwrap();
    let before = fs::metadata(&renamed).unwrap().len();
    wait_until("lines in the renamed one", || {
        drop(Raw::connected(server.address(), "live"));
        fs::metadata(&renamed).unwrap().len() > before
    });
    assert!(!log.exists());
}

/// Where the log can't be made again, it can't say so itself.
#[test]
fn a_log_that_cannot_be_made_again_is_told_of_elsewhere() {
    let directory = TempDir::new().unwrap();
    let top = directory.path().join("logs");
    let log = top.join("srs.log");
    let own = format!(
        "srs_log_tank file;\nsrs_log_file {};\nhttp_api {{ enabled on; listen 127.0.0.1:0; }}\nvhost __defaultVhost__ {{ }}",
        log.display()
    );
    let text = configuration(directory.path(), &own);
    let errors = directory.path().join("errors");
    let mut command = Command::new(program::srs());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let server = Server::start_by(command, directory, &text);
    let talk = || drop(Raw::connected(server.address(), "live"));
    let status = || {
        let mut command = Command::new(program::srs_cli());
        let output = command.arg("status").arg("--socket").arg(server.socket()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let api = || ask(&server.api(), "GET", "/api/v1/processes", &["Connection: close"]).json();
    assert!(!status().contains("can't be opened") && api()["log_trouble"].is_null());
    fs::remove_dir_all(&top).unwrap();
    // Nothing can be made where a file is.
    fs::write(&top, "").unwrap();
    let why = format!("{} can't be opened", log.display());
    wait_until("the line on standard error", || {
        talk();
        fs::read_to_string(&errors).is_ok_and(|text| text.contains(&why))
    });
    wait_until("the line of srs-cli", || status().contains(&why));
    wait_until("the answer of the API", || {
        api()["log_trouble"].as_str().is_some_and(|text| text.contains(&why))
    });
    let said = fs::read_to_string(&errors).unwrap();
    assert!(said.lines().count() <= 8, "each process says it once: {said}");
    fs::remove_file(&top).unwrap();
    wait_until("the log, and nothing to be said", || {
        !status().contains("can't be opened")
            && fs::read_to_string(&log).is_ok_and(|text| text.contains("the log file was removed"))
    });
}

/// A file system that goes with its test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn status_lines_come_in_turns() {
    let server = Server::start("pithy_print { publish 300; play 100; }\nvhost __defaultVhost__ { }");
    let url = server.url("live/status");
    let live = Live::start(&url, Duration::from_millis(10));
    let watchers: Vec<_> = (0..6).map(|_| Watcher::start(&url)).collect();
    let lines = |what: &str| -> Vec<String> {
        server.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    };
    // Each viewer has its turn.
    let cid =
        |line: &String| line.split('[').nth(4).unwrap_or_default().split(']').next().unwrap().to_owned();
    wait_until("a line of each viewer", || {
        lines("-> PLA ").iter().map(cid).collect::<std::collections::BTreeSet<_>>().len() == 6
    });
    wait_until("lines of the publisher", || lines("<- CPB ").len() >= 3);
    let play = lines("-> PLA ").pop().unwrap();
    for field in [" time=", " msgs=", " okbps=", " ikbps=", " stream=live/status"] {
        assert!(play.contains(field), "{play}");
    }
    let kbps = lines("<- CPB ").pop().unwrap();
    let kbps: Vec<u64> = kbps
        .split("ikbps=")
        .nth(1)
        .map(|rest| {
            rest.split(", ").next().unwrap().split(',').map(|number| number.parse().unwrap()).collect()
        })
        .unwrap();
    assert!(kbps.len() == 3 && kbps.iter().all(|kbps| *kbps > 0), "{kbps:?}");
    // The volume does not grow with the viewers: two processes, a line each within 100 ms (turns are looked at every 200).
    let span_ms = server.clients().iter().map(|client| client.alive * 1000.0).fold(0.0, f64::max);
    assert!((lines("-> PLA ").len() as f64) <= 2.0 * (span_ms / 200.0 + 2.0));
    drop((live, watchers));
}
