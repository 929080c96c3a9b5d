//! Where servers are asked: at control sockets of this host, or at HTTP APIs.

use std::path::{Path, PathBuf};
use std::thread;

use api::{Done, Order, Record, RecordAnswer, Reload, Token};

use crate::arguments::Target;
use crate::control;
use crate::http_api::{self, HttpApi};
use crate::snapshot::{Detail, Snapshot};

/// Control sockets that are tried when none is named, in this order.
const SOCKETS: [&str; 2] = ["./objs/srs.sock", "/run/srs/srs.sock"];
/// Where servers with a pid file of another name have a directory of their own each.
const OTHERS: &str = "./objs";

/// A server to ask.
#[derive(Debug, Clone)]
pub(crate) enum ServerAddress {
    Socket(PathBuf),
    Http(HttpApi),
}

/// The servers that the command line names.
pub(crate) fn servers(target: &Target) -> Result<Vec<ServerAddress>, String> {
    let token = match &target.token_file {
        Some(path) => {
            Some(http_api::token(path).ok_or_else(|| format!("there is no token in {}", path.display()))?)
        }
        None => None,
    };
    if target.api.is_empty() {
        let socket = target.socket.clone().map_or_else(find_socket, Ok)?;
        return Ok(vec![ServerAddress::Socket(socket)]);
    }
    Ok(target.api.iter().map(|server| one(server, token.as_ref())).collect())
}

/// The control socket of the server on this host: the usual ones first, then the only one below `./objs`.
fn find_socket() -> Result<PathBuf, String> {
    let answers = |socket: &PathBuf| std::os::unix::net::UnixStream::connect(socket).is_ok();
    let usual = || SOCKETS.iter().map(PathBuf::from);
    if let Some(socket) = usual().find(answers) {
        return Ok(socket);
    }
    let entries = std::fs::read_dir(OTHERS).into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> =
        entries.map(|entry| entry.path().join("srs.sock")).filter(answers).collect();
    others.sort();
    match (others.pop(), others.is_empty()) {
        // Nobody answers: it is told of the one that is most likely meant.
        (None, _) => {
            let is_there = |socket: &PathBuf| socket.exists();
            let could_be = |socket: &PathBuf| socket.parent().is_some_and(Path::is_dir);
            let likely = usual().find(is_there).or_else(|| usual().find(could_be));
            Ok(likely.unwrap_or_else(|| PathBuf::from(SOCKETS[0])))
        }
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            others.push(last);
            let names: Vec<String> = others.iter().map(|socket| socket.display().to_string()).collect();
            Err(format!("several servers run here; say which with --socket: {}", names.join(", ")))
        }
    }
}

fn one(server: &str, token: Option<&Token>) -> ServerAddress {
    let is_path = !server.contains("://") && (server.starts_with(['/', '.']) || server.contains('/'));
    if is_path {
        ServerAddress::Socket(PathBuf::from(server))
    } else {
        ServerAddress::Http(HttpApi::new(server, token))
    }
}

