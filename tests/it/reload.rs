//! Reload: what a new configuration changes on a running server, and what it does not.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use api::Reload;
use nix::sys::signal::Signal;
use srs_tests::capture::{player, receive_frames};
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{Ended, descriptors, memory_kib, run};
use srs_tests::program;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};

/// Puts another configuration into the server's file.
fn rewrite(server: &Server, own: &str) {
    // As editors do: the file is whole at every moment.
    let path = server.directory().join("srs.conf");
    let other = path.with_extension("new");
    fs::write(&other, configuration(server.directory(), own)).unwrap();
    fs::rename(other, path).unwrap();
}

fn cli(server: &Server, arguments: &[&str]) -> Ended {
    let socket = server.directory().join("run/srs.sock");
    let mut command = Command::new(program::srs_cli());
    command.args(["--format", "json", "reload", "--socket"]).arg(socket).args(arguments);
    run(&mut command, SOON)
}

fn reload(server: &Server, own: &str) -> Reload {
    rewrite(server, own);
    let ended = cli(server, &[]);
    let result: Reload =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
    assert_eq!(ended.status.success(), result.error.is_none(), "{result:?}");
    result
}

/// A reload that is applied by everybody.
fn reloaded(server: &Server, own: &str) -> Reload {
    let result = reload(server, own);
    assert_eq!(result.error, None);
    assert_eq!(result.applied, result.processes, "{result:?}");
    result
}

/// Where the server says it listens now.
fn rtmp_addresses(server: &Server) -> Vec<SocketAddr> {
    let text = fs::read_to_string(server.directory().join("run/ports.json")).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(ports["rtmp"].clone()).unwrap()
}

fn url_at(address: SocketAddr, path: &str) -> String {
    format!("rtmp://{address}/{path}")
}

#[test]
fn a_reload_says_what_it_changed_and_disturbs_nobody() {
    let server = Server::start("vhost __defaultVhost__ { gop_cache on; }");
    let url = server.url("live/reload");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(10);
    let dry = cli(&server, &["--dry-run"]);
    assert!(dry.status.success(), "{}", dry.stderr);
    let result = reloaded(&server, "vhost __defaultVhost__ { gop_cache off; }");
    assert_eq!(
        (result.generation, result.changes.as_slice()),
        (2, &["vhost __defaultVhost__: gop_cache: on is now off".to_owned()][..])
    );
    assert!(result.processes >= 3, "{result:?}");
    // Off: a newcomer begins at the live edge, wherever in the group of pictures that is.
    let sent = live.sent();
    let mut late = player(&url);
    let first = receive_frames(&mut late, 3);
    let number = first.iter().find_map(srs_tests::pattern::check).unwrap();
    assert!(number >= sent.saturating_sub(2), "{number} of {sent}");
    // The same text again changes nothing, and the API tells the last result.
    let again = reloaded(&server, "vhost __defaultVhost__ { gop_cache off; }");
    assert_eq!((again.generation, again.changes.len(), again.processes), (2, 0, 0));
    let told: serde_json::Value = server.ask("/api/v1/reload");
    assert_eq!(told["reload"]["generation"], 2);
    live.wait_more(20);
    watcher.wait_seen(live.sent());
    let seen = watcher.stop();
    assert!(seen.last >= sent);
    assert!(live.is_running());
}

