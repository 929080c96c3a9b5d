//! Hostile peers, row by row: bytes in, the typed error's counter name out, and never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

use amf0::Value;
use rtmp::chunk::writer::write_message;
use rtmp::command::Command;
use rtmp::control::Control;
use rtmp::*;

/// A peer that says whatever it is told to.
struct Peer {
    server: ServerSession,
    events: Vec<ServerEvent>,
    sent: Vec<u8>,
    close: Option<CloseReason>,
}

fn new_server() -> ServerSession {
    let identity = Identity { server_ip: "127.0.0.1".into(), pid: 1, id: 1, version: "0.1.0".into() };
    let limits = std::sync::Arc::new(Limits::default());
    let options = ServerOptions {
        limits,
        seed: [1; 32],
        identity,
        out_chunk_size: 60_000,
        out_window: 1,
        in_ack_size: 0,
    };
    ServerSession::new(0, options)
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn message(type_id: u8, msid: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, 3, 0, type_id, msid, payload, 128);
    out
}

fn command(name: &str, transaction: f64, msid: u32, args: &[Value]) -> Vec<u8> {
    message(20, msid, &Command::encode(name, transaction, args))
}

fn control(control: Control) -> Vec<u8> {
    let (type_id, payload) = control.encode();
    message(type_id, 0, &payload)
}

fn hello() -> Vec<u8> {
    let mut out = vec![7; 1 + 2 * 1536];
    out[0] = 3;
    out
}

fn connect() -> Vec<u8> {
    command("connect", 1.0, 0, &[Value::object([("app", text("live")), ("tcUrl", text("rtmp://h/live"))])])
}

impl Peer {
    fn fresh() -> Self {
        Self { server: new_server(), events: Vec::new(), sent: Vec::new(), close: None }
    }

    fn connected() -> Self {
        let mut peer = Self::fresh();
        peer.say(&hello()).unwrap();
        peer.say(&connect()).unwrap();
        peer.server.accept_connect(0).unwrap();
        peer.drain();
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        peer.say(&command("createStream", 2.0, 0, &[Value::Null])).unwrap();
        peer.say(&command("publish", 3.0, 1, &[Value::Null, text("s")])).unwrap();
        peer.server.accept_publish(0, 1).unwrap();
        peer.drain();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        peer.say(&command("play", 3.0, 1, &[Value::Null, text("s")])).unwrap();
        peer.server.accept_play(0, 1).unwrap();
        peer.drain();
        peer
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let result = self.server.handle_input(0, bytes).map_err(|error| error.reason());
        self.drain();
        result
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit(bytes) => self.sent.extend_from_slice(&bytes),
                Output::Event(event) => self.events.push(event),
                Output::Close(reason) => self.close = Some(reason),
            }
        }
    }

    fn has_sent(&self, needle: &str) -> bool {
        self.sent.windows(needle.len()).any(|window| window == needle.as_bytes())
    }
}

#[test]
fn the_first_byte_decides() {
    for version in [0, 6, 32, b'G', 0xFF] {
        assert_eq!(Peer::fresh().say(&[version]), Err("handshake_version"));
    }
}

#[test]
fn deadlines_are_absolute() {
    let mut peer = Peer::fresh();
    for now_ms in 0..4 {
        peer.server.handle_input(now_ms * 1_200, &[3]).unwrap();
    }
    assert_eq!(peer.server.poll_timeout(), Some(5_000));
    assert_eq!(peer.server.handle_timeout(4_999), Ok(()));
    assert_eq!(peer.server.handle_timeout(5_000), Err(SessionError::HandshakeTimeout));
    let mut peer = Peer::connected();
    assert_eq!(peer.server.poll_timeout(), Some(10_000));
    peer.say(&command("createStream", 2.0, 0, &[])).unwrap();
    assert_eq!(peer.server.handle_timeout(10_000), Err(SessionError::IdentifyTimeout));
    let mut peer = Peer::publishing();
    assert_eq!(peer.server.poll_timeout(), None);
    peer.say(&command("closeStream", 0.0, 1, &[Value::Null])).unwrap();
    assert_eq!(peer.server.poll_timeout(), Some(180_000));
    let mut peer = Peer::playing();
    peer.say(&command("closeStream", 0.0, 1, &[Value::Null])).unwrap();
    assert_eq!(peer.server.poll_timeout(), Some(1_800_000));
}