/// All servers, asked side by side; what can't be asked is told beside them.
pub(crate) fn look_at_all(servers: &[ServerAddress], want: Detail) -> (Vec<Snapshot>, Vec<String>) {
    let asked: Vec<_> = servers
        .iter()
        .map(|server| {
            let server = server.clone();
            thread::spawn(move || server.look(want))
        })
        .collect();
    let (mut snapshots, mut errors) = (Vec::new(), Vec::new());
    for (server, thread) in servers.iter().zip(asked) {
        let error = match thread.join() {
            Ok(Ok(snapshot)) => {
                snapshots.push(snapshot);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => "a question has failed".to_owned(),
        };
        if servers.len() > 1 {
            snapshots.push(Snapshot {
                node: server.node(),
                down: Some(error.clone()),
                ..Snapshot::default()
            });
        }
        errors.push(error);
    }
    if snapshots.iter().all(|snapshot| snapshot.down.is_some()) {
        snapshots.clear();
    }
    (snapshots, errors)
}

impl ServerAddress {
    /// What it is called beside others.
    fn node(&self) -> String {
        match self {
            Self::Http(api) => api.node(),
            Self::Socket(socket) => socket.display().to_string(),
        }
    }

    /// What the server is now. When the master does not answer, its API process may.
    pub(crate) fn look(&self, want: Detail) -> Result<Snapshot, String> {
        match self {
            Self::Http(api) => api.look(want).map_err(|error| error.to_string()),
            Self::Socket(socket) => control::look(socket, want).or_else(|error| {
                let api = beside(socket).ok_or_else(|| error.to_string())?;
                let mut snapshot = api.look(want).map_err(|_| error.to_string())?;
                snapshot.node = "local".to_owned();
                snapshot.note = Some(error.to_string());
                Ok(snapshot)
            }),
        }
    }

    /// The server's version.
    pub(crate) fn version(&self) -> Result<String, String> {
        match self {
            Self::Http(api) => api.versions().map_err(|error| error.to_string()),
            Self::Socket(_) => self.look(Detail::Streams).map(|snapshot| snapshot.version),
        }
    }

    /// Closes a connection; `false` when nobody has it.
    pub(crate) fn kick(&self, id: u64) -> Result<bool, String> {
        match self {
            Self::Http(api) => api.kick(id).map_err(|error| error.to_string()),
            Self::Socket(socket) => match control::kick(socket, id) {
                Ok(Some(kicked)) => Ok(kicked),
                Ok(None) => {
                    Err(format!("no process says that it has client {id}, and not all have answered"))
                }
                Err(error) => Err(error.to_string()),
            },
        }
    }

    pub(crate) fn reload(&self, dry_run: bool) -> Result<Reload, String> {
        match self {
            Self::Http(api) => api.reload(dry_run).map_err(|error| error.to_string()),
            Self::Socket(socket) => {
                control::order(socket, &Order::Reload { dry_run }).map_err(|error| error.to_string())
            }
        }
    }

    /// Lets a process end with its last client, or after so many seconds.
    pub(crate) fn drain(&self, process: &str, within_s: Option<u64>) -> Result<Done, String> {
        match self {
            Self::Http(api) => api.drain(process, within_s).map_err(|error| error.to_string()),
            Self::Socket(socket) => {
                let order = Order::Drain {
                    process: process.to_owned(),
                    within_ms: within_s.map(|seconds| seconds.saturating_mul(1000)),
                };
                control::order(socket, &order).map_err(|error| error.to_string())
            }
        }
    }

    /// Records a stream from now on, or no longer.
    pub(crate) fn record(&self, record: &Record) -> Result<RecordAnswer, String> {
        match self {
            Self::Http(api) => api.record(record).map_err(|error| error.to_string()),
            Self::Socket(socket) => control::record(socket, record)
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "the http process does not answer".to_owned()),
        }
    }

    /// The log file, as the server says.
    pub(crate) fn log_file(&self) -> Result<PathBuf, String> {
        let Self::Socket(socket) = self else {
            return Err("logs are read on the server's own host: --file PATH, or --socket PATH".to_owned());
        };
        let list: api::ProcessList =
            control::order(socket, &Order::Processes).map_err(|error| error.to_string())?;
        list.log_file.ok_or_else(|| "the server logs to its console, not to a file".to_owned())
    }
}

/// The API of the server whose control socket this is, by the files beside it.
fn beside(socket: &Path) -> Option<HttpApi> {
    #[derive(serde::Deserialize)]
    struct Ports {
        http_api: Option<std::net::SocketAddr>,
    }
    let directory = socket.parent()?;
    let ports: Ports = serde_json::from_slice(&std::fs::read(directory.join("ports.json")).ok()?).ok()?;
    let mut address = ports.http_api?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let token = http_api::token(&directory.join("token"));
    Some(HttpApi::new(&address.to_string(), token.as_ref()))
}
