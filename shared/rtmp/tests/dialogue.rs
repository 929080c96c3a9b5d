//! What the server says, message by message, and how the client takes what servers say.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use amf0::Value;
use rtmp::chunk::reader::ChunkReader;
use rtmp::chunk::writer::write_message;
use rtmp::command::Command;
use rtmp::control::Control;
use rtmp::*;

fn server() -> ServerSession {
    let identity = Identity { server_ip: "10.0.0.1".into(), pid: 77, id: 42, version: "0.1.0".into() };
    let limits = std::sync::Arc::new(Limits::default());
    let options = ServerOptions {
        limits,
        seed: [1; 32],
        identity,
        out_chunk_size: 60_000,
        out_window: 2_500_000,
        in_ack_size: 0,
    };
    let mut server = ServerSession::new(0, options);
    let mut hello = vec![0; 1 + 2 * 1536];
    hello[0] = 3;
    server.handle_input(0, &hello).unwrap();
    while server.poll_output().is_some() {}
    server
}

fn command(name: &str, transaction: f64, msid: u32, args: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, 3, 0, 20, msid, &Command::encode(name, transaction, args), 128);
    out
}

fn connect(more: Vec<(&str, Value)>) -> Vec<u8> {
    let mut properties = vec![("app", "live".into()), ("tcUrl", "rtmp://h/live".into())];
    properties.extend(more);
    command("connect", 1.0, 0, &[Value::object(properties), Value::object([("srs_id", "7".into())])])
}

