//! Valid inputs for every target, from our own encoders.

use ::amf0::Value;
use ::ipc::{
    ChildToMaster, MasterToChild, ProcessInfo, ReaderToSource, Role, SourceToReader, Start, StreamInfo,
};
use media::{Kind, StreamKey};
use rtmp::chunk::writer::{pack_delta, write_message};
use rtmp::{
    ClientEvent, ClientMode, ClientOptions, ClientSession, Identity, Limits, MediaKind, Output, Pending,
    ServerOptions, ServerSession,
};
use serde::Serialize;

const VIDEO_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x02\x68\xee";
const KEY_FRAME: &[u8] = b"\x17\x01\0\0\x28\0\0\0\x05\x65\x88\x84\x21\xa0";
const AUDIO_HEADER: &[u8] = b"\xaf\0\x12\x10";
const ENHANCED_KEY: &[u8] = b"\x91hvc1\0\0\0\0\0\0\x02\x26\x01";
const CONFIGURATION: &[u8] = br#"# a bit of everything
listen 1935 [::]:19350; max_connections 1000; workers 2;
include;
http_api { enabled on; listen 1985; }
vhost __defaultVhost__ {
    gop_cache off; queue_length 10; chunk_size 60000;
    hls { enabled on; hls_path ./objs/nginx/html; hls_fragment 10; hls_window 60; }
    forward 127.0.0.1:19350 'quoted:1935';
    transcode { enabled on; ffmpeg /usr/bin/ffmpeg; engine a { enabled on; vcodec libx264; vbitrate 500; vparams { t 100; } output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]; } }
    http_hooks { enabled on; on_connect http://127.0.0.1:8085/api/v1/clients; }
}
"#;

type Seed = (&'static str, &'static str, Vec<u8>);

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    seeds.extend(values());
    seeds.extend(chunks());
    seeds.extend(files());
    seeds.extend(packets());
    seeds.extend(memories());
    seeds.extend(paths());
    seeds.extend(heads());
    seeds.extend(handshakes());
    seeds.extend(datagrams());
    let (publish, play, session) = dialogues();
    seeds.push(("session", "publish", cut(publish)));
    seeds.push(("session", "play", cut(play)));
    seeds.push(("snapshot", "publishing", snapshot(session)));
    let small = b"listen 1935;\nvhost __defaultVhost__ {\n}\n";
    seeds.push(("conf", "small.conf", small.to_vec()));
    let text = String::from_utf8_lossy(CONFIGURATION).replace("include;\n", "");
    seeds.push(("conf", "large.conf", text.into_bytes()));
    seeds
}

/// With the byte in front that says how the target cuts its input.
fn cut(bytes: Vec<u8>) -> Vec<u8> {
    [vec![13], bytes].concat()
}

fn object(pairs: &[(&str, Value)]) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn values() -> Vec<Seed> {
    let inner = object(&[("level", "status".into()), ("code", "NetStream.Play.Start".into())]);
    let connect = [
        "connect".into(),
        Value::Number(1.0),
        object(&[("app", "live".into()), ("fpad", false.into()), ("inner", inner), ("none", Value::Null)]),
    ];
    let mut bytes = Vec::new();
    ::amf0::encode_all(&connect, &mut bytes);
    // ECMA array, strict array, date, long string, undefined, as the format writes them.
    let rare = b"\x08\0\0\0\x02\0\x05width\0\x40\x94\0\0\0\0\0\0\0\x04name\x02\0\x01x\0\0\x09\x0a\0\0\0\x02\x05\x06\x0b\x42\0\0\0\0\0\0\0\0\0\x0c\0\0\0\x03abc";
    vec![("amf0", "connect", bytes), ("amf0", "rare", rare.to_vec())]
}

