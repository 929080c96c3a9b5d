//! `srs-cli` on the server's own host: the truth of all processes together, also when some hang or are dead.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use srs_tests::capture::player;
use srs_tests::pattern::Live;
use srs_tests::process::{Ended, Running, run, signal};
use srs_tests::program::{self, have, source_tree};
use srs_tests::raw::{Ending, Raw};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

fn cli(server: &Server, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program::srs_cli());
    run(command.arg("--socket").arg(server.socket()).args(arguments), SOON)
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    let ended = cli(server, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr))
}

fn state<'s>(status: &'s Value, role: &str, slot: u64) -> &'s str {
    let processes = status["processes"].as_array().unwrap();
    let found = processes.iter().find(|process| process["role"] == role && process["slot"] == slot);
    found.and_then(|process| process["state"].as_str()).unwrap_or("nobody")
}

#[test]
fn the_status_of_hung_and_dead_processes_is_there_within_a_second() {
    // No API, and nobody who ends what hangs.
    let server = Server::start("http_api { enabled off; }\nworkers 4;\nwatchdog 0;\n");
    let pid = |slot: usize| {
        let status = json(&server, &["status"]);
        let processes = status["processes"].as_array().unwrap().clone();
        let stream: Vec<&Value> = processes.iter().filter(|process| process["role"] == "stream").collect();
        u32::try_from(stream[slot]["pid"].as_u64().unwrap()).unwrap()
    };
    let whole = cli(&server, &["status"]);
    assert_eq!(whole.status.code(), Some(0), "{}", whole.stdout);
    let (hung, dead) = (pid(1), pid(2));
    signal(hung, Signal::SIGSTOP);
    signal(dead, Signal::SIGKILL);
    let began = Instant::now();
    let status = cli(&server, &["status", "--format", "json"]);
    assert!(began.elapsed() < Duration::from_secs(1), "{} ms", began.elapsed().as_millis());
    assert_eq!(status.status.code(), Some(3), "shown, but not all is well");
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(state(&status, "stream", 1), "hung", "{status}");
    // Its place may be filled again by now: then it says who was there and how that ended.
    let place = status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|process| process["role"] == "stream" && process["slot"] == 2);
    let place = place.unwrap();
    let is_dead = place["state"] == "dead";
    let was_killed = place["last_end"]["how"] == "SIGKILL" && place["last_end"]["pid"] == dead;
    assert!(is_dead || was_killed, "{place}");
    assert_eq!(state(&status, "stream", 0), "serving");
    let table = cli(&server, &["status"]).stdout;
    assert!(table.contains("hung") && table.contains("SIGKILL") && table.contains("NOT ALL"), "{table}");
    signal(hung, Signal::SIGCONT);
    wait_until("all is well", || cli(&server, &["status"]).status.code() == Some(0));
    // A master that hangs is shown as such, too: by the API process.
    drop(server);
    let server = Server::start("watchdog 0;\n");
    signal(server.pid(), Signal::SIGSTOP);
    let began = Instant::now();
    let status = json(&server, &["status"]);
    assert!(began.elapsed() < Duration::from_secs(2), "{} ms", began.elapsed().as_millis());
    assert_eq!((state(&status, "master", 0), state(&status, "stream", 0)), ("hung", "serving"));
    signal(server.pid(), Signal::SIGCONT);
    // And an API process that hangs holds up nobody.
    let api = server.pids("api")[0];
    signal(api, Signal::SIGSTOP);
    let began = Instant::now();
    let status = json(&server, &["status"]);
    assert!(began.elapsed() < Duration::from_secs(1), "{} ms", began.elapsed().as_millis());
    assert_eq!((state(&status, "api", 0), state(&status, "stream", 0)), ("hung", "serving"));
    signal(api, Signal::SIGCONT);
}

