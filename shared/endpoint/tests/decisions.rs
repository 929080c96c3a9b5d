//! What clients ask, and answers that come at once, later, twice, too late or never: connect, publish and play alike.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use endpoint::{
    Asked, Asker, AudienceId, ConnectionId, ConnectionSnapshot, DecisionId, Host, Hub, Otherwise, Reason,
    Refusal, Verdict, Wakes,
};
use media::{Kind, StreamKey};
use mediaring::{RingReader, Scoreboard, WorkRecord};
use rtmp::{
    ClientEvent, ClientMode, ClientOptions, ClientSession, ConnectRequest, Output, PlayRequest,
    PublishRequest,
};

const KINDS: [Asked; 3] = [Asked::Connect, Asked::Publish, Asked::Play];
/// Far more than any of these tests takes.
const FAR_MS: u64 = 1_000_000;

/// A host that answers one kind of question as it is told, and accepts the others.
struct Fake {
    kind: Asked,
    verdict: Verdict,
    asked: Vec<Asker>,
    begun: Vec<StreamKey>,
    media: usize,
    closed: usize,
    refuses_to_begin: bool,
}

impl Fake {
    fn new(kind: Asked, verdict: Verdict) -> Self {
        let (asked, begun) = (Vec::new(), Vec::new());
        Self { kind, verdict, asked, begun, media: 0, closed: 0, refuses_to_begin: false }
    }

    fn answer(&mut self, kind: Asked, who: Asker) -> Verdict {
        if kind != self.kind {
            return Verdict::Accept;
        }
        self.asked.push(who);
        self.verdict.clone()
    }
}

impl Host for Fake {
    fn connect(&mut self, _: &Hub, who: Asker, _: &ConnectRequest) -> Verdict {
        self.answer(Asked::Connect, who)
    }
    fn publish(&mut self, _: &Hub, who: Asker, _: &StreamKey, _: &PublishRequest) -> Verdict {
        self.answer(Asked::Publish, who)
    }
    fn play(&mut self, _: &Hub, who: Asker, _: &StreamKey, _: &PlayRequest) -> Verdict {
        self.answer(Asked::Play, who)
    }
    fn begin(
        &mut self,
        _: &Hub,
        _: ConnectionId,
        key: &StreamKey,
        _: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal> {
        if self.refuses_to_begin {
            return Err(Refusal::new(Reason::InUse, "Somebody was faster"));
        }
        self.begun.push(key.clone());
        Ok(None)
    }
    fn hand_over(&mut self, _: &StreamKey, _: OwnedFd, _: ConnectionSnapshot) {}
    fn media(&mut self, _: ConnectionId, _: u32, _: Kind, _: u32, _: Bytes) {
        self.media += 1;
    }
    fn unpublish(&mut self, _: ConnectionId, _: u32) -> Option<StreamKey> {
        None
    }
    fn wanted(&mut self, _: AudienceId, _: &StreamKey, _: ipc::ViewerRequest) -> Option<(RingReader, Wakes)> {
        None
    }
    fn unwanted(&mut self, _: &StreamKey) {}
    fn hold(&mut self, _: &StreamKey, _: u64) {}
    fn pace(&mut self, _: &StreamKey, _: u32) {}
    fn closed(&mut self, _: ConnectionId) {
        self.closed += 1;
    }
}

fn hub() -> Hub {
    let loaded =
        conf::parse_text("t.conf", b"listen 1; vhost __defaultVhost__ { }", &conf::Environment::empty());
    let board = Arc::new(Scoreboard::create().unwrap());
    Hub::new(Arc::new(loaded.unwrap().config), board, 0, Arc::new(WorkRecord::create().unwrap()), 7).unwrap()
}

/// An encoder or a player at the other end.
struct Client {
    socket: TcpStream,
    session: ClientSession,
    events: Vec<ClientEvent>,
    unsent: Vec<u8>,
}

impl Client {
    fn talk(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Transmit(bytes) => self.unsent.extend_from_slice(&bytes),
                    Output::Event(event) => self.events.push(event),
                    Output::Close(_) => {}
                }
            }
            while !self.unsent.is_empty() {
                match self.socket.write(&self.unsent) {
                    Ok(count) => drop(self.unsent.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => self.unsent.clear(),
                }
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.session.handle_input(0, buffer.get(..count).unwrap()).unwrap(),
                Err(_) => return,
            }
        }
    }

    /// Whether it may do what it wants.
    fn has_begun(&self) -> bool {
        self.events.iter().any(|event| matches!(event, ClientEvent::Publishing | ClientEvent::Playing))
    }

    /// The code by which it was refused.
    fn refused(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Rejected { code, .. } => Some(code.as_str()),
            _ => None,
        })
    }
}