/// Broken configurations; the place that has to be named is marked with `@`, or what has to be said stands beside it.
const BROKEN: &[(&str, &str)] = &[
    ("vhost __defaultVhost__ { gop_cache @offf; }", "offf"),
    ("vhost __defaultVhost__ @{", "never closed"),
    ("vhost __defaultVhost__ { } @}", "}"),
    ("@no_such_directive 1;", "no_such_directive"),
    ("vhost __defaultVhost__ { @no_such_directive 1; }", "no_such_directive"),
    ("workers @5000;", "5000"),
    ("workers @many;", "many"),
    ("backsources @0;", "0"),
    ("max_connections @0;", "0"),
    ("chunk_size @1;", "1"),
    ("vhost __defaultVhost__ { chunk_size @100000; }", "100000"),
    ("vhost __defaultVhost__ { queue_length @-1; }", "-1"),
    ("vhost __defaultVhost__ { mw_latency @soon; }", "soon"),
    ("vhost __defaultVhost__ { time_jitter @half; }", "half"),
    ("listen @127.0.0.1:99999;", "99999"),
    ("listen @somewhere:;", "somewhere"),
    ("listen@;", "listen"),
    ("srs_log_level @loud;", "loud"),
    ("srs_log_tank @barrel;", "barrel"),
    ("http_api { enabled on; listen @1.2.3:x; }", "1.2.3:x"),
    ("ring { initial @lots; }", "lots"),
    ("limits { @no_such_limit 1; }", "no_such_limit"),
    ("watchdog @never;", "never"),
    ("process_mode @several;", "several"),
    ("vhost __defaultVhost__ { ingest a { enabled on; input { @url a.mp4; } } }", "a.mp4"),
    ("vhost __defaultVhost__ { @ingest a { enabled on; } }", "no input"),
    ("include @/nonexistent/more.conf;", "/nonexistent/more.conf"),
    ("pid @\"never closed", "quote"),
    ("@daemon on { }", "daemon"),
    ("vhost __defaultVhost__ { hls { hls_fragment @0; } }", "0"),
    ("vhost __defaultVhost__ { gop_cache on @off maybe; }", "off"),
    ("srs_log_file \"a\"@b;", "quote"),
];