#[test]
fn one_message_that_kills() {
    let object = |tc_url: Value| Value::object([("tcUrl", tc_url)]);
    let nested = (0..100_000).flat_map(|_| [0x03, 0x00, 0x01, b'a']).collect::<Vec<u8>>();
    let mut deep = Command::encode("x", 1.0, &[]);
    deep.extend_from_slice(&nested[..60_000]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("chunk_size_out_of_range", control(Control::SetChunkSize(0))),
        ("chunk_size_out_of_range", control(Control::SetChunkSize(0x8000_0000))),
        ("chunk_no_previous_header", vec![0xC9]),
        ("chunk_no_previous_header", vec![0x89, 0, 0, 1]),
        ("message_too_long", vec![9, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0]),
        ("message_too_long", vec![9, 0, 0, 0, 0x01, 0x00, 0x01, 20, 1, 0, 0, 0]),
        ("control_short", message(1, 0, &[0, 0])),
        ("control_short", message(4, 0, &[0])),
        ("aggregate_empty_tag", message(22, 1, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11])),
        ("too_many_pings", control(Control::PingRequest(1)).repeat(9)),
        ("amf0_depth", message(20, 0, &deep)),
        ("amf0_short", message(20, 0, b"\x02\xFF")),
        ("amf0_short", message(20, 0, b"\x02\xFF\xFFabc")),
        ("amf0_string_length", command(&"n".repeat(16_385), 1.0, 0, &[])),
        ("amf0_amf3", message(20, 0, b"\x11\x01")),
        ("amf0_amf3", message(20, 1, b"\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05\x11\x06\x03s")),
        ("amf0_short", message(20, 1, b"\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x02\0\x09cut")),
        ("connect_twice", connect()),
        ("too_many_message_streams", command("createStream", 1.0, 0, &[]).repeat(17)),
        ("name_dot", command("publish", 1.0, 1, &[Value::Null, text("../x")])),
        ("name_character", command("play", 1.0, 1, &[Value::Null, text("a\nb")])),
        ("command_argument", command("publish", 1.0, 1, &[Value::Null, Value::Boolean(true)])),
        ("command_argument", command("play", 1.0, 1, &[])),
        ("too_many_toggles", command("pause", 0.0, 1, &[Value::Null, true.into()]).repeat(21)),
    ];
    for (reason, bytes) in cases {
        let mut peer = Peer::connected();
        assert_eq!(peer.say(&bytes), Err(reason));
        assert_eq!(peer.say(&bytes), Ok(()), "a dead session ignores everything");
        assert_eq!(peer.server.poll_timeout(), None);
    }
    let before: Vec<(&str, Value)> = vec![
        ("connect_property", Value::Null),
        ("connect_property", object(Value::Number(f64::NAN))),
        ("connect_property", Value::object([("tcUrl", text("rtmp://a/b")), ("tcUrl", text("rtmp://c/d"))])),
        (
            "connect_property",
            Value::object([("tcUrl", text("rtmp://a/b")), ("app", text("b")), ("app", text("c"))]),
        ),
        ("url_no_schema", object(text(""))),
        ("name_dot", object(text("rtmp://h/../x"))),
    ];
    for (reason, object) in before {
        let mut peer = Peer::fresh();
        peer.say(&hello()).unwrap();
        assert_eq!(peer.say(&command("connect", 1.0, 0, &[object])), Err(reason));
        assert!(peer.has_sent("NetConnection.Connect.Rejected"));
    }
}

