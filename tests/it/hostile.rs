//! Hostile peers: whatever they send, the processes live, a healthy stream beside them stays exact to the byte, and
//! descriptors and memory come back.

use std::time::Duration;

use client::{Options, Player};
use srs_tests::capture::{player, publisher, receive_frames, receive_until};
use srs_tests::pattern::{self, GOP, Live, Watcher};
use srs_tests::process::{descriptors, is_alive, memory_kib};
use srs_tests::raw::{Ending, Raw};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_until};

use crate::hostile_table::{Expect, Field, NOT_HERE, ROWS};

/// Private memory that a process may keep of what it was made to hold, in KiB.
const MEMORY_SLACK_KIB: u64 = 24 << 10;

/// Deadlines short enough for a test, and nothing else unusual.
const CONFIGURATION: &str = "
limits { handshake_timeout_ms 400; identify_timeout_ms 5000; }
vhost __defaultVhost__ { queue_length 30; }";

#[derive(Debug)]
struct Vitals {
    pid: u32,
    role: String,
    descriptors: usize,
    memory_kib: u64,
}

fn vitals(server: &Server) -> Vec<Vitals> {
    let processes = server.processes().into_iter();
    let measure = |process: api::Process| Vitals {
        pid: process.pid,
        role: process.role,
        descriptors: descriptors(process.pid),
        memory_kib: memory_kib(process.pid),
    };
    processes.map(measure).collect()
}

#[test]
fn no_row_of_the_table_disturbs_a_healthy_stream() {
    let server = Server::start(CONFIGURATION);
    let url = server.url("live/healthy");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers = [Watcher::start(&url), Watcher::start(&url)];
    watchers.iter_mut().for_each(|watcher| watcher.wait_seen(1));
    // One harmless visitor, so that what is allocated once is allocated before the measuring.
    drop(Raw::publishing(server.address(), "live", "warm-up"));
    wait_until("only the healthy ones", || server.clients().len() == 3);
    let before = vitals(&server);
    let field = Field { address: server.address(), healthy: "healthy" };
    let mut faults = Vec::new();
    for row in ROWS {
        let outcome = std::panic::catch_unwind(|| {
            let mut raw = (row.attack)(&field);
            match row.expect {
                Expect::Closed => assert_eq!(raw.ending(SOON), Ending::Closed, "the server has to close"),
                Expect::Serves => {
                    raw.command(0, "createStream", 77.0, &[amf0::Value::Null]);
                    let answer = raw.wait_command("_result");
                    assert!(answer.transaction > 0.0);
                }
                Expect::Survives => drop(raw),
            }
        });
        if outcome.is_err() {
            faults.push(format!("{} {}", row.id, row.name));
        }
        if watchers.iter().any(Watcher::is_over) || !live.is_running() {
            faults.push(format!("{} {}: the healthy stream was disturbed", row.id, row.name));
            break;
        }
    }
    assert!(faults.is_empty(), "rows that went wrong: {faults:#?}");
    live.wait_more(50);
    let sent = live.stop();
    for mut watcher in watchers {
        watcher.wait_seen(sent);
        let seen = watcher.stop();
        assert_eq!(seen.last + 1, sent, "to the last frame");
    }
    for process in &before {
        assert!(is_alive(process.pid), "{} died", process.role);
    }
    wait_until("the hostile ones to be gone", || server.clients().is_empty());
    wait_until(&format!("descriptors as before: {before:?}"), || {
        let now = vitals(&server);
        now.iter().zip(&before).all(|(now, before)| now.descriptors <= before.descriptors + 2)
    });
    for (now, before) in vitals(&server).iter().zip(&before) {
        assert_eq!(now.pid, before.pid, "{} was started again", before.role);
        assert!(
            now.memory_kib <= before.memory_kib + MEMORY_SLACK_KIB,
            "{} grew from {} to {} KiB",
            before.role,
            before.memory_kib,
            now.memory_kib
        );
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\u{7}'), "the log is safe to look at");
    assert!(!log.contains("\nFORGED"), "nobody else writes lines into the log");
}

#[test]
fn the_table_has_every_row_once() {
    for number in 1..=63 {
        let id = format!("H{number:02}");
        let rows = ROWS.iter().filter(|row| row.id == id).count();
        let elsewhere = NOT_HERE.iter().filter(|(not_here, _)| *not_here == id).count();
        assert!(rows > 0 || elsewhere == 1, "{id} is missing");
        assert!(rows == 0 || elsewhere == 0, "{id} is both here and elsewhere");
    }
}

#[test]
fn a_viewer_that_takes_nothing_is_closed() {
    const MOST: u64 = 60_000;
    let server = Server::start(
        "limits { stalled_timeout_ms 1000; }
vhost __defaultVhost__ { queue_length 2; }",
    );
    let url = server.url("live/stalled");
    let options = Options { receive_buffer: Some(4_096), read_timeout: SOON, ..Options::default() };
    let _stalled = Player::connect(&url, options).unwrap();
    let mut healthy = player(&url);
    server.wait_players(2);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    let mut number = 0;
    wait_until("the end of the viewer that takes nothing", || {
        for number in number..number + GOP {
            let tag = pattern::frame_of(number, MOST);
            publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        number += GOP;
        let last = number - 1;
        drop(receive_until(&mut healthy, |packet| {
            pattern::number(packet.kind, &packet.payload) == Some(last)
        }));
        server.clients().iter().filter(|client| client.kind == "play").count() == 1
    });
    let more: Vec<u64> = {
        pattern::send_frames(&mut publisher, number..number + 10);
        receive_frames(&mut healthy, 10).iter().filter_map(pattern::check).collect()
    };
    assert_eq!(more.len(), 10, "the healthy one goes on");
}
