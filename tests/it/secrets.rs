//! Secrets: a key in every place where a client can put one, and a look for them in every place where anybody can read:
//! logs, the API in all its forms, pages, metrics, the command line, names and contents of files.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use amf0::Value;
use srs_tests::http::ask;
use srs_tests::pattern;
use srs_tests::raw::Raw;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// What every secret contains; what follows says where it was put.
const MARK: &str = "S3cR3t";

/// A server that tells as much as it can, in every way.
fn talkative() -> Server {
    let directory = TempDir::new().unwrap();
    let own = "srs_log_level verbose;\n\
        http_api { enabled on; listen 127.0.0.1:0; reads all; jsonp on; nginx_rtmp on; }\n\
        exporter { enabled on; listen 127.0.0.1:0; }\n\
        http_server { enabled on; listen 127.0.0.1:0; dir TOP/html; vod on; }\n\
        vhost __defaultVhost__ { http_remux { enabled on; } hls { enabled on; hls_ctx off; hls_fragment 1; hls_path TOP/html; }\n\
        dvr { enabled on; dvr_path TOP/dvr; } }\n\
        vhost page.example { refer page.example; }";
    let own = own.replace("TOP", &directory.path().display().to_string());
    let text = configuration(directory.path(), &own);
    fs::create_dir_all(directory.path().join("html")).unwrap();
    Server::start_in(directory, &text)
}

fn secret(place: &str) -> String {
    format!("{MARK}{place}")
}

/// A connect with a secret wherever one fits.
fn connect(address: SocketAddr, which: &str, host: &str) -> Raw {
    let mut raw = Raw::handshaken(address);
    let s = |place: &str| secret(&format!("{which}{place}"));
    let tc_url = format!("rtmp://user:{}@{host}/live?token={}&{}", s("Password"), s("TcUrl"), s("Bare"));
    let app = match which {
        "Refused" => format!("live;key={}", s("App")),
        "Host" => format!("live%253Fkey%253D{}", s("App")),
        _ => format!("live?key={}...auth...{}", s("App"), s("Dots")),
    };
    let page = |place: &str| {
        format!("http://me:{}@page.example/p;s={}?session={}#{}", s(place), s(place), s(place), s(place))
    };
    let object = Value::object([
        ("app", Value::from(app)),
        ("tcUrl", Value::from(tc_url)),
        ("pageUrl", Value::from(page("Page"))),
        ("swfUrl", Value::from(page("Swf"))),
        ("token", Value::from(s("Property"))),
        ("flashVer", Value::from(format!("FMLE/3.0;key={}", s("FlashVer")))),
        ("type", Value::from(format!("nonprivate&key={}", s("Type")))),
    ]);
    let args = Value::object([("srs_token", Value::from(s("Args")))]);
    raw.command(0, "connect", 1.0, &[object, args]);
    raw
}

/// Publishes under a name until it is there; stays.
fn publish(address: SocketAddr, which: &str, name: &str) -> (Raw, u32) {
    let mut raw = connect(address, which, "any.example");
    raw.wait_command("_result");
    raw.command(0, "releaseStream", 0.0, &[Value::Null, name.into()]);
    raw.command(0, "FCPublish", 0.0, &[Value::Null, name.into()]);
    let msid = raw.create_stream();
    raw.command(msid, "publish", 0.0, &[Value::Null, name.into(), "live".into()]);
    raw.wait_status("NetStream.Publish.Start");
    raw.message(6, 0, 9, msid, pattern::VIDEO_CONFIGURATION);
    (raw, msid)
}

/// Asks for something by RTMP that is refused.
fn refused(address: SocketAddr, which: &str, command: &str, name: &str) {
    let mut raw = connect(address, which, "any.example");
    raw.wait_command("_result");
    let msid = raw.create_stream();
    raw.command(msid, command, 0.0, &[Value::Null, name.into()]);
    raw.ending(SOON);
}

