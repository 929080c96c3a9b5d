//! Hostile rows H79 to H84: what strangers, pages in browsers and local users may try at the API and the control socket.

use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use srs_tests::capture::player;
use srs_tests::http::{address, ask, exchange};
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{descriptors, memory_kib, run};
use srs_tests::program;
use srs_tests::raw::Raw;
use srs_tests::server::Server;
use srs_tests::tools::nginx;
use srs_tests::wait::{SOON, wait_until};

#[test]
fn h79_nothing_is_open_and_nothing_is_preset() {
    // The configuration of a newcomer has no API at all.
    let server = Server::start("http_api { enabled off; }\n");
    let ports = std::fs::read_to_string(server.directory().join("run/ports.json")).unwrap();
    assert!(!ports.contains("http_api"), "{ports}");
    // Two servers have two tokens.
    let other = Server::start("");
    assert_ne!(server.token(), other.token());
    // Guessing is slow: after twenty wrong ones an address is not listened to any more, with the right one neither.
    let url = other.api();
    let path = "/api/v1/clients/1";
    let statuses: Vec<u16> = (0..25)
        .map(|n| ask(&url, "DELETE", path, &[&format!("Authorization: Bearer {n:064}")]).status)
        .collect();
    assert_eq!(statuses[..20], [401; 20]);
    assert_eq!(statuses[20..], [429; 5]);
    let token = format!("Authorization: Bearer {}", other.token());
    assert_eq!(ask(&url, "DELETE", path, &[&token]).status, 429);
}

#[test]
fn h80_a_callback_is_the_name_of_a_function_and_off_unless_wanted() {
    let off = Server::start("");
    let plain = ask(&off.api(), "GET", "/api/v1/versions?callback=alert(1)//", &[]);
    assert_eq!((plain.status, plain.body[0]), (200, b'{'), "without jsonp it is JSON");
    let on = Server::start("http_api { enabled on; listen 127.0.0.1:0; jsonp on; }\n");
    for callback in ["alert(1)//", "a%28b", "", "a-b", "1a", "%3Cscript%3E", "a%0d%0ab", &"a".repeat(65)] {
        let answer = ask(&on.api(), "GET", &format!("/api/v1/versions?callback={callback}"), &[]);
        assert_eq!(answer.status, 400, "{callback}");
        assert_eq!(answer.header("Content-Type"), Some("application/json;charset=utf-8"));
    }
    let answer = ask(&on.api(), "GET", "/api/v1/versions?callback=jQuery.cb_1", &[]);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.starts_with("/**/jQuery.cb_1({") && text.ends_with("});"), "{text}");
    assert_eq!(answer.header("Content-Type"), Some("application/javascript;charset=utf-8"));
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn h81_pages_of_other_sites_change_nothing_and_rebound_names_are_not_answered() {
    let server = Server::start("http_api { enabled on; listen 127.0.0.1:0; hosts media.example.com; }\n");
    let url = server.api();
    let token = format!("Authorization: Bearer {}", server.token());
    for (host, wanted) in [
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost", 200),
        ("media.example.com:1985", 200),
        ("[::1]:1985", 200),
    ] {
        let answer = ask(&url, "GET", "/api/v1/versions", &[&format!("Host: {host}")]);
        assert_eq!(answer.status, wanted, "{host}");
    }
    // With the token even: a page of another site can't use what a browser might add.
    let foreign = [token.as_str(), "Origin: https://evil.example"];
    for (method, path) in
        [("POST", "/api/v1/reload"), ("DELETE", "/api/v1/clients/1"), ("GET", "/api/v1/raw?rpc=reload")]
    {
        let answer = ask(&url, method, path, &foreign);
        assert_eq!(answer.status, 403, "{method} {path}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        let own = ask(&url, method, path, &[&token]);
        assert_eq!(own.header("Access-Control-Allow-Origin"), None, "no star on what changes something");
    }
    let preflight = ask(&url, "OPTIONS", "/api/v1/clients/1", &["Origin: https://evil.example"]);
    assert_eq!(preflight.header("Access-Control-Allow-Methods"), None);
    // No other method by way of the query or of a header.
    for path in ["/api/v1/clients/1?method=DELETE", "/api/v1/reload?method=POST&_method=POST"] {
        let answer = ask(&url, "GET", path, &["X-HTTP-Method-Override: DELETE", &token]);
        assert!(matches!(answer.status, 200 | 404), "{path}");
    }
    assert!(!server.log().contains("reloaded"));
    assert_eq!(ask(&url, "GET", "/api/v1/streams", &[]).header("Access-Control-Allow-Origin"), None);
    let open = Server::start("http_api { enabled on; listen 127.0.0.1:0; crossdomain on; }\n");
    assert_eq!(
        ask(&open.api(), "GET", "/api/v1/streams", &[]).header("Access-Control-Allow-Origin"),
        Some("*")
    );
    let preflight = ask(&open.api(), "OPTIONS", "/api/v1/clients/1", &["Origin: https://evil.example"]);
    assert_eq!(preflight.header("Access-Control-Allow-Methods"), Some("GET, HEAD"));
}

#[test]
fn a_proxy_on_this_host_opens_the_api_to_nobody() {
    let api = |reads: &str| {
        format!(
            "http_api {{ enabled on; listen 127.0.0.1:0; {reads} }}\nhttp_server {{ enabled on; listen 127.0.0.1:0; }}"
        )
    };
    let status = |base: &str, version: &str, header: &str| {
        let address = address(base);
        let text = format!(
            "GET /api/v1/clients HTTP/{version}\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n"
        );
        exchange(address, text.as_bytes()).unwrap().status
    };
    let server = Server::start(&api(""));
    let token = format!("Authorization: Bearer {}\r\n", server.token());
    assert_eq!(status(&server.web(), "1.1", ""), 200, "a browser on this host");
    for header in [
        "X-Forwarded-For: 203.0.113.7\r\n",
        "Forwarded: for=203.0.113.7\r\n",
        "Via: 1.1 x\r\n",
        "X-Real-IP: 1.2.3.4\r\n",
    ] {
        for base in [server.web(), server.api()] {
            assert_eq!(status(&base, "1.1", header), 401, "{header}");
            assert_eq!(status(&base, "1.1", &format!("{header}{token}")), 200, "{header}");
        }
    }
    if let Some(nginx) = nginx() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path().display();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error; events {{ }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {}; }} }} }}",
            server.web()
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(nginx);
        let _running = srs_tests::process::Running::start(command.arg("-c").arg(&file));
        wait_until("nginx", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let proxy = format!("http://127.0.0.1:{port}");
        assert_eq!(status(&proxy, "1.1", ""), 401, "what nginx passes on");
        assert_eq!(status(&proxy, "1.1", &token), 200);
    }
    assert_eq!(status(&Server::start(&api("reads token;")).web(), "1.1", ""), 401);
    assert_eq!(status(&Server::start(&api("reads all;")).web(), "1.0", "Via: 1.1 x\r\n"), 200);
}

