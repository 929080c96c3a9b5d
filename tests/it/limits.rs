//! Ceilings: connections, lagging viewers, names without a publisher; and the places to listen.

use std::time::{Duration, Instant};

use client::{Kind, Options, Player, Publisher};
use srs_tests::capture::{player, publisher, receive_frames, receive_until};
use srs_tests::pattern::{self, GOP, Live};
use srs_tests::process::memory_kib;
use srs_tests::raw::Raw;
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_until};

#[test]
fn max_connections_counts_all_processes_and_places_come_back() {
    let server = Server::start("max_connections 3;");
    let url = server.url("live/full");
    for round in 0..3 {
        let mut players: Vec<Player> = Vec::new();
        // A place may still be taken by the last round's players.
        while players.len() < 3 {
            let began = Instant::now();
            match Player::connect(&url, Options::default()) {
                Ok(player) => players.push(player),
                Err(cause) => assert!(began.elapsed() < SOON, "round {round}: {cause}"),
            }
            assert!(players.len() == 3 || server.clients().len() <= 3);
        }
        for _ in 0..6 {
            let options = Options { start_timeout: Duration::from_secs(5), ..Options::default() };
            let refused = Player::connect(&url, options).map(drop).unwrap_err();
            assert!(!refused.is_timeout(), "closed at once: {refused}");
        }
        assert_eq!(server.clients().iter().filter(|client| client.kind == "play").count(), 3);
    }
}

#[test]
fn it_listens_in_several_places_and_on_ipv6() {
    let server = Server::start("listen 127.0.0.1:0 [::1]:0;");
    assert_eq!(server.addresses().len(), 2, "{:?}", server.addresses());
    assert!(server.addresses().iter().any(std::net::SocketAddr::is_ipv6));
    let urls: Vec<String> =
        server.addresses().iter().map(|address| format!("rtmp://{address}/live/places")).collect();
    for (from, to) in [(0, 1), (1, 0)] {
        let mut publisher = publisher(&urls[from]);
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..40);
        assert_eq!(receive_frames(&mut player(&urls[to]), 40).iter().filter_map(pattern::check).count(), 40);
        publisher.finish().unwrap();
    }
}

#[test]
fn a_viewer_that_lags_moves_to_a_newer_key_frame() {
    lagging("vhost __defaultVhost__ { queue_length 2; }");
}

/// The ring grows for it: half a second's worth lies in the one that a stream begins with.
#[test]
fn a_viewer_that_takes_nothing_for_a_while_misses_nothing() {
    let server = Server::start("vhost __defaultVhost__ { queue_length 30; }");
    let url = server.url("live/pause");
    let options = || Options { receive_buffer: Some(4_096), read_timeout: SOON, ..Options::default() };
    let mut slow: Vec<Player> = (0..3).map(|_| Player::connect(&url, options()).unwrap()).collect();
    server.wait_players(3);
    // Four times as fast as its times say: 24 s of media while nothing is read.
    let live = Live::start(&url, Duration::from_millis(5));
    live.wait_more(1_200);
    for player in &mut slow {
        let packets =
            receive_until(player, |packet| pattern::number(packet.kind, &packet.payload) >= Some(1_200));
        let numbers: Vec<u64> = packets.iter().filter_map(pattern::check).collect();
        assert!(numbers.is_sorted_by(|one, next| one + 1 == *next), "holes in {numbers:?}");
        assert_eq!(numbers[0], 0);
    }
    assert!(server.clients().iter().all(|client| client.dropped == 0 && client.jumps == 0));
    let _undisturbed = live.stop();
}

#[test]
fn a_viewer_with_too_many_bytes_before_it_moves_as_well() {
    lagging("limits { queue_bytes 2m; }");
}

