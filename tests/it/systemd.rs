//! The server as a service: what it tells its manager, and the sockets that it gets from there.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::player;
use srs_tests::manager::Manager;
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{children, is_alive, signal, wait_gone};
use srs_tests::raw::hello;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// Starts a server as a service, with sockets of its manager.
fn service(manager: &Manager, own: &str, sockets: Vec<(String, OwnedFd)>) -> Server {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    // Standard output may be a socket by now.
    let own = format!("{own}\nsrs_log_tank file;\nsrs_log_file {};", log.display());
    let text = configuration(directory.path(), &own);
    Server::start_by(manager.service(&log, sockets), directory, &text)
}

fn listener() -> (SocketAddr, OwnedFd) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket.into())
}

/// A client that connects before the server is there, and waits in the socket's queue.
struct Early(TcpStream);

impl Early {
    fn connect(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(&hello()).unwrap();
        Self(socket)
    }

    /// The server's handshake begins with its version.
    fn is_answered(&mut self) {
        let mut version = [0];
        self.0.read_exact(&mut version).unwrap();
        assert_eq!(version, [3]);
    }
}

/// Publishes and plays a stream.
fn serves(server: &Server) {
    let live = Live::start(&server.url("live/service"), Duration::from_millis(10));
    live.wait_more(5);
    let mut viewer = player(&server.url("live/service"));
    assert!(viewer.next().unwrap().is_some());
}

#[test]
fn the_manager_hears_of_start_and_end() {
    let mut manager = Manager::new();
    let server = service(&manager, "", Vec::new());
    let ready = manager.wait_line("READY=1");
    let status = manager.heard[ready].value("STATUS").unwrap();
    assert!(status.contains(&server.address().to_string()), "{status}");
    for child in children(server.pid()) {
        let environment = fs::read(format!("/proc/{child}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        for name in ["NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"] {
            assert!(!environment.contains(name), "{child} has {name}");
        }
    }
    server.signal(Signal::SIGTERM);
    manager.wait_line("STOPPING=1");
}

#[test]
fn one_socket_of_the_manager_serves_all_processes() {
    let manager = Manager::new();
    let (address, socket) = listener();
    // A client that came before the server.
    let mut early = Early::connect(address);
    let server =
        service(&manager, &format!("listen {address};\nworkers 3;"), vec![("rtmp".to_owned(), socket)]);
    assert_eq!(server.address(), address);
    serves(&server);
    early.is_answered();
}

#[test]
fn sockets_that_nobody_asked_for_are_named_and_closed() {
    let manager = Manager::new();
    let ((wanted, socket), (stray, other)) = (listener(), listener());
    let sockets = vec![("rtmp".to_owned(), socket), ("stray".to_owned(), other)];
    let server = service(&manager, &format!("listen {wanted};"), sockets);
    serves(&server);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("stray")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(&stray.to_string()), "{line}");
    assert!(TcpStream::connect(stray).is_err(), "{stray} still listens");
}

#[test]
fn kept_sockets_serve_who_came_between_two_masters() {
    let mut manager = Manager::new();
    let mut server = service(&manager, "workers 1;", Vec::new());
    manager.wait_line("READY=1");
    let (address, api) = (server.address(), server.api());
    let names: Vec<&str> = manager.kept().iter().map(|(name, _)| name.as_str()).collect();
    let name_of = |address: &str| format!("listen-{}", address.replace(':', "_"));
    assert_eq!(names, [name_of(&address.to_string()), name_of(api.trim_start_matches("http://"))]);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_end(SOON).success());
    manager.wait_line("STOPPING=1");
    let mut early = Early::connect(address);
    let own = format!(
        "workers 1;\nlisten {address};\nhttp_api {{ enabled on; listen {}; }}",
        api.trim_start_matches("http://")
    );
    let sockets: Vec<(String, OwnedFd)> =
        manager.kept().iter().map(|(name, socket)| (name.clone(), socket.try_clone().unwrap())).collect();
    let server = service(&manager, &own, sockets);
    early.is_answered();
    serves(&server);
    assert_eq!(server.api(), api);
}

#[test]
fn the_manager_hears_of_reloads_and_of_other_sockets() {
    let mut manager = Manager::new();
    let server = service(&manager, "workers 2;", Vec::new());
    let first = manager.wait_line("READY=1");
    assert_eq!(manager.kept().len(), 3, "two for RTMP, one for the API");
    let path = server.directory().join("srs.conf");
    let old = fs::read_to_string(&path).unwrap();
    let (other, socket) = listener();
    drop(socket);
    for (text, kept, status) in [
        (old.replace("workers 2;", "workers 3;"), 4, "generation 2: workers"),
        (old.replace("listen 127.0.0.1:0;\n", &format!("listen {other};\n")), 3, "generation 3: "),
        (old.replace("workers 2;", "workers many;"), 3, "generation 3 stays"),
    ] {
        assert_ne!(text, old);
        fs::write(&path, text).unwrap();
        let before = manager.heard.len();
        server.signal(Signal::SIGHUP);
        let began = manager.wait_line_after(before, "RELOADING=1");
        let now: u64 = manager.heard[began].value("MONOTONIC_USEC").unwrap().parse().unwrap();
        assert!(now > 0);
        let ended = manager.wait_line_after(began, "READY=1");
        let told = manager.heard[ended].value("STATUS").unwrap().to_owned();
        assert!(ended > first && told.contains(status), "{told}");
        assert_eq!(manager.kept().len(), kept, "{told}");
    }
}