fn chunks() -> Vec<Seed> {
    let mut plain = Vec::new();
    write_message(&mut plain, 2, 0, 1, 0, &256_u32.to_be_bytes(), 128);
    write_message(&mut plain, 6, 0x0102_0304, 9, 1, &[7; 600], 256);
    pack_delta(&mut plain, 6, 40, 9, &[8; 300], 256);
    write_message(&mut plain, 70 - 64 + 2, 5, 8, 1, AUDIO_HEADER, 256);
    // Two messages whose chunks alternate, one with a two-byte basic header and an extended timestamp.
    let mut mixed = b"\x06\0\0\x01\0\0\x90\x09\x01\0\0\0".to_vec();
    mixed.extend([1; 128]);
    mixed.extend(b"\0\x10\xff\xff\xff\0\0\x84\x08\x01\0\0\0\x01\0\0\0");
    mixed.extend([2; 128]);
    mixed.push(0xc6);
    mixed.extend([1; 16]);
    mixed.extend(b"\xc0\x10\x01\0\0\0\x02\x02\x02\x02");
    vec![("chunk", "plain", cut(plain)), ("chunk", "mixed", cut(mixed))]
}

fn files() -> Vec<Seed> {
    let mut file = ::flv::file::header(true, true).to_vec();
    let mut metadata = Vec::new();
    ::amf0::encode_all(&["onMetaData".into(), object(&[("width", 640_u32.into())])], &mut metadata);
    let tags: [(Kind, u32, &[u8]); 6] = [
        (Kind::Data, 0, &metadata),
        (Kind::Video, 0, VIDEO_HEADER),
        (Kind::Audio, 0, AUDIO_HEADER),
        (Kind::Video, 0, KEY_FRAME),
        (Kind::Audio, 0x0100_0017, b"\xaf\x01\x21"),
        (Kind::Video, 40, ENHANCED_KEY),
    ];
    for (kind, time, body) in tags {
        assert!(::flv::file::write_tag(&mut file, kind, time, body));
    }
    vec![("vod", "tags.flv", file.clone()), ("flv", "tags.flv", cut(file)), ("vod", "movie.mp4", movie())]
}

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let inside = parts.concat();
    let mut out = u32::try_from(inside.len() + 8).unwrap().to_be_bytes().to_vec();
    out.extend(name);
    out.extend(inside);
    out
}

fn full(name: &[u8; 4], words: &[u32]) -> Vec<u8> {
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    boxed(name, &[&[0; 4], &words])
}

/// A recorded MP4 file: four pictures, two in a chunk.
fn movie() -> Vec<u8> {
    let ftyp = boxed(b"ftyp", &[b"isom\0\0\0\0"]);
    let at = u32::try_from(ftyp.len()).unwrap() + 8;
    let pictures: Vec<u8> = (0..4_u8).flat_map(|n| [0, 0, 0, 1, n]).collect();
    let avcc = VIDEO_HEADER.get(5..).unwrap();
    let entry = boxed(b"avc1", &[&[0; 78], &boxed(b"avcC", &[avcc])]);
    let stbl = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]),
            &full(b"stts", &[1, 4, 512]),
            &full(b"stss", &[2, 1, 3]),
            &full(b"stsc", &[1, 1, 2, 1]),
            &full(b"stsz", &[5, 4]),
            &full(b"stco", &[2, at, at + 10]),
        ],
    );
    let media = boxed(b"mdia", &[&full(b"mdhd", &[0, 0, 12_800, 2048, 0]), &boxed(b"minf", &[&stbl])]);
    let trak = boxed(b"trak", &[&full(b"tkhd", &[0, 0, 1, 0, 160]), &media]);
    let moov = boxed(b"moov", &[&full(b"mvhd", &[0, 0, 1000, 160]), &trak]);
    [ftyp, boxed(b"mdat", &[&pictures]), moov].concat()
}

/// What is written over a ring: its index, its ends, its middle.
fn memories() -> Vec<Seed> {
    let write = |at: u16, bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).unwrap();
        [&at.to_be_bytes()[..], &[len], bytes].concat()
    };
    let words = |at: u16| write(at, &u64::MAX.to_le_bytes());
    vec![
        ("ring", "first-words", (0..64).flat_map(|n| words(n * 8)).collect()),
        ("ring", "index", (512..640).flat_map(|n| words(n * 8)).collect()),
        ("ring", "one-byte", write(4100, &[0x80])),
    ]
}

