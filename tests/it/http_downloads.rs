//! Row F09: a download goes on over the death of the http process, of the master, and of both, on the same connection and
//! with the next byte.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use srs_tests::process::{Running, signal};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

const LEN: usize = 48 << 20;

/// Bytes that tell where they belong.
fn content() -> Vec<u8> {
    (0..LEN as u64 / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn server(content: &[u8]) -> Server {
    let directory = TempDir::new().unwrap();
    let top = directory.path().join("html");
    fs::create_dir_all(&top).unwrap();
    fs::write(top.join("big.bin"), content).unwrap();
    fs::write(top.join("small.txt"), "small").unwrap();
    let own = format!("http_server {{ enabled on; listen 127.0.0.1:0; dir {}; }}\n", top.display());
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

fn http_pid(server: &Server, not: u32) -> u32 {
    wait_for("an http process", SOON, || server.pids("http").first().copied().filter(|pid| *pid != not))
}

struct Download {
    socket: TcpStream,
    got: Vec<u8>,
    len: usize,
}

impl Download {
    fn begin(server: &Server, fields: &str, len: usize) -> Self {
        let mut socket = TcpStream::connect(server.web_address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        // The next request stands behind it already.
        let request = format!(
            "GET /big.bin HTTP/1.1\r\nHost: a\r\n{fields}\r\nGET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self { socket, got: Vec::new(), len }
    }

    /// Reads so many bytes more, or what is left.
    fn read(&mut self, count: usize) {
        let begin = self.got.len();
        self.got.resize((begin + count).min(self.len), 0);
        self.socket.read_exact(&mut self.got[begin..]).expect("the connection goes on");
    }

    fn finish(mut self) -> Vec<u8> {
        self.read(self.len);
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).unwrap();
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\nsmall"), "{rest}");
        self.got
    }
}

fn curl(server: &Server, to: &Path) -> Running {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--limit-rate", "12M", "--output"]).arg(to);
    Running::start(command.arg(format!("{}/big.bin", server.web())))
}

#[test]
fn downloads_go_on_when_the_http_process_dies() {
    let content = content();
    let server = server(&content);
    let mut pid = http_pid(&server, 0);
    let to = server.directory().join("curl.bin");
    let curl = curl(&server, &to);
    let mut whole = Download::begin(&server, "", LEN);
    let mut part = Download::begin(&server, "Range: bytes=1000001-\r\n", LEN - 1_000_001);
    // Closed by its client meanwhile: nothing is left of it.
    let mut left = Download::begin(&server, "", LEN);
    wait_until("curl's first bytes", || fs::metadata(&to).is_ok_and(|file| file.len() > 0));
    // The last kill comes before the server has written all: what the sockets hold is less than is left.
    for round in 0..12 {
        whole.read(3 << 19);
        part.read(2 << 20);
        if round < 3 {
            left.read(1 << 20);
        } else if round == 3 {
            left.socket.shutdown(std::net::Shutdown::Both).unwrap();
        }
        signal(pid, Signal::SIGKILL);
        pid = http_pid(&server, pid);
    }
    assert!(whole.finish() == content, "every byte in its place");
    assert!(part.finish() == content[1_000_001..], "every byte of the range in its place");
    let _ = curl.finish(SOON).expect_success();
    assert!(fs::read(&to).unwrap() == content, "every byte of curl's in its place");
    drop(left);
    wait_until("the master keeps nothing any more", || {
        descriptors_of(server.pid(), "big.bin") == 0 && descriptors_of(pid, "big.bin") == 0
    });
}

/// How many descriptors of a process are of a file of this name.
fn descriptors_of(pid: u32, name: &str) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.file_name().is_some_and(|it| it == name)).count()
}

#[test]
fn downloads_go_on_when_first_the_master_dies_and_then_the_http_process() {
    let content = content();
    let mut server = server(&content);
    let pid = http_pid(&server, 0);
    let mut whole = Download::begin(&server, "", LEN);
    whole.read(4 << 20);
    server.kill_master();
    whole.read(4 << 20);
    server.start_master();
    assert_eq!(http_pid(&server, 0), pid, "it was taken over");
    whole.read(4 << 20);
    signal(pid, Signal::SIGKILL);
    http_pid(&server, pid);
    assert!(whole.finish() == content, "every byte in its place");
}
