//! What goes wrong at start is said in one sentence, with a failing exit code.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use srs_tests::process::{Ended, run};
use srs_tests::program;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::SOON;
use tempfile::TempDir;

fn srs(arguments: &[&str]) -> Ended {
    run(Command::new(program::srs()).current_dir(program::source_tree()).args(arguments), SOON)
}

/// Starts a server that must not come up; what it says.
fn refused(directory: &Path, own: &str) -> String {
    let path = directory.join("srs.conf");
    fs::write(&path, configuration(directory, own)).unwrap();
    let ended = srs(&["-c", path.to_str().unwrap()]);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.status.code().is_some_and(|code| code != 0), "{}: {said}", ended.status);
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    said
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for own in [format!("listen {address};"), format!("http_api {{ enabled on; listen {address}; }}")] {
        let directory = TempDir::new().unwrap();
        let said = refused(directory.path(), &own);
        let line = said.lines().find(|line| line.contains(&address.port().to_string()));
        let line = line.unwrap_or_else(|| panic!("the port is not named: {said}"));
        assert!(line.contains("in use") || line.contains("uses this port"), "{line}");
    }
}

#[test]
fn two_servers_do_not_share_a_port() {
    let server = Server::start("");
    let directory = TempDir::new().unwrap();
    let said = refused(directory.path(), &format!("listen {};", server.address()));
    assert!(said.contains(&server.address().port().to_string()), "{said}");
}

/// As every user's test bench: an origin and an edge in one folder, each with a pid file of its own.
#[test]
fn two_servers_in_one_folder_do_not_meet() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let start = |name: &str| {
        let own = TempDir::new_in(path).unwrap();
        let pid = path.join(format!("objs/{name}.pid"));
        let text = configuration(own.path(), &format!("pid {};", pid.display()));
        let run = path.join(format!("objs/{name}"));
        // Where the harness looks for what it needs.
        std::os::unix::fs::symlink(
            if name == "srs" { path.join("objs") } else { run },
            own.path().join("run"),
        )
        .unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("runtime_dir"))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::create_dir_all(path.join("objs").join(if name == "srs" { "" } else { name })).unwrap();
        Server::start_in(own, &text)
    };
    let (first, second) = (start("srs"), start("srs.slave"));
    for server in [&first, &second] {
        srs_tests::pattern::serves(&server.url("live/own"));
        assert!(srs_tests::process::is_alive(server.pid()));
    }
    assert_ne!(first.pids("stream"), second.pids("stream"));
}

#[test]
fn a_runtime_directory_has_one_server_even_when_it_was_removed_meanwhile() {
    let server = Server::start("");
    let run = server.directory().join("run");
    let family = srs_tests::process::relatives(&run);
    let other = TempDir::new().unwrap();
    let own = format!("runtime_dir {};", run.display());
    for removed in [false, true] {
        if removed {
            fs::remove_dir_all(&run).unwrap();
        }
        let said = refused(other.path(), &own);
        assert!(
            said.contains(&format!("another srs (pid {}) uses the runtime directory", server.pid()))
                && said.contains(run.to_str().unwrap()),
            "{said}"
        );
    }
    srs_tests::pattern::serves(&server.url("live/unharmed"));
    assert_eq!(srs_tests::process::relatives(&run), family);
}

/// What ssh, `$(…)` and `| cat` wait for: the end of everybody who has their pipe.
#[test]
fn a_daemon_lets_go_of_who_started_it_and_is_found_by_its_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("srs.conf");
    let log = directory.path().join("log");
    let own = format!("daemon on;\nsrs_log_tank file;\nsrs_log_file {};", log.display());
    fs::write(&path, configuration(directory.path(), &own)).unwrap();
    let line = format!("{} -c {} 2>&1 | cat", program::srs().display(), path.display());
    let ended = run(Command::new("sh").current_dir(program::source_tree()).args(["-c", &line]), SOON);
    let family = srs_tests::process::relatives(&directory.path().join("run"));
    let master: u32 = fs::read_to_string(directory.path().join("srs.pid")).unwrap().parse().unwrap();
    let named = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim().to_owned();
    let titled = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().replace('\0', " ");
    let names: Vec<String> = family.iter().map(|(_, pid)| named(*pid)).chain([named(master)]).collect();
    let titles: Vec<String> = family.iter().map(|(_, pid)| titled(*pid)).collect();
    let of_master = titled(master);
    srs_tests::process::signal(master, nix::sys::signal::Signal::SIGTERM);
    srs_tests::process::wait_gone("the daemon", master, SOON);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stdout);
    assert!(family.len() >= 4 && names.iter().all(|name| name == "srs"), "{names:?}");
    assert!(titles.iter().any(|title| title.trim() == "srs: stream#0"), "{titles:?}");
    assert!(of_master.starts_with(program::srs().to_str().unwrap()), "{of_master}");
}

