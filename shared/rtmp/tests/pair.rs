//! A client and a server joined by a link that is cut at chosen bytes: the events must not depend on the cuts, nor on
//! storing and restoring the server at any byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

use proptest::prelude::*;
use rtmp::*;

const MEDIA: [(MediaKind, u32, usize); 6] = [
    (MediaKind::Data, 0, 40),
    (MediaKind::Video, 0xFF_FFFE, 300),
    (MediaKind::Audio, 0xFF_FFFF, 1),
    (MediaKind::Video, 0x100_0000, 131),
    (MediaKind::Audio, 0x8000_0000, 0),
    (MediaKind::Video, 0xFFFF_FFFF, 129),
];

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Publish { fmle: bool },
    Play,
}

struct Link<F> {
    role: Role,
    simple: bool,
    /// How many of the bytes on the way arrive at once.
    cut: F,
    /// Restore the server from a snapshot after each delivery.
    restore: bool,
}

fn server() -> ServerSession {
    let identity = Identity { server_ip: "127.0.0.1".into(), pid: 1, id: 1, version: "0.1.0".into() };
    let limits = std::sync::Arc::new(Limits::default());
    let options = ServerOptions {
        limits,
        seed: [1; 32],
        identity,
        out_chunk_size: 4_096,
        out_window: 2_500_000,
        in_ack_size: 0,
    };
    ServerSession::new(0, options)
}

/// Payload of a message: bytes that tell their place.
fn payload(len: usize) -> Vec<u8> {
    (0..=255).cycle().take(len).collect()
}

/// Plays the dialogue to its end; returns the events of both sides.
fn run<F: FnMut(usize) -> usize>(link: Link<F>) -> (Vec<ServerEvent>, Vec<ClientEvent>) {
    let Link { role, simple, mut cut, restore } = link;
    let mode = match role {
        Role::Publish { fmle } => ClientMode::Publish { stream: "s?t=1".into(), fmle },
        Role::Play => ClientMode::Play { stream: "s".into() },
    };
    let mut options = ClientOptions::new("rtmp://h/live".into(), "live".into(), mode, [2; 32]);
    options.out_chunk_size = 128;
    options.simple_handshake = simple;
    let mut client = ClientSession::new(0, options);
    let mut server = server();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let (mut server_events, mut client_events) = (Vec::new(), Vec::new());
    loop {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(bytes) => to_server.extend_from_slice(&bytes),
                Output::Event(event) => {
                    if event == ClientEvent::Publishing {
                        for (kind, timestamp, len) in MEDIA {
                            assert!(client.send_media(kind, timestamp, &payload(len)));
                        }
                        client.finish();
                    }
                    client_events.push(event);
                }
                Output::Close(_) => panic!("client closes"),
            }
        }
        let mut answer = None;
        while let Some(output) = server.poll_output() {
            match output {
                Output::Transmit(bytes) => to_client.extend_from_slice(&bytes),
                Output::Event(event) => {
                    answer = server.pending().cloned();
                    server_events.push(event);
                }
                Output::Close(_) => panic!("server closes"),
            }
        }
        if restore {
            server = ServerSession::restore(&server.snapshot()).unwrap();
        }
        match answer {
            Some(Pending::Connect(_)) => server.accept_connect(0).unwrap(),
            Some(Pending::Publish(request)) => server.accept_publish(0, request.msid).unwrap(),
            Some(Pending::Play(request)) => {
                server.accept_play(0, request.msid).unwrap();
                server.end_play(0, request.msid);
            }
            None if to_server.is_empty() && to_client.is_empty() => break,
            None => {
                let len = cut(to_server.len()).clamp(1, to_server.len().max(1)).min(to_server.len());
                server.handle_input(0, &to_server.drain(..len).collect::<Vec<_>>()).unwrap();
                let len = cut(to_client.len()).clamp(1, to_client.len().max(1)).min(to_client.len());
                client.handle_input(0, &to_client.drain(..len).collect::<Vec<_>>()).unwrap();
            }
        }
    }
    (server_events, client_events)
}

const ROLES: [Role; 3] = [Role::Publish { fmle: true }, Role::Publish { fmle: false }, Role::Play];

#[test]
fn the_whole_dialogue() {
    for role in ROLES {
        let (server, client) = run(Link { role, simple: false, cut: |len| len, restore: false });
        assert!(matches!(&server[0], ServerEvent::Connect(request) if request.target.app == "live"));
        assert!(matches!(&client[0], ClientEvent::Connected { .. }));
        if role == Role::Play {
            assert!(matches!(&server[1], ServerEvent::Play(request) if request.name == "s"));
            assert!(client.contains(&ClientEvent::Playing));
            assert!(client.contains(&ClientEvent::StreamEnd));
            continue;
        }
        let fmle = role == Role::Publish { fmle: true };
        assert!(
            matches!(&server[1], ServerEvent::Publish(request) if request.name == "s" && request.fmle == fmle)
        );
        let media: Vec<_> = server
            .iter()
            .filter_map(|event| match event {
                ServerEvent::Media { kind, timestamp, payload, .. } => {
                    Some((*kind, *timestamp, payload.to_vec()))
                }
                _ => None,
            })
            .collect();
        let sent: Vec<_> = MEDIA.iter().map(|(kind, time, len)| (*kind, *time, payload(*len))).collect();
        assert_eq!(media, sent);
        assert_eq!(server.last(), Some(&ServerEvent::Unpublish { msid: 1 }));
    }
}

#[test]
fn a_cut_at_every_byte_changes_nothing() {
    for role in ROLES {
        for simple in [false, true] {
            let whole = run(Link { role, simple, cut: |len| len, restore: false });
            assert_eq!(run(Link { role, simple, cut: |_| 1, restore: false }), whole);
            for at in (1..160).chain(1_530..1_545).chain(3_070..3_080) {
                assert_eq!(run(Link { role, simple, cut: |_| at, restore: false }), whole, "pieces of {at}");
            }
        }
    }
}

#[test]
fn a_snapshot_at_every_byte_changes_nothing() {
    for role in ROLES {
        let whole = run(Link { role, simple: true, cut: |len| len, restore: false });
        assert_eq!(run(Link { role, simple: true, cut: |_| 1, restore: true }), whole);
        assert_eq!(run(Link { role, simple: false, cut: |len| len, restore: true }).0.len(), whole.0.len());
    }
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let bytes = server().snapshot();
    assert!(matches!(ServerSession::restore(&bytes[..bytes.len() / 2]), Err(SnapshotError::Malformed)));
    assert!(matches!(ServerSession::restore(&[]), Err(SnapshotError::Malformed)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_cuts_change_nothing(
        role in 0..3_usize, cuts in prop::collection::vec(1..700_usize, 1..40), restore: bool,
    ) {
        let role = ROLES[role];
        let whole = run(Link { role, simple: false, cut: |len| len, restore: false });
        let mut cuts = cuts.into_iter().cycle();
        prop_assert_eq!(run(Link { role, simple: false, cut: |_| cuts.next().unwrap(), restore }), whole);
    }
}