#[test]
fn every_table_shows_what_is_there() {
    let server = Server::start("http_api { enabled off; }\n");
    let _live = Live::start(&server.url("live/one"), Duration::from_millis(20));
    wait_until("a stream", || cli(&server, &["streams"]).stdout.contains("live/one"));
    let _player = player(&server.url("live/one"));
    wait_until("a player", || json(&server, &["clients"])["clients"].as_array().unwrap().len() == 2);
    let status = cli(&server, &["status"]).expect_success();
    for word in
        ["master#0", "backsource#0", "stream#0", "stream#1", "http#0", "api#0", "2 clients", "1 of 1 streams"]
    {
        assert!(status.contains(word), "no {word} in {status}");
    }
    let table = cli(&server, &["clients", "--stream", "live/one"]).expect_success();
    assert!(table.contains("fmle-publish") && table.contains("play"), "{table}");
    assert_eq!(cli(&server, &["clients", "--stream", "live/two"]).expect_success().trim(), "no clients");
    assert!(cli(&server, &["vhosts"]).expect_success().contains("__defaultVhost__"));
    assert!(cli(&server, &["processes"]).expect_success().contains("backsource#0"));
    let doctor = cli(&server, &["doctor"]).expect_success();
    for word in ["kernel", "descriptors", "memfd", "server"] {
        assert!(doctor.contains(word), "{doctor}");
    }
    let version = cli(&server, &["version"]).expect_success();
    assert_eq!(version.lines().count(), 2, "{version}");
}

#[test]
fn several_servers_are_one_cluster() {
    let (one, two) = (Server::start(""), Server::start(""));
    let _live = Live::start(&two.url("live/two"), Duration::from_millis(20));
    two.wait_published("live/two");
    let mut command = Command::new(program::srs_cli());
    command.args(["--api", &one.api()]).arg("--api").arg(two.socket());
    let ended = run(command.args(["streams"]), SOON);
    let table = ended.expect_success();
    assert!(table.starts_with("NODE") && table.lines().nth(1).unwrap().starts_with("local"), "{table}");
    let mut command = Command::new(program::srs_cli());
    command.args(["--api", &format!("{},{}", one.api(), two.api()), "--format", "json", "status"]);
    let json: Value = serde_json::from_str(&run(&mut command, SOON).expect_success()).unwrap();
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    let address = |server: &Server| server.api().trim_start_matches("http://").to_owned();
    assert_eq!(
        (&nodes[0]["node"], &nodes[1]["node"]),
        (&Value::from(address(&one)), &Value::from(address(&two)))
    );
    assert_eq!(nodes[1]["streams"][0]["name"], "two");
    // One that is not there is told beside the others.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(program::srs_cli());
    let ended = run(command.args(["--api", &one.api(), "--api", &port.to_string(), "status"]), SOON);
    assert_eq!(ended.status.code(), Some(3));
    assert!(ended.stdout.contains("master#0") && ended.stderr.contains(&port.port().to_string()));
    let down = ended.stdout.lines().find(|line| line.contains(&port.to_string()) && line.contains("DOWN"));
    assert!(down.is_some(), "{}", ended.stdout);
    let mut command = Command::new(program::srs_cli());
    let ended = run(command.args(["--api", &one.api(), "--api", &port.to_string(), "streams"]), SOON);
    assert!(ended.stdout.starts_with("NODE"), "{}", ended.stdout);
    let down = ended.stdout.lines().find(|line| line.starts_with(&port.to_string()));
    assert!(down.is_some_and(|line| line.trim_end().ends_with("down")), "{}", ended.stdout);
    let mut command = Command::new(program::srs_cli());
    let file = one.directory().join("srs.conf");
    let checked = run(command.env("SRS_SOCKET", one.socket()).arg("check").arg(&file), SOON);
    assert!(
        !checked.stderr.contains("SRS_SOCKET") && !checked.stdout.contains("SRS_SOCKET"),
        "{}",
        checked.stderr
    );
}

