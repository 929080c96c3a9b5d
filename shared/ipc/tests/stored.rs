//! Messages as they were once written. A process of another version may be at the other end: what it says must be understood for
//! as long as there are such processes, so these bytes are never made anew. `UPDATE_STORED=1` adds lines for what has none.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests panic when they fail")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use ipc::{
    ChildToMaster, Common, Hello, HttpToHttp, LinkEnd, MasterToChild, ProcessInfo, ReaderToSource, Role,
    SourceToReader, Start, StreamInfo, ToApi, ToBackSource, ToHttp, ToIngest, ToRole, ToStream,
    ViewerRequest,
};
use media::StreamKey;
use serde::{Serialize, de::DeserializeOwned};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/messages.txt")
}

/// The messages as they were stored: name and bytes.
fn stored() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap();
        (name.to_owned(), hex.as_bytes().chunks(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}

struct Store {
    stored: BTreeMap<String, Vec<u8>>,
    missing: String,
}

impl Store {
    /// What was stored under this name is understood as this message.
    fn check<T: Serialize + DeserializeOwned + std::fmt::Debug>(&mut self, name: &str, message: &T) {
        let Some(bytes) = self.stored.remove(name) else {
            let hex =
                rmp_serde::to_vec_named(message).unwrap().iter().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                });
            let _ = writeln!(self.missing, "{name} {hex}");
            return;
        };
        let read: T = rmp_serde::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("{read:?}"), format!("{message:?}"), "{name}");
    }
}

fn stream() -> StreamInfo {
    let key = StreamKey { vhost: "v.example".into(), app: "live".into(), stream: "camera 1".into() };
    StreamInfo { stream_id: 7, key, live: true }
}

fn viewer_request() -> ViewerRequest {
    ViewerRequest {
        tc_url: "rtmp://v.example/live?token=one".to_owned(),
        page_url: Some("http://v.example/page".to_owned()),
        swf_url: None,
        params: vec![("key".to_owned(), "two".to_owned())],
    }
}

fn config() -> Box<conf::Config> {
    let text = b"listen 1935; max_connections 77; vhost __defaultVhost__ { gop_cache off; }";
    Box::new(conf::parse_text("srs.conf", text, &conf::Environment::empty()).unwrap().config)
}

fn addresses() -> Vec<std::net::SocketAddr> {
    vec!["127.0.0.1:1935".parse().unwrap(), "[::1]:1935".parse().unwrap()]
}

fn from_the_master(store: &mut Store) {
    let token = api::Token::from_random(&[7; 32]);
    let start = Start {
        role: Role::Stream,
        number: 1,
        board_slot: 2,
        first_connection_id: 100,
        generation: 3,
        config: config(),
        ingest: Some(("v.example".to_owned(), "one".to_owned())),
        token: token.clone(),
        key: token.of_process("stream", 1),
        version: "0.1.0".to_owned(),
        family: "0123456789abcdef".to_owned(),
    };
    let process = ProcessInfo {
        role: Role::Http,
        number: 0,
        pid: 4711,
        restarts: 2,
        private_api_port: 40_000,
        board_slot: Some(3),
        generation: 3,
        state: api::State::Serving,
        started_ms: 12_345,
        last_end: Some(("SIGKILL".to_owned(), 4710, 12_300)),
    };
    let ip = "192.0.2.7".parse().unwrap();
    for (name, message) in [
        ("Start", MasterToChild::Start(start)),
        ("Listen", MasterToChild::Listen { addresses: addresses() }),
        ("Source", MasterToChild::Source { shard: 1, link: 9 }),
        ("Reader", MasterToChild::Reader { role: Role::Http, number: 1, link: 9 }),
        ("Ring", MasterToChild::Ring { stream: stream() }),
        ("Processes", MasterToChild::Processes(vec![process])),
        ("Stop", MasterToChild::Stop),
        ("Configure", MasterToChild::Configure { generation: 4, config: config() }),
        ("StopListening", MasterToChild::StopListening { addresses: addresses() }),
        ("Drain", MasterToChild::Drain),
        ("DrainWithin", MasterToChild::DrainWithin { ms: 5_000 }),
        ("ReopenLog", MasterToChild::ReopenLog),
        ("Refuse", MasterToChild::Refuse { ip, for_ms: 60_000 }),
        ("Reloaded", MasterToChild::Reloaded(api::Reload { generation: 4, ..api::Reload::default() })),
        ("Preview", MasterToChild::Preview { id: 5, config: config() }),
        ("Ping", MasterToChild::Ping),
        ("Lend", MasterToChild::Lend { number: 1, addresses: addresses() }),
        ("TakeBack", MasterToChild::TakeBack { number: 1 }),
        ("ListenHttp", MasterToChild::ListenHttp { address: addresses()[0], tls: true }),
        ("Sibling", MasterToChild::Sibling { number: 1, link: 9 }),
        ("Remembered", MasterToChild::Remembered { state: vec![1, 2, 3] }),
        ("Download", MasterToChild::Download { id: 8, state: vec![1, 2, 3] }),
        ("State", MasterToChild::State { state: vec![1, 2, 3] }),
        ("Keys", MasterToChild::Keys { token: token.clone(), key: token.of_process("http", 0) }),
        ("KeepAgain", MasterToChild::KeepAgain),
    ] {
        store.check(&format!("MasterToChild::{name}"), &message);
        assert_eq!(message.name(), name);
        check_roles(message);
    }
}