/// What strangers ask by HTTP.
fn requests(server: &Server) {
    let s = |place: &str| secret(&format!("Http{place}"));
    for path in [
        "/live/plain.flv",
        "/live/plain.m3u8",
        "/live/none.flv",
        "/live/none.ts",
        "/none.html",
        "/console/",
        "/",
    ] {
        let request = format!(
            "GET {path}?token={}&x={} HTTP/1.1\r\nHost: x\r\nReferer: http://me:{}@page.example/;r={}?sid={}%26a%3D{}#{}\r\n\
             Cookie: id={}\r\nAuthorization: Basic {}\r\nUser-Agent: {}\r\nX-Token: {}\r\nConnection: close\r\n\r\n",
            s("Query"),
            s("Query"),
            s("Referer"),
            s("Referer"),
            s("Referer"),
            s("Referer"),
            s("Referer"),
            s("Cookie"),
            s("Basic"),
            s("Agent"),
            s("Header"),
        );
        say(server.web_address(), request.as_bytes());
    }
    let odd = [
        format!(
            "GET http://me:{}@h/live/plain.flv?token={} HTTP/1.1\r\nHost: h\r\n\r\n",
            s("Absolute"),
            s("Absolute")
        ),
        format!(
            "GET /live/plain...token...{}.flv HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            s("Dots")
        ),
        format!("BREW /{} HTTP/1.1\r\n{}\r\n\r\n", s("Odd"), s("Odd")),
        format!(
            "POST /live/plain.flv?token={} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            s("Post")
        ),
    ];
    let behind_signs = SIGNS.iter().flat_map(|(sign, equals)| {
        let param = format!("{sign}token{equals}{}", s("Sign"));
        [
            format!("plain{param}.flv"),
            format!("plain.flv{param}"),
            format!("plain{param}.m3u8"),
            format!("none{param}.ts"),
        ]
    });
    let paths: Vec<String> = behind_signs.filter(|name| !name.contains(['?', '#'])).collect();
    let with_paths = paths.iter().map(|name| {
        format!("GET /live/{name} HTTP/1.1\r\nHost: h\r\nReferer: http://page.example/{name}\r\nConnection: close\r\n\r\n")
    });
    let greeting = format!(
        "GET /live/plain%3Ftoken%3D{0}.flv HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: token={0}, {0}\r\n\r\n",
        s("Subprotocol")
    );
    let hosts = ["h;token=", "h%3Btoken%3D", "me:", "h?token="].map(|host| {
        format!("GET /live/plain.flv HTTP/1.1\r\nHost: {host}{0}\r\nConnection: close\r\n\r\n", s("Host"))
    });
    let odd: Vec<String> = odd.into_iter().chain(with_paths).chain([greeting]).chain(hosts).collect();
    for request in &odd {
        for at in [server.web_address(), srs_tests::http::address(&server.api()), server.address()] {
            say(at, request.as_bytes());
        }
    }
    let bearer = format!("Authorization: Bearer {}", s("Bearer"));
    drop(ask(
        &server.api(),
        "GET",
        &format!("/api/v1/streams?token={}", s("Api")),
        &[&bearer, "Connection: close"],
    ));
    drop(ask(
        &server.api(),
        "DELETE",
        &format!("/api/v1/clients/1?token={}", s("Api")),
        &[&bearer, "Connection: close"],
    ));
}

/// What a parameter stands behind, and its equals sign.
const SIGNS: [(&str, &str); 10] = [
    ("&", "="),
    (";", "="),
    ("#", "="),
    ("%3F", "="),
    ("%26", "%3D"),
    ("%3b", "%3d"),
    ("%23", "%3D"),
    ("%253F", "%253D"),
    ("%2526", "="),
    ("%253B", "%3D"),
];

/// Sends bytes, and reads what is said at once, if anything.
fn say(at: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(at).unwrap();
    let _ = socket.write_all(bytes);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = socket.read(&mut [0; 1 << 12]);
}