#[test]
fn h82_names_of_strangers_are_text_wherever_they_are_shown() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; nginx_rtmp on; jsonp on; }\nexporter { enabled on; listen 127.0.0.1:0; }\n",
    );
    let name = "<script>alert('\"&x')";
    let (_publisher, _) = Raw::publishing(server.address(), "live", name);
    wait_until("the stream", || server.streams().iter().any(|stream| stream.name == name));
    let text = |path: &str| String::from_utf8(ask(&server.api(), "GET", path, &[]).body).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text("/api/v1/streams")).unwrap();
    assert_eq!(json["streams"][0]["name"], name);
    let script = text("/api/v1/streams?callback=f");
    assert!(!script.contains('<'), "{script}");
    let xml = text("/stat");
    assert!(!xml.contains("<script") && xml.contains("&lt;script&gt;"), "{xml}");
    let metrics = String::from_utf8(ask(&server.exporter(), "GET", "/metrics", &[]).body).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("srs_stream_clients")).unwrap();
    assert!(line.contains("\\\"&x"), "quotes are escaped: {line}");
    let table =
        run(Command::new(program::srs_cli()).arg("--socket").arg(server.socket()).arg("streams"), SOON);
    assert!(table.expect_success().lines().count() == 2);
}

#[test]
fn h83_requests_that_no_decent_client_sends() {
    let server = Server::start("");
    let url = server.api();
    let api = server.pids("api")[0];
    assert_eq!(ask(&url, "GET", "/api/v1/versions", &[]).status, 200);
    let (open, memory) = (descriptors(api), memory_kib(api));
    let head = |rest: &str| format!("GET /api/v1/versions HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n");
    let rows: Vec<(&str, Vec<u8>, Option<u16>)> = vec![
        ("a head of 1 MB", head(&format!("A: {}\r\n", "x".repeat(1 << 20))).into(), Some(431)),
        ("100 000 headers", head(&"A: b\r\n".repeat(100_000)).into(), Some(431)),
        ("a negative chunk", head("Transfer-Encoding: chunked\r\n\r\n-1\r\nx").into(), Some(400)),
        ("a huge chunk", head("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n").into(), Some(400)),
        ("two lengths", head("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n").into(), Some(400)),
        ("a length of 4 GB", head("Content-Length: 4294967296\r\n").into(), Some(413)),
        ("a body on GET", [head("Content-Length: 3\r\n").into_bytes(), b"abc".to_vec()].concat(), Some(200)),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Some(400)),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Some(400)),
        ("zeros", vec![0; 100_000], Some(400)),
        ("another method", b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Some(405)),
        ("10 000 at once", head("").repeat(10_000).into(), Some(200)),
        ("nothing at all", Vec::new(), None),
    ];
    for (name, bytes, wanted) in &rows {
        if bytes.is_empty() {
            drop(TcpStream::connect(address(&url)).unwrap());
            continue;
        }
        let answer = exchange(address(&url), bytes);
        assert_eq!(answer.map(|answer| answer.status), *wanted, "{name}");
    }
    // A head that never ends is given up after five seconds.
    let mut slow = TcpStream::connect(address(&url)).unwrap();
    slow.write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: localh").unwrap();
    let answer = srs_tests::http::read(&mut slow);
    assert_eq!(answer.map(|answer| answer.status), Some(408));
    assert_eq!(ask(&url, "GET", "/api/v1/versions", &[]).status, 200);
    assert_eq!(server.pids("api")[0], api, "the process lives");
    wait_until("descriptors as before", || descriptors(api) <= open + 2);
    assert!(memory_kib(api) < memory + 16 * 1024, "{} KiB after {memory}", memory_kib(api));
}