/// Templates, and paths that strangers ask for.
fn paths() -> Vec<Seed> {
    let inputs =
        ["[app]/[stream]-[seq].ts\nlive/a-1-27.ts", "[vhost]/[app]/[stream].m3u8\nv/live/50%25.m3u8"];
    let names = ["segment", "list"];
    names
        .into_iter()
        .zip(inputs)
        .map(|(name, input)| ("hls_trace", name, input.as_bytes().to_vec()))
        .collect()
}

/// As the target of the packagers reads them.
fn packets() -> Vec<Seed> {
    let packets: [(u8, &[u8]); 10] = [
        (0, VIDEO_HEADER),
        (1, AUDIO_HEADER),
        (0, KEY_FRAME),
        (1, b"\xaf\x01\x21\x10"),
        (0, b"\x27\x01\0\0\x28\0\0\0\x02\x41\x9a\0\0\0\x02\x06\x05"),
        (0, ENHANCED_KEY),
        (1, b"\x2f\xff\xfb\x90\x00"),
        // Further tracks, and several in one packet.
        (1, b"\x95\x00mp4a\x01\x12\x10"),
        (1, b"\x95\x11mp4a\x00\0\0\x02xy\x01\0\0\x01z"),
        (0, b"\xd4avc1\x02\0\x09colorInfo\x03\0\0\x09"),
    ];
    let mut bytes = Vec::new();
    for (kind, payload) in packets {
        bytes.extend([kind, 40]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
    }
    vec![("remux", "packets", bytes)]
}

fn heads() -> Vec<Seed> {
    let plain: &[u8] =
        b"GET /live/a%20b.flv?vhost=v&start=7 HTTP/1.1\r\nHost: a.example:8080\r\nRange: bytes=5-99\r\n\
        Accept-Encoding: gzip\r\nIf-None-Match: \"1\"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ping = [0x89, 0x82, 1, 2, 3, 4, 105, 107];
    vec![("http1", "get", plain.to_vec()), ("http1", "ping", ping.to_vec())]
}

fn handshakes() -> Vec<Seed> {
    use rtmp::handshake::{Form, Handshake};
    [("simple", Form::Simple), ("complex", Form::Complex)]
        .into_iter()
        .flat_map(|(name, form)| {
            let (mut client, hello) = Handshake::client([5; 32], form);
            let mut server = Handshake::server([6; 32]);
            let (mut answer, mut last) = (Vec::new(), Vec::new());
            server.read(0, &mut hello.as_slice(), &mut answer).unwrap();
            client.read(0, &mut answer.as_slice(), &mut last).unwrap();
            let server_name = if name == "simple" { "simple-server" } else { "complex-server" };
            let client_bytes = [hello, last].concat();
            [
                ("handshake", name, [vec![255], client_bytes].concat()),
                ("handshake", server_name, [vec![255], answer].concat()),
            ]
        })
        .collect()
}

fn datagram(message: &impl Serialize) -> Vec<u8> {
    let body = rmp_serde::to_vec_named(message).unwrap();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"SR\x01\0".as_slice(), &length, &body].concat()
}

fn datagrams() -> Vec<Seed> {
    let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "s".into() };
    let stream = StreamInfo { stream_id: 3, key, live: true };
    let config =
        ::conf::parse_text("srs.conf", b"listen 1935;", &::conf::Environment::empty()).unwrap().config;
    let start = Start {
        role: Role::Stream,
        number: 0,
        board_slot: 2,
        first_connection_id: 100,
        generation: 1,
        config: Box::new(config),
        ingest: None,
        token: api::Token::from_random(&[7; 32]),
        version: "1.2.3".to_owned(),
        key: api::Token::from_random(&[8; 32]),
        family: "0123456789abcdef".to_owned(),
    };
    let process = ProcessInfo {
        role: Role::Http,
        number: 0,
        pid: 7,
        restarts: 0,
        private_api_port: 1,
        board_slot: Some(3),
        generation: 1,
        state: api::State::Serving,
        started_ms: 5,
        last_end: Some(("SIGKILL".to_owned(), 6, 4)),
    };
    let addresses = vec!["127.0.0.1:1935".parse().unwrap(), "[::1]:1935".parse().unwrap()];
    vec![
        ("ipc", "start", datagram(&MasterToChild::Start(start))),
        ("ipc", "listen", datagram(&MasterToChild::Listen { addresses })),
        ("ipc", "processes", datagram(&MasterToChild::Processes(vec![process]))),
        ("ipc", "keep", datagram(&ChildToMaster::KeepRing { stream: stream.clone() })),
        ("ipc", "ready", datagram(&ChildToMaster::Ready { private_api_port: 9 })),
        ("ipc", "handoff", datagram(&ReaderToSource::Handoff { connection: vec![1, 2, 3] })),
        ("ipc", "hold", datagram(&ReaderToSource::Hold { stream_id: 3, want_ms: 5000 })),
        ("ipc", "stream", datagram(&SourceToReader::Stream(stream))),
        ("ipc", "stop", datagram(&MasterToChild::Stop)),
    ]
}