/// All that can be read by anybody, piece by piece.
fn everything(server: &Server) -> Vec<(String, String)> {
    let mut seen = vec![("log".to_owned(), server.log())];
    let base = ask(&server.api(), "GET", "/api/v1", &["Connection: close"]);
    seen.push(("/api/v1".to_owned(), String::from_utf8_lossy(&base.body).into_owned()));
    for path in [
        "streams",
        "clients",
        "vhosts",
        "processes",
        "summaries",
        "requests",
        "rusages",
        "self_proc_stats",
        "hls",
        "dvr",
        "reload",
        "raw?rpc=raw",
        "features",
        "clusters",
        "streams?callback=f",
    ] {
        let answer = ask(&server.api(), "GET", &format!("/api/v1/{path}"), &["Connection: close"]);
        seen.push((path.to_owned(), String::from_utf8_lossy(&answer.body).into_owned()));
    }
    for path in ["/stat", "/stat.json"] {
        let answer = ask(&server.api(), "GET", path, &["Connection: close"]);
        seen.push((path.to_owned(), String::from_utf8_lossy(&answer.body).into_owned()));
    }
    let metrics = ask(&server.exporter(), "GET", "/metrics", &["Connection: close"]);
    seen.push(("metrics".to_owned(), String::from_utf8_lossy(&metrics.body).into_owned()));
    for words in [
        &["streams"][..],
        &["clients"],
        &["status"],
        &["processes"],
        &["hls"],
        &["dvr"],
        &["clients", "-o", "json"],
    ] {
        let mut command = Command::new(srs_tests::program::srs_cli());
        let output = command.args(words).arg("--socket").arg(server.socket()).output().unwrap();
        seen.push((format!("{words:?}"), String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    files(server.directory(), &mut seen);
    seen
}

/// Names and contents of files.
fn files(directory: &Path, seen: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        seen.push(("a file's name".to_owned(), path.display().to_string()));
        if path.is_dir() {
            files(&path, seen);
        } else if let Ok(bytes) = fs::read(&path) {
            seen.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

#[test]
fn no_secret_of_a_client_is_shown_anywhere() {
    let server = talkative();
    let address = server.address();
    let name = |place: &str| secret(&format!("Name{place}"));
    // Each of these is the same as the plain name, with a secret.
    let names = [
        "plain".to_owned(),
        format!("query?token={}&sign={}", name("Query"), name("Sign")),
        format!("dots...token...{}", name("Dots")),
        format!("equals...token={}", name("Equals")),
        format!("comma,vhost=any.example?key={}", name("Comma")),
        format!("rtmp://me:{}@h/live/url?token={}", name("Url"), name("UrlQuery")),
        format!("line?token={}\r\n", name("Line")),
        format!("escaped%3Ftoken%3D{}", name("Escaped")),
    ];
    let behind_signs = SIGNS.iter().enumerate();
    let behind_signs =
        behind_signs.map(|(n, (sign, equals))| format!("sign{n}{sign}key{equals}{}", name("Behind")));
    let names: Vec<String> = names.into_iter().chain(behind_signs).collect();
    let mut publishers: Vec<(Raw, u32)> =
        names.iter().map(|name| publish(address, "Publish", name)).collect();
    let mut viewers = Vec::new();
    for name in &names {
        let mut raw = connect(address, "Play", "any.example");
        raw.wait_command("_result");
        let msid = raw.create_stream();
        raw.command(msid, "play", 0.0, &[Value::Null, name.as_str().into()]);
        raw.wait_status("NetStream.Play.Start");
        viewers.push(raw);
    }
    for n in 0..75_u32 {
        for (raw, msid) in &mut publishers {
            let first = if n % 25 == 0 { 0x17 } else { 0x27 };
            raw.message(
                6,
                n * 40,
                9,
                *msid,
                &[&[first, 1, 0, 0, 0, 0, 0, 0, 4, 0x65][..], &[n.to_le_bytes()[0]; 3]].concat(),
            );
        }
    }
    requests(&server);
    for command in ["publish", "play"] {
        for name in [
            format!("bad//name?token={}", secret("RefusedSlash")),
            format!("plain?vhost=no/where&token={}", secret("RefusedVhost")),
            format!("a/../b?token={}", secret("RefusedDots")),
        ] {
            refused(address, "Refused", command, &name);
        }
    }
    refused(address, "Second", "publish", &format!("plain?token={}", secret("Second")));
    // A page that may not: the vhost of the connect refuses it.
    let mut raw = connect(address, "Host", "page.example.evil");
    raw.wait_command("_result");
    drop(raw);
    wait_until("the streams to be listed", || {
        server.streams().iter().filter(|stream| stream.publish.active).count() == names.len()
    });
    wait_for("a segment", SOON, || {
        let list = ask(&server.web(), "GET", "/live/plain.m3u8?key=x", &["Connection: close"]);
        String::from_utf8_lossy(&list.body).contains("#EXTINF").then_some(())
    });
    let mut seen = everything(&server);
    drop((publishers, viewers));
    wait_until("the recordings", || {
        let mut files_seen = Vec::new();
        files(&server.directory().join("dvr"), &mut files_seen);
        files_seen.iter().filter(|(_, text)| text.ends_with(".flv")).count() >= names.len()
    });
    seen.extend(everything(&server));
    let has = |name: &str| seen.iter().any(|(place, text)| place == "streams" && text.contains(name));
    let plain = has("\"dots\"") && has("\"sign0\"") && has("\"sign9\"");
    assert!(plain, "the names are without their secrets");
    let mut found = Vec::new();
    for (place, text) in &seen {
        for (at, _) in text.match_indices(MARK) {
            let end = text[at..]
                .find(|letter: char| !letter.is_ascii_alphanumeric())
                .map_or(text.len(), |end| at + end);
            found.push(format!("{place}: {}", &text[at..end]));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{found:#?}");
}