#[test]
fn orders_reach_the_process_that_they_are_for() {
    let server = Server::start("");
    let _publisher = Raw::publishing(server.address(), "live", "one");
    server.wait_published("live/one");
    let (mut viewer, _) = Raw::playing(server.address(), "live", "one");
    server.wait_players(1);
    let id = server.clients().iter().find(|client| client.kind == "play").unwrap().id.to_string();
    assert_eq!(cli(&server, &["kick", &id]).expect_success().trim(), format!("client {id} is closed"));
    assert_eq!(viewer.ending(SOON), Ending::Closed);
    server.wait_players(0);
    let again = cli(&server, &["kick", &id]);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.contains("there is no client"));
    // By HTTP, with the token's file.
    let cid = server.streams()[0].publish.cid.to_string();
    let mut command = Command::new(program::srs_cli());
    command.args(["--api", &server.api(), "kick", &cid]);
    let denied = run(&mut command, SOON);
    assert!(denied.status.code() == Some(1) && denied.stderr.contains("--token-file"), "{}", denied.stderr);
    let mut command = Command::new(program::srs_cli());
    command.args(["--api", &server.api(), "--token-file"]).arg(server.directory().join("run/token"));
    let _ = run(command.args(["kick", &cid]), SOON).expect_success();
    wait_until("the publish ends", || !server.streams().iter().any(|stream| stream.publish.active));
    // A process with a client drains, and its successor serves at once.
    let before = server.pids("stream");
    let (_viewer, _) = Raw::playing(server.address(), "live", "two");
    server.wait_players(1);
    let clients = server.clients();
    let process = clients.iter().find(|client| client.kind == "play").unwrap().process.clone();
    let said = cli(&server, &["drain", &process]).expect_success();
    assert!(said.contains("takes nobody more"), "{said}");
    wait_until("both are there", || {
        let processes = server.processes();
        let states: Vec<&str> =
            processes.iter().filter(|it| it.name() == process).map(|it| it.state.word()).collect();
        states.len() == 2 && states.contains(&"draining") && states.contains(&"serving")
    });
    wait_until("who is there stays, and nobody else", || {
        let clients = server.clients();
        clients.len() == 1 && clients[0].process == process
    });
    for _ in 0..20 {
        drop(Raw::connected(server.address(), "live"));
    }
    drop(_viewer);
    wait_until("it has gone with its last client", || {
        let now = server.pids("stream");
        now.len() == 2 && now.iter().any(|pid| !before.contains(pid))
    });
    let nobody = cli(&server, &["drain", "stream#9"]);
    assert!(nobody.status.code() == Some(1) && nobody.stderr.contains("stream#9"));
    let reload = cli(&server, &["reload", "--dry-run"]).expect_success();
    assert!(reload.contains("nothing changes"), "{reload}");
}

#[test]
fn configurations_are_checked_and_logs_are_followed() {
    let server = Server::start("srs_log_tank file;\n");
    let good = source_tree().join("conf/demo.conf");
    let check = |path: &str| {
        run(Command::new(program::srs_cli()).current_dir(source_tree()).args(["check", path]), SOON)
    };
    assert!(check(good.to_str().unwrap()).expect_success().contains("is good"));
    let bad = server.directory().join("bad.conf");
    std::fs::write(&bad, "listen 1935;\nvhost a { gop_cache maybe; }\n").unwrap();
    let ended = check(bad.to_str().unwrap());
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.contains("bad.conf:2:"), "{}", ended.stdout);
    // The log of a server that logs to a file of its own.
    let directory = tempfile::TempDir::new().unwrap();
    let log = directory.path().join("server.log");
    let logging = Server::start(&format!("srs_log_tank file;\nsrs_log_file {};\n", log.display()));
    let (viewer, _) = Raw::playing(logging.address(), "live", "one");
    logging.wait_players(1);
    let id = logging.clients()[0].id.to_string();
    wait_until("lines of the connection", || {
        cli(&logging, &["logs", "--cid", &id, "-n", "100"]).stdout.contains("play stream=")
    });
    let lines = cli(&logging, &["logs", "--cid", &id, "-n", "100"]).expect_success();
    assert!(lines.lines().all(|line| line.contains(&format!("[{id}]"))), "{lines}");
    assert_eq!(cli(&logging, &["logs", "-n", "2"]).expect_success().lines().count(), 2);
    let mut command = Command::new(program::srs_cli());
    command.arg("--socket").arg(logging.socket()).args(["logs", "--follow", "--cid", &id, "-n", "1"]);
    let follower = Running::start(&mut command);
    wait_until("the newest line", || follower.stdout().contains(&id));
    drop(viewer);
    wait_until("the end of the connection in the log", || follower.stdout().contains("ends:"));
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(Command::new(program::srs_cli()).args(["completions", shell]), SOON);
        assert!(ended.expect_success().contains("drain"), "{shell}");
    }
    let directory = tempfile::TempDir::new().unwrap();
    let _ = run(Command::new(program::srs_cli()).arg("man").arg(directory.path()), SOON).expect_success();
    for page in ["srs-cli.1", "srs-cli-status.1", "srs-cli-kick.1", "srs-cli-top.1"] {
        let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("Example"), "{page}");
    }
    for command in [
        "status",
        "processes",
        "streams",
        "clients",
        "vhosts",
        "top",
        "kick",
        "reload",
        "drain",
        "check",
        "logs",
        "doctor",
        "version",
        "completions",
    ] {
        let help = run(Command::new(program::srs_cli()).args([command, "--help"]), SOON).expect_success();
        assert!(help.contains("Example") && help.contains(&format!("srs-cli {command}")), "{help}");
    }
}