/// Drains the server; its messages as `csid:type:stream:summary`, and its events.
fn drain(server: &mut ServerSession, reader: &mut ChunkReader) -> (Vec<String>, Vec<ServerEvent>) {
    let (mut said, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = server.poll_output() {
        let bytes = match output {
            Output::Transmit(bytes) => bytes,
            Output::Event(event) => {
                events.push(event);
                continue;
            }
            Output::Close(reason) => {
                said.push(format!("{reason:?}"));
                continue;
            }
        };
        let mut rest: &[u8] = &bytes;
        while let Some(message) = reader.read(&mut rest).unwrap() {
            let Message { csid, type_id, stream_id, payload, .. } = message;
            let summary = match type_id {
                18 | 20 => {
                    let values = amf0::decode_all(&payload, &amf0::Limits::default()).unwrap();
                    let code = values.iter().find_map(|value| value.get("code")).and_then(Value::as_str);
                    format!("{} {}", values[0].as_str().unwrap(), code.unwrap_or_default())
                }
                _ => {
                    let control = Control::decode(type_id, &payload).unwrap().unwrap();
                    if let Control::SetChunkSize(size) = control {
                        reader.set_chunk_size(size).unwrap();
                    }
                    format!("{control:?}")
                }
            };
            said.push(format!("{csid}:{type_id}:{stream_id}:{}", summary.trim()));
        }
    }
    (said, events)
}

#[test]
fn an_fmle_publish_word_for_word() {
    let (mut server, mut reader) = (server(), ChunkReader::new(&Limits::default()));
    server.handle_input(0, &connect(vec![])).unwrap();
    let (said, events) = drain(&mut server, &mut reader);
    assert!(said.is_empty(), "nothing before the decision");
    assert!(
        matches!(&events[0], ServerEvent::Connect(request) if request.args[0].0 == "srs_id" && request.request == 1)
    );
    server.accept_connect(0).unwrap();
    let said = drain(&mut server, &mut reader).0;
    let expected = [
        "2:5:0:WindowAckSize(2500000)",
        "2:6:0:SetPeerBandwidth { window: 2500000, kind: 2 }",
        "3:20:0:_result NetConnection.Connect.Success",
        "3:20:0:onBWDone",
    ];
    assert_eq!(said, expected);
    for (name, transaction) in
        [("FCPublish", 2.0), ("releaseStream", 3.0), ("createStream", 4.0), ("_checkbw", 5.0)]
    {
        server.handle_input(0, &command(name, transaction, 0, &[Value::Null, "s?k=v".into()])).unwrap();
        assert_eq!(drain(&mut server, &mut reader).0, ["3:20:0:_result"], "{name}");
    }
    server.handle_input(0, &command("unknown", 0.0, 0, &[Value::Null])).unwrap();
    assert!(drain(&mut server, &mut reader).0.is_empty(), "no answer is wanted");
    server
        .handle_input(0, &command("publish", 6.0, 1, &[Value::Null, "s?k=v".into(), "append".into()]))
        .unwrap();
    let (said, events) = drain(&mut server, &mut reader);
    assert!(said.is_empty(), "no start before the decision");
    let ServerEvent::Publish(request) = &events[0] else { panic!("{events:?}") };
    assert_eq!(
        (request.name.as_str(), request.kind, request.fmle, request.request),
        ("s", PublishKind::Append, true, 2)
    );
    assert_eq!(request.params, [("k".to_owned(), "v".to_owned())]);
    server.set_out_chunk_size(4_096);
    server.accept_publish(0, 1).unwrap();
    let said = drain(&mut server, &mut reader).0;
    let expected = [
        "2:1:0:SetChunkSize(4096)",
        "5:20:1:onFCPublish NetStream.Publish.Start",
        "5:20:1:onStatus NetStream.Publish.Start",
    ];
    assert_eq!(said, expected);
    assert_eq!(server.out_chunk_size(), 4_096);
    server.handle_input(0, &command("FCUnpublish", 7.0, 0, &[Value::Null, "s".into()])).unwrap();
    let (said, events) = drain(&mut server, &mut reader);
    let expected = [
        "5:20:1:onFCUnpublish NetStream.Unpublish.Success",
        "3:20:0:_result",
        "5:20:1:onStatus NetStream.Unpublish.Success",
    ];
    assert_eq!(
        (said.as_slice(), events),
        (&expected.map(str::to_owned)[..], vec![ServerEvent::Unpublish { msid: 1 }])
    );
    assert_eq!(server.poll_timeout(), Some(180_000));
}

#[test]
fn a_play_word_for_word() {
    let (mut server, mut reader) = (server(), ChunkReader::new(&Limits::default()));
    server.handle_input(0, &connect(vec![])).unwrap();
    server.accept_connect(0).unwrap();
    drain(&mut server, &mut reader);
    let args = [Value::Null, "s".into(), Value::Number(f64::NAN), Value::Number(1_500.0), false.into()];
    server.handle_input(0, &command("play", 0.0, 0, &args)).unwrap();
    let events = drain(&mut server, &mut reader).1;
    assert!(matches!(
        &events[0],
        ServerEvent::Play(PlayRequest { msid: 1, duration_ms: Some(1_500), reset: false, .. })
    ));
    server.accept_play(0, 1).unwrap();
    let expected = [
        "2:1:0:SetChunkSize(60000)",
        "2:4:0:StreamBegin(1)",
        "5:20:1:onStatus NetStream.Play.Reset",
        "5:20:1:onStatus NetStream.Play.Start",
        "5:18:1:|RtmpSampleAccess",
        "5:18:1:onStatus NetStream.Data.Start",
    ];
    assert_eq!(drain(&mut server, &mut reader).0, expected);
    for (flag, said) in [
        (true, ["5:20:1:onStatus NetStream.Pause.Notify", "2:4:0:StreamEof(1)"]),
        (false, ["5:20:1:onStatus NetStream.Unpause.Notify", "2:4:0:StreamBegin(1)"]),
    ] {
        server
            .handle_input(0, &command("pause", 0.0, 1, &[Value::Null, flag.into(), Value::Number(9.0)]))
            .unwrap();
        let (heard, events) = drain(&mut server, &mut reader);
        assert_eq!(heard, said);
        assert_eq!(events, [ServerEvent::Pause { msid: 1, paused: flag, time_ms: 9 }]);
    }
    server.handle_input(0, &command("seek", 0.0, 1, &[Value::Null, Value::Number(-5.0)])).unwrap();
    let (said, events) = drain(&mut server, &mut reader);
    assert_eq!(said, ["5:20:1:onStatus NetStream.Seek.Notify", "5:20:1:onStatus NetStream.Play.Start"]);
    assert_eq!(events, [ServerEvent::Seek { msid: 1, time_ms: 0 }]);
    server.handle_input(0, &command("receiveVideo", 0.0, 1, &[Value::Null, false.into()])).unwrap();
    assert_eq!(drain(&mut server, &mut reader).1, [ServerEvent::ReceiveVideo { msid: 1, on: false }]);
    server.handle_input(0, &command("play", 0.0, 1, &[Value::Null, "t".into()])).unwrap();
    let events = drain(&mut server, &mut reader).1;
    assert_eq!(events[0], ServerEvent::StopPlay { msid: 1 });
    assert!(matches!(&events[1], ServerEvent::Play(request) if request.name == "t"));
    server.accept_play(0, 1).unwrap();
    drain(&mut server, &mut reader);
    server.end_play(0, 1);
    let expected = [
        "5:20:1:onStatus NetStream.Play.UnpublishNotify",
        "5:20:1:onStatus NetStream.Play.Stop",
        "2:4:0:StreamEof(1)",
    ];
    assert_eq!(drain(&mut server, &mut reader).0, expected);
}

#[test]
fn the_connect_result_tells_who_we_are_and_answers_enhanced_clients() {
    for enhanced in [false, true] {
        let mut server = server();
        let four_cc = Value::StrictArray(vec!["hvc1".into(), "av01".into()]);
        let info = Value::object([("hvc1", Value::Number(4.0))]);
        let more =
            vec![("capsEx", Value::Number(15.0)), ("fourCcList", four_cc), ("videoFourCcInfoMap", info)];
        server.handle_input(0, &connect(if enhanced { more } else { vec![] })).unwrap();
        let request = server.connect_request().unwrap().clone();
        assert_eq!(request.four_cc_list.len(), if enhanced { 2 } else { 0 });
        assert_eq!(
            (request.caps_ex, request.video_four_cc_info.len()),
            if enhanced { (Some(15), 1) } else { (None, 0) }
        );
        server.accept_connect(0).unwrap();
        let mut reader = ChunkReader::new(&Limits::default());
        let mut result = None;
        while let Some(output) = server.poll_output() {
            let Output::Transmit(bytes) = output else { continue };
            let mut rest: &[u8] = &bytes;
            while let Some(message) = reader.read(&mut rest).unwrap() {
                let command = Command::decode(&message.payload, &amf0::Limits::default());
                result = result.or_else(|| command.ok().filter(|command| command.name == "_result"));
            }
        }
        let result = result.unwrap();
        let names: Vec<_> =
            result.args[0].properties().unwrap().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..3], ["fmsVer", "capabilities", "mode"]);
        assert_eq!(names.contains(&"capsEx"), enhanced);
        let data = result.args[1].get("data").unwrap();
        assert_eq!(data.get("srs_server").and_then(Value::as_str), Some("SRS/0.1.0"));
        assert_eq!(data.get("srs_server_ip").and_then(Value::as_str), Some("10.0.0.1"));
        assert_eq!(data.get("srs_pid").and_then(Value::as_u32), Some(77));
        assert_eq!(data.get("srs_id").and_then(Value::as_u32), Some(42));
    }
}

