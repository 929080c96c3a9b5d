//! What is short or broken around the server: memory, descriptors, processes, a process that talks nonsense.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use client::{Options, Player, Publisher};
use ipc::{Channel, ChildToMaster, Hello, ReaderToSource, Role, StreamInfo};
use media::StreamKey;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, pidfd_getfd, pidfd_open, prlimit};
use srs_tests::capture::{player, receive_frames};
use srs_tests::cgroup::Cgroup;
use srs_tests::pattern::{self, Live, Watcher};
use srs_tests::process::{descriptors, is_alive, memory_kib, signal, wait_gone};
use srs_tests::raw::Raw;
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// A stream with viewers that check every byte.
struct Healthy {
    live: Live,
    watchers: Vec<Watcher>,
}

impl Healthy {
    fn start(server: &Server, viewers: usize) -> Self {
        let url = server.url("live/healthy");
        let live = Live::start(&url, Duration::from_millis(10));
        let mut watchers: Vec<Watcher> = (0..viewers).map(|_| Watcher::start(&url)).collect();
        for watcher in &mut watchers {
            watcher.wait_seen(1);
        }
        Self { live, watchers }
    }

    /// All have seen all.
    fn check(self) {
        self.live.wait_more(20);
        let sent = self.live.sent();
        for mut watcher in self.watchers {
            watcher.wait_seen(sent);
            let _every_number = watcher.stop();
        }
        let _undisturbed = self.live.stop();
    }

    /// Those whose process did not die have seen all; returns how many.
    fn survivors(self) -> usize {
        self.live.wait_more(20);
        let survivors = self.live.survivors(self.watchers);
        let _undisturbed = self.live.stop();
        survivors
    }
}

/// Descriptors of a process whose link in /proc begins so, with what the link says.
fn links(process: u32, prefix: &str) -> Vec<(i32, String)> {
    // It may have ended by now.
    let entries = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, link))
    };
    entries.filter_map(link).filter(|(_, link)| link.starts_with(prefix)).collect()
}

#[test]
fn shared_memory_can_be_neither_cut_nor_written_by_its_readers() {
    let server = Server::start("");
    let healthy = Healthy::start(&server, 8);
    let mut rings = 0;
    for (role, writes) in [("stream", false), ("backsource", true)] {
        for process in server.pids(role) {
            for (number, link) in links(process, "/memfd:srs-") {
                let path = format!("/proc/{process}/fd/{number}");
                let metadata = fs::metadata(&path).unwrap();
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{link}");
                // Even who may open it for writing, as the superuser may: nobody cuts it under its readers.
                if let Ok(file) = fs::OpenOptions::new().write(true).open(&path) {
                    let length = metadata.len();
                    assert!(file.set_len(0).is_err() && file.set_len(length * 2).is_err(), "{link}");
                }
                if link.starts_with("/memfd:srs-ring") {
                    let text = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).unwrap();
                    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
                    let access = u32::from_str_radix(flags.trim(), 8).unwrap() & 3;
                    assert!(access == 0 || writes, "{role} has {link} open with {access}");
                    rings += 1;
                }
            }
        }
    }
    assert!(rings >= 3, "{rings}");
    healthy.check();
}

