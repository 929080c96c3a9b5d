//! Channels between living processes that are cut, and processes that have no room for what comes over them: all is whole
//! again by itself, nobody is replaced, and no viewer notices more than a pause.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{SockType, getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, pidfd_getfd, pidfd_open, prlimit};
use srs_tests::pattern::{Live, Watcher, serves};
use srs_tests::process::{descriptors, relatives};
use srs_tests::server::Server;
use srs_tests::wait::wait_until;

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// The children of a server by name.
fn family(server: &Server) -> BTreeMap<String, u32> {
    relatives(&server.directory().join("run")).into_iter().collect()
}

/// The control channels and links of a process: its SEQPACKET sockets, taken from it. `None` where that is forbidden.
fn channels(process: u32) -> Option<Vec<OwnedFd>> {
    let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).unwrap();
    let mut taken = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        if !link.to_string_lossy().starts_with("socket:") {
            continue;
        }
        match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => taken.push(fd),
            Err(rustix::io::Errno::BADF) => {}
            Err(error) => {
                srs_tests::skipped!("descriptors of another process can't be had here: {error}");
                return None;
            }
        }
    }
    let is_channel = |fd: &OwnedFd| {
        matches!(getsockopt(fd, sockopt::SockType), Ok(SockType::SeqPacket))
            && !socket2::SockRef::from(fd).is_listener().unwrap_or(true)
    };
    taken.retain(is_channel);
    Some(taken)
}

/// Every kind of use is served: viewers that were there, a new publisher, new viewers over RTMP and HTTP.
fn assert_whole(server: &Server, live: &Live, watchers: &mut [Watcher], what: &str) {
    live.wait_more(10);
    let sent = live.sent();
    for watcher in watchers.iter_mut() {
        watcher.wait_seen(sent);
    }
    serves(&server.url(&format!("live/{}", what.replace([' ', '#'], "-"))));
    let head = ureq::get(format!("{}/live/stays.flv", server.web())).call();
    assert!(head.is_ok_and(|answer| answer.status() == 200), "{what}: HTTP");
}