#[test]
fn the_manager_gets_signs_of_life() {
    let mut manager = Manager::new();
    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), "");
    let mut command = manager.service(&directory.path().join("log"), Vec::new());
    command.env("WATCHDOG_USEC", "300000");
    let _server = Server::start_by(command, directory, &text);
    wait_until("three signs of life", || manager.count("WATCHDOG=1") >= 3);
}

/// The first stream process of a server whose master has died.
fn stream_process(server: &Server) -> u32 {
    let left = srs_tests::process::relatives(&server.directory().join("run"));
    left.iter().find(|(name, _)| name == "stream#0").unwrap_or_else(|| panic!("{left:?}")).1
}

#[test]
fn a_master_that_died_leaves_its_sockets_and_its_children() {
    let mut manager = Manager::new();
    let mut server = service(&manager, "workers 1;", Vec::new());
    manager.wait_line("READY=1");
    let address = server.address();
    let family = children(server.pid());
    let live = Live::start(&server.url("live/goes_on"), Duration::from_millis(10));
    live.wait_more(5);
    server.kill_master();
    // The process that accepts dies, too: what waits in its socket is the service manager's now.
    let accepts = stream_process(&server);
    signal(accepts, Signal::SIGKILL);
    wait_gone("the stream process", accepts, SOON);
    let mut early = Early::connect(address);
    let kept = |(name, socket): &(String, OwnedFd)| (name.clone(), socket.try_clone().unwrap());
    let sockets: Vec<(String, OwnedFd)> = manager.kept().iter().map(kept).collect();
    let log = server.directory().join("log");
    server.start_master_by(manager.service(&log, sockets));
    early.is_answered();
    live.wait_more(20);
    let stayed = family.iter().filter(|pid| is_alive(**pid)).count();
    assert_eq!(stayed, family.len() - 1);
    assert!(!server.log().contains("no `listen` says"), "{}", server.log());
}

/// As a service manager with a watchdog does with a master that is stopped: SIGABRT, which does not reach it, then SIGKILL, then
/// another one.
#[test]
fn a_master_that_hangs_is_replaced_and_nobody_notices() {
    let mut manager = Manager::new();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let own = format!("workers 1;\nsrs_log_tank file;\nsrs_log_file {};", log.display());
    let text = configuration(directory.path(), &own);
    let mut command = manager.service(&log, Vec::new());
    command.env("WATCHDOG_USEC", "300000");
    let mut server = Server::start_by(command, directory, &text);
    manager.wait_line("READY=1");
    let url = server.url("live/hangs");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    let family = children(server.pid());
    server.signal(Signal::SIGSTOP);
    // What was on its way has been heard; then nothing comes for longer than the watchdog waits.
    let signs = manager.count("WATCHDOG=1");
    live.wait_more(50);
    assert!(manager.count("WATCHDOG=1") <= signs + 1);
    // Newcomers are served meanwhile.
    watchers.push(Watcher::start(&url));
    server.signal(Signal::SIGABRT);
    server.kill_master();
    let kept = |(name, socket): &(String, OwnedFd)| (name.clone(), socket.try_clone().unwrap());
    let sockets: Vec<(String, OwnedFd)> = manager.kept().iter().map(kept).collect();
    server.start_master_by(manager.service(&log, sockets));
    assert!(family.iter().all(|pid| is_alive(*pid)), "all processes go on");
    live.wait_more(20);
    let sent = live.sent();
    for mut watcher in watchers {
        watcher.wait_seen(sent);
        let _every_number = watcher.stop();
    }
    let _undisturbed = live.stop();
    serves(&server);
}

/// A service that can't begin says why and fails, so that its manager tries again, for ever.
#[test]
fn what_is_not_there_yet_is_said_and_is_no_end_for_good() {
    for unit in ["srs.service", "srs@.service"] {
        let path = srs_tests::program::source_tree().join("etc/systemd").join(unit);
        let text = fs::read_to_string(path).unwrap();
        for line in ["StartLimitIntervalSec=0", "Restart=on-failure"] {
            assert!(text.lines().any(|found| found == line), "{unit}: {line}");
        }
    }
    for (own, why) in [
        ("listen 192.0.2.1:1935;", "192.0.2.1:1935"),
        ("srs_log_tank file;\nsrs_log_file /dev/null/srs.log;", "/dev/null/srs.log"),
        ("work_dir /dev/null/x;", "/dev/null/x"),
        (
            "vhost __defaultVhost__ { ingest x { enabled on; input { url /nonexistent/a.flv; } } }",
            "/nonexistent/a.flv",
        ),
    ] {
        let mut manager = Manager::new();
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("log");
        fs::write(directory.path().join("srs.conf"), configuration(directory.path(), own)).unwrap();
        let mut command = manager.service(&log, Vec::new());
        command.arg("-c").arg(directory.path().join("srs.conf"));
        let mut child = command.spawn().unwrap();
        let ended = srs_tests::wait::wait_for("its end", SOON, || child.try_wait().unwrap());
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(!ended.success() && said.contains(why), "{own}: {ended}, {said}");
        assert_eq!(manager.count("READY=1"), 0, "{own}");
    }
}