/// One client at a hub, and a second hub to which it may go.
struct Stage {
    hub: Hub,
    host: Fake,
    client: Client,
}

impl Stage {
    fn new(kind: Asked, verdict: Verdict) -> Self {
        let (mut hub, mut host) = (hub(), Fake::new(kind, verdict));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        hub.adopt(&mut host, accepted, peer);
        let mode = match kind {
            Asked::Publish => ClientMode::Publish { stream: "cam".into(), fmle: true },
            _ => ClientMode::Play { stream: "cam".into() },
        };
        let options = ClientOptions::new("rtmp://127.0.0.1/live".into(), "live".into(), mode, [3; 32]);
        let session = ClientSession::new(0, options);
        Self { hub, host, client: Client { socket, session, events: Vec::new(), unsent: Vec::new() } }
    }

    /// Turns of both ends until something is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(
                Instant::now() < end,
                "{what}: {:?} {:?}",
                self.hub.report("", false),
                self.client.events
            );
            self.client.talk();
            self.hub.turn(self.hub.now_ms() + 2, &mut Vec::new()).unwrap();
            self.hub.run(&mut self.host);
        }
    }

    /// Until the question is out.
    fn until_asked(&mut self) -> DecisionId {
        self.until("asked", |stage| !stage.host.asked.is_empty());
        self.host.asked.last().unwrap().decision
    }

    fn undecided(&self) -> u64 {
        self.hub.report("", false).undecided
    }

    fn refusals(&self) -> Vec<(String, u64)> {
        self.hub.report("", false).refused
    }

    fn decide(&mut self, id: DecisionId, verdict: Verdict) -> bool {
        self.hub.decide(&mut self.host, id, verdict)
    }
}

fn later(hub_ms: u64) -> Verdict {
    Verdict::later(hub_ms)
}

fn no() -> Verdict {
    Verdict::reject(Reason::Denied, "Not you")
}

fn code(kind: Asked) -> &'static str {
    match kind {
        Asked::Connect => "NetConnection.Connect.Rejected",
        Asked::Publish => "NetStream.Publish.Denied",
        Asked::Play => "NetStream.Play.Failed",
    }
}

#[test]
fn who_is_accepted_at_once_begins_and_who_is_refused_is_told_and_counted() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, Verdict::Accept);
        stage.until("begins", |stage| stage.client.has_begun());
        assert_eq!((stage.refusals(), stage.undecided()), (Vec::new(), 0));

        let mut stage = Stage::new(kind, no());
        stage.until("refused", |stage| stage.client.refused().is_some());
        assert_eq!(stage.client.refused(), Some(code(kind)));
        assert_eq!(stage.refusals(), [(format!("{} denied", kind.name()), 1)]);
        assert!(stage.host.begun.is_empty());
    }
}

#[test]
fn an_answer_may_come_later_and_counts_once() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        let id = stage.until_asked();
        assert_eq!((stage.undecided(), stage.client.has_begun()), (1, false));
        assert!(stage.decide(id, Verdict::Accept));
        assert!(!stage.decide(id, no()), "the second answer comes too late");
        stage.until("begins", |stage| stage.client.has_begun());
        let report = stage.hub.report("", false);
        assert_eq!((report.undecided, report.unclaimed_answers, report.refused), (0, 1, Vec::new()));

        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        let id = stage.until_asked();
        assert!(stage.decide(id, no()));
        assert!(!stage.decide(id, Verdict::Accept));
        stage.until("refused", |stage| stage.client.refused().is_some());
        assert_eq!(stage.client.refused(), Some(code(kind)));
        assert_eq!(stage.refusals(), [(format!("{} denied", kind.name()), 1)]);
    }
}

#[test]
fn whom_nobody_answers_is_refused_when_its_time_is_over_or_accepted_where_that_was_said() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(0));
        let id = stage.until_asked();
        stage.until("refused", |stage| stage.client.refused().is_some());
        assert_eq!(stage.client.refused(), Some(code(kind)));
        assert_eq!(stage.refusals(), [(format!("{} timeout", kind.name()), 1)]);
        assert!(!stage.decide(id, Verdict::Accept), "too late");

        let verdict = Verdict::Later { until_ms: 0, otherwise: Otherwise::Accept };
        let mut stage = Stage::new(kind, verdict);
        stage.until("begins", |stage| stage.client.has_begun());
        assert_eq!(stage.host.asked.len(), 1);
    }
}

