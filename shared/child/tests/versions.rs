//! A child and a master of different versions: what one of them does not understand ends nobody.

#![allow(clippy::unwrap_used, reason = "tests panic when they fail")]

use child::Control;
use ipc::{Channel, ChildToMaster, MasterToChild, Role, Start, ToStream};
use mediaring::{Scoreboard, WorkRecord};
use serde::Serialize;

/// What a later master may say.
#[derive(Serialize)]
enum LaterMaster {
    Dance { partner: String },
    Wink,
}

fn start() -> MasterToChild {
    let config = conf::parse_text("srs.conf", b"listen 1935;", &conf::Environment::empty()).unwrap().config;
    MasterToChild::Start(Start {
        role: Role::Stream,
        number: 0,
        board_slot: 0,
        first_connection_id: 100,
        generation: 1,
        config: Box::new(config),
        ingest: None,
        token: api::Token::default(),
        key: api::Token::default(),
        version: String::new(),
        family: String::new(),
    })
}

#[test]
fn what_a_child_does_not_understand_is_said_to_the_master_and_passed_over() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut master = Channel::new(ours);
    let board = Scoreboard::create().unwrap();
    let work = WorkRecord::create().unwrap();
    let fds = [board.fd(), work.fd()].map(|fd| fd.try_clone_to_owned().unwrap());
    master.send(&start(), fds.into()).unwrap();
    let mut control = Control::begin(theirs).unwrap();

    let null = std::fs::File::open("/dev/null").unwrap();
    master.send(&LaterMaster::Dance { partner: "x".to_owned() }, vec![null.into()]).unwrap();
    master.send(&LaterMaster::Wink, Vec::new()).unwrap();
    // Known, but not for this role.
    let address = "127.0.0.1:8080".parse().unwrap();
    master.send(&MasterToChild::ListenHttp { address, tls: false }, Vec::new()).unwrap();
    master.send(&start(), Vec::new()).unwrap();
    master.send(&MasterToChild::Ping, Vec::new()).unwrap();
    master.send(&MasterToChild::TakeBack { number: 7 }, Vec::new()).unwrap();
    master.send(&MasterToChild::Stop, Vec::new()).unwrap();

    let (message, _) = control.receive::<ToStream>().unwrap().unwrap();
    assert!(matches!(message, ToStream::TakeBack(7)), "{message:?}");
    assert!(!control.is_stopped());
    assert!(control.receive::<ToStream>().unwrap().is_none());
    assert!(control.is_stopped());

    let mut said = Vec::new();
    while let Some((message, _)) = master.receive::<ChildToMaster>().unwrap() {
        match message {
            ChildToMaster::NotUnderstood { what } => said.push(what),
            ChildToMaster::Pong => said.push("pong".to_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, ["Dance", "Wink", "ListenHttp", "Start", "pong"]);
}