#[test]
fn oddities_that_are_survived() {
    let cases: Vec<Vec<u8>> = vec![
        control(Control::Abort(77)),
        control(Control::WindowAckSize(0)),
        control(Control::WindowAckSize(1)),
        control(Control::WindowAckSize(u32::MAX)),
        control(Control::SetPeerBandwidth { window: 0, kind: 9 }),
        control(Control::Acknowledgement(u32::MAX)),
        control(Control::Acknowledgement(0)),
        control(Control::SetBufferLength { msid: 1, ms: u32::MAX }),
        control(Control::SetBufferLength { msid: 99, ms: 1 }),
        control(Control::PingRequest(1)).repeat(8),
        message(9, 1, &[]),
        message(9, 0, &[1]),
        message(9, 99, &[1]),
        message(16, 0, &[1; 100]),
        message(19, 1, &[1; 100]),
        message(255, 1, &[1; 100]),
        message(17, 0, b"\0\x02\0\x01x"),
        message(20, 0, &[]),
        message(20, 0, &[5]),
        command(&"n".repeat(4_000), 1.0, 0, &[]),
        command("evil\n\x1b", f64::NAN, 0, &[]),
        command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(99.0)]),
        command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(f64::INFINITY)]),
        command("closeStream", 0.0, 99, &[]),
        command("releaseStream", 9.0, 0, &[Value::Null, text("other")]),
        command("FCUnpublish", 9.0, 0, &[Value::Null, text("other")]),
        command("FCUnpublish", 9.0, 0, &[Value::Null, Value::Boolean(true)]),
        command("publish", 9.0, 1, &[Value::Null, text("s")]),
        command("publish", 9.0, 1, &[Value::Null, text("other")]),
        command("play", 9.0, 1, &[Value::Null, text("s")]),
        command("pause", 9.0, 1, &[Value::Null, true.into(), Value::Number(-1e308)]),
        command("_result", 1.0, 0, &[]),
    ];
    for bytes in cases {
        let mut peer = Peer::publishing();
        peer.events.clear();
        peer.say(&bytes).unwrap();
        assert!(
            peer.events.iter().all(|event| matches!(
                event,
                ServerEvent::Acknowledged(_)
                    | ServerEvent::Dropped { .. }
                    | ServerEvent::BufferLength { ms: ..=60_000, .. }
                    | ServerEvent::Media { msid: 1, .. }
            )),
            "{:?}",
            peer.events
        );
        assert_eq!(peer.server.publishing(), [(1, "s")]);
        peer.say(&message(9, 1, b"after")).unwrap();
        assert!(matches!(peer.events.last(), Some(ServerEvent::Media { payload, .. }) if payload == "after"));
    }
}

#[test]
fn what_stands_behind_the_values_of_a_command_does_not_matter() {
    let tails: [&[u8]; 6] = [
        &[0; 4],
        &[0xFF; 100],
        b"\x02\xFF\xFFabc",
        b"\x03\0\x01a\x05",
        b"\x11\x0A\x0B\x01",
        b"\x0C\xFF\xFF\xFF\xFF",
    ];
    for tail in tails {
        let with_tail = |name: &str, msid, args: &[Value]| {
            let mut payload = Command::encode(name, 2.0, args);
            payload.extend_from_slice(tail);
            message(20, msid, &payload)
        };
        let mut peer = Peer::fresh();
        peer.say(&hello()).unwrap();
        let object = Value::object([("app", text("live")), ("tcUrl", text("rtmp://h/live"))]);
        peer.say(&with_tail("connect", 0, &[object])).unwrap();
        peer.server.accept_connect(0).unwrap();
        peer.say(&with_tail("releaseStream", 0, &[Value::Null, text("s")])).unwrap();
        peer.say(&with_tail("whatever", 0, &[])).unwrap();
        peer.say(&with_tail("createStream", 0, &[Value::Null])).unwrap();
        peer.say(&with_tail("publish", 1, &[Value::Null, text("s"), text("live")])).unwrap();
        peer.server.accept_publish(0, 1).unwrap();
        peer.say(&message(9, 1, b"picture")).unwrap();
        assert!(matches!(peer.events.last(), Some(ServerEvent::Media { msid: 1, .. })), "{tail:02x?}");
    }
}

#[test]
fn long_tokens_are_taken() {
    let token = "e".repeat(16_000);
    let mut peer = Peer::connected();
    peer.say(&command("publish", 1.0, 1, &[Value::Null, text(&format!("s?token={token}"))])).unwrap();
    let Some(ServerEvent::Publish(request)) = peer.events.last() else { panic!("{:?}", peer.events) };
    assert_eq!((request.name.as_str(), request.params[0].1.len()), ("s", 16_000));
}