#[test]
fn two_hundred_slow_clients_delay_nobody() {
    let server = Server::start("");
    let url = server.url("live/one");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(10);
    let _players: Vec<_> = (0..20).map(|_| player(&url)).collect();
    server.wait_players(21);
    // Half of them never finish asking; half ask for much and take nothing.
    let slow: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut socket = TcpStream::connect(address(&server.api())).unwrap();
            let request = "GET /api/v1/clients HTTP/1.1\r\nHost: localhost\r\n";
            let end = if n % 2 == 0 { "" } else { "\r\n" };
            socket.write_all(format!("{request}{end}").as_bytes()).unwrap();
            socket
        })
        .collect();
    for _ in 0..5 {
        let began = Instant::now();
        let mut command = Command::new(program::srs_cli());
        let _ = run(command.arg("--socket").arg(server.socket()).arg("status"), SOON).expect_success();
        let mut command = Command::new(program::srs_cli());
        let _ = run(command.arg("--api").arg(server.api()).arg("status"), SOON).expect_success();
        assert!(began.elapsed() < Duration::from_secs(2), "{} ms", began.elapsed().as_millis());
    }
    let sent = live.sent();
    watcher.wait_seen(sent + 20);
    assert!(!watcher.is_over());
    drop(slow);
    let _ = live.stop();
    let seen = watcher.stop();
    assert!(seen.last >= sent + 20, "the watcher checks that no frame is missing");
}

/// The limit of a process's descriptors.
fn set_descriptor_limit(pid: u32, limit: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    // What is highest was inherited from here.
    let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: Some(limit), maximum };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
}

/// Lets a process open no more than so many descriptors beside those that it has.
fn leave_descriptors(pid: u32, room: usize) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<u64> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let limit = (0..).filter(|number| !open.contains(number)).nth(room).unwrap();
    set_descriptor_limit(pid, limit);
}