/// A stream process that somebody has taken over opens its ring anew, for writing, or lays hands on its neighbours.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_stream_process_cannot_get_rights_that_it_does_not_have() {
    use srs_tests::inject::Captive;

    let server = Server::start("");
    let healthy = Healthy::start(&server, 8);
    let process = server.pids("stream")[0];
    let ring = links(process, "/memfd:srs-ring").remove(0).0;
    assert_eq!(links(process, "/memfd:srs-work").len(), 1, "only its own");
    let other = u64::from(server.pids("backsource")[0]);
    let Some(captive) = Captive::take(process) else {
        return srs_tests::skipped!("a process may not be traced here");
    };
    let refused = -i64::from(nix::libc::EPERM);
    let path = format!("/proc/self/fd/{ring}");
    let here = i64::from(nix::libc::AT_FDCWD).cast_unsigned();
    let open = |flags: i32| {
        captive.call(nix::libc::SYS_openat, &path, |path| [here, path, u64::from(flags.unsigned_abs()), 0])
    };
    use nix::libc::{O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
    assert!(open(O_RDONLY) > 0, "it may read");
    for flags in [O_RDWR, O_WRONLY, O_RDWR | O_APPEND, O_RDWR | O_CREAT, O_RDONLY | O_TRUNC] {
        assert_eq!(open(flags), refused, "{flags:o}");
    }
    // The log is opened like this; of the ring nothing can be changed with it.
    let at_end = open(O_WRONLY | O_APPEND).cast_unsigned();
    let call = |number, arguments: [u64; 4]| captive.call(number, "nonsense", |_| arguments);
    let text = |number| captive.call(number, "nonsense", |place| [at_end, place, 8, 0]);
    assert_eq!(text(nix::libc::SYS_pwrite64), refused, "sealed at its end");
    assert_eq!(
        call(nix::libc::SYS_fcntl, [at_end, u64::from(nix::libc::F_SETFL.unsigned_abs()), 0, 0]),
        refused
    );
    let holes = u64::from((nix::libc::FALLOC_FL_PUNCH_HOLE | nix::libc::FALLOC_FL_KEEP_SIZE).unsigned_abs());
    assert_eq!(call(nix::libc::SYS_fallocate, [at_end, holes, 0, 4096]), refused);
    assert_eq!(call(nix::libc::SYS_kill, [other, 0, 0, 0]), refused);
    assert_eq!(call(nix::libc::SYS_ptrace, [nix::libc::PTRACE_ATTACH.into(), other, 0, 0]), refused);
    assert_eq!(captive.call(nix::libc::SYS_execve, "/bin/true", |path| [path, 0, 0, 0]), refused);
    // The same by the numbers of x32, under which some have others (arch/x86/entry/syscalls/syscall_64.tbl): open, kill, openat;
    // execve, ptrace.
    for number in [2, 62, 257, 520, 521] {
        let called = captive
            .call(0x4000_0000 | number, &path, |path| [here, path, u64::from(O_RDWR.unsigned_abs()), 0]);
        assert_eq!(called, refused, "x32 {number}");
    }
    drop(captive);
    healthy.check();
}

/// A process can make no more shared memory: limits on files hold for it, too.
#[test]
fn without_memory_new_streams_are_refused_and_others_go_on() {
    let server = Server::start("");
    let healthy = Healthy::start(&server, 6);
    let source = server.pids("backsource")[0];
    let none = Rlimit { current: Some(4096), maximum: None };
    let before = prlimit(Some(pid(source)), Resource::Fsize, none).unwrap();
    let refused = Publisher::connect(&server.url("live/late"), Options::default());
    let told = refused.map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("no memory for the stream"), "{told}");
    assert_eq!(server.pids("backsource"), [source]);
    let _ = prlimit(Some(pid(source)), Resource::Fsize, before).unwrap();
    let url = server.url("live/later");
    let mut publisher = Publisher::connect(&url, Options::default()).unwrap();
    let mut viewer = player(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..30);
    assert_eq!(receive_frames(&mut viewer, 30).iter().filter_map(pattern::check).count(), 30);
    healthy.check();
}

#[test]
fn a_process_that_is_ended_for_lack_of_memory_costs_its_own_clients_only() {
    let Some(group) = Cgroup::new("memory") else { return };
    let server = Server::start("limits { handshake_timeout_ms 20000; }\nvhost __defaultVhost__ { }");
    let healthy = Healthy::start(&server, 12);
    let victim = server.pids("stream")[0];
    group.take(victim);
    group.limit("memory", Some(256 << 10));
    // What it needs for newcomers is more than it may have.
    let mut clients = Vec::new();
    wait_until("the end of the process", || {
        clients.extend((0..8).filter_map(|_| std::net::TcpStream::connect(server.address()).ok()));
        for client in clients.iter_mut().rev().take(8) {
            let _ = std::io::Write::write_all(client, &[3; 1000]);
        }
        !is_alive(victim)
    });
    drop(clients);
    wait_until("its successor", || {
        let now = server.pids("stream");
        now.len() == 2 && !now.contains(&victim) && now.iter().all(|pid| is_alive(*pid))
    });
    wait_until("the line about it", || server.log().contains("has ended by SIGKILL"));
    let survivors = healthy.survivors();
    assert!((1..12).contains(&survivors), "{survivors}");
}

#[test]
fn without_room_for_a_process_the_others_go_on_and_it_comes_later() {
    let Some(group) = Cgroup::new("pids") else { return };
    let server = Server::start("");
    let healthy = Healthy::start(&server, 12);
    let victim = server.pids("stream")[0];
    group.take(server.pid());
    group.limit("pids", Some(1));
    signal(victim, Signal::SIGKILL);
    wait_gone("the stream process", victim, SOON);
    wait_until("the alarm", || server.log().matches("stream#0 can't be started").count() >= 3);
    // Newcomers are served by the other one, also those whose connection comes to the socket of the one that is not there.
    let newcomers: Vec<Player> = (0..16).map(|_| player(&server.url("live/healthy"))).collect();
    let clients = server.clients();
    let by = |process: &str| clients.iter().filter(|client| client.process == process).count();
    assert_eq!(by("stream#0"), 0);
    assert!(by("stream#1") >= 16);
    drop(newcomers);
    group.limit("pids", None);
    wait_until("both processes", || server.pids("stream").iter().filter(|pid| is_alive(**pid)).count() == 2);
    let survivors = healthy.survivors();
    assert!((1..12).contains(&survivors), "{survivors}");
}

