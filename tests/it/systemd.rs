//! The server as a service: what it tells its manager, and the sockets that it gets from there.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::player;
use srs_tests::manager::Manager;
use srs_tests::pattern::Live;
use srs_tests::process::children;
use srs_tests::raw::hello;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::SOON;
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