/// Whoever started a daemon may wait for the end of any of its descriptors; in the foreground it is the master's, and no child's.
#[test]
fn descriptors_of_who_started_the_server_are_not_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("srs.conf");
    let log = directory.path().join("log");
    let own = format!("daemon on;\nsrs_log_tank file;\nsrs_log_file {};", log.display());
    fs::write(&path, configuration(directory.path(), &own)).unwrap();
    let line =
        format!("{} -c {} 9>&1 >{} 2>&1 | cat", program::srs().display(), path.display(), log.display());
    let ended = run(Command::new("sh").current_dir(program::source_tree()).args(["-c", &line]), SOON);
    let master: u32 = fs::read_to_string(directory.path().join("srs.pid")).unwrap().parse().unwrap();
    srs_tests::process::signal(master, nix::sys::signal::Signal::SIGTERM);
    srs_tests::process::wait_gone("the daemon", master, SOON);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stdout);

    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), "");
    let lock = directory.path().join("lock");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {} \"$@\" 9>{}", program::srs().display(), lock.display()), "srs"]);
    let server = Server::start_by(command, directory, &text);
    let has = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == lock)
    };
    let children: Vec<u32> = ["backsource", "stream"].iter().flat_map(|role| server.pids(role)).collect();
    assert!(has(server.pid()) && !children.is_empty() && !children.into_iter().any(has));
}

#[test]
fn a_missing_configuration_file_is_named() {
    let ended = srs(&["-c", "/nonexistent/srs-test.conf"]);
    assert!(ended.status.code().is_some_and(|code| code != 0));
    assert!(ended.stderr.contains("/nonexistent/srs-test.conf"), "{}", ended.stderr);
    assert!(ended.stderr.to_lowercase().contains("no such file"), "{}", ended.stderr);
    let ended = srs(&["-c"]);
    assert!(ended.status.code().is_some_and(|code| code != 0));
    assert!(!ended.stderr.is_empty());
}

#[test]
fn faults_of_a_configuration_have_file_line_and_column() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("faults.conf");
    let name = path.to_str().unwrap();
    for (text, line, column) in [
        ("listen 1935;\nvhost __defaultVhost__ {\n    gop_cache maybe;\n}\n", 3, 15),
        ("listen 1935;\nvhost __defaultVhost__ {\n", 2, 24),
        ("listen 99999999;\nvhost __defaultVhost__ { }\n", 1, 8),
        ("listen 1935;\n  max_connections many;\nvhost __defaultVhost__ { }\n", 2, 19),
    ] {
        fs::write(&path, text).unwrap();
        for arguments in [vec!["-c", name], vec!["-t", "-c", name]] {
            let ended = srs(&arguments);
            assert!(ended.status.code().is_some_and(|code| code != 0), "{text}");
            let place = format!("{name}:{line}:");
            let found = ended.stderr.lines().find(|said| said.contains(&place));
            let found = found.unwrap_or_else(|| panic!("no {place} in {}\n{text}", ended.stderr));
            let rest = found.split(&place).nth(1).unwrap();
            let said: u32 =
                rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
            assert!(said == column, "column {said}, wanted {column}: {found}");
        }
    }
    // A sound one passes.
    fs::write(&path, "listen 1935;\nvhost __defaultVhost__ { }\n").unwrap();
    let ended = srs(&["-t", "-c", name]);
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn a_second_server_with_the_same_pid_file_is_refused() {
    let server = Server::start("");
    let pid_file = server.directory().join("srs.pid");
    let written = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(written.trim().parse::<u32>().ok(), Some(server.pid()));
    let directory = TempDir::new().unwrap();
    let said = refused(directory.path(), &format!("pid {};", pid_file.display()));
    assert!(said.contains(pid_file.to_str().unwrap()), "{said}");
    assert!(said.contains("running"), "{said}");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), written, "the first one's file is untouched");
}

#[test]
fn a_clip_that_is_not_there_is_named() {
    for (name, content, wanted) in
        [("missing.flv", None, "no such file"), ("text.flv", Some("this is no FLV file"), "no flv")]
    {
        let directory = TempDir::new().unwrap();
        let clip = directory.path().join(name);
        if let Some(content) = content {
            fs::write(&clip, content).unwrap();
        }
        let own = format!(
            "vhost __defaultVhost__ {{
    ingest demo {{
        enabled on;
        input {{ type file; url {}; }}
        output rtmp://127.0.0.1:[port]/live/demo?vhost=[vhost];
    }}
}}",
            clip.display()
        )
        .replace("\n    ", "\n ");
        let said = refused(directory.path(), own.trim_start());
        let line = said.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("the clip is not named: {said}"));
        assert!(line.to_lowercase().contains(wanted), "{line}");
    }
}