#[test]
fn a_broken_configuration_changes_nothing_and_is_named_with_its_place() {
    let server = Server::start("");
    let url = server.url("live/beside");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    let file = server.directory().join("srs.conf");
    let before = fs::read_to_string(&file).unwrap();
    let mut wrong = Vec::new();
    for (own, wanted) in BROKEN {
        let text = configuration(server.directory(), own);
        let at = text.find('@').unwrap();
        let line = text[..at].matches('\n').count() + 1;
        let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        fs::write(&file, text.replace('@', "")).unwrap();
        let result: Reload = serde_json::from_str(&cli(&server, &[]).stdout).unwrap();
        let error = result.error.unwrap_or_else(|| "it was accepted".to_owned());
        if !error.contains(&format!("srs.conf:{line}:{column}: ")) || !error.contains(wanted) {
            wrong.push(format!("{own}\n    {line}:{column} {wanted}\n    {error}"));
        }
        assert_eq!(result.generation, 1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What only the machine can say.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (own, wanted) in [
        (format!("listen 127.0.0.1:0 127.0.0.1:{port};\nworkers 4;"), port.to_string()),
        (format!("http_api {{ enabled on; listen 127.0.0.1:{port}; }}"), port.to_string()),
        ("listen 192.0.2.1:1935;".to_owned(), "192.0.2.1:1935".to_owned()),
        (
            "vhost __defaultVhost__ { ingest a { enabled on; input { url /nonexistent/a.flv; } } }"
                .to_owned(),
            "/nonexistent/a.flv".to_owned(),
        ),
    ] {
        let result = reload(&server, &own);
        let error = result.error.unwrap_or_else(|| panic!("{own} was accepted"));
        assert!(error.contains(&wanted), "{own}: {error}");
        assert_eq!(result.generation, 1);
    }
    for text in ["", "\0\u{1}", "# nothing\n"] {
        fs::write(&file, text).unwrap();
        let ended = cli(&server, &[]);
        assert!(!ended.status.success(), "{text:?} was accepted: {}", ended.stdout);
    }
    fs::remove_file(&file).unwrap();
    assert!(!cli(&server, &[]).status.success());
    server.signal(Signal::SIGHUP);
    wait_until("the refusals in the log", || {
        server.log().matches("the configuration is not reloaded").count() >= BROKEN.len() + 9
    });
    assert_eq!(server.processes().iter().filter(|process| process.role == "stream").count(), 2);
    fs::write(&file, before).unwrap();
    assert_eq!(cli(&server, &[]).status.code(), Some(0));
    TcpStream::connect(server.address()).unwrap();
    live.wait_more(10);
    watcher.wait_seen(live.sent());
    let _every_number = watcher.stop();
    assert!(live.is_running());
}

#[test]
fn ports_and_apis_come_and_go_and_connections_stay() {
    let server = Server::start("listen 127.0.0.1:0;\nvhost __defaultVhost__ { }");
    let first = server.address();
    let url = url_at(first, "live/ports");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(5);
    let second = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    reloaded(&server, &format!("listen 127.0.0.1:0 {second};\nvhost __defaultVhost__ {{ }}"));
    assert_eq!(rtmp_addresses(&server), [first, second]);
    let mut other = Watcher::start(&url_at(second, "live/ports"));
    other.wait_seen(live.sent());
    // The first port goes: who came through it stays.
    reloaded(
        &server,
        &format!("listen {second};\nhttp_api {{ enabled off; }}\nvhost __defaultVhost__ {{ }}"),
    );
    assert_eq!(rtmp_addresses(&server), [second]);
    wait_until("the first port is closed", || TcpStream::connect(first).is_err());
    wait_until("the API is closed", || server.try_ask::<serde_json::Value>("/api/v1/versions").is_none());
    live.wait_more(30);
    watcher.wait_seen(live.sent());
    other.wait_seen(live.sent());
    let _ = watcher.stop();
    let _ = other.stop();
    assert!(live.is_running());
}

#[test]
fn clients_of_a_vhost_that_goes_are_closed_and_no_others() {
    let server = Server::start("vhost one.example { }\nvhost two.example { }");
    let url = |vhost: &str| server.url(&format!("live?vhost={vhost}/show"));
    let (one, two) = (
        Live::start(&url("one.example"), Duration::from_millis(10)),
        Live::start(&url("two.example"), Duration::from_millis(10)),
    );
    let (mut first, mut second) = (Watcher::start(&url("one.example")), Watcher::start(&url("two.example")));
    first.wait_seen(3);
    second.wait_seen(3);
    let result = reloaded(&server, "vhost one.example { enabled off; }\nvhost two.example { }");
    assert_eq!(result.changes, ["vhost one.example: enabled: on is now off"]);
    wait_until("the vhost's viewer is closed", || first.is_over());
    wait_until("the vhost's publisher is closed", || !one.is_running());
    two.wait_more(30);
    second.wait_seen(two.sent());
    let _ = second.stop();
    // On again, clients are welcome again.
    reloaded(&server, "vhost one.example { }\nvhost two.example { }");
    let again = Live::start(&url("one.example"), Duration::from_millis(10));
    let mut back = Watcher::start(&url("one.example"));
    back.wait_seen(3);
    let _ = back.stop();
    let _ = again.stop();
}

#[test]
fn stream_processes_come_and_a_superfluous_one_ends_with_its_last_viewer() {
    let server = Server::start("workers 2;\nvhost __defaultVhost__ { }");
    let url = server.url("live/workers");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..16).map(|_| Watcher::start(&url)).collect();
    server.wait_players(16);
    reloaded(&server, "workers 5;\nvhost __defaultVhost__ { }");
    wait_until("five stream processes", || server.pids("stream").len() == 5);
    reloaded(&server, "workers 1;\nvhost __defaultVhost__ { }");
    // The three that served nobody end; the other one serves on until its viewers have left.
    wait_until("idle processes have ended", || server.pids("stream").len() == 2);
    live.wait_more(30);
    for watcher in &mut watchers {
        watcher.wait_seen(live.sent());
    }
    // Newcomers are all served by the one that stays.
    let mut late: Vec<Watcher> = (0..8).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut late {
        watcher.wait_seen(live.sent());
    }
    for watcher in watchers {
        let _ = watcher.stop();
    }
    wait_until("one stream process", || server.pids("stream").len() == 1);
    for watcher in late {
        let _ = watcher.stop();
    }
    assert!(live.is_running());
}

#[test]
fn what_needs_a_restart_is_said_and_left() {
    let server = Server::start("backsources 1;\nvhost __defaultVhost__ { }");
    let result = reloaded(&server, "backsources 2;\nvhost __defaultVhost__ { }");
    assert_eq!(result.changes, Vec::<String>::new());
    assert_eq!(result.after_restart, ["backsources: 1 is now 2"]);
}

#[test]
fn many_reloads_under_load_change_nobodys_stream_and_keep_memory_flat() {
    // The short form unless `make soak` wants the long one.
    let wanted =
        |name: &str, short| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(short);
    let (reloads, viewers): (usize, usize) = (wanted("SRS_SOAK_RELOADS", 40), wanted("SRS_SOAK_VIEWERS", 30));
    let server = Server::start("vhost __defaultVhost__ { }");
    let urls: Vec<String> = (0..5).map(|number| server.url(&format!("live/storm-{number}"))).collect();
    let lives: Vec<Live> = urls.iter().map(|url| Live::start(url, Duration::from_millis(10))).collect();
    let mut watchers: Vec<Watcher> =
        urls.iter().flat_map(|url| (0..viewers / 5).map(|_| Watcher::start(url))).collect();
    let viewers = watchers.len();
    server.wait_players(viewers);
    let began = std::time::Instant::now();
    let pids = [server.pids("stream"), server.pids("backsource"), vec![server.pid()]].concat();
    let usage = || {
        pids.iter()
            .map(|pid| (descriptors(*pid), memory_kib(*pid)))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let mut before = (0, 0);
    for number in 0..reloads {
        if number == reloads / 4 {
            before = usage();
        }
        let own = format!(
            "workers {};\nvhost __defaultVhost__ {{ queue_length {}; mw_latency {}; chunk_size {}; gop_cache {}; }}",
            2 + number % 5,
            20 + number % 10,
            number % 3 * 20,
            4096 + number % 7 * 1000,
            if number % 4 == 0 { "off" } else { "on" },
        );
        if number % 2 == 0 {
            reloaded(&server, &own);
        } else {
            // Signals that come together are one reload.
            rewrite(&server, &own);
            server.signal(Signal::SIGHUP);
            server.signal(Signal::SIGHUP);
        }
    }
    let generation = wait_for("the last reload", SOON, || {
        let result = reloaded(&server, "vhost __defaultVhost__ { queue_length 11; }");
        result.changes.is_empty().then_some(result.generation)
    });
    println!(
        "{reloads} reloads in {} ms, {viewers} viewers, generation {generation}",
        began.elapsed().as_millis()
    );
    assert!(generation > reloads as u64 / 2, "{generation}");
    // The processes that came and went have gone.
    wait_until("two stream processes", || server.pids("stream").len() == 2);
    // A question to the API may be under way; a leak would be dozens.
    wait_until("descriptors as before", || usage().0 <= before.0 + 8);
    let after = usage();
    assert!(after.1 < before.1 + 6144, "memory: {} KiB before, {} after", before.1, after.1);
    for (watcher, live) in watchers.iter_mut().zip((0..viewers).map(|number| &lives[number / (viewers / 5)]))
    {
        watcher.wait_seen(live.sent());
    }
    for watcher in watchers {
        let _ = watcher.stop();
    }
    for live in lives {
        assert!(live.is_running());
    }
}

#[test]
fn another_chunk_size_holds_at_once_for_streams_that_run_and_their_viewers() {
    let server = Server::start("vhost __defaultVhost__ { chunk_size 60000; }");
    let url = server.url("live/chunks");
    let live = Live::start(&url, Duration::from_millis(5));
    let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(10);
    }
    let mut running = player(&url);
    drop(receive_frames(&mut running, 3));
    assert_eq!(running.chunk_size(), 60_000);
    for size in [128, 700, 4096] {
        let result = reloaded(&server, &format!("vhost __defaultVhost__ {{ chunk_size {size}; }}"));
        assert!(result.changes[0].contains("chunk_size"), "{result:?}");
        // In a second reload the packets from before the first may still be there: then it waits for them to leave.
        wait_until("the new size at a running player", || {
            drop(receive_frames(&mut running, 1));
            running.chunk_size() == size
        });
        // A newcomer may begin among packets of the old size, and comes to the new one.
        let mut late = player(&url);
        let mut numbers = Vec::new();
        wait_until("the new size at a newcomer", || {
            numbers.extend(receive_frames(&mut late, 1).iter().filter_map(srs_tests::pattern::check));
            late.chunk_size() == size
        });
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
    live.wait_more(20);
    let sent = live.sent();
    for mut watcher in watchers {
        watcher.wait_seen(sent);
        let _ = watcher.stop();
    }
    assert!(live.is_running());
}

#[test]
fn a_dry_run_names_whom_it_would_touch_and_touches_nobody() {
    let both = "vhost __defaultVhost__ { }\nvhost gone.example { }\nvhost same.example { }";
    let server = Server::start(both);
    let mut watched = Vec::new();
    for vhost in ["__defaultVhost__", "gone.example", "same.example"] {
        let url = server.url(&format!("live?vhost={vhost}/dry"));
        let live = Live::start(&url, Duration::from_millis(10));
        let watchers: Vec<Watcher> = (0..4).map(|_| Watcher::start(&url)).collect();
        watched.push((live, watchers));
    }
    server.wait_players(12);
    rewrite(&server, "workers 1;\nvhost __defaultVhost__ { gop_cache off; }\nvhost same.example { }");
    let ended = cli(&server, &["--dry-run"]);
    let result: Reload = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((result.generation, &result.error), (1, &None));
    let clients = server.clients();
    let ids = |keep: &dyn Fn(&api::Client) -> bool| -> Vec<u64> {
        clients.iter().filter(|client| keep(client)).map(|client| client.id).collect()
    };
    let find = |what: &str| result.touched.iter().find(|touched| touched.what == what);
    for (vhost, effect) in [("__defaultVhost__", api::Effect::Changes), ("gone.example", api::Effect::Closes)]
    {
        let touched = find(&format!("vhost {vhost}")).unwrap_or_else(|| panic!("{result:?}"));
        let wanted = ids(&|client| client.vhost == vhost);
        assert_eq!((touched.effect, touched.clients, &touched.ids), (effect, 5, &wanted), "{result:?}");
        assert_eq!(touched.streams, ["live/dry"]);
    }
    assert!(find("vhost same.example").is_none(), "{result:?}");
    let drains = find("stream#1").unwrap_or_else(|| panic!("{result:?}"));
    assert_eq!(drains.effect, api::Effect::Drains);
    assert_eq!(drains.ids, ids(&|client| client.process == "stream#1"));
    // For people.
    let socket = server.directory().join("run/srs.sock");
    let mut command = Command::new(program::srs_cli());
    command.args(["reload", "--dry-run", "--socket"]).arg(socket);
    let told = run(&mut command, SOON).expect_success();
    assert!(told.contains("vhost gone.example: 5 clients would be closed; streams live/dry; ids "), "{told}");
    // And all go on as if nothing had been asked.
    for (live, watchers) in watched {
        live.wait_more(10);
        for mut watcher in watchers {
            watcher.wait_seen(live.sent());
            let _ = watcher.stop();
        }
        let _ = live.stop();
    }
}

#[test]
fn a_dry_run_fails_where_the_reload_would() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bad = [
        format!("listen 127.0.0.1:0 {address};"),
        format!("http_api {{ enabled on; listen {address}; }}"),
        format!("exporter {{ enabled on; listen {address}; }}"),
        format!("http_server {{ enabled on; listen {address}; }}"),
        "vhost __defaultVhost__ { ingest i { enabled on; input { url ./nothing.flv; } } }".to_owned(),
    ];
    for own in bad {
        rewrite(&server, &own);
        for arguments in [&["--dry-run"][..], &[]] {
            let ended = cli(&server, arguments);
            let result: Reload = serde_json::from_str(&ended.stdout).unwrap();
            assert!(result.error.is_some(), "{own} {arguments:?}: {}", ended.stdout);
            assert!(ended.status.code().is_some_and(|code| code != 0), "{own} {arguments:?}");
        }
    }
    // What is tried is given back, and what is listened on already is not in the way.
    drop(taken);
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; }}\nexporter {{ enabled on; listen {address}; }}"
    );
    rewrite(&server, &own);
    for arguments in [&["--dry-run"][..], &["--dry-run"], &[]] {
        let ended = cli(&server, arguments);
        let result: Reload = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(result.error, None, "{arguments:?}");
    }
    let answer =
        srs_tests::http::ask(&format!("http://{address}"), "GET", "/metrics", &["Connection: close"]);
    assert_eq!(answer.status, 200);
}
