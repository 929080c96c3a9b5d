//! The servers under test: ours with a configuration made for the job, or another by its command line.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::descriptors;
use crate::proctree::ProcessTree;
use crate::target::Target;

/// How long a server may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server may gather messages to write them together: directive `mw_latency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gather {
    /// So many ms.
    Ms(u64),
    /// As the load demands.
    Auto,
}

impl fmt::Display for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ms(ms) => write!(f, "{ms}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// What differs between jobs.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Directive `srs_log_level`.
    pub log_level: &'a str,
    /// How long messages may wait to be written together.
    pub gather: Gather,
    /// Stream processes.
    pub workers: u32,
    /// Back-sources.
    pub backsources: u32,
    /// For jobs about slow viewers: they may lag so many seconds, and the HTTP API serves (one more process), so that it can
    /// be asked what was dropped.
    pub queue_s: Option<u64>,
    /// Viewers take HTTP-FLV.
    pub http: bool,
}

/// What the server says of its viewers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that viewers did not get because they lagged.
    pub packets: u64,
    /// How often viewers were moved to a newer key frame.
    pub jumps: u64,
}

/// Another server to compare with: how it is started, and where it serves.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name in tables.
    pub name: String,
    command: String,
    target: Target,
}

impl FromStr for Peer {
    type Err = anyhow::Error;

    /// `NAME=COMMAND,URL`
    fn from_str(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once('=').context("a peer is NAME=COMMAND,URL")?;
        let (command, url) = rest.rsplit_once(',').context("a peer is NAME=COMMAND,URL")?;
        Ok(Self { name: name.to_owned(), command: command.to_owned(), target: url.parse()? })
    }
}

impl Peer {
    /// The same, its viewers by RTMP.
    #[must_use]
    pub fn over_rtmp(&self) -> Self {
        Self { target: Target { http: None, ..self.target.clone() }, ..self.clone() }
    }
}

/// A server that we started; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: Option<PathBuf>,
    /// Where it serves.
    pub target: Target,
    /// What it costs.
    pub tree: ProcessTree,
}

/// The executable that was built beside this one.
#[must_use]
pub fn default_binary() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("srs")));
    beside.filter(|path| path.exists()).unwrap_or_else(|| "target/release/srs".into())
}

/// All viewers come from one address here, so that what protects against that is wide open.
fn configuration(directory: &Path, settings: Settings<'_>) -> String {
    let directory = directory.display();
    format!(
        "listen 127.0.0.1:0;\nworkers {workers};\nbacksources {backsources};\nmax_connections 100000;\ndaemon off;\nsrs_log_tank console;\n\
         srs_log_level {level};\npid {directory}/srs.pid;\nruntime_dir {directory};\n\
         http_api {{ enabled {api}; listen 127.0.0.1:0; }}\n\
         http_server {{ enabled {http}; listen 127.0.0.1:0; dir {directory}; }}\n\
         limits {{ unestablished_per_ip 100000; unestablished_total 100000; }}\n\
         vhost __defaultVhost__ {{ mw_latency {latency}; {queue} http_remux {{ enabled {http}; mount [vhost]/[app]/[stream].flv; }} }}\n",
        level = settings.log_level,
        workers = settings.workers,
        backsources = settings.backsources,
        api = if settings.queue_s.is_some() { "on" } else { "off" },
        http = if settings.http { "on" } else { "off" },
        queue = settings.queue_s.map_or_else(String::new, |s| format!("queue_length {s};")),
        latency = settings.gather,
    )
}

