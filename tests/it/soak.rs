//! Kills at random moments under load, again and again: the short form. `make soak` runs the long one.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use srs_tests::process::{children, descriptors, memory_kib, signal};
use srs_tests::server::Server;
use srs_tests::soak::{Crowd, Notes};
use srs_tests::wait::{SOON, wait_for, wait_until};

/// A simple generator; the run is the same each time but for the moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn wanted(name: &str, short: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// Whom kills are blamed on.
const CAUSES: [&str; 6] = ["nothing", "stream", "backsource", "http", "api", "master"];

fn cause(role: &str) -> usize {
    CAUSES.iter().position(|cause| *cause == role).unwrap_or(0)
}

/// Times until the system was whole, by role.
#[derive(Default)]
struct Times(Vec<(String, u64)>);

impl Times {
    fn note(&mut self, role: &str, began: Instant) {
        self.0.push((role.to_owned(), u64::try_from(began.elapsed().as_millis()).unwrap()));
    }

    #[expect(clippy::print_stdout, reason = "the figures of a long run")]
    fn tell(&self, notes: &Notes) {
        for role in CAUSES {
            let mut times: Vec<u64> = self.0.iter().filter(|(of, _)| of == role).map(|(_, ms)| *ms).collect();
            if times.is_empty() {
                continue;
            }
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            println!(
                "{role}: {} kills; whole again after p50 {} ms, p99 {} ms, at most {} ms; longest silence of a viewer \
                 that stayed {} ms",
                times.len(),
                at(50),
                at(99),
                at(100),
                notes.silence_ms(cause(role))
            );
        }
    }
}

/// Descriptors of rings that a process has.
fn rings(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("/memfd:srs-ring")).count()
}

#[test]
fn children_are_killed_at_random_moments_and_the_system_is_whole_again_at_once() {
    let kills = wanted("SRS_SOAK_KILLS", 25);
    let viewers = if kills > 100 { 200 } else { 20 };
    let server = Server::start("vhost __defaultVhost__ { }");
    let urls: Vec<String> = (0..5).map(|number| server.url(&format!("live/kill-{number}"))).collect();
    let notes = Notes::new(CAUSES.len());
    let crowd = Crowd::start(&notes, &urls, viewers, Duration::from_millis(20));
    server.wait_players(viewers);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut times = Times::default();
    let (mut open, mut memory) = (0, 0);
    let mut bytes = notes.bytes();
    let mut totals = api::Totals::default();
    for kill in 0..kills {
        // Everybody is there again before the next one.
        wait_until("all viewers", || {
            server.clients().iter().filter(|client| client.kind == "play").count() == viewers
        });
        std::thread::sleep(Duration::from_micros(random.below(100_000) as u64));
        let before: Vec<api::Process> =
            server.processes().into_iter().filter(|process| process.role != "master").collect();
        let victim = &before[random.below(before.len())];
        let lost = notes.lost();
        notes.blame(cause(&victim.role));
        let began = Instant::now();
        signal(victim.pid, Signal::SIGKILL);
        wait_for("the system is whole", SOON, || {
            let now = server.try_ask::<serde_json::Value>("/api/v1/processes")?;
            let now: Vec<api::Process> = serde_json::from_value(now["processes"].clone()).ok()?;
            let ready = |process: &&api::Process| process.role != "master" && process.private_api_port != 0;
            let whole = now.iter().filter(ready).count() == before.len()
                && now.iter().all(|process| process.pid != victim.pid);
            whole.then_some(())
        });
        times.note(&victim.role, began);
        if victim.role != "stream" {
            // Of a back-source or the http process no viewer loses its connection.
            assert_eq!(notes.lost(), lost, "kill {kill} of {}", victim.role);
        }
        wait_until("new packets", || notes.bytes() > bytes);
        bytes = notes.bytes();
        let now = server.ask::<api::Processes>("/api/v1/processes").totals;
        let counts = |totals: &api::Totals| {
            [totals.accepted, totals.ended, totals.errors, totals.recv_bytes, totals.send_bytes]
        };
        assert!(
            counts(&now).iter().zip(counts(&totals)).all(|(now, before)| *now >= before),
            "kill {kill} of {}: {totals:?}, then {now:?}",
            victim.role
        );
        totals = now;
        if kill == 5.min(kills - 1) {
            (open, memory) = (descriptors(server.pid()), memory_kib(server.pid()));
        }
    }
    times.tell(&notes);
    println!("{kills} kills, {viewers} viewers, {} connections of viewers lost", notes.lost());
    assert_eq!(notes.faults(), Vec::<String>::new());
    let restarts: u32 = server.processes().iter().map(|process| process.restarts).sum();
    assert!(restarts as usize >= kills, "{restarts} restarts after {kills} kills");
    wait_until("descriptors as before", || descriptors(server.pid()) <= open + 8);
    let now = memory_kib(server.pid());
    assert!(now <= memory + 2048, "the master: {memory} KiB before, {now} after");
    assert!(rings(server.pid()) <= urls.len(), "a ring for each stream: {}", rings(server.pid()));
    assert!(!server.log().contains("dies again and again"));
    drop(crowd);
    assert_eq!(notes.faults(), Vec::<String>::new());
}

#[test]
fn masters_are_killed_at_random_moments_and_nobody_notices() {
    let kills = wanted("SRS_SOAK_MASTERS", 6);
    let viewers = if kills > 20 { 200 } else { 20 };
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let urls: Vec<String> = (0..5).map(|number| server.url(&format!("live/master-{number}"))).collect();
    let notes = Notes::new(CAUSES.len());
    let crowd = Crowd::start(&notes, &urls, viewers, Duration::from_millis(20));
    server.wait_players(viewers);
    let family = children(server.pid());
    notes.blame(cause("master"));
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut times = Times::default();
    let mut open = 0;
    for kill in 0..kills {
        std::thread::sleep(Duration::from_micros(random.below(100_000) as u64));
        let began = Instant::now();
        server.kill_master();
        server.start_master();
        times.note("master", began);
        let bytes = notes.bytes();
        wait_until("new packets", || notes.bytes() > bytes);
        if kill == 2.min(kills - 1) {
            open = family.iter().map(|pid| descriptors(*pid)).sum();
        }
    }
    times.tell(&notes);
    assert_eq!(notes.lost(), 0, "no viewer lost its connection");
    assert_eq!(notes.faults(), Vec::<String>::new());
    wait_until("descriptors as before", || {
        family.iter().map(|pid| descriptors(*pid)).sum::<usize>() <= open + 4
    });
    drop(crowd);
    assert_eq!(notes.faults(), Vec::<String>::new());
}