#[test]
fn a_private_port_survives_the_lack_of_descriptors_and_clients_that_take_nothing() {
    let server = Server::start("http_api { enabled off; }\nworkers 1;\n");
    let status = || {
        let mut command = Command::new(program::srs_cli());
        run(command.arg("--socket").arg(server.socket()).args(["status", "--format", "json"]), SOON)
    };
    let sound = || status().status.code() == Some(0);
    assert!(sound());
    let stream = || {
        let told: serde_json::Value = serde_json::from_str(&status().stdout).unwrap();
        let processes = told["processes"].as_array().unwrap();
        processes.iter().find(|process| process["role"] == "stream").unwrap().clone()
    };
    let (pid, port) = (&stream()["pid"], &stream()["private_api_port"]);
    let pid = u32::try_from(pid.as_u64().unwrap()).unwrap();
    let port = u16::try_from(port.as_u64().unwrap()).unwrap();
    // No descriptor more, one more, two more: whoever comes behind can't be accepted, and nobody is lost by it.
    for room in 0..3 {
        leave_descriptors(pid, room);
        let callers: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        assert!(!sound(), "it can't answer");
        set_descriptor_limit(pid, 1024);
        wait_until("an answer again", sound);
        drop(callers);
        assert_eq!(stream()["pid"], pid, "it is the same process");
    }
    // Clients with the token that ask and take nothing.
    let ask = format!(
        "GET /api/v1/report HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token()
    );
    let deaf: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket.write_all(ask.repeat(20).as_bytes()).unwrap();
            socket
        })
        .collect();
    wait_until("an answer beside them", sound);
    drop(deaf);
}

fn command_socket(server: &Server) -> UnixStream {
    let socket = UnixStream::connect(server.socket()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// What the master answers before it closes.
fn answer(socket: &mut UnixStream) -> String {
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text);
    text
}

#[test]
fn h84_the_master_waits_for_no_operator() {
    let server = Server::start("");
    let open = descriptors(server.pid());
    // A line without an end.
    let mut endless = command_socket(&server);
    let block = vec![b'x'; 64 << 10];
    let sent = (0..100).take_while(|_| endless.write_all(&block).is_ok()).count();
    assert!(sent < 100, "it is closed after 64 KiB, not after {} MiB", sent / 16);
    // Descriptors that nobody asked for.
    let extra = command_socket(&server);
    let file = std::fs::File::open("/dev/null").unwrap();
    for _ in 0..50 {
        let fds = [file.as_raw_fd(); 16];
        let control = [ControlMessage::ScmRights(&fds)];
        let _ = sendmsg::<()>(extra.as_raw_fd(), &[IoSlice::new(b"{")], &control, MsgFlags::empty(), None);
    }
    // Half a message; nothing; messages that are none; more operators than there are places.
    let mut half = command_socket(&server);
    half.write_all(b"{\"command\":\"rel").unwrap();
    for line in ["", "null", "[]", "{}", "{\"command\":\"shutdown\"}", "\u{0}\u{1}", "{\"command\":{}}"] {
        let mut socket = command_socket(&server);
        socket.write_all(format!("{line}\n").as_bytes()).unwrap();
        assert!(answer(&mut socket).contains("not a request"), "{line}");
    }
    let crowd: Vec<UnixStream> = (0..200).filter_map(|_| UnixStream::connect(server.socket()).ok()).collect();
    // Somebody who asks and never reads.
    let mut deaf = command_socket(&server);
    let _ = deaf.write_all(b"{\"command\":\"processes\"}\n");
    // The master does its work all the while: a child that dies is replaced.
    let victim = server.pids("stream")[0];
    srs_tests::process::signal(victim, nix::sys::signal::Signal::SIGKILL);
    wait_until("a successor", || {
        server.pids("stream").len() == 2 && !server.pids("stream").contains(&victim)
    });
    drop((crowd, endless, extra, half, deaf));
    wait_until("places are free again", || {
        let mut socket = command_socket(&server);
        socket.write_all(b"{\"command\":\"processes\"}\n").is_ok()
            && answer(&mut socket).contains("\"processes\"")
    });
    wait_until("descriptors as before", || descriptors(server.pid()) <= open + 4);
}

/// What is too long is said so, and the connection closed, at each port that answers HTTP.
#[test]
fn requests_that_are_too_long_are_answered_at_every_port() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }\nvhost __defaultVhost__ { }");
    let web = server.web();
    let api = server.api();
    let long = "a".repeat(1_000_000);
    let heads = [
        (format!("GET /api/v1/versions HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(50_000)), "431"),
        (
            format!(
                "POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{}",
                &long[..60_000]
            ),
            "",
        ),
    ];
    for base in [&web, &api] {
        for (request, status) in &heads {
            let mut socket = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            // It may be closed before all of it is sent.
            let _ = socket.write_all(request.as_bytes());
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.starts_with("HTTP/1.1 4") && answer.contains(status),
                "{base}: {} … gets {answer:?}",
                &request[..40]
            );
        }
    }
}
