//! Several processes die within moments of each other, the master among them: the short form. `make soak` runs the long one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use srs_tests::pattern::serves;
use srs_tests::process::{descriptors, memory_kib, relatives, signal};
use srs_tests::server::Server;
use srs_tests::soak::{Crowd, Notes};
use srs_tests::wait::{SOON, wait_for, wait_until};

/// A simple generator; the run is the same each time but for the moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The children by name, each once; the kernel is asked, not the server.
fn family(server: &Server) -> Vec<(String, u32)> {
    let mut family = relatives(&server.directory().join("run"));
    family.sort();
    family
}

/// Waits until every process is there once, serves, and the master knows just them.
fn wait_whole(server: &Server, names: &[String], victims: &[u32], what: &str) {
    let mut seen = String::new();
    let began = Instant::now();
    while began.elapsed() < SOON {
        let there = family(server);
        let mut known: Vec<(String, u32)> = Vec::new();
        let mut serving = true;
        if let Some(census) = server.census() {
            for process in census.processes.iter().filter(|process| process.role != "master") {
                known.push((format!("{}#{}", process.role, process.slot), process.pid));
                serving &= process.state == api::State::Serving && process.private_api_port != 0;
            }
        }
        known.sort();
        let names_there: Vec<&String> = there.iter().map(|(name, _)| name).collect();
        if serving
            && known == there
            && names_there == names.iter().collect::<Vec<_>>()
            && there.iter().all(|(_, pid)| !victims.contains(pid))
        {
            return;
        }
        seen = format!("there: {there:?}; known: {known:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{what}: not whole: {seen}");
}

#[expect(clippy::print_stdout, reason = "the figures of a long run")]
fn tell(mut times: Vec<u128>, what: &str) {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len().saturating_sub(1)) * part / 100).copied().unwrap_or(0);
    println!(
        "{what}: {} rounds; whole again after p50 {} ms, p99 {} ms, at most {} ms",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
}

#[test]
fn processes_die_within_moments_of_each_other_and_all_is_whole_again() {
    let rounds: u64 = std::env::var("SRS_SOAK_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed = std::env::var("SRS_SOAK_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0x9e37_79b9_7f4a_7c15);
    let viewers = 60;
    let mut server = Server::start(
        "workers 2;\nhttp_server { enabled on; listen 127.0.0.1:0; }\nvhost __defaultVhost__ { }",
    );
    let urls: Vec<String> = (0..5).map(|number| server.url(&format!("live/storm-{number}"))).collect();
    let notes = Notes::new(1);
    let crowd = Crowd::start(&notes, &urls, viewers, Duration::from_millis(20));
    server.wait_players(viewers);
    let names: Vec<String> = family(&server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api#0", "backsource#0", "http#0", "stream#0", "stream#1"]);
    let mut random = Random(seed);
    let (mut of_masters, mut of_children) = (Vec::new(), Vec::new());
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut open, mut memory) = (0, 0);
    for round in 0..rounds {
        let mut candidates = family(&server);
        candidates.push(("master".to_owned(), server.pid()));
        let mut victims = Vec::new();
        for _ in 0..=random.below(3) {
            let at = random.below(candidates.len() as u64);
            victims.push(candidates.swap_remove(usize::try_from(at).unwrap()));
        }
        let what = format!("round {round}: {victims:?}");
        let mut began = Instant::now();
        for (_, pid) in &victims {
            std::thread::sleep(Duration::from_micros(random.below(10_000)));
            signal(*pid, Signal::SIGKILL);
            began = Instant::now();
        }
        let pids: Vec<u32> = victims.iter().map(|(_, pid)| *pid).collect();
        let with_master = victims.iter().any(|(name, _)| name == "master");
        if with_master {
            server.kill_master();
            std::thread::sleep(Duration::from_micros(random.below(100_000)));
            began = Instant::now();
            server.start_master();
        }
        wait_whole(&server, &names, &pids, &what);
        serves(&server.url(&format!("live/probe-{}", round % 50)));
        let took = began.elapsed().as_millis();
        if took > 300 {
            println!("{what}: {took} ms");
        }
        if with_master { &mut of_masters } else { &mut of_children }.push(took);
        // Nobody is frozen: all watch, and all get something.
        wait_until(&format!("{what}: all viewers and publishers"), || {
            let clients = server.clients();
            let count = |kind| clients.iter().filter(|client| client.kind == kind).count();
            count("play") == viewers && count("fmle-publish") == urls.len()
        });
        let bytes = notes.bytes();
        wait_until(&format!("{what}: new packets"), || notes.bytes() > bytes);
        let now = wait_for("totals", SOON, || server.census()).totals;
        for (name, value) in [
            ("accepted", now.accepted),
            ("ended", now.ended),
            ("errors", now.errors),
            ("recv_bytes", now.recv_bytes),
            ("send_bytes", now.send_bytes),
        ] {
            let before = totals.insert(name, value).unwrap_or(0);
            assert!(value >= before, "{what}: {name} was {before}, is {value}");
        }
        if round == rounds / 4 {
            open = family(&server).iter().map(|(_, pid)| descriptors(*pid)).sum::<usize>()
                + descriptors(server.pid());
            memory = memory_kib(server.pid());
        }
    }
    tell(of_children, "without the master");
    tell(of_masters, "with the master");
    assert_eq!(notes.faults(), Vec::<String>::new());
    wait_until("descriptors as before", || {
        let now = family(&server).iter().map(|(_, pid)| descriptors(*pid)).sum::<usize>()
            + descriptors(server.pid());
        now <= open + 40
    });
    let now = memory_kib(server.pid());
    assert!(now <= memory + 4096, "the master: {memory} KiB before, {now} after");
    drop(crowd);
    assert_eq!(notes.faults(), Vec::<String>::new());
}
