//! Too many clients for what there is of places and descriptors: whoever takes more than others makes room, what is there
//! goes on, and when the crowd has left all is as before.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use client::{Options, Player, Publisher};
use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use srs_tests::pattern::{self, Live, Watcher, serves};
use srs_tests::process::{descriptors, is_alive, signal, wait_gone};
use srs_tests::program;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A connection from another address of this host.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// One address holds connections that say nothing, or half of a request, over each door: more than there are places.
#[test]
fn who_says_nothing_makes_room_for_everybody_else() {
    let server = Server::start(
        "max_connections 100;\nworkers 2;\nhttp_server { enabled on; listen 127.0.0.1:0; }\n\
         limits { handshake_timeout_ms 20000; }\nvhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let url = server.url("live/honest");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut crowd = Vec::new();
    for number in 0..400 {
        // Some begin the handshake, some say nothing at all.
        let mut idle = connect_from([127, 0, 0, 9], server.address());
        if number % 2 == 0 {
            let _ = idle.write_all(&[3; 700]);
        }
        let mut half = connect_from([127, 0, 0, 9], server.web_address());
        let _ = half.write_all(b"GET /live/honest.flv HTTP/1.1\r\nHost: ");
        crowd.push((idle, half));
    }
    let mut watchers: Vec<Watcher> = (0..40).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    for _ in 0..20 {
        let mut honest = TcpStream::connect(server.web_address()).unwrap();
        honest.set_read_timeout(Some(SOON)).unwrap();
        honest.write_all(b"GET /live/honest.flv HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut head = [0; 12];
        honest.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    live.wait_more(20);
    let sent = live.sent();
    for watcher in &mut watchers {
        watcher.wait_seen(sent);
    }
    drop(crowd);
    serves(&server.url("live/after"));
}

/// Who is one too many is told so, over each door.
#[test]
fn a_full_server_says_so() {
    let server = Server::start(
        "max_connections 3;\nhttp_server { enabled on; listen 127.0.0.1:0; }\nvhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let url = server.url("live/full");
    let live = Live::start(&url, Duration::from_millis(10));
    let _players: Vec<Player> = (0..2).map(|_| Player::connect(&url, Options::default()).unwrap()).collect();
    server.wait_players(2);
    let refused = Player::connect(&url, Options::default()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("max_connections is reached"), "{refused}");
    let mut late = TcpStream::connect(server.web_address()).unwrap();
    late.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    let _ = late.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("max_connections is reached"), "{answer}");
    assert!(live.is_running());
}

/// A server whose processes may open so many files.
fn start_with_files(files: u32, own: &str) -> Server {
    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), own);
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new("sh");
    let line = format!("ulimit -n {files}; exec {} \"$@\"", program::srs().display());
    command.args(["-c", &line, "srs"]).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    Server::start_by(command, directory, &text)
}

#[test]
fn publishers_beyond_the_descriptors_are_refused_and_silence_nobody() {
    let server = start_with_files(300, "max_connections 1000;\nvhost __defaultVhost__ { }");
    wait_until("the warning at start", || {
        server.log().contains("may need") && server.log().contains("ulimit -n")
    });
    let url = server.url("live/healthy");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..4).map(|_| Watcher::start(&url)).collect();
    let before = server.processes().iter().map(|process| process.pid).collect::<Vec<_>>();
    let mut crowd = Vec::new();
    let mut refused = None;
    for number in 0..400 {
        match Publisher::connect(&server.url(&format!("live/crowd-{number}")), Options::default()) {
            Ok(mut publisher) => {
                pattern::send_headers(&mut publisher);
                crowd.push(publisher);
            }
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    let refused = refused.expect("somebody is one too many");
    assert!(refused.contains("no descriptors left"), "{refused}");
    assert!(crowd.len() > 50, "{}", crowd.len());
    // Who was there goes on, and is joined.
    watchers.push(Watcher::start(&url));
    live.wait_more(20);
    let sent = live.sent();
    for watcher in &mut watchers {
        watcher.wait_seen(sent);
    }
    assert_eq!(server.processes().iter().map(|process| process.pid).collect::<Vec<_>>(), before);
    drop(crowd);
    let mut again = None;
    wait_until("a place for a publisher", || {
        again = Publisher::connect(&server.url("live/again"), Options::default()).ok();
        again.is_some()
    });
    assert!(live.is_running());
}

/// Downloads that go on when their process dies are kept by the master: they must not take what it needs to start one.
#[test]
fn many_slow_downloads_keep_no_process_from_being_started() {
    let directory = TempDir::new().unwrap();
    let top = directory.path().join("html");
    fs::create_dir_all(&top).unwrap();
    fs::write(top.join("big.bin"), vec![7; 8 << 20]).unwrap();
    let own = format!(
        "max_connections 2000;\nhttp_server {{ enabled on; listen 127.0.0.1:0; dir {}; }}\n",
        top.display()
    );
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    let few = Rlimit { current: Some(300), maximum: Some(300) };
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    let _ = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let mut downloads = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(server.web_address()).unwrap();
        let small = socket2::SockRef::from(&socket).set_recv_buffer_size(4096);
        small.unwrap();
        socket.write_all(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        downloads.push(socket);
    }
    wait_until("the line about it", || server.log().contains("no descriptors are left to keep more than"));
    let mut streams = Vec::new();
    for number in 0..60 {
        let mut publisher =
            Publisher::connect(&server.url(&format!("live/{number}")), Options::default()).unwrap();
        pattern::send_headers(&mut publisher);
        streams.push(publisher);
    }
    assert!(descriptors(server.pid()) < 300 - 32);
    for role in ["http", "backsource", "stream"] {
        let victim = server.pids(role)[0];
        signal(victim, Signal::SIGKILL);
        wait_gone(role, victim, SOON);
        wait_until("its successor", || server.pids(role).iter().all(|pid| *pid != victim && is_alive(*pid)));
    }
    serves(&server.url("live/after"));
    drop(streams);
    drop(downloads);
    wait_until("descriptors as they were", || descriptors(server.pid()) < 100);
}

/// Leaves a process no descriptor but those that it has.
fn leave_none(process: u32) -> Rlimit {
    leave(process, 0)
}

/// Leaves a process so many descriptors beside those that it has. Returns what it might have before.
fn leave(process: u32, spare: u64) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let open = descriptors(process) as u64 + spare;
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let maximum = files.split_whitespace().nth(1).unwrap().parse().ok();
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(open), maximum }).unwrap()
}