#[test]
fn help_and_version_are_there() {
    let help = srs(&["-h"]);
    assert!(help.status.success() && help.stdout.contains("-c"), "{}", help.stdout);
    let version = srs(&["-v"]);
    assert!(version.status.success());
    assert!(
        format!("{}{}", version.stdout, version.stderr)
            .contains(env!("CARGO_PKG_VERSION").split('.').next().unwrap())
    );
    let unknown = srs(&["--nobody-knows-this"]);
    assert!(!unknown.status.success() && !unknown.stderr.is_empty());
}

#[test]
fn a_server_that_is_open_to_strangers_says_so_once() {
    let open = Server::start("listen 0.0.0.0:0;");
    assert_eq!(open.log().matches("may publish (vhost __defaultVhost__)").count(), 1, "{}", open.log());
    for own in
        ["listen 127.0.0.1:0;", "listen 0.0.0.0:0;\nvhost __defaultVhost__ { refer_publish page.example; }"]
    {
        let closed = Server::start(own);
        assert!(!closed.log().contains("may publish"), "{own}: {}", closed.log());
    }
}

#[test]
fn what_would_keep_somebody_out_and_is_not_enforced_stops_the_start() {
    let directory = TempDir::new().unwrap();
    let vhost = "vhost __defaultVhost__ {\n security { enabled on; deny publish all; }\n}";
    let said = refused(directory.path(), vhost);
    assert!(said.contains("security is not built yet") && said.contains("unsafe_ignore security"), "{said}");
    let file = directory.path().join("srs.conf");
    let tested = srs(&["-t", "-c", file.to_str().unwrap()]);
    assert!(tested.status.code().is_some_and(|code| code != 0), "{}", tested.stdout);
    let line =
        fs::read_to_string(&file).unwrap().lines().position(|line| line.contains("security")).unwrap() + 1;
    assert!(tested.stderr.contains(&format!("srs.conf:{line}:2: ")), "the place is told: {}", tested.stderr);
    let server = Server::start(&format!("unsafe_ignore security;\n{vhost}"));
    assert!(server.log().contains("security is not built yet: this block has no effect"), "{}", server.log());
    let file = server.directory().join("srs.conf");
    fs::write(&file, configuration(server.directory(), vhost)).unwrap();
    let mut reload = Command::new(program::srs_cli());
    let reloaded = run(reload.arg("--socket").arg(server.socket()).arg("reload"), SOON);
    assert!(reloaded.status.code().is_some_and(|code| code != 0));
    let said = format!("{}{}", reloaded.stdout, reloaded.stderr);
    assert!(said.contains("security is not built yet"), "{said}");
}

#[test]
fn without_rust_one_sentence_says_what_to_install() {
    let script = program::source_tree().join("etc/ensure-rust");
    let there = run(Command::new(&script).args(["cargo", "1.0"]), SOON);
    assert!(there.status.success() && there.stdout.is_empty(), "{}{}", there.stdout, there.stderr);
    // A system that has nothing but what the script itself calls.
    let bare = TempDir::new().unwrap();
    for tool in ["sed", "sort", "head", "id"] {
        let found =
            ["/usr/bin", "/bin"].iter().map(|at| Path::new(at).join(tool)).find(|path| path.is_file());
        std::os::unix::fs::symlink(found.unwrap(), bare.path().join(tool)).unwrap();
    }
    let none =
        run(Command::new("/bin/sh").arg(&script).args(["cargo", "1.88"]).env("PATH", bare.path()), SOON);
    assert_eq!(none.status.code(), Some(1));
    let said = none.stderr.trim();
    assert!(said.starts_with("Rust 1.88 or newer") && said.lines().count() == 1, "{said}");
    assert!(["cargo-web", "rustup"].iter().all(|word| said.contains(word)), "{said}");
}

/// With so few descriptors all newcomers would be turned away, for ever.
#[test]
fn too_few_descriptors_to_serve_anybody_are_said_at_start() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("srs.conf");
    fs::write(&file, configuration(directory.path(), "")).unwrap();
    let line = format!("ulimit -n 60; exec {} -c {}", program::srs().display(), file.display());
    let ended = run(Command::new("sh").args(["-c", &line]), SOON);
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains("60 descriptors") && ended.stderr.contains("ulimit -n"),
        "{}",
        ended.stderr
    );
}