#[test]
fn an_answer_for_a_client_that_has_left_does_nothing() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        let id = stage.until_asked();
        stage.client.socket.shutdown(std::net::Shutdown::Both).unwrap();
        stage.until("gone", |stage| stage.host.closed == 1);
        assert_eq!((stage.undecided(), stage.hub.connection_count()), (0, 0));
        assert!(!stage.decide(id, Verdict::Accept));
        assert_eq!(stage.hub.report("", false).unclaimed_answers, 1);
        assert!(stage.host.begun.is_empty());
    }
}

#[test]
fn a_question_goes_with_the_connection_and_is_asked_again_under_the_same_number() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        let id = stage.until_asked();
        let connection = stage.host.asked.last().unwrap().connection;
        let (socket, snapshot) = stage.hub.detach(&mut stage.host, connection).unwrap();
        assert_eq!(stage.undecided(), 0);
        // As another process sees it.
        let bytes = snapshot.to_bytes();
        let (former, former_host) = (std::mem::replace(&mut stage.hub, hub()), &mut stage.host);
        let mut former_hub = former;
        assert!(!former_hub.decide(former_host, id, Verdict::Accept), "it is asked elsewhere now");
        stage.host = Fake::new(kind, later(u64::MAX - FAR_MS));
        stage.hub.attach(&mut stage.host, socket, &bytes).unwrap();
        assert_eq!(stage.host.asked.iter().map(|who| who.decision).collect::<Vec<_>>(), [id]);
        assert!(!stage.client.has_begun());
        assert!(stage.decide(id, Verdict::Accept));
        stage.until("begins", |stage| stage.client.has_begun());
    }
}

#[test]
fn nobody_waits_longer_because_the_connection_went_to_another_process() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        stage.until_asked();
        // Its time is over while it is on its way.
        let connection = stage.host.asked.last().unwrap().connection;
        stage.host.verdict = later(0);
        let (socket, snapshot) = stage.hub.detach(&mut stage.host, connection).unwrap();
        stage.hub.attach(&mut stage.host, socket, &snapshot.to_bytes()).unwrap();
        let connection = stage.host.asked.last().unwrap().connection;
        let (socket, snapshot) = stage.hub.detach(&mut stage.host, connection).unwrap();
        stage.host.verdict = later(u64::MAX - FAR_MS);
        stage.hub.attach(&mut stage.host, socket, &snapshot.to_bytes()).unwrap();
        stage.until("refused", |stage| stage.client.refused().is_some());
        assert_eq!(stage.refusals(), [(format!("{} timeout", kind.name()), 1)]);
    }
}

#[test]
fn what_was_decided_may_turn_out_impossible() {
    let mut stage = Stage::new(Asked::Publish, later(u64::MAX - FAR_MS));
    let id = stage.until_asked();
    stage.host.refuses_to_begin = true;
    assert!(stage.decide(id, Verdict::Accept));
    stage.until("refused", |stage| stage.client.refused().is_some());
    assert_eq!(stage.client.refused(), Some("NetStream.Publish.BadName"));
    assert_eq!(stage.refusals(), [("publish in_use".to_owned(), 1)]);
}

#[test]
fn a_client_may_send_what_it_likes_while_it_waits() {
    for kind in KINDS {
        let mut stage = Stage::new(kind, later(u64::MAX - FAR_MS));
        let id = stage.until_asked();
        // Pings are nothing to a session, and many of them more than it keeps unread.
        let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
        stage.client.unsent.extend(ping.iter().copied().cycle().take(18 * 40_000));
        for _ in 0..200 {
            stage.client.talk();
            stage.hub.turn(stage.hub.now_ms() + 1, &mut Vec::new()).unwrap();
            stage.hub.run(&mut stage.host);
        }
        assert_eq!((stage.host.closed, stage.undecided()), (0, 1), "{kind:?}");
        assert!(stage.decide(id, Verdict::Accept));
        stage.until("begins and is read on", |stage| {
            stage.client.has_begun() && stage.client.unsent.is_empty()
        });
        assert_eq!(stage.host.closed, 0);
    }
}
