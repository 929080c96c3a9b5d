//! The end of a process costs what it was doing, and nothing else.

use std::thread;
use std::time::Duration;

use api::Client;
use client::{Options, Packet, Player, Publisher};
use nix::sys::signal::Signal;
use srs_tests::capture::{assert_continuous, player, publisher, receive_frames};
use srs_tests::pattern::{self, Live, Watcher, serves};
use srs_tests::process::{children, is_alive, signal, wait_gone};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

fn served_by(clients: &[Client], process: &str) -> usize {
    clients.iter().filter(|client| client.kind == "play" && client.process == process).count()
}

#[test]
fn viewers_of_other_processes_do_not_notice_the_end_of_one() {
    let server = Server::start("vhost __defaultVhost__ { queue_length 30; }");
    let url = server.url("live/crash");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..24).map(|_| Watcher::start(&url)).collect();
    server.wait_players(24);
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    let victim = server.pids("stream")[0];
    let process = server.processes().into_iter().find(|process| process.pid == victim).unwrap();
    let lost = served_by(&server.clients(), &format!("{}#{}", process.role, process.slot));
    assert!((1..24).contains(&lost), "both processes serve viewers: {lost} of 24");
    signal(victim, Signal::SIGKILL);
    wait_gone("the stream process", victim, SOON);
    // New viewers are served again, by whichever process.
    let until = live.sent();
    let mut fresh = Vec::new();
    wait_until("eight new viewers", || {
        if let Ok(mut player) = Player::connect(&url, Options { read_timeout: SOON, ..Options::default() }) {
            drop(receive_frames(&mut player, 10));
            fresh.push(player);
        }
        fresh.len() == 8
    });
    live.wait_more(100);
    let sent = live.sent();
    let mut survivors = 0;
    for mut watcher in watchers {
        // Those that were served by the dead process have ended; the others have every number.
        let alive = wait_for("a viewer's fate", SOON, || {
            (watcher.is_over() || watcher.seen() >= sent).then(|| !watcher.is_over())
        });
        if alive {
            watcher.wait_seen(sent);
            let seen = watcher.stop();
            assert!(seen.first <= until && seen.last + 1 >= sent);
            survivors += 1;
        }
    }
    assert_eq!(survivors, 24 - lost, "those of the other process see every packet");
    assert_eq!(server.pids("stream").len(), 2, "it was started again");
    assert!(!server.pids("stream").contains(&victim));
    let _undisturbed = live.stop();
}

#[test]
fn the_end_of_the_back_source_costs_a_pause() {
    let server = Server::start("");
    let url = server.url("live/source");
    let mut players: Vec<Player> = (0..8).map(|_| player(&url)).collect();
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..100);
    let mut packets: Vec<Vec<Packet>> =
        players.iter_mut().map(|player| receive_frames(player, 100)).collect();
    let victim = server.pids("backsource")[0];
    signal(victim, Signal::SIGKILL);
    wait_gone("the back-source", victim, SOON);
    // The encoder notices, and comes again as encoders do.
    wait_until("the encoder's broken connection", || publisher.wait(Duration::from_millis(10)).is_err());
    let mut publisher = wait_for("a new publish", SOON, || Publisher::connect(&url, Options::default()).ok());
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..100);
    for (player, packets) in players.iter_mut().zip(&mut packets) {
        packets.extend(receive_frames(player, 100));
        let numbers: Vec<u64> = packets.iter().filter_map(pattern::check).collect();
        assert_eq!(numbers, (0..100).chain(0..100).collect::<Vec<_>>());
        assert_continuous(packets);
    }
    // And late ones find it.
    let late = receive_frames(&mut player(&url), 10);
    assert!(late.iter().filter_map(pattern::check).count() == 10);
}

#[test]
fn the_terminate_signal_ends_all_in_order() {
    for which in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start("");
        let url = server.url("live/end");
        let live = Live::start(&url, Duration::from_millis(10));
        live.wait_more(10);
        let family = children(server.pid());
        server.signal(which);
        let status = server.wait_end(SOON);
        assert_eq!(status.code(), Some(0), "{which}");
        for pid in family {
            assert!(!is_alive(pid), "{which}: the master waits for its children");
        }
        wait_until("the end of the publisher", || !live.is_running());
    }
}

#[test]
fn every_role_is_started_again() {
    let server = Server::start("");
    for role in ["http", "stream", "backsource", "stream"] {
        let victim = server.pids(role)[0];
        signal(victim, Signal::SIGKILL);
        wait_gone(role, victim, SOON);
        wait_until(&format!("a successor of the {role} process"), || {
            let pids = server.pids(role);
            !pids.contains(&victim) && pids.iter().all(|pid| is_alive(*pid))
        });
        // And the server works.
        serves(&server.url(&format!("live/after-{role}-{victim}")));
    }
}

#[test]
fn a_process_that_hangs_does_not_hang_the_api() {
    let server = Server::start("");
    let victim = server.pids("stream")[1];
    signal(victim, Signal::SIGSTOP);
    let asked = thread::scope(|scope| {
        let question = scope.spawn(|| server.try_ask::<api::Streams>("/api/v1/streams"));
        question.join().unwrap()
    });
    signal(victim, Signal::SIGCONT);
    assert!(asked.is_some(), "the API answers within its asker's patience");
}