/// Who comes while the http process has no descriptor left is told so.
#[test]
fn without_descriptors_newcomers_over_http_are_told_why() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }\n");
    let process = server.pids("http")[0];
    let _ = leave_none(process);
    let mut socket = TcpStream::connect(server.web_address()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("no descriptor is left\n"), "{answer}");
    assert_eq!(server.pids("http"), [process]);
    wait_until("its count", || server.census().is_some_and(|census| census.totals.refused > 0));
}

/// However many come, each is told, without waiting for the others: in a process that has no descriptor left at all, and in
/// one that has only what is kept from clients.
#[test]
fn a_crowd_without_descriptors_is_told_why_at_once() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }\n");
    let process = server.pids("http")[0];
    for spare in [0, 60] {
        let before = leave(process, spare);
        let mut sockets: Vec<TcpStream> =
            (0..400).map(|_| TcpStream::connect(server.web_address()).unwrap()).collect();
        for socket in &mut sockets {
            socket.set_read_timeout(Some(SOON)).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("no descriptor is left\n"),
                "{answer}"
            );
        }
        let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        let _ = prlimit(Some(pid), Resource::Nofile, before).unwrap();
    }
    assert_eq!(server.pids("http"), [process]);
}

/// An operator who asks why nothing works gets an answer from a master that has no descriptor left.
#[test]
fn a_master_without_descriptors_answers_operators() {
    let server = Server::start("");
    let _ = leave_none(server.pid());
    for _ in 0..3 {
        let mut command = Command::new(program::srs_cli());
        command.arg("status").arg("--api").arg(server.socket());
        let told = srs_tests::process::run(&mut command, SOON).expect_success();
        assert!(told.contains("serving") && !told.contains("hangs"), "{told}");
    }
}
