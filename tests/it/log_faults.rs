//! A log that nobody takes: lines are lost and counted, and nobody waits.

use std::fs;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        eprintln!("SKIPPED: a small file system can't be mounted here");
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

/// A file system that goes with its test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
