//! The runtime directory and the log on a disk that is full, removed or hangs: the server goes on, its files come back, and
//! whatever dies then, nobody is left behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::hanging::HangingDisk;
use srs_tests::pattern::{Live, Watcher, serves};
use srs_tests::process::{is_alive, relatives, run, signal, wait_gone};
use srs_tests::program;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A stream, and viewers of it that check every byte.
struct Healthy(Live, Vec<Watcher>);

impl Healthy {
    fn start(server: &Server) -> Self {
        let url = server.url("live/healthy");
        let live = Live::start(&url, Duration::from_millis(10));
        let mut watchers: Vec<Watcher> = (0..6).map(|_| Watcher::start(&url)).collect();
        for watcher in &mut watchers {
            watcher.wait_seen(1);
        }
        Self(live, watchers)
    }

    fn check(&mut self) {
        self.0.wait_more(100);
        let sent = self.0.sent();
        for watcher in &mut self.1 {
            watcher.wait_seen(sent);
        }
    }
}

fn family(server: &Server) -> Vec<(String, u32)> {
    let mut family = relatives(&server.directory().join("run"));
    family.sort();
    family
}

/// What `srs-cli` finds with this control socket.
fn asks(socket: &Path) -> bool {
    let mut command = Command::new(program::srs_cli());
    let ended = run(command.arg("--socket").arg(socket).arg("streams"), SOON);
    ended.status.success() && ended.stdout.contains("healthy")
}

#[test]
fn what_a_cleaner_removes_comes_back_by_itself() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }\nvhost __defaultVhost__ { }");
    let mut healthy = Healthy::start(&server);
    let token = server.token();
    let run = server.directory().join("run");
    let pid_file = server.directory().join("srs.pid");
    let threads = |name: &str| {
        let pid = family(&server).iter().find(|(known, _)| known == name).unwrap().1;
        fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
    };
    let before = threads("api#0");
    for whole in [false, true] {
        fs::remove_file(&pid_file).unwrap();
        if whole {
            fs::remove_dir_all(&run).unwrap();
        } else {
            for name in ["srs.sock", "token", "ports.json", "api.sock"] {
                fs::remove_file(run.join(name)).unwrap();
            }
        }
        for name in ["srs.sock", "token", "ports.json", "api.sock"] {
            wait_until(&format!("{name} again"), || run.join(name).exists());
        }
        assert_eq!(server.token(), token);
        wait_until("an answer at the control socket", || asks(&server.socket()));
        // The API behind its gate, and by way of the web server.
        let api = || server.try_ask::<serde_json::Value>("/api/v1/versions").is_some();
        wait_until("the API", api);
        let passed = || ureq::get(format!("{}/api/v1/versions", server.web())).call().is_ok();
        wait_until("the API by way of the web server", passed);
        wait_until("the pid file", || {
            fs::read_to_string(&pid_file).is_ok_and(|text| text == server.pid().to_string())
        });
        // It stays so: longer than it is looked between two times.
        let made = || server.log().matches("was removed: made again").count();
        let so_far = made();
        healthy.0.wait_more(250);
        assert!(api() && made() == so_far, "the socket of the API is made again and again");
        assert!(fs::read_to_string(&pid_file).is_ok_and(|text| text == server.pid().to_string()));
        // Threads of its server end with it; a few wait for work for some seconds.
        wait_until("no more threads than before", || threads("api#0") <= before + 2);
        healthy.check();
    }
}

#[test]
fn a_master_that_dies_when_its_directory_is_gone_leaves_nobody_behind() {
    let mut server = Server::start("vhost __defaultVhost__ { }");
    let mut healthy = Healthy::start(&server);
    let before = family(&server);
    let run = server.directory().join("run");
    for _ in 0..3 {
        fs::remove_dir_all(&run).unwrap();
        server.kill_master();
        server.start_master();
        assert_eq!(family(&server), before, "the same processes, each once");
        healthy.check();
        wait_until("an answer at the control socket", || asks(&server.socket()));
    }
    serves(&server.url("live/new"));
    signal(server.pid(), Signal::SIGTERM);
    let _ = server.wait_end(SOON);
    for (name, pid) in before {
        wait_gone(&name, pid, SOON);
    }
}

/// A small disk on which nothing more has room.
struct FullDisk<'d>(&'d Path);

