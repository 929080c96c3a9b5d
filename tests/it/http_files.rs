//! Files over HTTP, and what hostile clients say.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use srs_tests::process::{descriptors, memory_kib};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A server with a directory of files.
fn server() -> Server {
    let directory = TempDir::new().unwrap();
    let top = directory.path().join("html");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::write(top.join("index.html"), "<p>hello</p>").unwrap();
    fs::write(top.join("sub/index.html"), "sub").unwrap();
    fs::write(top.join("long.txt"), "a line of text\n".repeat(1000)).unwrap();
    fs::write(top.join("movie.mp4"), (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
        .unwrap();
    fs::write(directory.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(directory.path().join("secret"), top.join("link")).unwrap();
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir {}; stream_wait 0; }}\nlimits {{ stalled_timeout_ms 3000; }}",
        top.display()
    );
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.web_address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// A head and its body of a connection that stays open.
fn answer(socket: &mut TcpStream, has_body: bool) -> (String, Vec<u8>) {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            _ => break,
        }
    }
    let head = String::from_utf8_lossy(&got).into_owned();
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; if has_body { length } else { 0 }];
    socket.read_exact(&mut body).unwrap();
    (head, body)
}

fn ask(socket: &mut TcpStream, path: &str, fields: &str) -> (String, Vec<u8>) {
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
    answer(socket, true)
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("")
}

#[test]
fn files_parts_of_files_and_files_that_the_client_has() {
    let server = server();
    let mut socket = connect(&server);
    let (head, body) = ask(&mut socket, "/", "");
    assert!(
        head.starts_with("HTTP/1.1 200") && field(&head, "Content-Type").starts_with("text/html"),
        "{head}"
    );
    assert_eq!(body, b"<p>hello</p>");
    let whole = fs::read(server.directory().join("html/movie.mp4")).unwrap();
    let (head, body) = ask(&mut socket, "/movie.mp4", "");
    assert!(head.contains("Accept-Ranges: bytes") && body == whole);
    let (head, body) = ask(&mut socket, "/movie.mp4", "Range: bytes=1000-1999999\r\n");
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(field(&head, "Content-Range"), format!("bytes 1000-1999999/{}", whole.len()));
    assert!(body == whole[1000..2_000_000]);
    let (head, _) = ask(&mut socket, "/movie.mp4", "Range: bytes=99999999-\r\n");
    assert!(head.starts_with("HTTP/1.1 416"));
    let tag = field(&head, "ETag").to_owned();
    let (head, _) = ask(&mut socket, "/long.txt", "");
    let fresh = field(&head, "ETag").to_owned();
    assert!(tag.is_empty() && !fresh.is_empty());
    socket
        .write_all(format!("GET /long.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: {fresh}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(answer(&mut socket, false).0.starts_with("HTTP/1.1 304"));
    socket.write_all(b"HEAD /long.txt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (head, _) = answer(&mut socket, false);
    assert_eq!(field(&head, "Content-Length"), "15000");
    // A list of segments grows while its stream goes on: whoever keeps it asks whether it is still the same.
    fs::write(server.directory().join("html/live.m3u8"), "#EXTM3U\n").unwrap();
    for (path, wanted) in [("/long.txt", ""), ("/live.m3u8", "no-cache")] {
        assert_eq!(field(&ask(&mut socket, path, "").0, "Cache-Control"), wanted, "{path}");
    }
    let (head, body) = ask(&mut socket, "/long.txt", "Accept-Encoding: gzip\r\n");
    assert_eq!(field(&head, "Content-Encoding"), "gzip");
    assert!(body.len() < 1000 && body.starts_with(&[0x1f, 0x8b]));
    let (head, _) = ask(&mut socket, "/sub", "");
    assert!(head.starts_with("HTTP/1.1 301") && field(&head, "Location") == "/sub/");
    socket.write_all(b"OPTIONS /sub HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(answer(&mut socket, true).0.contains("Access-Control-Allow-Methods"));
    // Two requests in one packet are answered one after the other.
    socket
        .write_all(
            b"GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    assert_eq!(answer(&mut socket, true).1, b"sub");
    assert_eq!(answer(&mut socket, true).1, b"<p>hello</p>");
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

#[test]
fn nothing_hostile_reaches_a_file_or_stays() {
    let server = server();
    let pid = server.pids("http")[0];
    drop(ask(&mut connect(&server), "/", ""));
    let (fds, memory) = (descriptors(pid), memory_kib(pid));
    let long = "a".repeat(20_000);
    let many = "X: y\r\n".repeat(200);
    let cases: Vec<(String, &str)> = vec![
        ("GET /../secret HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("GET /..%2fsecret HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("GET /%2e%2e/secret HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("GET /link HTTP/1.1\r\nHost: a\r\n\r\n".into(), "404"),
        ("GET /sub/../../secret HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("GET /live/%00.ts HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
        ("GET /live/x.m3u8?a/../../b HTTP/1.1\r\nHost: a\r\n\r\n".into(), "404"),
        ("GET /<script>.flv HTTP/1.1\r\nHost: a\r\n\r\n".into(), "404"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            "413",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".into(), "413"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n".into(), "413"),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n".into(), "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("\x03\0\0\0\0nonsense\r\n\r\n".into(), "400"),
        (format!("GET /long.txt HTTP/1.1\r\nHost: a\r\nRange: bytes={}\r\n\r\n", "0-1,".repeat(1000)), "200"),
        ("GET /long.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-1-\r\n\r\n".into(), "200"),
    ];
    for (bytes, status) in cases {
        let mut socket = connect(&server);
        socket.write_all(bytes.as_bytes()).unwrap();
        let (head, body) = answer(&mut socket, true);
        let shown = &bytes[..bytes.len().min(60)];
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {head}");
        assert!(!body.windows(6).any(|window| window == b"secret"), "{shown:?}");
    }
    // Thousands of requests at once: answered in turn, none of them kept.
    let mut socket = connect(&server);
    let pipelined = "GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5_000);
    let mut writer = socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(pipelined.as_bytes()));
    for _ in 0..5_000 {
        assert_eq!(answer(&mut socket, true).1, b"sub");
    }
    writing.join().unwrap().unwrap();
    drop(socket);
    // A head that never ends, one byte after the other, is given up in time.
    let mut slow = connect(&server);
    let began = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let head = b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for byte in head {
        if slow.write_all(&[*byte]).is_err() || matches!(slow.read(&mut [0]), Ok(0)) {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    // A client that does not read what it asked for goes, too.
    let mut mute = connect(&server);
    mute.write_all(b"GET /movie.mp4 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("nothing is left of them", || descriptors(pid) <= fds);
    assert_eq!(server.pids("http")[0], pid, "the process lives");
    assert!(memory_kib(pid) < memory + 4096, "{memory} KiB became {}", memory_kib(pid));
    assert_eq!(ask(&mut connect(&server), "/", "").1, b"<p>hello</p>");
}
