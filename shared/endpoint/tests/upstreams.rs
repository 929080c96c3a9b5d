//! Client sessions on a hub's loop: one hub plays a stream of another over loopback, and publishes one there.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use endpoint::{
    Asker, AudienceId, ConnectionId, ConnectionSnapshot, Host, Hub, Pushed, Refusal, UpstreamEvent,
    UpstreamId, Verdict, Wakes,
};
use ipc::ViewerRequest;
use media::{Kind, StreamKey};
use mediaring::{Entry, Flags, RingReader, RingWriter, Scoreboard, Shape, WorkRecord};
use rtmp::{ClientEvent, ClientMode, ClientOptions, PublishRequest};

/// A role that takes every publisher, has one ring, and writes down what comes.
#[derive(Default)]
struct Role {
    ring: Option<RingWriter>,
    begun: Vec<String>,
    media: Vec<(Kind, u32, Bytes)>,
    unpublished: usize,
    upstream: Vec<(UpstreamId, UpstreamEvent)>,
}

impl Host for Role {
    fn publish(&mut self, _: &Hub, _: Asker, _: &StreamKey, _: &PublishRequest) -> Verdict {
        Verdict::Accept
    }
    fn begin(
        &mut self,
        _: &Hub,
        _: ConnectionId,
        key: &StreamKey,
        _: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal> {
        self.begun.push(key.stream.clone());
        Ok(None)
    }
    fn hand_over(&mut self, _: &StreamKey, _: OwnedFd, _: ConnectionSnapshot) {}
    fn media(&mut self, _: ConnectionId, _: u32, kind: Kind, wire_ms: u32, payload: Bytes) {
        self.media.push((kind, wire_ms, payload));
    }
    fn unpublish(&mut self, _: ConnectionId, _: u32) -> Option<StreamKey> {
        self.unpublished += 1;
        None
    }
    fn wanted(&mut self, _: AudienceId, _: &StreamKey, _: ViewerRequest) -> Option<(RingReader, Wakes)> {
        let ring = self.ring.as_ref()?;
        Some((RingReader::open(ring.reader_fd().unwrap()).unwrap(), Wakes::EachTurn))
    }
    fn unwanted(&mut self, _: &StreamKey) {}
    fn hold(&mut self, _: &StreamKey, _: u64) {}
    fn pace(&mut self, _: &StreamKey, _: u32) {}
    fn upstream(&mut self, id: UpstreamId, event: UpstreamEvent) {
        self.upstream.push((id, event));
    }
    fn closed(&mut self, _: ConnectionId) {}
}

impl Role {
    /// What upstream connections said, and packets of them.
    fn said(&self, wanted: &ClientEvent) -> bool {
        self.upstream.iter().any(|(_, event)| matches!(event, UpstreamEvent::Said(event) if event == wanted))
    }

    fn pulled(&self) -> Vec<(Kind, u32, Bytes)> {
        let media = |(_, event): &(UpstreamId, UpstreamEvent)| match event {
            UpstreamEvent::Said(ClientEvent::Media { kind, timestamp, payload }) => {
                Some((*kind, *timestamp, payload.clone()))
            }
            _ => None,
        };
        self.upstream.iter().filter_map(media).filter(|(kind, ..)| *kind != Kind::Data).collect()
    }

    fn ended(&self) -> Option<&'static str> {
        self.upstream.iter().find_map(|(_, event)| match event {
            UpstreamEvent::Ended(end) => Some(end.reason()),
            UpstreamEvent::Said(_) => None,
        })
    }
}

fn hub() -> Hub {
    let text = b"listen 1; vhost __defaultVhost__ { }";
    let loaded = conf::parse_text("t.conf", text, &conf::Environment::empty()).unwrap();
    let board = Arc::new(Scoreboard::create().unwrap());
    Hub::new(Arc::new(loaded.config), board, 0, Arc::new(WorkRecord::create().unwrap()), 1).unwrap()
}

/// A server, and another one that is its client.
struct Both {
    listener: TcpListener,
    server: (Hub, Role),
    client: (Hub, Role),
}

impl Both {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, server: (hub(), Role::default()), client: (hub(), Role::default()) }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn connect(&mut self, mode: ClientMode) -> UpstreamId {
        let options = ClientOptions::new("rtmp://127.0.0.1/live".into(), "live".into(), mode, [5; 32]);
        let address = self.address();
        self.client.0.connect_upstream(address, options).unwrap()
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < end, "{what}: {:?}", self.client.1.upstream);
            while let Ok((socket, peer)) = self.listener.accept() {
                self.server.0.adopt(&mut self.server.1, socket, peer);
            }
            for (hub, role) in [&mut self.server, &mut self.client] {
                hub.turn(hub.now_ms() + 1, &mut Vec::new()).unwrap();
                hub.run(role);
            }
        }
    }
}

/// A key frame and a picture, as a back-source writes them.
fn ring() -> RingWriter {
    let mut ring = RingWriter::create(Shape::for_bytes(64 << 10), 1, 0, 60_000).unwrap();
    for (n, first) in [0x17_u8, 0x27].into_iter().enumerate() {
        let payload = [first, 1, 0, 0, 0, 0xaa, 0xbb];
        let (dts_ms, payload_len) = (i64::try_from(n).unwrap() * 40, 7);
        let flags = Flags::default();
        let flags = if n == 0 { flags.with(Flags::ABSOLUTE).with(Flags::KEY) } else { flags };
        let entry = Entry { kind: Kind::Video, flags, dts_ms, arrival_ns: 1, payload_len };
        let delta = u8::try_from(dts_ms).unwrap();
        let header = [0x40 | rtmp::message::CSID_VIDEO, 0, 0, delta, 0, 0, 7, 9];
        ring.append(entry, &[&header, &payload]).unwrap();
    }
    ring
}