/// What a publisher and a player send behind their handshakes, and the server's session of the publisher.
fn dialogues() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let publish = ClientMode::Publish { stream: "s?key=1".into(), fmle: true };
    let play = ClientMode::Play { stream: "s".into() };
    let (publish, session) = dialogue(publish);
    (publish, dialogue(play).0, session)
}

fn dialogue(mode: ClientMode) -> (Vec<u8>, Vec<u8>) {
    let identity = Identity { server_ip: "127.0.0.1".into(), pid: 1, id: 1, version: "1".into() };
    let mut server = ServerSession::new(
        0,
        ServerOptions {
            limits: std::sync::Arc::new(Limits::default()),
            seed: [1; 32],
            identity,
            out_chunk_size: 4096,
            out_window: 2_500_000,
            in_ack_size: 0,
        },
    );
    let tc_url = "rtmp://127.0.0.1/live".to_owned();
    let options =
        ClientOptions { simple_handshake: true, ..ClientOptions::new(tc_url, "live".into(), mode, [2; 32]) };
    let mut client = ClientSession::new(0, options);
    let mut sent = Vec::new();
    let mut quiet = false;
    while !quiet {
        quiet = true;
        while let Some(output) = client.poll_output() {
            quiet = false;
            match output {
                Output::Transmit(bytes) => {
                    sent.extend_from_slice(&bytes);
                    server.handle_input(0, &bytes).unwrap();
                }
                Output::Event(ClientEvent::Publishing) => {
                    for (kind, time, payload) in [
                        (MediaKind::Video, 0, VIDEO_HEADER),
                        (MediaKind::Audio, 0, AUDIO_HEADER),
                        (MediaKind::Video, 40, KEY_FRAME),
                    ] {
                        assert!(client.send_media(kind, time, payload));
                    }
                }
                Output::Event(_) | Output::Close(_) => {}
            }
        }
        while let Some(output) = server.poll_output() {
            quiet = false;
            if let Output::Transmit(bytes) = output {
                client.handle_input(0, &bytes).unwrap();
            }
        }
        match server.pending() {
            Some(Pending::Connect(_)) => server.accept_connect(0).unwrap(),
            Some(Pending::Publish(request)) => server.accept_publish(0, request.msid).unwrap(),
            Some(Pending::Play(request)) => server.accept_play(0, request.msid).unwrap(),
            None => continue,
        }
        quiet = false;
    }
    (sent.split_off(1 + 2 * 1536), server.snapshot())
}

/// A connection's snapshot as a process writes it; the field names are those of `endpoint::ConnectionSnapshot`.
#[derive(Serialize)]
struct Snapshot {
    id: u64,
    peer: std::net::SocketAddr,
    accepted_ms: u64,
    vhost: Option<String>,
    bytes: (u64, u64),
    #[serde(with = "serde_bytes")]
    session: Vec<u8>,
    #[serde(with = "serde_bytes")]
    outbox: Vec<u8>,
    playing: Vec<(StreamKey, u8)>,
    publishing: Vec<u32>,
}

fn snapshot(session: Vec<u8>) -> Vec<u8> {
    let snapshot = Snapshot {
        id: 101,
        peer: "127.0.0.1:40000".parse().unwrap(),
        accepted_ms: 5,
        vhost: Some("__defaultVhost__".into()),
        bytes: (4000, 3500),
        session,
        outbox: vec![1, 2, 3],
        playing: Vec::new(),
        publishing: vec![1],
    };
    rmp_serde::to_vec_named(&snapshot).unwrap()
}