#[test]
fn media_goes_to_the_one_stream_that_publishes() {
    let told = |peer: &mut Peer, msid: u32, first: u8| -> Vec<ServerEvent> {
        peer.events.clear();
        let mut bytes = message(9, msid, b"picture");
        bytes[0] = first;
        if first & 0xC0 != 0 {
            bytes.drain(8..12);
        }
        peer.say(&bytes).unwrap();
        std::mem::take(&mut peer.events)
    };
    // Message stream 0, one that nobody made, and a first chunk that leaves the message stream out.
    for (msid, first) in [(0, 4), (1, 4), (7, 4), (0, 0x44)] {
        let mut peer = Peer::publishing();
        assert!(
            matches!(told(&mut peer, msid, first)[..], [ServerEvent::Media { msid: 1, .. }]),
            "message stream {msid}, chunk {first:#04x}"
        );
    }
    // Two streams: what came on neither may be of either. It is told, at first and then ever more seldom.
    let mut peer = Peer::publishing();
    peer.say(&command("createStream", 4.0, 0, &[Value::Null])).unwrap();
    peer.say(&command("publish", 5.0, 2, &[Value::Null, text("t")])).unwrap();
    peer.server.accept_publish(0, 2).unwrap();
    peer.drain();
    let what = Dropped::Stray { msid: 0, kind: MediaKind::Video };
    assert_eq!(told(&mut peer, 0, 4), [ServerEvent::Dropped { what, count: 1 }]);
    assert_eq!(told(&mut peer, 0, 4), [ServerEvent::Dropped { what, count: 2 }]);
    assert_eq!(told(&mut peer, 0, 4), []);
    assert_eq!(told(&mut peer, 0, 4), [ServerEvent::Dropped { what, count: 4 }]);
    // What comes late for a stream that is gone does not get into the other one.
    peer.say(&command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(2.0)])).unwrap();
    assert!(told(&mut peer, 2, 4).iter().all(|event| matches!(event, ServerEvent::Dropped { .. })));
    assert!(matches!(told(&mut peer, 0, 4)[..], [ServerEvent::Media { msid: 1, .. }]));
}

#[test]
fn a_data_message_that_is_too_long_is_left_out() {
    let mut peer = Peer::publishing();
    peer.events.clear();
    // 200 KiB are taken.
    let long = message(18, 1, &[7; 200 << 10]);
    peer.say(&long).unwrap();
    assert!(matches!(&peer.events[..], [ServerEvent::Media { payload, .. }] if payload.len() == 200 << 10));
    peer.events.clear();
    let (too_long, length) = (message(15, 1, &[7; (1 << 20) + 1]), (1 << 20) + 1);
    // Audio between the chunks of it goes through, and so does what comes behind it.
    let (head, tail) = too_long.split_at(12 + 128 + 129 * 100);
    for piece in [
        head,
        &message(8, 1, b"sound")
            .iter()
            .enumerate()
            .map(|(at, byte)| if at == 0 { 6 } else { *byte })
            .collect::<Vec<u8>>(),
        tail,
    ] {
        for piece in piece.chunks(10_000) {
            peer.say(piece).unwrap();
            assert!(peer.server.buffered() < 256, "{} bytes are kept", peer.server.buffered());
        }
    }
    peer.say(&message(9, 1, b"picture")).unwrap();
    let what = Dropped::TooLong { type_id: 15, length, max: 1 << 20 };
    let [dropped, ServerEvent::Media { payload: sound, .. }, ServerEvent::Media { payload: picture, .. }] =
        &peer.events[..]
    else {
        panic!("{:?}", peer.events)
    };
    assert_eq!(*dropped, ServerEvent::Dropped { what, count: 1 });
    assert_eq!((&sound[..], &picture[..]), (&b"sound"[..], &b"picture"[..]));
}

#[test]
fn nothing_counts_before_connect() {
    let mut peer = Peer::fresh();
    peer.say(&hello()).unwrap();
    for name in ["publish", "play", "createStream", "deleteStream", "pause", "FCUnpublish"] {
        peer.say(&command(name, 1.0, 1, &[Value::Null, text("s")])).unwrap();
    }
    peer.say(&message(9, 1, &[1])).unwrap();
    assert!(matches!(peer.events[..], [ServerEvent::Dropped { .. }]), "{:?}", peer.events);
    peer.say(&connect()).unwrap();
    assert!(matches!(peer.events[1..], [ServerEvent::Connect(_)]), "{:?}", peer.events);
}