#[test]
fn without_descriptors_newcomers_wait_and_others_are_served() {
    let server = Server::start("workers 1;\nvhost __defaultVhost__ { }");
    let healthy = Healthy::start(&server, 6);
    let process = server.pids("stream")[0];
    let open = descriptors(process) as u64;
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let most = files.split_whitespace().nth(1).unwrap().parse().ok();
    let few = Rlimit { current: Some(open + 4), maximum: most };
    let before = prlimit(Some(pid(process)), Resource::Nofile, few).unwrap();
    let crowd: Vec<_> = (0..30).map(|_| std::net::TcpStream::connect(server.address()).unwrap()).collect();
    wait_until("the complaint", || server.log().contains("no connection can be accepted"));
    drop(crowd);
    let _ = prlimit(Some(pid(process)), Resource::Nofile, before).unwrap();
    let mut late = Raw::connected(server.address(), "live");
    let _ = late.create_stream();
    healthy.check();
    assert_eq!(server.pids("stream"), [process]);
}

/// The sockets by which a process speaks with the others, taken from it.
fn sockets(process: u32) -> Option<Vec<OwnedFd>> {
    let pidfd = pidfd_open(pid(process), PidfdFlags::empty()).unwrap();
    let mut taken = Vec::new();
    for (number, _) in links(process, "socket:") {
        match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => taken.push(fd),
            Err(error) => {
                srs_tests::skipped!("descriptors of another process can't be had here: {error}");
                return None;
            }
        }
    }
    let kind = |fd: &OwnedFd| nix::sys::socket::getsockopt(fd, nix::sys::socket::sockopt::SockType);
    taken.retain(|fd| {
        matches!(kind(fd), Ok(nix::sys::socket::SockType::SeqPacket | nix::sys::socket::SockType::Datagram))
    });
    Some(taken)
}

/// One of the stream processes is insane: whatever it can say or write is nonsense. Nobody believes it, and the clients of
/// the others do not notice.
#[test]
fn a_process_that_talks_nonsense_harms_nobody_else() {
    let server = Server::start("watchdog 3;\nvhost __defaultVhost__ { }");
    let healthy = Healthy::start(&server, 12);
    let (master, source) = (server.pid(), server.pids("backsource")[0]);
    let other = server.pids("stream")[1];
    let before: Vec<(usize, u64)> =
        [master, source].iter().map(|pid| (descriptors(*pid), memory_kib(*pid))).collect();
    for round in 0..6_u64 {
        let insane = wait_for("the first stream process", SOON, || {
            let pids = server.pids("stream");
            // It has a channel to the master, one to the back-source, and one for wake-ups.
            let ready = pids.len() == 2 && pids[1] == other && links(pids[0], "socket:").len() >= 4;
            ready.then(|| pids[0])
        });
        let Some(sockets) = sockets(insane) else { return };
        if sockets.len() < 3 {
            // It has died of the round before only now.
            continue;
        }
        // Into the memory that all processes write: nobody has ever shown a sign of life, and all are full of clients.
        let boards = links(insane, "/memfd:srs-scoreboard");
        let boards = boards.iter().map(|(number, _)| format!("/proc/{insane}/fd/{number}"));
        for board in boards.filter_map(|path| fs::OpenOptions::new().write(true).open(path).ok()) {
            let lasts = Duration::from_millis(if round == 0 { 4_500 } else { 50 });
            let began = std::time::Instant::now();
            while began.elapsed() < lasts {
                for slot in 0..8_u64 {
                    let _ = board.write_at(&0_u64.to_ne_bytes(), (slot * 64 + 16) * 8);
                    let _ = board.write_at(&(round << 40).to_ne_bytes(), slot * 64 * 8);
                }
            }
        }
        assert!(round > 0 || is_alive(insane), "nobody is ended for what another one wrote");
        for socket in sockets {
            nonsense(socket, round);
        }
    }
    let streams = wait_for("both stream processes", SOON, || {
        let pids = server.pids("stream");
        (pids.len() == 2).then_some(pids)
    });
    assert_eq!((server.pid(), server.pids("backsource")[0], streams[1]), (master, source, other));
    let survivors = healthy.survivors();
    assert!((1..12).contains(&survivors), "{survivors}");
    // Newcomers are served, and nothing has leaked.
    let mut late = wait_for("a newcomer", SOON, || {
        Publisher::connect(&server.url("live/late"), Options::default()).ok()
    });
    pattern::send_headers(&mut late);
    drop(late);
    wait_until("descriptors as before", || {
        [master, source].iter().zip(&before).all(|(pid, before)| descriptors(*pid) <= before.0 + 6)
    });
    for (pid, before) in [master, source].iter().zip(&before) {
        let now = memory_kib(*pid);
        assert!(now < before.1 + 8192, "{} KiB before, {now} after", before.1);
    }
}