fn lagging(configuration: &str) {
    const MOST: u64 = 60_000;
    let server = Server::start(configuration);
    let url = server.url("live/slow");
    let mut healthy = player(&url);
    let options = Options { receive_buffer: Some(4_096), read_timeout: SOON, ..Options::default() };
    let mut slow = Player::connect(&url, options).unwrap();
    server.wait_players(2);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    // Twenty seconds and about 30 MB, while the slow one reads nothing; the healthy one takes everything.
    let mut healthy_frames = 0;
    for part in 0..20 {
        for number in part * GOP..(part + 1) * GOP {
            let tag = pattern::frame_of(number, MOST);
            publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        let last = (part + 1) * GOP - 1;
        let packets =
            receive_until(&mut healthy, |packet| pattern::number(packet.kind, &packet.payload) == Some(last));
        healthy_frames += packets.iter().filter_map(|packet| pattern::check_of(packet, MOST)).count() as u64;
    }
    assert_eq!(healthy_frames, 20 * GOP, "a healthy viewer beside it loses nothing");
    let lags = || {
        let clients = server.clients();
        let mut lags: Vec<u64> =
            clients.iter().filter(|one| one.kind == "play").map(|one| one.lag_ms).collect();
        lags.sort_unstable();
        lags
    };
    wait_until("one lags, and one does not", || matches!(lags().as_slice(), [0, lag] if *lag > 0));
    let packets = receive_until(&mut slow, |packet| {
        pattern::number(packet.kind, &packet.payload) == Some(20 * GOP - 1)
    });
    let numbers: Vec<u64> = packets.iter().filter_map(|packet| pattern::check_of(packet, MOST)).collect();
    assert!((numbers.len() as u64) < 20 * GOP, "it was moved on");
    let mut holes = 0;
    for pair in numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1) {
        holes += 1;
        assert!(pair[1] > pair[0] && pair[1] % GOP == 0, "{} follows {}", pair[1], pair[0]);
    }
    assert!(holes > 0);
    let clients = server.clients();
    let counted: u64 = clients.iter().filter(|client| client.kind == "play").map(|client| client.jumps).sum();
    assert!(counted >= holes, "{counted} jumps are shown, {holes} were seen");
    let times: Vec<u32> =
        packets.iter().filter(|packet| packet.kind == Kind::Video).map(|packet| packet.timestamp).collect();
    assert!(times.is_sorted());
}

#[test]
fn names_that_nobody_publishes_cost_nothing() {
    let server = Server::start("");
    // Private memory of all processes after so many more names.
    let round = |round: u32| -> Vec<(String, u64)> {
        for n in 0..1_000 {
            drop(Raw::playing(server.address(), "live", &format!("nobody-{round}-{n}-publishes-this")));
        }
        wait_until("all players to be gone", || server.clients().is_empty());
        wait_until("the streams to be gone", || server.streams().is_empty());
        let name = |process: &api::Process| format!("{}#{}", process.role, process.slot);
        server.processes().iter().map(|process| (name(process), memory_kib(process.pid))).collect()
    };
    // What is kept for good is there after some rounds; what is never given back goes on growing.
    let rounds: Vec<_> = (0..6).map(round).collect();
    for ((name, before), (_, after)) in rounds[2].iter().zip(&rounds[5]) {
        assert!(after.saturating_sub(*before) < 1_024, "{name} grows round by round: {rounds:?}");
    }
}

#[test]
fn streams_that_ended_leave_nothing_behind() {
    let server = Server::start("");
    let cycle = |n: u32| {
        let url = server.url(&format!("live/ended-{n}"));
        let mut publisher = Publisher::connect(&url, Options::default()).unwrap();
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..20);
        drop(receive_frames(&mut player(&url), 20));
        publisher.finish().unwrap();
    };
    let gone = || server.clients().is_empty() && server.streams().is_empty();
    let count = || -> Vec<usize> {
        server.processes().iter().map(|process| srs_tests::process::descriptors(process.pid)).collect()
    };
    for n in 0..10 {
        cycle(n);
    }
    wait_until("everything to be gone", gone);
    let before = count();
    for n in 10..60 {
        cycle(n);
    }
    wait_until("everything to be gone", gone);
    wait_until(&format!("descriptors as before, {before:?}"), || {
        count().iter().zip(&before).all(|(now, before)| *now <= before + 2)
    });
}

/// A list and its segments outlive their stream by far; its ring, in three processes, does not.
#[test]
fn streams_with_hls_that_have_ended_hold_no_ring() {
    let server = Server::start(
        "http_server { enabled on; listen 127.0.0.1:0; }\n\
         vhost __defaultVhost__ { hls { enabled on; hls_fragment 1; hls_storage memory; hls_dispose 300; hls_ctx off; } }",
    );
    let pids: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
    let open = || pids.iter().map(|pid| srs_tests::process::descriptors(*pid)).sum::<usize>();
    let before = open();
    let publish = |name: &str, frames: std::ops::Range<u64>| {
        let mut publisher = publisher(&server.url(&format!("live/{name}")));
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, frames);
        publisher.finish().unwrap();
    };
    let list = |name: &str| {
        let answer = ureq::get(format!("{}/live/{name}.m3u8", server.web())).call();
        answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok()).unwrap_or_default()
    };
    for number in 0..30 {
        publish(&format!("short-{number}"), 0..150);
    }
    wait_until("all lists", || (0..30).all(|number| list(&format!("short-{number}")).contains("#EXTINF")));
    assert!(open() >= before + 30);
    wait_until("descriptors as before", || open() <= before + 6);
    let ended = list("short-7");
    assert!(ended.contains("#EXTINF"), "{ended}");
    // The numbers go on when it is published again.
    publish("short-7", 0..150);
    let segments =
        |list: &str| list.lines().filter(|line| line.contains(".ts")).map(str::to_owned).collect::<Vec<_>>();
    wait_until("more segments", || segments(&list("short-7")).len() > segments(&ended).len());
    assert!(segments(&list("short-7")).starts_with(&segments(&ended)));
}
