//! Processes that die at an exact place: between a read and a send, in the middle of a hand-over, between two steps of the
//! master. Each point is armed by a file, which the process that dies there takes away.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use client::{Options, Packet, Player, Publisher};
use srs_tests::capture::{assert_continuous, player, publisher, receive_frames};
use srs_tests::pattern::{self, Live, Watcher, serves};
use srs_tests::process::is_alive;
use srs_tests::raw::Raw;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A server whose processes die at a point, once it is armed.
struct Doomed {
    server: Server,
    trigger: PathBuf,
}

impl Doomed {
    fn start(point: &str, own: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let text = configuration(directory.path(), own);
        let trigger = directory.path().join("armed");
        let wanted = format!("{point}:{}", trigger.display());
        let server = Server::start_with(directory, &text, &[("SRS_TEST_CRASH_AT", &wanted)]);
        Self { server, trigger }
    }

    fn arm(&self) {
        fs::write(&self.trigger, "").unwrap();
    }

    fn wait_death(&self, point: &str) {
        wait_until(&format!("a death at {point}"), || !self.trigger.exists());
    }
}

#[test]
fn a_stream_process_that_dies_in_the_middle_of_its_work_costs_its_own_clients_only() {
    for point in ["before-send", "after-send", "blocked", "accepted", "detached"] {
        // Small buffers, so that a player that does not read is blocked soon.
        let doomed = Doomed::start(point, "vhost __defaultVhost__ { send_buffer 8192; queue_length 5; }");
        let server = &doomed.server;
        let url = server.url("live/point");
        let live = Live::start(&url, Duration::from_millis(5));
        let watchers = Watcher::start_on_each(server, &url, 16);
        let started = watchers.len();
        let before = server.pids("stream");
        doomed.arm();
        let mut idle = Vec::new();
        wait_until(&format!("a death at {point}"), || {
            match point {
                "blocked" if idle.len() < 4 => {
                    idle.push(Raw::playing(server.address(), "live", "point"));
                }
                "accepted" => drop(std::net::TcpStream::connect(server.address())),
                // It may get no answer: that is the point.
                "detached" => {
                    let other = server.url("live/other");
                    let options = Options { read_timeout: Duration::from_millis(500), ..Options::default() };
                    drop(Publisher::connect(&other, options));
                }
                _ => {}
            }
            !doomed.trigger.exists()
        });
        wait_until("a successor", || {
            let now = server.pids("stream");
            now.len() == 2 && now != before && now.iter().all(|pid| is_alive(*pid))
        });
        live.wait_more(30);
        let survivors = live.survivors(watchers);
        assert!((1..started).contains(&survivors), "{point}: {survivors} of {started}");
        assert!(live.is_running(), "{point}");
        let _undisturbed = live.stop();
        serves(&server.url(&format!("live/{point}")));
    }
}

#[test]
fn a_back_source_that_dies_in_the_middle_of_a_packet_loses_no_viewer() {
    for point in ["before-ring", "after-ring", "handed-over"] {
        let doomed = Doomed::start(point, "vhost __defaultVhost__ { }");
        let server = &doomed.server;
        let url = server.url("live/point");
        let mut players: Vec<Player> = (0..8).map(|_| player(&url)).collect();
        let mut first = publisher(&url);
        pattern::send_headers(&mut first);
        pattern::send_frames(&mut first, 0..100);
        let mut packets: Vec<Vec<Packet>> =
            players.iter_mut().map(|player| receive_frames(player, 100)).collect();
        doomed.arm();
        if point == "handed-over" {
            let options = Options { read_timeout: Duration::from_millis(500), ..Options::default() };
            drop(Publisher::connect(&server.url("live/other"), options));
        } else {
            // Its connection may be gone before it is sent whole.
            let tag = pattern::frame(100);
            let _ = first.send(tag.kind, tag.timestamp_ms, &tag.body);
        }
        doomed.wait_death(point);
        let mut second =
            wait_for("a new publish", SOON, || Publisher::connect(&url, Options::default()).ok());
        pattern::send_headers(&mut second);
        pattern::send_frames(&mut second, 0..100);
        for (player, packets) in players.iter_mut().zip(&mut packets) {
            let ends = |packets: &[Packet]| {
                packets.iter().filter_map(pattern::check).filter(|number| *number == 99).count()
            };
            // What was whole in the ring may still come, before the new publish.
            while ends(packets) < 2 {
                packets.extend(receive_frames(player, 1));
            }
            let numbers: Vec<u64> = packets.iter().filter_map(pattern::check).collect();
            let without: Vec<u64> = (0..100).chain(0..100).collect();
            let with: Vec<u64> = (0..=100).chain(0..100).collect();
            assert!(numbers == without || (point == "after-ring" && numbers == with), "{point}: {numbers:?}");
            assert_continuous(packets);
        }
        serves(&server.url(&format!("live/{point}")));
    }
}

/// The master dies while it starts the successor of a child of each role, which died at the same time.
#[test]
fn a_master_that_dies_between_two_steps_leaves_nothing_undone() {
    let own = "http_server { enabled on; listen 127.0.0.1:0; }\nvhost __defaultVhost__ { }";
    for point in ["reaped", "spawned", "started", "connected-one", "before-save"] {
        for role in ["stream#1", "backsource#0", "http#0", "api#0"] {
            let mut doomed = Doomed::start(point, own);
            let family = |server: &Server| {
                let mut family = srs_tests::process::relatives(&server.directory().join("run"));
                family.sort();
                family
            };
            let url = doomed.server.url("live/point");
            let live = Live::start(&url, Duration::from_millis(10));
            let watchers = Watcher::start_on_each(&doomed.server, &url, 8);
            let started = watchers.len();
            let before = family(&doomed.server);
            let victim = before.iter().find(|(name, _)| name == role).unwrap().1;
            doomed.arm();
            srs_tests::process::signal(victim, nix::sys::signal::Signal::SIGKILL);
            doomed.wait_death(point);
            doomed.server.kill_master();
            doomed.server.start_master();
            let server = &doomed.server;
            let names =
                |family: &[(String, u32)]| family.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            wait_until(&format!("{point}, {role}: each process once"), || {
                let now = family(server);
                names(&now) == names(&before)
                    && now.iter().all(|(_, pid)| *pid != victim)
                    && server.census().is_some_and(|census| {
                        let mut known: Vec<u32> =
                            census.processes.iter().map(|process| process.pid).collect();
                        known.retain(|pid| *pid != server.pid());
                        known.len() == now.len() && now.iter().all(|(_, pid)| known.contains(pid))
                    })
            });
            serves(&server.url(&format!("live/{point}")));
            if role == "backsource#0" {
                // Its publisher was lost with it; viewers stay, and see who comes next.
                continue;
            }
            live.wait_more(20);
            let survivors = live.survivors(watchers);
            assert!(
                survivors == started || (role == "stream#1" && survivors >= 1),
                "{point}, {role}: {survivors} of {started}"
            );
            let _undisturbed = live.stop();
        }
    }
}
