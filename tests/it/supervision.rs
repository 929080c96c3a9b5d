//! What the master does about children that hang, die again and again, or die of what a client sent; and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{is_alive, signal, wait_gone};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

#[test]
fn a_process_that_hangs_is_replaced_and_the_others_do_not_notice() {
    let server = Server::start("watchdog 1;\nvhost __defaultVhost__ { }");
    let url = server.url("live/hang");
    let live = Live::start(&url, Duration::from_millis(10));
    let watchers = Watcher::start_on_each(&server, &url, 16);
    let started = watchers.len();
    let victim = server.pids("stream")[0];
    signal(victim, Signal::SIGSTOP);
    wait_gone("the stopped process", victim, SOON);
    wait_until("its successor", || {
        server.pids("stream").len() == 2 && !server.pids("stream").contains(&victim)
    });
    wait_until("the line about it", || server.log().contains("shows no sign of life"));
    live.wait_more(20);
    let others = live.survivors(watchers);
    assert!((1..started).contains(&others), "{others} of {started}");
    assert!(live.is_running());
}

#[test]
fn a_short_stop_kills_nobody() {
    let server = Server::start("watchdog 2;\nvhost __defaultVhost__ { }");
    let url = server.url("live/pause");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers = Watcher::start_on_each(&server, &url, 4);
    let pids = [server.pids("stream"), server.pids("backsource")].concat();
    for pid in &pids {
        signal(*pid, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(500));
        signal(*pid, Signal::SIGCONT);
    }
    live.wait_more(10);
    for watcher in &mut watchers {
        watcher.wait_seen(live.sent());
    }
    assert_eq!([server.pids("stream"), server.pids("backsource")].concat(), pids);
    for watcher in watchers {
        let _ = watcher.stop();
    }
}

/// A connection from another address of this host.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.into()
}

#[test]
fn input_that_kills_twice_is_named_and_its_sender_is_taken_no_more() {
    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), "workers 1;\nvhost __defaultVhost__ { }");
    let server = Server::start_with(directory, &text, &[("SRS_TEST_CRASH_ON", "P0ISON")]);
    for death in 1..=2 {
        let mut poison = connect_from("127.0.0.2", server.address());
        poison.write_all(b"\x03\0\x01P0ISON\n").unwrap();
        wait_until("a death", || server.log().matches("died while it read from 127.0.0.2").count() == death);
        wait_until("its successor", || server.pids("stream").len() == 1);
    }
    wait_until("the last bytes", || server.log().contains("\\x03\\x00\\x01<6 bytes of text>\\n"));
    wait_until("the refusal", || server.log().contains("nobody is taken from there"));
    // The sender is closed at once; what it sends kills nobody.
    let pid = server.pids("stream");
    wait_until("a refused connection", || {
        let mut poison = connect_from("127.0.0.2", server.address());
        matches!(poison.read(&mut [0; 16]), Ok(0) | Err(_))
    });
    assert_eq!(server.pids("stream"), pid);
    // Everybody else is served.
    let url = server.url("live/healthy");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(20);
    let _ = watcher.stop();
    assert!(live.is_running());
}

#[test]
fn a_graceful_end_lets_publishers_finish() {
    let mut server = Server::start(
        "grace_start_wait 0;\ngrace_final_wait 2000;\ngrace_timeout 60;\nvhost __defaultVhost__ { }",
    );
    let url = server.url("live/grace");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(5);
    server.signal(Signal::SIGQUIT);
    wait_until("nobody is taken any more", || TcpStream::connect(server.address()).is_err());
    let state = |role: &str| {
        let processes = server.census()?.processes;
        processes.into_iter().find(|process| process.role == role).map(|process| process.state)
    };
    for role in ["master", "stream"] {
        wait_until("operators see that it drains", || state(role) == Some(api::State::Draining));
    }
    assert_eq!(state("backsource"), Some(api::State::Serving));
    live.wait_more(50);
    watcher.wait_seen(live.sent());
    let sent = live.stop();
    watcher.wait_seen(sent - 1);
    let _ = watcher.stop();
    assert_eq!(server.wait_end(SOON).code(), Some(0));
}