impl<'d> FullDisk<'d> {
    fn mount(directory: &'d Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=32", "tmpfs"])
            .arg(directory)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            srs_tests::skipped!("no small disk can be mounted here");
        }
        mounted.then_some(Self(directory))
    }

    fn fill(&self) {
        for number in 0.. {
            if fs::write(self.0.join(format!("filler-{number}")), vec![1; 4096]).is_err() {
                // Nor is there room for names.
                for number in 0.. {
                    if fs::File::create(self.0.join(format!("name-{number}"))).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for FullDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_runtime_directory_harms_nobody() {
    let directory = TempDir::new().unwrap();
    let run = directory.path().join("run");
    fs::create_dir_all(&run).unwrap();
    let place = run.clone();
    let Some(disk) = FullDisk::mount(&place) else { return };
    let text = configuration(directory.path(), "vhost __defaultVhost__ { }");
    let mut server = Server::start_in(directory, &text);
    let healthy = Healthy::start(&server);
    let before = family(&server);
    disk.fill();
    for (name, pid) in &before {
        if name == "stream#0" || name == "http#0" {
            signal(*pid, Signal::SIGKILL);
            wait_gone(name, *pid, SOON);
        }
    }
    let names = |family: &[(String, u32)]| family.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    wait_until("successors", || names(&family(&server)) == names(&before));
    // One that had hardly begun when its master dies is replaced by the next.
    let serves_all = |list: api::ProcessList| {
        list.processes.iter().all(|process| process.state == api::State::Serving && process.pid != 0)
    };
    wait_until("that they serve", || server.census().is_some_and(serves_all));
    let now = family(&server);
    server.kill_master();
    // The harness waits for ports.json, which has no room: the next master is asked by its clients alone.
    let mut next = Command::new(program::srs());
    next.current_dir(program::source_tree()).arg("-c").arg(server.directory().join("srs.conf"));
    let log = fs::OpenOptions::new().append(true).open(server.directory().join("log")).unwrap();
    let mut next = next.stdout(log).spawn().unwrap();
    wait_until("the next master", || server.log().contains("processes go on under this master"));
    assert_eq!(family(&server), now, "the same processes, each once");
    serves(&server.url("live/new"));
    healthy.0.wait_more(20);
    signal(next.id(), Signal::SIGTERM);
    let _ = next.wait();
    for (name, pid) in now {
        wait_gone(&name, pid, SOON);
    }
}

#[test]
fn a_log_and_a_runtime_directory_on_a_disk_that_hangs_hold_up_nobody() {
    let directory = TempDir::new().unwrap();
    let (run, logs) = (directory.path().join("run"), directory.path().join("logs"));
    fs::create_dir_all(&run).unwrap();
    fs::create_dir_all(&logs).unwrap();
    let Some(log_disk) = HangingDisk::mount_empty(&logs) else { return };
    let Some(run_disk) = HangingDisk::mount_empty(&run) else { return };
    let own = format!(
        "watchdog 2;\nsrs_log_tank file;\nsrs_log_file {}/srs.log;\nvhost __defaultVhost__ {{ }}",
        logs.display()
    );
    let text = configuration(directory.path(), &own);
    let mut server = Server::start_in(directory, &text);
    let mut healthy = Healthy::start(&server);
    let before = family(&server);
    log_disk.hang();
    run_disk.hang();
    // All talk: clients come and go, the log is to be opened again, the configuration is read again.
    server.signal(Signal::SIGUSR1);
    server.signal(Signal::SIGHUP);
    for number in 0..20 {
        serves(&server.url(&format!("live/hang-{number}")));
    }
    // Longer than a process may be without a sign of life.
    healthy.0.wait_more(400);
    healthy.check();
    assert_eq!(family(&server), before, "nobody was taken for dead");
    // A death, while nothing can be written.
    let victim = before.iter().find(|(name, _)| name == "stream#0").unwrap().1;
    signal(victim, Signal::SIGKILL);
    wait_gone("the stream process", victim, SOON);
    wait_until("its successor", || family(&server).len() == before.len());
    serves(&server.url("live/after"));
    log_disk.go_on();
    run_disk.go_on();
    wait_until("the log goes on", || {
        serves(&server.url("live/told"));
        fs::read_to_string(logs.join("srs.log")).is_ok_and(|text| text.contains("live/told"))
    });
    wait_until("the control socket answers", || asks(&server.socket()) || server.streams().len() > 1);
    signal(server.pid(), Signal::SIGTERM);
    let _ = server.wait_end(SOON);
    assert!(before.iter().all(|(_, pid)| !is_alive(*pid)));
}