/// A terminal in tmux, gone with the test.
struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    fn start(command: &str) -> Self {
        let terminal = Self { directory: tempfile::TempDir::new().unwrap() };
        let _ = terminal
            .tmux(&["new-session", "-d", "-x", "180", "-y", "40", "bash --norc --noprofile"])
            .expect_success();
        terminal.keys(&[command, "Enter"]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Ended {
        let mut tmux = Command::new("tmux");
        tmux.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        run(tmux.arg("-S").arg(self.directory.path().join("tmux")).args(arguments), SOON)
    }

    fn keys(&self, keys: &[&str]) {
        let _ = self.tmux(&[&["send-keys"], keys].concat()).expect_success();
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).stdout
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]));
    }
}

#[test]
fn top_lives_in_a_terminal_and_leaves_it_as_it_was() {
    if !have(&["tmux"]) {
        return;
    }
    let server = Server::start("");
    let live = Live::start(&server.url("live/one"), Duration::from_millis(20));
    server.wait_published("live/one");
    let cli = program::srs_cli();
    let command =
        format!("clear; {} --socket {} top; echo over with $?", cli.display(), server.socket().display());
    let terminal = Terminal::start(&command);
    wait_until("the first picture", || {
        let screen = terminal.screen();
        ["backsource#0", "serving", "live/one", "q quits", "H264"].iter().all(|word| screen.contains(word))
    });
    if let Some(path) = std::env::var_os("SRS_TESTS_CAPTURE_TOP") {
        // Once there are rates.
        wait_until("rates", || terminal.screen().contains("kbit/s"));
        std::fs::write(path, terminal.screen()).unwrap();
    }
    // A smaller window, and a larger one: nothing is left of the old picture.
    for (width, height) in [("100", "20"), ("200", "50")] {
        let _ = terminal.tmux(&["resize-window", "-x", width, "-y", height]).expect_success();
        wait_for("the picture in its new size", SOON, || {
            let screen = terminal.screen();
            let lines: Vec<&str> = screen.lines().collect();
            let fits = lines.len() <= height.parse().unwrap()
                && lines.last().is_some_and(|line| line.contains("q quits"));
            (fits && screen.matches("backsource#0").count() == 1).then_some(())
        });
    }
    // What it shows is alive: a process that hangs turns up.
    let stream = server.pids("stream")[0];
    signal(stream, Signal::SIGSTOP);
    wait_until("a hung process", || terminal.screen().contains("hung"));
    signal(stream, Signal::SIGCONT);
    terminal.keys(&["Down", "Up", "q"]);
    wait_until("the end", || terminal.screen().contains("over with 0"));
    // Echo and lines as before, and the shell's own screen.
    terminal.keys(&["echo still $((40+2))", "Enter"]);
    wait_until("an echo", || {
        let screen = terminal.screen();
        screen.contains("still 42") && screen.contains("echo still") && !screen.contains("backsource#0")
    });
    let _ = live.stop();
}

#[test]
fn top_that_is_ended_leaves_the_terminal_as_it_was() {
    if !have(&["tmux"]) {
        return;
    }
    let server = Server::start("");
    let (cli, pid) = (program::srs_cli(), server.directory().join("top.pid"));
    let terminal = Terminal::start(&format!(
        "clear; sh -c 'echo $$ >{}; exec {} --socket {} top'; echo over with $?",
        pid.display(),
        cli.display(),
        server.socket().display()
    ));
    wait_until("the first picture", || terminal.screen().contains("backsource#0"));
    let pid: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    signal(pid, Signal::SIGTERM);
    wait_until("the end", || terminal.screen().contains("over with 0"));
    terminal.keys(&["echo still $((40+2))", "Enter"]);
    wait_until("an echo", || {
        let screen = terminal.screen();
        screen.contains("still 42") && screen.contains("echo still") && !screen.contains("backsource#0")
    });
}