/// Messages that only another role may send, that say what can't be, that are cut, or that are none at all.
fn nonsense(socket: OwnedFd, seed: u64) {
    let pipe = || {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        reader
    };
    let raw = socket.try_clone().unwrap();
    let send = |bytes: &[u8]| {
        let _ = rustix::net::send(
            &raw,
            bytes,
            rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
        );
    };
    let key = StreamKey { vhost: "v".into(), app: "a".repeat(4_000), stream: "../../x\n".into() };
    let stream = StreamInfo { stream_id: u32::MAX, key, live: true };
    let mut channel = Channel::new(socket);
    for id in [0, 1, 7, u32::MAX] {
        let _ = channel.send(&ReaderToSource::Subscribe { stream_id: id }, vec![pipe(), pipe()]);
        let _ = channel.send(&ReaderToSource::Hold { stream_id: id, want_ms: u64::MAX }, Vec::new());
        let _ = channel.send(&ReaderToSource::Pace { stream_id: id, ms: u32::MAX }, Vec::new());
        let _ = channel.send(&ReaderToSource::Unsubscribe { stream_id: id }, Vec::new());
    }
    for connection in [Vec::new(), vec![0xc1; 100], vec![0x93; 70_000]] {
        let _ = channel.send(&ReaderToSource::Handoff { connection }, vec![pipe()]);
    }
    let _ = channel.send(&ChildToMaster::Applied { generation: u64::MAX }, Vec::new());
    let _ = channel.send(&ChildToMaster::Ready { private_api_port: 1 }, vec![pipe(), pipe(), pipe()]);
    if seed % 2 == 1 {
        let _ = channel.send(&ChildToMaster::KeepRing { stream }, vec![pipe()]);
        let _ = channel.send(&ChildToMaster::DropRing { stream_id: 1 }, Vec::new());
        let hello = Hello {
            pid: 1,
            role: Role::Stream,
            number: 0,
            board_slot: u32::MAX,
            ingest: None,
            generation: u64::MAX,
            draining: false,
            state: vec![0xc1; 1000],
            links: Vec::new(),
        };
        let _ = channel.send(&ChildToMaster::Hello(hello), vec![pipe()]);
        let _ = channel.send(&ChildToMaster::LinkDown { link: u64::MAX }, Vec::new());
    }
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for length in [0_usize, 1, 7, 8, 9, 64, 1_000, 60_000] {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise.to_le_bytes()[0]
            })
            .collect();
        send(&bytes);
    }
}

/// What a process may have: nothing that it does not need. One that is taken over by what it reads must not open the others.
#[test]
fn children_have_no_more_rights_and_secrets_than_they_need() {
    let secret = "hunter2-hunter2-hunter2";
    let api = format!(
        "http_api {{ enabled on; listen 127.0.0.1:0; auth {{ enabled on; username me; password {secret}; }} }}"
    );
    let server = Server::start(&format!(
        "{api}\nhttp_server {{ enabled on; listen 127.0.0.1:0; }}\nvhost __defaultVhost__ {{ }}"
    ));
    let token = server.token();
    let holds = |process: u32, text: &str| {
        let memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        maps.lines().filter(|line| line.contains(" rw-p ")).any(|line| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            let _ = memory.read_exact_at(&mut bytes, from);
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    for (name, process) in srs_tests::process::relatives(&server.directory().join("run")) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{name}");
        if !name.starts_with("api") {
            assert!(!holds(process, &token) && !holds(process, secret), "{name} knows what it need not");
        }
    }
    // What opens one of them opens no other.
    let processes = wait_for("the processes", SOON, || server.census()).processes;
    let key =
        |process: &api::Process| api::Token::read(&token).unwrap().of_process(&process.role, process.slot);
    let streams: Vec<&api::Process> = processes.iter().filter(|process| process.role == "stream").collect();
    for process in &streams {
        for other in &streams {
            let url = format!("http://127.0.0.1:{}/api/v1/brief", other.private_api_port);
            let answer =
                ureq::get(url).header("Authorization", format!("Bearer {}", key(process).reveal())).call();
            assert_eq!(answer.is_ok(), process.slot == other.slot);
        }
    }
}