#[test]
fn a_graceful_end_has_its_time_and_a_second_signal_ends_it_at_once() {
    for (own, again) in [("grace_timeout 1;", false), ("grace_timeout 60;", true)] {
        let own = format!("{own}\ngrace_start_wait 0;\ngrace_final_wait 0;\nvhost __defaultVhost__ {{ }}");
        let mut server = Server::start(&own);
        let live = Live::start(&server.url("live/grace"), Duration::from_millis(10));
        live.wait_more(5);
        server.signal(Signal::SIGQUIT);
        wait_until("nobody is taken any more", || TcpStream::connect(server.address()).is_err());
        if again {
            server.signal(Signal::SIGTERM);
        }
        assert_eq!(server.wait_end(SOON).code(), Some(0));
    }
}

#[test]
fn a_renamed_log_is_opened_again_by_all() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("srs.log");
    let own = format!("srs_log_tank file;\nsrs_log_file {};\nvhost __defaultVhost__ {{ }}", log.display());
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    fs::rename(&log, log.with_extension("1")).unwrap();
    server.signal(Signal::SIGUSR1);
    wait_until("a new log", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("the log is open again"))
    });
    let live = Live::start(&server.url("live/log"), Duration::from_millis(10));
    live.wait_more(5);
    wait_until("lines of other processes", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("stream#") && text.contains("backsource#0")
    });
}

/// Everything that can be asked of a master, at once: what is asked for first is not lost, and the end is in order.
#[test]
fn a_storm_of_signals_ends_in_order() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let url = server.url("live/storm");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watcher = Watcher::start(&url);
    watcher.wait_seen(5);
    let family = srs_tests::process::children(server.pid());
    for _ in 0..200 {
        for which in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD] {
            server.signal(which);
        }
    }
    wait_until("a reload", || server.log().contains("generation 1: nothing has changed"));
    live.wait_more(20);
    watcher.wait_seen(live.sent());
    assert!(live.is_running());
    let said = "the upgrade of a running server by SIGUSR2 is not built yet";
    wait_until("the line about it", || server.log().contains(said));
    for _ in 0..50 {
        for which in [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGHUP] {
            server.signal(which);
        }
    }
    assert_eq!(server.wait_end(SOON).code(), Some(0));
    for pid in family {
        wait_gone("a child", pid, SOON);
    }
    let directory = server.directory().join("run");
    for left in ["srs.sock", "ports.json"] {
        assert!(!directory.join(left).exists(), "{left}");
    }
}

/// A viewer whose stream has ended would keep a drained process for ever.
#[test]
fn a_drain_has_an_end_when_one_is_wanted() {
    let server = Server::start("workers 1;\nvhost __defaultVhost__ { }");
    let url = server.url("live/dead");
    let mut players: Vec<client::Player> = Vec::new();
    let drain = |arguments: &[&str]| {
        let mut command = std::process::Command::new(srs_tests::program::srs_cli());
        command.arg("--socket").arg(server.socket()).arg("drain").arg("stream#0").args(arguments);
        srs_tests::process::run(&mut command, SOON)
    };
    for arguments in [vec!["--timeout", "1"], vec!["--force"]] {
        let victim = server.pids("stream")[0];
        players.push(client::Player::connect(&url, client::Options::default()).unwrap());
        let waits = drain(&[]);
        assert!(waits.status.success(), "{}", waits.stderr);
        assert!(is_alive(victim), "its client is there");
        let ended = drain(&arguments);
        assert!(ended.status.success() && ended.stdout.contains("drains already"), "{}", ended.stdout);
        wait_gone("the drained process", victim, SOON);
        wait_until("its successor alone", || {
            let pids = server.pids("stream");
            pids.len() == 1 && pids[0] != victim
        });
    }
}

#[test]
fn viewers_of_a_stream_that_nobody_publishes_are_ended_when_that_is_wanted() {
    let server = Server::start("vhost __defaultVhost__ { play { idle_timeout 1; } }");
    let url = server.url("live/ends");
    let options = || client::Options { read_timeout: SOON, ..client::Options::default() };
    let mut never = client::Player::connect(&server.url("live/never"), options()).unwrap();
    let live = Live::start(&url, Duration::from_millis(10));
    let mut player = client::Player::connect(&url, options()).unwrap();
    // Longer than the time after which nobody would be left.
    live.wait_more(150);
    let ended = |player: &mut client::Player| loop {
        match player.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(error) => return !error.is_timeout(),
        }
    };
    assert!(ended(&mut never), "nobody ever published");
    let count = |server: &Server| server.clients().iter().filter(|client| client.kind == "play").count();
    assert_eq!(count(&server), 1, "who watches stays");
    let _undisturbed = live.stop();
    assert!(ended(&mut player), "it has ended");
    wait_until("the reason in the log", || server.log().matches("longer than idle_timeout").count() == 2);
}
