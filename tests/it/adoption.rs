//! The death of the master: nobody notices, and the next one takes the running children over.

use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{descriptors, is_alive, signal, wait_gone};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_until};

fn all(server: &Server) -> Vec<u32> {
    let mut pids: Vec<u32> = server
        .processes()
        .iter()
        .filter(|process| process.role != "master")
        .map(|process| process.pid)
        .collect();
    pids.sort_unstable();
    pids
}

#[test]
fn nobody_notices_the_death_of_the_master_and_the_next_one_goes_on() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let address = server.address();
    let url = server.url("live/orphans");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..12).map(|_| Watcher::start(&url)).collect();
    server.wait_players(12);
    let pids = all(&server);
    server.kill_master();
    // Without a master all is served on, newcomers included.
    live.wait_more(30);
    for watcher in &mut watchers {
        watcher.wait_seen(live.sent());
    }
    let mut newcomer = Watcher::start(&url);
    newcomer.wait_seen(live.sent());
    let other = Live::start(&server.url("live/begun-without-a-master"), Duration::from_millis(10));
    let mut other_watcher = Watcher::start(&server.url("live/begun-without-a-master"));
    other_watcher.wait_seen(5);
    server.start_master();
    assert_eq!(server.address(), address);
    assert_eq!(all(&server), pids, "the same processes");
    live.wait_more(30);
    for watcher in &mut watchers {
        watcher.wait_seen(live.sent());
    }
    // The new master is as good as the old one: a back-source that dies leaves its rings to the next.
    let victim = server.pids("backsource")[0];
    signal(victim, Signal::SIGKILL);
    wait_gone("the back-source", victim, SOON);
    wait_until("its successor", || {
        server.pids("backsource").iter().any(|pid| *pid != victim && is_alive(*pid))
    });
    wait_until("publishers are gone", || !live.is_running() && !other.is_running());
    let again = Live::start(&url, Duration::from_millis(10));
    again.wait_more(20);
    wait_until("viewers see the new publisher", || watchers.iter().all(|watcher| !watcher.is_over()));
    // And it ends all of them.
    let pids = all(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_end(SOON).code(), Some(0));
    for pid in pids {
        wait_gone("a child", pid, SOON);
    }
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn masters_die_again_and_again() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let url = server.url("live/masters");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
    server.wait_players(6);
    let pids = all(&server);
    let mut open = 0;
    for round in 0..8 {
        server.kill_master();
        server.start_master();
        live.wait_more(3);
        if round == 1 {
            open = pids.iter().map(|pid| descriptors(*pid)).sum();
        }
    }
    assert_eq!(all(&server), pids);
    // A question to the API may be under way; a leak would be one for each master and child at least.
    wait_until("descriptors of the children as before", || {
        pids.iter().map(|pid| descriptors(*pid)).sum::<usize>() <= open + 4
    });
    for mut watcher in watchers.drain(..) {
        watcher.wait_seen(live.sent());
        let _ = watcher.stop();
    }
    assert!(live.is_running());
}

#[test]
fn children_that_die_without_a_master_are_started_by_the_next_one() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let url = server.url("live/gap");
    let live = Live::start(&url, Duration::from_millis(10));
    live.wait_more(5);
    let victims = [server.pids("stream")[1], server.pids("http").first().copied().unwrap()];
    server.kill_master();
    for victim in victims {
        signal(victim, Signal::SIGKILL);
        wait_gone("a child", victim, SOON);
    }
    server.start_master();
    assert_eq!(server.pids("stream").len(), 2);
    let mut watchers: Vec<Watcher> = (0..8).map(|_| Watcher::start(&url)).collect();
    server.wait_players(8);
    for watcher in &mut watchers {
        watcher.wait_seen(live.sent());
    }
    assert!(live.is_running());
}

#[test]
fn a_stopped_child_is_not_waited_for_and_orphans_can_be_ended() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let url = server.url("live/stopped");
    let live = Live::start(&url, Duration::from_millis(10));
    live.wait_more(5);
    let victim = server.pids("stream")[0];
    server.kill_master();
    signal(victim, Signal::SIGSTOP);
    server.start_master();
    wait_gone("the stopped child", victim, SOON);
    wait_until("two stream processes", || {
        let pids = server.pids("stream");
        pids.len() == 2 && !pids.contains(&victim)
    });
    assert!(live.is_running());
    // Without a master, SIGTERM is for the child itself.
    let pids = all(&server);
    server.kill_master();
    for pid in &pids {
        wait_until("the child is an orphan", || {
            signal(*pid, Signal::SIGTERM);
            !is_alive(*pid)
                || std::fs::read_to_string(format!("/proc/{pid}/stat"))
                    .is_ok_and(|stat| stat.contains(") Z "))
        });
    }
}

/// Whoever stops a server that has just been started again means all of it.
#[test]
fn a_signal_while_children_are_taken_over_is_none_too_early() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let run = server.directory().join("run");
    let command = |server: &Server| {
        let mut command = std::process::Command::new(srs_tests::program::srs());
        let log = std::fs::OpenOptions::new().append(true).open(server.directory().join("log")).unwrap();
        command
            .current_dir(srs_tests::program::source_tree())
            .arg("-c")
            .arg(server.directory().join("srs.conf"));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    };
    let begun = |pid: u32| {
        // From then on it listens to signals.
        let line = format!("[{pid}]");
        let log = server_log(&run);
        log.lines().any(|said| said.contains(&line) && said.contains("begins, configuration"))
    };
    for which in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM] {
        server.kill_master();
        // One that hangs is waited for, so that there is time.
        let hangs =
            srs_tests::process::relatives(&run).into_iter().find(|(name, _)| name == "http#0").unwrap().1;
        signal(hangs, Signal::SIGSTOP);
        let mut next = command(&server).spawn().unwrap();
        wait_until("a master that takes over", || begun(next.id()));
        signal(next.id(), which);
        if which == Signal::SIGTERM {
            assert!(next.wait().unwrap().success());
            wait_until("nobody is left", || srs_tests::process::relatives(&run).is_empty());
            return;
        }
        wait_until("all processes", || {
            srs_tests::process::relatives(&run).len() == 5
                && server.census().is_some_and(|now| now.pid == next.id())
        });
        drop(next.kill());
        drop(next.wait());
        server.start_master();
    }
}

/// The log of a server with this runtime directory.
fn server_log(run: &std::path::Path) -> String {
    std::fs::read_to_string(run.parent().unwrap().join("log")).unwrap_or_default()
}

/// Who died together with the master is counted like others.
#[test]
fn deaths_that_no_master_saw_are_counted() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let run = server.directory().join("run");
    for round in 1..=2_u32 {
        let victim = server.pids("backsource")[0];
        // Stopped first, so that its end is seen by nobody.
        signal(server.pid(), Signal::SIGSTOP);
        signal(victim, Signal::SIGKILL);
        server.kill_master();
        server.start_master();
        assert_eq!(srs_tests::process::relatives(&run).len(), 5);
        let census = srs_tests::wait::wait_for("the processes", SOON, || server.census());
        let source = census.processes.iter().find(|process| process.role == "backsource").unwrap();
        assert_eq!(source.restarts, round);
        assert_eq!(source.last_end.as_ref().map(|end| end.pid), Some(victim));
    }
}
