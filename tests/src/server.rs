//! The server under test: its own directory, free ports, and no trace left behind.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::{Client, Process, Stream};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::process::{children, relatives, signal};
use crate::program;
use crate::wait::{SOON, wait_for, wait_until};

/// How long a polite end may take before the server is killed, when a test is over.
const POLITE_END: Duration = Duration::from_secs(3);

/// The lines at the top of every test's configuration, each unless the test has its own.
const BASE: [(&str, &str); 7] = [
    ("listen", "listen 127.0.0.1:0;"),
    ("daemon", "daemon off;"),
    ("srs_log_tank", "srs_log_tank console;"),
    ("srs_log_level", "srs_log_level trace;"),
    ("workers", "workers 2;"),
    ("http_api", "http_api { enabled on; listen 127.0.0.1:0; }"),
    ("vhost", "vhost __defaultVhost__ { }"),
];

/// A running server. Dropping it ends all its processes.
#[derive(Debug)]
pub struct Server {
    directory: TempDir,
    child: Child,
    ports: Ports,
}

/// What the server says of itself once it is ready.
#[derive(Debug, Clone, Deserialize)]
struct Ports {
    rtmp: Vec<SocketAddr>,
    http_api: Option<SocketAddr>,
    http_server: Option<SocketAddr>,
    https_server: Option<SocketAddr>,
    #[serde(default)]
    exporter: Option<SocketAddr>,
    pid: u32,
}

/// The whole text of a configuration in `directory`: what `own` says, and the usual for all else.
#[must_use]
pub fn configuration(directory: &Path, own: &str) -> String {
    let has = |name: &str| own.lines().any(|line| line.split_whitespace().next() == Some(name));
    let mut text = String::new();
    for (name, line) in BASE {
        if !has(name) {
            text.push_str(line);
            text.push('\n');
        }
    }
    let directory = directory.display();
    if !has("pid") {
        text.push_str(&format!("pid {directory}/srs.pid;\n"));
    }
    if !has("runtime_dir") {
        text.push_str(&format!("runtime_dir {directory}/run;\n"));
    }
    text.push_str(own);
    text.push('\n');
    text
}

impl Server {
    /// Starts a server and waits until it is ready. `own` is configuration text: directives at the start of a line
    /// replace the usual ones.
    ///
    /// # Panics
    /// When it does not come up; the message has what it said.
    #[must_use]
    pub fn start(own: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let text = configuration(directory.path(), own);
        Self::start_in(directory, &text)
    }

    /// Starts a server with a whole configuration, whose `runtime_dir` is `run` in `directory`.
    ///
    /// # Panics
    /// When it does not come up; the message has what it said.
    #[must_use]
    pub fn start_in(directory: TempDir, text: &str) -> Self {
        Self::start_with(directory, text, &[])
    }

    /// As [`Self::start_in`], with environment variables.
    ///
    /// # Panics
    /// When it does not come up; the message has what it said.
    #[must_use]
    pub fn start_with(directory: TempDir, text: &str, environment: &[(&str, &str)]) -> Self {
        write_configuration(directory.path(), text);
        let (child, ports) = launch(directory.path(), environment);
        Self { directory, child, ports }
    }

    /// Starts a server by a command that runs it with the arguments that it is given and writes its output to `log` in
    /// `directory`.
    ///
    /// # Panics
    /// When it does not come up; the message has what it said.
    #[must_use]
    pub fn start_by(command: Command, directory: TempDir, text: &str) -> Self {
        write_configuration(directory.path(), text);
        let (child, ports) = launch_by(command, directory.path());
        Self { directory, child, ports }
    }