#[test]
fn input_waits_for_the_decision_and_survives_a_snapshot() {
    let mut all = hello();
    all.extend(connect());
    all.extend(command("createStream", 2.0, 0, &[Value::Null]));
    all.extend(command("publish", 3.0, 1, &[Value::Null, text("s")]));
    all.extend(message(9, 1, &[9; 500]));
    all.extend(message(8, 1, &[8; 5]));
    for end in [all.len(), all.len() - 3, all.len() - 300] {
        let mut peer = Peer::fresh();
        peer.say(&all[..end]).unwrap();
        assert!(peer.server.unread() > 0);
        assert_eq!(peer.server.poll_timeout(), None);
        peer.server.accept_connect(0).unwrap();
        peer.drain();
        assert_eq!(peer.server.accept_connect(0), Err(SessionError::NothingPending));
        assert_eq!(peer.server.accept_publish(0, 2), Err(SessionError::NothingPending));
        peer.server = ServerSession::restore(&peer.server.snapshot()).unwrap();
        peer.server.accept_publish(0, 1).unwrap();
        peer.drain();
        peer.say(&all[end..]).unwrap();
        let media = peer.events.iter().filter(|event| matches!(event, ServerEvent::Media { .. })).count();
        assert_eq!(media, 2);
    }
    let mut peer = Peer::fresh();
    peer.say(&hello()).unwrap();
    peer.say(&connect()).unwrap();
    assert_eq!(peer.say(&vec![0; 300 << 10]), Err("undecided_input"));
}

#[test]
fn rejections_say_why_and_close() {
    let mut peer = Peer::fresh();
    peer.say(&hello()).unwrap();
    peer.say(&connect()).unwrap();
    peer.server.reject_connect("no");
    peer.drain();
    assert!(peer.has_sent("_error") && peer.has_sent("NetConnection.Connect.Rejected"));
    assert_eq!(peer.close, Some(CloseReason::ConnectRejected));
    for (name, code) in [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.StreamNotFound")]
    {
        let mut peer = Peer::connected();
        peer.say(&command(name, 0.0, 1, &[Value::Null, text("s")])).unwrap();
        peer.server.reject_publish(1, RejectReason::BadName, "in use");
        peer.server.reject_play(1, PlayReject::StreamNotFound, "no such stream");
        peer.drain();
        assert!(peer.has_sent(code));
        assert!(peer.close.is_some());
    }
}

#[test]
fn several_streams_on_one_connection() {
    let mut peer = Peer::publishing();
    peer.say(&command("createStream", 4.0, 0, &[Value::Null])).unwrap();
    peer.say(&command("publish", 5.0, 2, &[Value::Null, text("t")])).unwrap();
    peer.server.accept_publish(0, 2).unwrap();
    peer.say(&message(9, 2, &[1])).unwrap();
    assert!(matches!(peer.events.last(), Some(ServerEvent::Media { msid: 2, .. })));
    peer.say(&command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(1.0)])).unwrap();
    assert_eq!(peer.events.last(), Some(&ServerEvent::Unpublish { msid: 1 }));
    assert_eq!(peer.server.publishing(), [(2, "t")]);
    assert_eq!(peer.server.poll_timeout(), None);
    peer.server.goodbye("shutting down");
    peer.drain();
    assert!(peer.has_sent("NetStream.Unpublish.Success") && peer.has_sent("NetConnection.Connect.Closed"));
    assert_eq!(peer.close, Some(CloseReason::Goodbye));
}

#[test]
fn acknowledgements_follow_the_clamped_window() {
    let mut peer = Peer::publishing();
    peer.say(&control(Control::WindowAckSize(1))).unwrap();
    peer.sent.clear();
    for _ in 0..640 {
        peer.say(&message(9, 1, &[0; 1_000])).unwrap();
    }
    let acks = peer.sent.len() / 16;
    assert!((8..=11).contains(&acks), "{acks} acknowledgements");
}
