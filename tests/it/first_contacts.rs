//! First contacts, names, sizes and forms of commands as encoders in the field have them: what each gets, beside what
//! nginx-rtmp does with it. Nothing that plays there is refused here, and who is refused is told why.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use amf0::Value;
use client::{Event, Kind, Options, Player};
use srs_tests::pattern;
use srs_tests::process::Running;
use srs_tests::raw::{Ending, Raw, basic_header, connect_object};
use srs_tests::server::Server;
use srs_tests::tools::nginx_rtmp;
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A key frame that is recognised.
const PICTURE: &[u8] = b"\x17\x01\0\0\0\0\0\0\x0e\x65marked picture";

/// What a contact gets.
#[derive(Debug, Clone, Copy)]
enum Gets {
    /// Who plays the stream sees its picture.
    Played,
    /// An end, and this in the log.
    Refused(&'static str),
}

/// One row: publishes the picture as the stream of this name in application `live`, in its own way.
struct Row {
    name: &'static str,
    gets: Gets,
    contact: fn(SocketAddr, &str) -> Raw,
}

use Gets::{Played, Refused};

const fn row(name: &'static str, gets: Gets, contact: fn(SocketAddr, &str) -> Raw) -> Row {
    Row { name, gets, contact }
}

const ROWS: &[Row] = &[
    row("as others", Played, |address, stream| picture(Raw::publishing(address, "live", stream))),
    row("chunk size 1", Played, |address, stream| with_chunks(address, stream, 1)),
    row("chunk size 127", Played, |address, stream| with_chunks(address, stream, 127)),
    row("chunk size 65537", Played, |address, stream| with_chunks(address, stream, 65_537)),
    row("chunk size 1 MiB", Played, |address, stream| with_chunks(address, stream, 1 << 20)),
    row("chunk size 128 MiB", Played, |address, stream| with_chunks(address, stream, 128 << 20)),
    row("chunk size 2^31 - 1", Played, |address, stream| with_chunks(address, stream, 0x7fff_ffff)),
    row("media on message stream 0", Played, |address, stream| {
        picture((Raw::publishing(address, "live", stream).0, 0))
    }),
    row("media on a message stream of its own invention", Played, |address, stream| {
        picture((Raw::publishing(address, "live", stream).0, 5))
    }),
    row("first chunks of form 1", Played, |address, stream| {
        let (mut raw, _) = Raw::publishing(address, "live", stream);
        for (csid, type_id, payload) in [(6, 9, pattern::VIDEO_CONFIGURATION), (12, 9, PICTURE)] {
            let mut bytes = basic_header(1, csid);
            bytes.extend_from_slice(&[0, 0, 0, 0, 0, payload.len().to_le_bytes()[0], type_id]);
            bytes.extend_from_slice(payload);
            raw.send(&bytes);
        }
        raw
    }),
    row("metadata of 70 KiB", Played, |address, stream| with_metadata(address, stream, 70 << 10)),
    row("metadata of 600 KiB", Played, |address, stream| with_metadata(address, stream, 600 << 10)),
    row("metadata of 3 MiB", Played, |address, stream| with_metadata(address, stream, 3 << 20)),
    row("a key with a line end", Played, |address, stream| named(address, &format!("{stream}\r\n"))),
    row("a key with a query and a line end", Played, |address, stream| {
        named(address, &format!("{stream}?token=1\r\n"))
    }),
    row("a URL as name", Played, |address, stream| {
        named(address, &format!("rtmp://{address}/live/{stream}"))
    }),
    row("a token behind dots", Played, |address, stream| named(address, &format!("{stream}...token...x"))),
    row("a token of 5 KiB", Played, |address, stream| {
        named(address, &format!("{stream}?jwt={}", "e".repeat(5 << 10)))
    }),
    row("a token of 16000 bytes", Played, |address, stream| {
        named(address, &format!("{stream}?jwt={}", "e".repeat(16_000)))
    }),
    row("domain in the URL", Played, |address, stream| {
        connected_by(address, stream, &format!("rtmp://{address}/live?domain=any.example"), "live")
    }),
    row("domain in the name", Played, |address, stream| {
        named(address, &format!("{stream}?domain=any.example"))
    }),
    row("app with parameters", Played, |address, stream| {
        connected_by(address, stream, &format!("rtmp://{address}/live?token=x"), "live?token=x")
    }),
    row("app with a slash and a line end", Played, |address, stream| {
        connected_by(address, stream, &format!("rtmp://{address}/live/\r\n"), "live/\r\n")
    }),
    row("app with an instance", Played, |address, stream| {
        connected_by(address, stream, &format!("rtmp://{address}/live/_definst_"), "live/_definst_")
    }),
    row("garbage behind every command", Played, |address, stream| {
        let mut raw = Raw::handshaken(address);
        raw.tail = b"\xff\x02\xff\xffgarbage".to_vec();
        raw.command(0, "connect", 1.0, &[connect_object(address, "live")]);
        raw.wait_command("_result");
        publish(raw, stream)
    }),
    row("commands that nobody knows", Played, |address, stream| {
        let mut raw = Raw::connected(address, "live");
        for name in ["releaseStream", "FCPublish", "_checkbw", "setPeerInfo", "getStreamLength"] {
            raw.command(0, name, 0.0, &[Value::Null, stream.into()]);
        }
        publish(raw, stream)
    }),
    row("TLS", Refused("TLS"), |address, _| first(address, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")),
    row("HTTP", Refused("HTTP"), |address, _| first(address, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")),
    row("RTSP", Refused("RTSP"), |address, _| {
        first(address, b"OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    }),
    row("a PROXY header", Refused("PROXY"), |address, _| {
        first(address, b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n")
    }),
    row("a PROXY header of version 2", Refused("PROXY"), |address, _| {
        first(address, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")
    }),
    row("RTMPE", Refused("rtmpe"), |address, _| first(address, &[6; 1_537])),
    row("a name in GBK", Refused("not UTF-8"), |address, stream| {
        let mut raw = Raw::connected(address, "live");
        let msid = raw.create_stream();
        let mut payload = rtmp::command::Command::encode("publish", 5.0, &[Value::Null]);
        let name = [stream.as_bytes(), b"\xd6\xd0\xce\xc4"].concat();
        payload.extend_from_slice(&[2, 0, name.len().to_le_bytes()[0]]);
        payload.extend_from_slice(&name);
        raw.message(3, 0, 20, msid, &payload);
        raw
    }),
    row("a second publisher", Refused("publish_takeover"), |address, _| {
        let mut raw = Raw::connected(address, "live");
        let msid = raw.create_stream();
        raw.command(msid, "publish", 5.0, &[Value::Null, "taken".into(), "live".into()]);
        raw
    }),
];

fn picture((mut raw, msid): (Raw, u32)) -> Raw {
    raw.message(6, 0, 9, msid, pattern::VIDEO_CONFIGURATION);
    raw.message(6, 0, 9, msid, PICTURE);
    raw
}

fn publish(mut raw: Raw, name: &str) -> Raw {
    let msid = raw.create_stream();
    raw.command(msid, "publish", 5.0, &[Value::Null, name.into(), "live".into()]);
    if raw.try_wait_status("NetStream.Publish.Start") { picture((raw, msid)) } else { raw }
}

fn named(address: SocketAddr, name: &str) -> Raw {
    publish(Raw::connected(address, "live"), name)
}

fn connected_by(address: SocketAddr, stream: &str, tc_url: &str, app: &str) -> Raw {
    let mut raw = Raw::handshaken(address);
    let object = Value::object([("app", app.into()), ("tcUrl", Value::from(tc_url.to_owned()))]);
    raw.command(0, "connect", 1.0, &[object]);
    if raw.try_wait_command("_result").is_none() {
        return raw;
    }
    publish(raw, stream)
}

fn with_chunks(address: SocketAddr, stream: &str, size: u32) -> Raw {
    let mut raw = Raw::connected(address, "live");
    raw.message(2, 0, 1, 0, &size.to_be_bytes());
    raw.chunk_size = size.min(0x00ff_ffff);
    if raw.ending(Duration::from_millis(50)) == Ending::Closed {
        return raw;
    }
    publish(raw, stream)
}

/// An onMetaData with an index of key frames of about so many bytes.
fn with_metadata(address: SocketAddr, stream: &str, bytes: usize) -> Raw {
    let (mut raw, msid) = Raw::publishing(address, "live", stream);
    raw.message(2, 0, 1, 0, &60_000_u32.to_be_bytes());
    raw.chunk_size = 60_000;
    let times = (0..bytes / 9).map(|_| Value::Number(0.5)).collect();
    let index = Value::object([("times", Value::StrictArray(times))]);
    let object = Value::object([("width", Value::Number(320.0)), ("keyframes", index)]);
    let mut payload = Vec::new();
    amf0::encode_all(&["@setDataFrame".into(), "onMetaData".into(), object], &mut payload);
    raw.message(4, 0, 18, msid, &payload);
    picture((raw, msid))
}

fn first(address: SocketAddr, bytes: &[u8]) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(bytes);
    raw
}

/// Whether who plays the stream of a row sees its picture.
fn plays(row: &Row, address: SocketAddr, stream: &str, deadline: Duration) -> bool {
    let options = Options { read_timeout: Duration::from_millis(100), ..Options::default() };
    let mut player = Player::connect(&format!("rtmp://{address}/live/{stream}"), options).unwrap();
    // What the row's client thinks of the answers is its own business.
    let publisher = std::panic::catch_unwind(|| (row.contact)(address, stream));
    let began = Instant::now();
    let mut seen = false;
    while publisher.is_ok() && !seen && began.elapsed() < deadline {
        seen = matches!(
            player.next_event(),
            Ok(Some(Event::Media { kind: Kind::Video, payload, .. })) if payload == PICTURE
        );
    }
    seen
}

/// nginx-rtmp with an application `live`.
fn nginx() -> Option<(Running, SocketAddr, TempDir)> {
    let (nginx, module) = nginx_rtmp()?;
    let directory = TempDir::new().unwrap();
    let at = directory.path().display();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = format!(
        "load_module {}; daemon off; master_process off; pid {at}/pid; error_log {at}/error; events {{ }}\n\
         rtmp {{ access_log off; server {{ listen {address}; application live {{ live on; }} }} }}",
        module.display()
    );
    let file = directory.path().join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let running = Running::start(Command::new(nginx).arg("-p").arg(directory.path()).arg("-c").arg(&file));
    wait_until("nginx", || TcpStream::connect(address).is_ok());
    Some((running, address, directory))
}

#[test]
fn nobody_is_refused_who_plays_elsewhere_and_nobody_without_a_word() {
    let server = Server::start("");
    let peer = nginx();
    let _taken = pattern::Live::start(&server.url("live/taken"), Duration::from_millis(20));
    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let stream = format!("contact-{number}");
        let there = peer
            .as_ref()
            .is_some_and(|(_, address, _)| plays(row, *address, &stream, Duration::from_millis(1_500)));
        match row.gets {
            Played => {
                let here = plays(row, server.address(), &stream, SOON);
                println!("{}: here {here}, there {there}", row.name);
                if !here {
                    wrong.push(format!("{}: does not play", row.name));
                }
            }
            Refused(words) => {
                let before = server.log().len();
                let mut raw = (row.contact)(server.address(), &stream);
                if raw.ending(SOON) != Ending::Closed {
                    wrong.push(format!("{}: is not refused", row.name));
                }
                println!("{}: refused here, there {there}", row.name);
                wait_until("the reason in the log", || {
                    server.log().get(before..).is_some_and(|log| log.contains(words))
                });
                if there {
                    wrong.push(format!("{}: plays elsewhere", row.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_comes_to_the_port_of_http_with_something_else_is_told_of_it() {
    for (bytes, word) in [(&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], "TLS"), (&[3; 1_537], "RTMP")] {
        let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }");
        let mut raw = first(server.web_address(), bytes);
        assert_eq!(raw.ending(SOON), Ending::Closed);
        wait_until("a line that says so", || server.log().contains(&format!("the client speaks {word}")));
    }
}