    /// Starts another master with the same configuration file by such a command.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_master_by(&mut self, command: Command) {
        (self.child, self.ports) = launch_by(command, self.directory.path());
    }

    /// Kills the master, and nobody else.
    pub fn kill_master(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts another master with the same configuration file.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_master(&mut self) {
        (self.child, self.ports) = launch(self.directory.path(), &[]);
    }

    /// Where it listens for RTMP: the first place.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.ports.rtmp[0]
    }

    /// All places where it listens for RTMP.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.ports.rtmp
    }

    /// The URL of a stream: `path` is `app/stream`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address())
    }

    /// The base URL of the management API.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.ports.http_api.expect("the API is on"))
    }

    /// The base URL of the metrics.
    #[must_use]
    pub fn exporter(&self) -> String {
        format!("http://{}", self.ports.exporter.expect("the exporter is on"))
    }

    /// What opens everything.
    #[must_use]
    pub fn token(&self) -> String {
        fs::read_to_string(self.directory().join("run/token")).expect("a token").trim().to_owned()
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory().join("run/srs.sock")
    }

    /// Where its web server listens.
    #[must_use]
    pub fn web_address(&self) -> SocketAddr {
        self.ports.http_server.expect("the web server is on")
    }

    /// The base URL of its web server.
    #[must_use]
    pub fn web(&self) -> String {
        format!("http://{}", self.web_address())
    }

    /// Where its web server listens for TLS.
    #[must_use]
    pub fn web_tls_address(&self) -> SocketAddr {
        self.ports.https_server.expect("HTTPS is on")
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The master's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.ports.pid
    }

    /// Asks the API; `None` while it has no answer.
    #[must_use]
    pub fn try_ask<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).proxy(None);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(format!("{}{path}", self.api())).call().ok()?;
        response.body_mut().read_json().ok()
    }

    /// Asks the API.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> T {
        wait_for(&format!("an answer to {path}"), SOON, || self.try_ask(path))
    }

    /// What the master says of all, asked at its control socket; `None` while it has no answer.
    #[must_use]
    pub fn census(&self) -> Option<api::ProcessList> {
        use std::io::{BufRead, BufReader, Write};
        let mut socket = std::os::unix::net::UnixStream::connect(self.socket()).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let order = serde_json::to_string(&api::Order::Processes).ok()?;
        socket.write_all(format!("{order}\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// All streams.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        self.ask::<api::Streams>("/api/v1/streams").streams
    }

    /// All clients.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.ask::<api::Clients>("/api/v1/clients").clients
    }

    /// Its processes that are there, the master among them.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        #[derive(Deserialize)]
        struct Processes {
            processes: Vec<Process>,
        }
        let mut processes = self.ask::<Processes>("/api/v1/processes").processes;
        processes.retain(|process| process.state.is_there());
        processes
    }

    /// The process ids of a role, in the order of their slots; waits until there is one.
    ///
    /// # Panics
    /// When there is none for too long.
    #[must_use]
    pub fn pids(&self, role: &str) -> Vec<u32> {
        wait_for(&format!("a process of role {role}"), SOON, || {
            let mut processes = self.processes();
            processes.retain(|process| is_role(process, role));
            processes.sort_by_key(|process| process.slot);
            (!processes.is_empty()).then(|| processes.iter().map(|process| process.pid).collect())
        })
    }

    /// Waits until so many players watch in all.
    pub fn wait_players(&self, count: usize) {
        wait_until(&format!("{count} players"), || {
            self.clients().iter().filter(|client| client.kind == "play").count() == count
        });
    }

    /// Waits until a stream, `app/stream`, is published.
    pub fn wait_published(&self, path: &str) {
        wait_until(&format!("a publisher of {path}"), || {
            self.streams()
                .iter()
                .any(|stream| stream.publish.active && format!("{}/{}", stream.app, stream.name) == path)
        });
    }

    /// Sends the master a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    /// Waits for the master's end.
    ///
    /// # Panics
    /// When it has not ended by then.
    pub fn wait_end(&mut self, deadline: Duration) -> std::process::ExitStatus {
        let child = &mut self.child;
        wait_for("the end of the server", deadline, || child.try_wait().expect("a child can be waited for"))
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

/// Writes the configuration file, and makes the runtime directory.
fn write_configuration(directory: &Path, text: &str) {
    fs::write(directory.join("srs.conf"), text).expect("a file");
    fs::create_dir_all(directory.join("run")).expect("a directory");
}

fn launch(directory: &Path, environment: &[(&str, &str)]) -> (Child, Ports) {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("a file");
    let mut command = Command::new(program::srs());
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
    launch_by(command, directory)
}

/// Starts a master by this command in `directory` and waits until it says where it serves.
fn launch_by(mut command: Command, directory: &Path) -> (Child, Ports) {
    command.current_dir(program::source_tree()).arg("-c").arg(directory.join("srs.conf"));
    let mut child = command.spawn().expect("the server starts");
    // It may hold sockets that are for the server alone.
    drop(command);
    let ready = directory.join("run/ports.json");
    let ports = wait_for("the server's ports", SOON, || {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            panic!(
                "the server ended with {status}:\n{}",
                fs::read_to_string(directory.join("log")).unwrap_or_default()
            );
        }
        let ports: Ports = serde_json::from_str(&fs::read_to_string(&ready).ok()?).ok()?;
        (ports.pid == child.id()).then_some(ports)
    });
    (child, ports)
}

/// Whether a process has a role; roles are compared without regard to hyphens.
fn is_role(process: &Process, role: &str) -> bool {
    let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    plain(&process.role) == plain(role)
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut family = children(self.child.id());
        // Those that a former master of this directory left behind, too.
        family.extend(relatives(&self.directory.path().join("run")).into_iter().map(|(_, pid)| pid));
        signal(self.child.id(), Signal::SIGTERM);
        let began = std::time::Instant::now();
        while began.elapsed() < POLITE_END && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        for pid in family {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if program == program::srs() {
                signal(pid, Signal::SIGKILL);
            }
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the server's last words ---");
            for line in lines.iter().skip(lines.len().saturating_sub(60)) {
                eprintln!("{line}");
            }
        }
    }
}