#[test]
fn streams_are_named_shown_and_closed_as_people_call_them() {
    let server = Server::start("vhost __defaultVhost__ { }\nvhost two.example { }");
    let (mut publisher, _) = Raw::publishing(server.address(), "live", "one");
    let (mut other, _) = Raw::publishing(server.address(), "live", "one?vhost=two.example");
    let (mut viewer, _) = Raw::playing(server.address(), "live", "one");
    server.wait_players(1);
    server.wait_published("live/one");
    let table = cli(&server, &["streams"]).expect_success();
    assert!(table.contains(" live/one ") && table.contains(" two.example/live/one "), "{table}");
    assert!(!table.contains("__defaultVhost__"), "{table}");
    let wide = cli(&server, &["streams", "-o", "wide"]).expect_success();
    assert!(wide.contains(" __defaultVhost__/live/one "), "{wide}");
    let shown = cli(&server, &["stream", "two.example/live/one"]).expect_success();
    assert_eq!(
        (shown.matches("two.example/live/one").count(), shown.matches("publish").count()),
        (2, 1),
        "{shown}"
    );
    let none = cli(&server, &["stream", "live/nothing"]);
    assert!(none.status.code() == Some(1) && none.stderr.contains("there is no stream live/nothing"));
    // By id as before, and by name: the publisher of one vhost, the viewers of another.
    assert!(cli(&server, &["kick", "two.example/live/one"]).expect_success().contains("is closed"));
    assert_eq!(other.ending(SOON), Ending::Closed);
    assert!(
        cli(&server, &["kick", "--viewers", "__defaultVhost__/live/one"])
            .expect_success()
            .contains("is closed")
    );
    assert_eq!(viewer.ending(SOON), Ending::Closed);
    assert_eq!(publisher.ending(Duration::from_millis(50)), Ending::Open);
    let nobody = cli(&server, &["kick", "live/nothing"]);
    assert!(nobody.stderr.contains("nobody publishes live/nothing"), "{}", nobody.stderr);
    // Again and again, until it is ended.
    let mut command = Command::new(program::srs_cli());
    let watch = Running::start(command.arg("--socket").arg(server.socket()).args(["streams", "--watch=1"]));
    wait_until("two looks", || watch.stdout().matches("STREAM").count() >= 2);
}

#[test]
fn top_fits_into_eighty_columns() {
    if !have(&["tmux"]) {
        return;
    }
    let server = Server::start("");
    let name = "a-name-of-thirty-letters-in-all";
    let live = Live::start(&server.url(&format!("live/{}", &name[..25])), Duration::from_millis(20));
    let other = Live::start(&server.url("live/zebra"), Duration::from_millis(20));
    server.wait_published("live/zebra");
    let terminal = Terminal::start(&format!(
        "clear; {} --socket {} top",
        program::srs_cli().display(),
        server.socket().display()
    ));
    let _ = terminal.tmux(&["resize-window", "-x", "80", "-y", "30"]).expect_success();
    wait_for("whole names and units", SOON, || {
        let screen = terminal.screen();
        let whole = ["backsource#0", "serving", &name[..25], "live/zebra", "kbit/s", "VIEWERS"];
        let fits = screen.lines().all(|line| line.chars().count() <= 80);
        (fits && whole.iter().all(|word| screen.contains(word))).then_some(())
    });
    terminal.keys(&["/", "zeb", "Enter"]);
    wait_until("the filter", || {
        let screen = terminal.screen();
        screen.contains("live/zebra") && !screen.contains(&name[..25])
    });
    terminal.keys(&["x"]);
    wait_until("the question", || terminal.screen().contains("close the publisher of live/zebra?"));
    terminal.keys(&["y"]);
    wait_until("the end of the publisher", || !other.is_running());
    assert!(live.is_running());
    terminal.keys(&["q"]);
}