/// A message is taken by the roles that it is for, and by no others.
fn check_roles(message: MasterToChild) {
    let roles = message.roles();
    let Err(message) = Common::take(message) else { return assert_eq!(roles.len(), 5) };
    let message = check_role::<ToBackSource>(*message, roles);
    let message = check_role::<ToStream>(message, roles);
    let message = check_role::<ToHttp>(message, roles);
    let message = check_role::<ToApi>(message, roles);
    check_role::<ToIngest>(message, roles);
}

fn check_role<M: ToRole>(message: MasterToChild, roles: &[Role]) -> MasterToChild {
    let bytes = rmp_serde::to_vec_named(&message).unwrap();
    let taken = M::take(message).is_ok();
    let message: MasterToChild = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(taken, roles.contains(&M::ROLE), "{} to {}", message.name(), M::ROLE.name());
    message
}

fn to_the_master(store: &mut Store) {
    let hello = Hello {
        pid: 4711,
        role: Role::Stream,
        number: 1,
        board_slot: 2,
        ingest: None,
        generation: 3,
        draining: true,
        state: vec![1, 2, 3],
        links: vec![LinkEnd { link: 9, reads: true }, LinkEnd { link: 10, reads: false }],
    };
    let touched = vec![api::Touched::default()];
    for (name, message) in [
        ("Ready", ChildToMaster::Ready { private_api_port: 40_000 }),
        ("KeepRing", ChildToMaster::KeepRing { stream: stream() }),
        ("DropRing", ChildToMaster::DropRing { stream_id: 7 }),
        ("Hello", ChildToMaster::Hello(hello)),
        ("Listening", ChildToMaster::Listening { addresses: addresses() }),
        ("Applied", ChildToMaster::Applied { generation: 4 }),
        ("Previewed", ChildToMaster::Previewed { id: 5, touched, all: api::Touched::default() }),
        ("Pong", ChildToMaster::Pong),
        ("KeepDownload", ChildToMaster::KeepDownload { id: 8, state: vec![1, 2, 3] }),
        ("Remember", ChildToMaster::Remember { state: vec![1, 2, 3] }),
        ("DropDownload", ChildToMaster::DropDownload { id: 8 }),
        ("LinkDown", ChildToMaster::LinkDown { link: 9 }),
        ("GiveAgain", ChildToMaster::GiveAgain),
        ("NotUnderstood", ChildToMaster::NotUnderstood { what: "Dance".to_owned() }),
    ] {
        store.check(&format!("ChildToMaster::{name}"), &message);
    }
}

fn between_children(store: &mut Store) {
    for (name, message) in [
        ("Handoff", ReaderToSource::Handoff { connection: vec![1, 2, 3] }),
        ("Subscribe", ReaderToSource::Subscribe { stream_id: 7 }),
        ("Unsubscribe", ReaderToSource::Unsubscribe { stream_id: 7 }),
        ("Hold", ReaderToSource::Hold { stream_id: 7, want_ms: 5_000 }),
        ("Pace", ReaderToSource::Pace { stream_id: 7, ms: 350 }),
        ("EndPublish", ReaderToSource::EndPublish { stream_id: 7 }),
        ("Want", ReaderToSource::Want { key: stream().key, request: viewer_request() }),
        ("Unwant", ReaderToSource::Unwant { key: stream().key }),
    ] {
        store.check(&format!("ReaderToSource::{name}"), &message);
    }
    for (name, message) in [
        ("Stream", SourceToReader::Stream(stream())),
        ("Gone", SourceToReader::Gone { stream_id: 7 }),
        ("Ring", SourceToReader::Ring { stream_id: 7, generation: 2 }),
        ("Listed", SourceToReader::Listed),
    ] {
        store.check(&format!("SourceToReader::{name}"), &message);
    }
    store.check("HttpToHttp::Handoff", &HttpToHttp::Handoff { connection: vec![1, 2, 3] });
}

#[test]
fn what_was_once_written_is_understood() {
    let mut store = Store { stored: stored(), missing: String::new() };
    from_the_master(&mut store);
    to_the_master(&mut store);
    between_children(&mut store);
    assert_eq!(
        store.stored.keys().collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "these are no messages any more"
    );
    if std::env::var_os("UPDATE_STORED").is_some() && !store.missing.is_empty() {
        let text = std::fs::read_to_string(file()).unwrap_or_default() + &store.missing;
        std::fs::create_dir_all(file().parent().unwrap()).unwrap();
        std::fs::write(file(), text).unwrap();
    } else {
        assert_eq!(store.missing, "", "messages that were never stored: UPDATE_STORED=1 adds them");
    }
}