impl Server {
    /// Starts our server in a directory of its own and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(binary: &Path, settings: Settings<'_>) -> Result<Self> {
        let name = format!("srs-bench-{}-{}", std::process::id(), crate::clock::now_ns());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        let file = directory.join("bench.conf");
        fs::write(&file, configuration(&directory, settings))?;
        let log = fs::File::create(directory.join("console.txt"))?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).current_dir(&directory).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("can't start {}", binary.display()))?;
        let target = Target::local(SocketAddr::from(([127, 0, 0, 1], 0)));
        let tree = ProcessTree::new(vec![child.id()]);
        let mut server = Self { child, directory: Some(directory.clone()), target, tree };
        let ports = directory.join("ports.json");
        let address = server.wait(|| address(&ports, "/rtmp/0")).with_context(|| {
            let log = fs::read_to_string(directory.join("console.txt")).unwrap_or_default();
            format!("{} does not serve: {log}", binary.display())
        })?;
        server.target = Target::local(address);
        if settings.http {
            server.target.http = Some(server.wait(|| self::address(&ports, "/http_server"))?);
        }
        Ok(server)
    }

    /// Starts another server and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_peer(peer: &Peer) -> Result<Self> {
        if TcpStream::connect(peer.target.address).is_ok() {
            bail!("something serves at {} already", peer.target.address);
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {}", peer.command)).stdin(Stdio::null());
        command.stdout(Stdio::null()).process_group(0);
        let child = command.spawn()?;
        let tree = ProcessTree::new(vec![child.id()]);
        let mut server = Self { child, directory: None, target: peer.target.clone(), tree };
        let address = peer.target.address;
        server
            .wait(|| TcpStream::connect(address).ok())
            .with_context(|| format!("{} does not serve at {address}", peer.name))?;
        Ok(server)
    }

    /// What was dropped for viewers that are connected now; needs [`Settings::queue_s`].
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn drops(&self) -> Result<Drops> {
        let directory = self.directory.as_ref().context("another server")?;
        let api = address(&directory.join("ports.json"), "/http_api").context("no API serves")?;
        drops(&get(api, "/api/v1/clients?count=1000000")?)
    }

    /// Sees to it that `viewers`, spread evenly, fit into the stream processes, and `streams` into the back-sources.
    ///
    /// # Errors
    /// What is missing.
    pub fn require_descriptors(&self, settings: Settings<'_>, viewers: usize, streams: usize) -> Result<()> {
        let workers = settings.workers.max(1) as usize;
        let sources = settings.backsources.max(1) as usize;
        // A stream costs a process that serves its viewers its ring, a back-source also the publisher's connection.
        if let Some(limit) = self.tree.descriptor_limit("stream#") {
            let share = if settings.http { streams } else { viewers.div_ceil(workers) + streams };
            descriptors::require_of(limit, share, "a stream process of the server", "--workers")?;
        }
        if let Some(limit) = self.tree.descriptor_limit("backsource#") {
            let share = 2 * streams.div_ceil(sources);
            descriptors::require_of(limit, share, "a back-source of the server", "--backsources")?;
        }
        Ok(())
    }

    /// What our server wrote, without the ordinary comings and goings.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let text = fs::read_to_string(directory.join("console.txt")).unwrap_or_default();
        let is_ordinary = |line: &str| {
            let words = ["RTMP client", "connect app", "play stream", "(peer_closed)", "max_connections"];
            words.iter().any(|word| line.contains(word))
        };
        text.lines().filter(|line| !is_ordinary(line)).map(str::to_owned).collect()
    }

    fn wait<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it takes more than {} s", PATIENCE.as_secs())
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

fn address(ports: &Path, pointer: &str) -> Option<SocketAddr> {
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    ports.pointer(pointer)?.as_str()?.parse().ok()
}

/// Body of the answer to a GET.
fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no HTTP answer")?;
    Ok(answer.split_off(at + 4))
}

/// Sums up what an answer to `/api/v1/clients` says.
fn drops(body: &[u8]) -> Result<Drops> {
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let clients = body.get("clients").and_then(serde_json::Value::as_array).context("no clients")?;
    let sum = |key: &str| clients.iter().filter_map(|client| client.get(key)?.as_u64()).sum();
    Ok(Drops { packets: sum("dropped"), jumps: sum("jumps") })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE / 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_a_name_a_command_and_a_place() {
        let peer: Peer = "nginx=nginx -c a,b.conf,rtmp://127.0.0.1:19359/live/x".parse().unwrap();
        assert_eq!((peer.name.as_str(), peer.command.as_str()), ("nginx", "nginx -c a,b.conf"));
        assert!("nginx".parse::<Peer>().is_err());
    }

    #[test]
    fn drops_of_all_clients_are_added() {
        let body = br#"{"code":0,"clients":[{"dropped":3,"jumps":1},{"dropped":4,"jumps":0},{}]}"#;
        assert_eq!(drops(body).unwrap(), Drops { packets: 7, jumps: 1 });
        assert!(drops(b"{}").is_err());
    }
}