/// A client that has shaken hands with nobody in particular.
fn client(mode: ClientMode) -> ClientSession {
    let mut client =
        ClientSession::new(0, ClientOptions::new("rtmp://h/live".into(), "live".into(), mode, [2; 32]));
    let mut answer = vec![0; 1 + 2 * 1536];
    answer[0] = 3;
    client.handle_input(0, &answer).unwrap();
    client
}

fn events(client: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
        .collect()
}

#[test]
fn a_client_is_told_of_refusals() {
    let error = |code: &str| [Value::Null, Value::object([("level", "error".into()), ("code", code.into())])];
    let publish = || ClientMode::Publish { stream: "s".into(), fmle: true };
    for name in ["_error", "onStatus"] {
        let mut client = client(publish());
        client.handle_input(0, &command(name, 1.0, 0, &error("NetConnection.Connect.Rejected"))).unwrap();
        assert!(
            matches!(&events(&mut client)[..], [ClientEvent::Rejected { code, .. }] if code == "NetConnection.Connect.Rejected")
        );
        assert_eq!(client.poll_timeout(), None);
    }
    let mut client = client(publish());
    client.handle_input(0, &command("_result", 99.0, 0, &[])).unwrap();
    assert!(events(&mut client).is_empty(), "unknown transactions are ignored");
    client.handle_input(0, &command("_result", 1.0, 0, &[Value::Null, Value::Null])).unwrap();
    client.handle_input(0, &command("_error", 2.0, 0, &[])).unwrap();
    client.handle_input(0, &command("_result", 4.0, 0, &[Value::Null, Value::Number(5.0)])).unwrap();
    assert_eq!(client.msid(), Some(5));
    assert!(!client.send_media(MediaKind::Audio, 0, b"x"), "not yet publishing");
    client.handle_input(0, &command("onStatus", 0.0, 5, &error("NetStream.Publish.BadName"))).unwrap();
    assert!(
        matches!(events(&mut client).last(), Some(ClientEvent::Rejected { code, .. }) if code == "NetStream.Publish.BadName")
    );
}

#[test]
fn a_player_takes_media_before_the_status_and_on_any_stream() {
    let mut client = client(ClientMode::Play { stream: "s".into() });
    client.handle_input(0, &command("_result", 1.0, 0, &[])).unwrap();
    client.handle_input(0, &command("_result", 4.0, 0, &[Value::Null, Value::Number(1.0)])).unwrap();
    events(&mut client);
    let mut bytes = Vec::new();
    write_message(&mut bytes, 5, 0, 18, 1, &status::sample_access(), 128);
    write_message(&mut bytes, 6, 40, 9, 7, b"v", 128);
    client.handle_input(0, &bytes).unwrap();
    let events = events(&mut client);
    assert_eq!(events[0], ClientEvent::Playing);
    assert!(matches!(events[1], ClientEvent::Media { kind: MediaKind::Video, timestamp: 40, .. }));
    assert_eq!((events.len(), client.poll_timeout()), (2, None));
}

#[test]
fn a_client_does_not_wait_for_ever() {
    let mut client = client(ClientMode::ConnectOnly);
    assert_eq!(client.poll_timeout(), Some(10_000));
    assert_eq!(client.handle_timeout(10_000), Err(SessionError::StartTimeout));
}