#[test]
fn any_channel_that_is_shut_from_outside_is_made_anew_and_nobody_is_replaced() {
    let server = Server::start(
        "workers 2;\nbacksources 2;\nhttp_workers 2;\nhttp_server { enabled on; listen 127.0.0.1:0; }\n\
         vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let url = server.url("live/stays");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    let before = family(&server);
    let open = |server: &Server| -> BTreeMap<String, usize> {
        let all = family(server).into_iter().map(|(name, process)| (name, descriptors(process)));
        all.chain([("master".to_owned(), descriptors(server.pid()))]).collect()
    };
    let held = open(&server);
    let mut cut = 0;
    for (name, process) in &before {
        for how in [Shutdown::Both, Shutdown::Read, Shutdown::Write] {
            let count = channels(*process).map_or(0, |channels| channels.len());
            assert!(count >= 1, "{name} has no channel");
            for at in 0..count {
                // Taken anew each time: the one before may be another one by now.
                let Some(channels) = channels(*process) else { return };
                let Some(channel) = channels.get(at) else { continue };
                let _ = socket2::SockRef::from(channel).shutdown(how);
                drop(channels);
                cut += 1;
                assert_whole(&server, &live, &mut watchers, &format!("{name} {at} {how:?}"));
            }
        }
    }
    assert!(cut >= 3 * 20, "{cut}");
    let log = server.log();
    for said in ["has lost its channel and comes again", "the link to back-source"] {
        assert!(log.contains(said), "{said}");
    }
    // All at once.
    for process in before.values() {
        for channel in channels(*process).unwrap_or_default() {
            let _ = socket2::SockRef::from(&channel).shutdown(Shutdown::Both);
        }
    }
    assert_whole(&server, &live, &mut watchers, "all");
    assert_eq!(family(&server), before, "the same processes");
    wait_until("descriptors as before", || {
        open(&server).iter().all(|(name, now)| *now <= held.get(name).copied().unwrap_or(0) + 3)
    });
    assert!(live.is_running());
}

/// A process may open only so many descriptors more for as long as this lives.
struct Short {
    process: u32,
    before: Rlimit,
}

impl Short {
    fn of(process: u32, spare: u64) -> Self {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let maximum = files.split_whitespace().nth(1).unwrap().parse().ok();
        // The limit is on numbers, not on how many are open: below it there are to be so many free ones.
        let entries = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
        let used: std::collections::BTreeSet<u64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let current = (0..).filter(|number| !used.contains(number)).nth(usize::try_from(spare).unwrap());
        let few = Rlimit { current, maximum };
        Self { process, before: prlimit(Some(pid(process)), Resource::Nofile, few).unwrap() }
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        let _ = prlimit(Some(pid(self.process)), Resource::Nofile, self.before);
    }
}

#[test]
fn a_process_without_descriptors_for_a_while_loses_nothing_that_is_there() {
    let server = Server::start(
        "workers 2;\nhttp_server { enabled on; listen 127.0.0.1:0; }\n\
         vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let url = server.url("live/stays");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    let mut all: Vec<(String, u32)> =
        family(&server).into_iter().filter(|(name, _)| !name.starts_with("api")).collect();
    all.push(("master".to_owned(), server.pid()));
    for (name, process) in &all {
        for spare in [0, 1, 2] {
            let short = Short::of(*process, spare);
            // What needs descriptors everywhere: new streams and their viewers, and channels that are made anew.
            let began = Instant::now();
            let mut comers = Vec::new();
            for number in 0..3 {
                let url = server.url(&format!("live/{}-{spare}-{number}", name.replace('#', "-")));
                let options = client::Options {
                    read_timeout: Duration::from_millis(300),
                    ..client::Options::default()
                };
                comers.push(client::Publisher::connect(&url, options).map_err(drop).ok());
            }
            for channel in channels(*process).unwrap_or_default().iter().skip(1) {
                let _ = socket2::SockRef::from(channel).shutdown(Shutdown::Both);
            }
            live.wait_more(20);
            drop(comers);
            drop(short);
            assert!(began.elapsed() < Duration::from_secs(60));
            assert_whole(&server, &live, &mut watchers, &format!("{name} short {spare}"));
        }
    }
    let mut now: Vec<(String, u32)> =
        family(&server).into_iter().filter(|(name, _)| !name.starts_with("api")).collect();
    now.push(("master".to_owned(), server.pid()));
    assert_eq!(now, all, "the same processes");
    wait_until("the line about it", || server.log().contains("no descriptor is left"));
    assert!(live.is_running());
}

/// Publishers that all come at once, each in a thread of its own; they stay until this is dropped.
struct Crowd {
    streams: Vec<std::thread::JoinHandle<Option<client::Publisher>>>,
}

impl Crowd {
    fn come(server: &Server, name: &str, count: usize) -> Self {
        let one = |number: usize| {
            let url = server.url(&format!("live/{name}-{number}"));
            let options =
                client::Options { read_timeout: Duration::from_secs(20), ..client::Options::default() };
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            thread.spawn(move || client::Publisher::connect(&url, options).ok()).unwrap()
        };
        Self { streams: (0..count).map(one).collect() }
    }

    /// All of them, when they are served.
    fn all(self) -> Vec<client::Publisher> {
        self.streams.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    }
}

/// Processes that stand still for as long as this lives.
struct Stopped(Vec<u32>);

impl Stopped {
    fn these(processes: &[u32]) -> Self {
        for process in processes {
            srs_tests::process::signal(*process, nix::sys::signal::Signal::SIGSTOP);
        }
        Self(processes.to_vec())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.0 {
            srs_tests::process::signal(*process, nix::sys::signal::Signal::SIGCONT);
        }
    }
}

/// Whether the kernel takes no more from one of a process's channels.
fn has_full_channel(process: u32) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    channels(process).unwrap_or_default().iter().any(|channel| {
        let mut wanted = [PollFd::new(channel.as_fd(), PollFlags::POLLOUT)];
        poll(&mut wanted, PollTimeout::ZERO) == Ok(0)
    })
}

/// A process does not read for a while, and more is to be told to it than the kernel keeps: nothing of it is lost.
#[test]
fn a_channel_that_is_full_for_a_while_loses_nothing() {
    const CROWD: usize = 200;
    let server = Server::start(
        "workers 2;\nmax_connections 4000;\nwatchdog 60;\nhttp_server { enabled on; listen 127.0.0.1:0; }\n\
         vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let url = server.url("live/stays");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut watchers: Vec<Watcher> = (0..4).map(|_| Watcher::start(&url)).collect();
    for watcher in &mut watchers {
        watcher.wait_seen(1);
    }
    let before = family(&server);
    if channels(server.pid()).is_none() {
        return;
    }
    // The kernel keeps little: a few messages of the largest kind.
    for process in before.values().copied().chain([server.pid()]) {
        for channel in channels(process).unwrap_or_default() {
            socket2::SockRef::from(&channel).set_send_buffer_size(64 << 10).unwrap();
        }
    }
    let source = before["backsource#0"];
    let http = before["http#0"];
    // Publishers are handed to a back-source that does not take them.
    let stopped = Stopped::these(&[source]);
    let crowd = Crowd::come(&server, "handed", CROWD);
    wait_until("a full channel of a stream process", || {
        ["stream#0", "stream#1"].iter().any(|name| has_full_channel(before[*name]))
    });
    drop(stopped);
    let handed = crowd.all();
    assert_eq!(handed.len(), CROWD, "all are served");
    // Streams begin, and nobody listens who is told: the http process, and the master, which keeps their rings.
    let stopped = Stopped::these(&[http, server.pid()]);
    let mut told = Crowd::come(&server, "told", CROWD).all();
    assert_eq!(told.len(), CROWD, "neither is needed for a publish");
    wait_until("a full channel of the back-source", || has_full_channel(source));
    drop(stopped);
    assert_whole(&server, &live, &mut watchers, "full");
    for number in [0, CROWD / 2, CROWD - 1] {
        srs_tests::pattern::send_headers(&mut told[number]);
        srs_tests::pattern::send_frames(&mut told[number], 0..30);
        let head = ureq::get(format!("{}/live/told-{number}.flv", server.web())).call();
        assert!(head.is_ok_and(|answer| answer.status() == 200), "HTTP knows of stream {number}");
    }
    assert_eq!(family(&server), before, "the same processes");
    // The master has all rings: a successor of the back-source goes on with each of them.
    srs_tests::process::signal(source, nix::sys::signal::Signal::SIGKILL);
    wait_until("all rings with the next back-source", || {
        server.log().matches(" goes on after ").count() > 2 * CROWD
    });
    drop((live, handed, told));
}

/// What a child of a later version may say.
#[derive(serde::Serialize)]
enum LaterChild {
    Dance { partner: String },
}

#[test]
fn a_child_that_says_what_the_master_does_not_know_goes_on() {
    let server = Server::start("workers 1;");
    let before = family(&server);
    let process = before["stream#0"];
    let Some(channels) = channels(process) else { return };
    let said = LaterChild::Dance { partner: "x".to_owned() };
    // Over its control channel it reaches the master, over the others its equals; none of them ends anybody.
    for channel in channels {
        let _ = ipc::Channel::new(channel).send(&said, Vec::new());
    }
    wait_until("a line of the master", || {
        server.log().contains("stream#0 says Dance, which this master does not understand (1 so far)")
    });
    wait_until("a line of the back-source", || {
        server.log().contains("stream 0 says Dance, which is not known here: passed over")
    });
    serves(&server.url("live/goes-on"));
    assert_eq!(family(&server), before, "the same processes");
}