#[test]
fn a_hub_plays_a_stream_of_another() {
    let mut both = Both::new();
    both.server.1.ring = Some(ring());
    let id = both.connect(ClientMode::Play { stream: "cam".into() });
    both.until("plays", |both| both.client.1.said(&ClientEvent::Playing));
    both.until("the pictures", |both| both.client.1.pulled().len() == 2);
    let pulled = both.client.1.pulled();
    let heads: Vec<_> =
        pulled.iter().map(|(kind, at_ms, body)| (*kind, *at_ms, body[0], body.len())).collect();
    assert_eq!(heads, [(Kind::Video, 0, 0x17, 7), (Kind::Video, 40, 0x27, 7)]);
    assert!(both.client.1.upstream.iter().all(|(from, _)| *from == id));
    both.client.0.close_upstream(id);
    both.until("the server notices", |both| both.server.0.connection_count() == 0);
    assert_eq!(both.client.1.ended(), None, "who closes is told nothing more");
    assert_eq!(both.client.0.push_upstream(id, Kind::Video, 0, &[0x17]), Pushed::Nowhere);
}

#[test]
fn a_hub_publishes_a_stream_to_another() {
    let mut both = Both::new();
    let id = both.connect(ClientMode::Publish { stream: "cam".into(), fmle: true });
    assert_eq!(both.client.0.push_upstream(id, Kind::Video, 0, &[0x17]), Pushed::Nowhere, "not yet");
    both.until("publishes", |both| both.client.1.said(&ClientEvent::Publishing));
    assert_eq!(both.server.1.begun, ["cam"]);
    let large = vec![0x27; 300_000];
    for n in 0..10 {
        assert_eq!(both.client.0.push_upstream(id, Kind::Video, 0xffff_ff00 + n, &large), Pushed::Sent);
    }
    both.until("all is there", |both| both.server.1.media.len() == 10);
    let times: Vec<u32> = both.server.1.media.iter().map(|(_, at_ms, _)| *at_ms).collect();
    assert_eq!(times, (0..10).map(|n| 0xffff_ff00 + n).collect::<Vec<_>>());
    assert!(both.server.1.media.iter().all(|(kind, _, body)| *kind == Kind::Video && *body == large));
    both.client.0.close_upstream(id);
    both.until("the publish ends", |both| both.server.1.unpublished == 1);
}

#[test]
fn a_server_that_takes_nothing_costs_a_bounded_queue() {
    let mut both = Both::new();
    let id = both.connect(ClientMode::Publish { stream: "cam".into(), fmle: false });
    both.until("publishes", |both| both.client.1.said(&ClientEvent::Publishing));
    // The server's loop does not turn any more.
    let large = vec![0x27; 1 << 20];
    let sent =
        (0..1_000).take_while(|n| both.client.0.push_upstream(id, Kind::Video, *n, &large) == Pushed::Sent);
    let sent = sent.count();
    assert!((4..100).contains(&sent), "{sent} MiB were taken");
    both.until("what was taken is there", |both| both.server.1.media.len() == sent);
}

#[test]
fn who_can_not_be_reached_and_who_closes_are_told_apart_from_who_refuses() {
    let mut both = Both::new();
    let address = both.address();
    // Nobody listens there any more.
    both.listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    both.listener.set_nonblocking(true).unwrap();
    let mode = || ClientMode::Play { stream: "cam".into() };
    let options = ClientOptions::new("rtmp://127.0.0.1/live".into(), "live".into(), mode(), [5; 32]);
    if both.client.0.connect_upstream(address, options.clone()).is_ok() {
        both.until("refused by the kernel", |both| both.client.1.ended() == Some("socket_error"));
    }
    both.client.1.upstream.clear();
    // It listens, and closes at once.
    let id = both.connect(mode());
    let end = Instant::now() + Duration::from_secs(20);
    while both.listener.accept().is_err() {
        assert!(Instant::now() < end);
    }
    both.until("closed", |both| both.client.1.ended().is_some());
    assert!(both.client.1.upstream.iter().all(|(from, _)| *from == id));
    both.client.1.upstream.clear();
    // It has no such vhost.
    let mut options = options;
    options.tc_url = "rtmp://127.0.0.1/live?vhost=none.example".into();
    options.app = "live?vhost=none.example".into();
    let address = both.address();
    both.server.0 = hub_without_default();
    both.client.0.connect_upstream(address, options).unwrap();
    both.until("refused", |both| both.client.1.ended() == Some("refused_by_peer"));
}

fn hub_without_default() -> Hub {
    let text = b"listen 1; vhost some.example { }";
    let loaded = conf::parse_text("t.conf", text, &conf::Environment::empty()).unwrap();
    let board = Arc::new(Scoreboard::create().unwrap());
    Hub::new(Arc::new(loaded.config), board, 0, Arc::new(WorkRecord::create().unwrap()), 1).unwrap()
}
