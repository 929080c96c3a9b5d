//! Sums of the API against a meter on the line, while stream processes are killed at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::Processes;
use client::{Options, Player};
use nix::sys::signal::Signal;
use srs_tests::meter::Meter;
use srs_tests::pattern::Live;
use srs_tests::process::signal;
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

/// How far sums may be from what was counted on the line.
const TOLERANCE: f64 = 0.001;

/// Plays a stream again and again until it is over.
fn watch(url: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut player) = Player::connect(url, Options::default()) else { continue };
        player.set_read_timeout(Duration::from_millis(200));
        while !over.load(Ordering::Relaxed) {
            match player.next() {
                Ok(Some(_)) => {}
                Err(error) if error.is_timeout() => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
}

fn assert_near(what: &str, said: u64, counted: u64) {
    let off = said.abs_diff(counted) as f64 / counted.max(1) as f64;
    eprintln!("{what}: the API says {said}, on the line were {counted} ({:.4} %)", off * 100.0);
    assert!(off <= TOLERANCE, "{what}: {said} is not {counted}");
}

/// So many players watch ten publishers while so many stream processes are killed.
fn sums_hold(players: usize, kills: usize, frames_between: u64) {
    const PUBLISHERS: usize = 10;
    let server = Server::start("workers 3;\nmax_connections 2000;\n");
    let (publishing, playing) = (Meter::before(server.address()), Meter::before(server.address()));
    let url = |meter: &Meter, n: usize| format!("rtmp://{}/live/s{}", meter.address(), n % PUBLISHERS);
    let lives: Vec<Live> =
        (0..PUBLISHERS).map(|n| Live::start(&url(&publishing, n), Duration::from_millis(10))).collect();
    wait_until("ten streams", || {
        server.streams().iter().filter(|stream| stream.publish.active).count() == PUBLISHERS
    });
    let over = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = (0..players)
        .map(|n| {
            let (url, over) = (url(&playing, n), Arc::clone(&over));
            std::thread::spawn(move || watch(&url, &over))
        })
        .collect();
    server.wait_players(players);
    let (looks, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let totals = || server.try_ask::<Processes>("/api/v1/processes").map(|answer| answer.totals);
    std::thread::scope(|scope| {
        let (done, looks) = (&done, &looks);
        // Nothing ever falls, neither in the whole nor for one stream.
        let watcher = scope.spawn(|| {
            let mut last = totals().unwrap();
            let mut streams = std::collections::HashMap::new();
            while !done.load(Ordering::Relaxed) {
                let Some(now) = totals() else { continue };
                assert!(now.send_bytes >= last.send_bytes && now.recv_bytes >= last.recv_bytes);
                assert!(
                    now.accepted >= last.accepted && now.errors >= last.errors && now.ended >= last.ended
                );
                last = now;
                for stream in server.streams() {
                    let known = streams.entry(stream.id).or_insert(0);
                    assert!(stream.send_bytes >= *known, "{} fell", stream.name);
                    *known = stream.send_bytes;
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        for kill in 0..kills {
            lives[0].wait_more(frames_between);
            let pids = server.pids("stream");
            signal(pids[kill % pids.len()], Signal::SIGKILL);
            wait_until("all players are back", || {
                server.clients().iter().filter(|client| client.kind == "play").count() == players
            });
        }
        lives[0].wait_more(frames_between);
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
    assert!(looks.load(Ordering::Relaxed) > 3, "the sums were looked at");
    for live in lives {
        let _ = live.stop();
    }
    over.store(true, Ordering::Relaxed);
    watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    let totals =
        wait_for("the end of all connections", SOON, || totals().filter(|totals| totals.connections == 0));
    let (up, down) =
        (publishing.to_server() + playing.to_server(), publishing.from_server() + playing.from_server());
    assert_near("bytes to players", totals.send_bytes, down);
    assert_near("bytes from publishers", totals.recv_bytes, up);
    let of_streams: u64 = server.streams().iter().map(|stream| stream.send_bytes).sum();
    // Handshakes and replies to commands are no stream's.
    let talk = playing.connections() * 4_000;
    assert!(of_streams <= playing.from_server() && of_streams + talk >= playing.from_server() - down / 1000);
    assert_eq!(totals.accepted, publishing.connections() + playing.connections());
    assert_eq!(totals.ended, totals.accepted, "whoever came has ended");
}

#[test]
fn sums_are_what_independent_clients_counted_while_stream_processes_die() {
    sums_hold(60, 4, 150);
}

#[test]
#[ignore = "three hundred players take a machine of their own: make soak"]
fn sums_are_what_three_hundred_players_counted() {
    sums_hold(300, 10, 500);
}
