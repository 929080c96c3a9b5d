//! The servers under test: ours with a configuration made for the job, or another by its command line.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::proctree::ProcessTree;
use crate::target::Target;

/// How long a server may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What differs between jobs.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Directive `srs_log_level`.
    pub log_level: &'a str,
    /// How long messages may wait to be written together, ms.
    pub mw_latency_ms: u64,
    /// Stream processes.
    pub workers: u32,
    /// Back-sources.
    pub backsources: u32,
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
         srs_log_level {level};\npid {directory}/srs.pid;\nruntime_dir {directory};\nhttp_api {{ enabled off; }}\n\
         limits {{ unestablished_per_ip 100000; unestablished_total 100000; }}\n\
         vhost __defaultVhost__ {{ mw_latency {latency}; }}\n",
        level = settings.log_level,
        workers = settings.workers,
        backsources = settings.backsources,
        latency = settings.mw_latency_ms,
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
        let address = server.wait(|| rtmp_address(&ports)).with_context(|| {
            let log = fs::read_to_string(directory.join("console.txt")).unwrap_or_default();
            format!("{} does not serve: {log}", binary.display())
        })?;
        server.target = Target::local(address);
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

fn rtmp_address(ports: &Path) -> Option<SocketAddr> {
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    ports.get("rtmp")?.get(0)?.as_str()?.parse().ok()
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
