//! The api process: the management API and the metrics. It asks every process for what it knows and merges the answers,
//! and serves nobody else, so that it answers whatever the others do. A process that does not answer within a second is
//! left out and shown as such.

mod access;
mod gate;
mod gather;
pub(crate) mod head;
mod machine_room;
mod master;
mod metrics;
mod nginx;
mod reply;
mod routes;
mod server;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, RwLock};

use ::api::{Process, Reload, SharedToken, Totals};
use child::{Control, Observer, Woken};
use conf::Config;
use ipc::{ChildToMaster, ProcessInfo, ToApi};
use machine::Host;
use mediaring::Scoreboard;
use reactor::{Reactor, Ready};

use access::Failures;
use gate::Gate;

/// Name of the socket between the gate and the API in the runtime directory.
pub(crate) const INNER_SOCKET: &str = "api.sock";

/// What the API's threads need to know; the loop keeps it true.
pub(crate) struct Known {
    token: SharedToken,
    version: String,
    board: Arc<Scoreboard>,
    processes: Mutex<Vec<ProcessInfo>>,
    reload: Mutex<Reload>,
    config: RwLock<Arc<Config>>,
    observer: Mutex<Observer>,
    host: Mutex<Host>,
    failures: Mutex<Failures>,
}

impl Known {
    fn new(control: &Control) -> Self {
        Self {
            token: control.token.clone(),
            version: control.start.version.clone(),
            board: Arc::clone(&control.board),
            processes: Mutex::default(),
            reload: Mutex::default(),
            config: RwLock::new(Arc::new((*control.start.config).clone())),
            observer: Mutex::default(),
            host: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    pub(crate) fn processes(&self) -> Vec<ProcessInfo> {
        self.processes.lock().map(|processes| processes.clone()).unwrap_or_default()
    }

    /// All processes as they are, and what they come to together. Nobody is asked.
    pub(crate) fn census(&self) -> (Vec<Process>, Totals) {
        let infos = self.processes();
        self.observer.lock().map(|observer| observer.describe(&infos, &self.board)).unwrap_or_default()
    }

    /// Processor time of all, per cent of one processor.
    pub(crate) fn cpu_percent(&self) -> f64 {
        let infos = self.processes();
        self.observer.lock().map_or(0.0, |observer| observer.cpu_percent(&infos))
    }

    /// What the last reload did.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.lock().map(|reload| reload.clone()).unwrap_or_default()
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        match self.config.read() {
            Ok(config) => Arc::clone(&config),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }
}

/// The api process: what its threads know is kept true by its loop.
struct ApiProcess {
    control: Control,
    reactor: Reactor,
    known: Arc<Known>,
    gate: Gate,
    ready: Vec<Ready>,
}

/// Runs the api process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::begin(control)?;
    let reactor = Reactor::new()?;
    let known = Arc::new(Known::new(&control));
    let inner = control.start.config.runtime_dir.join(INNER_SOCKET);
    server::start(&inner, &known)?;
    let gate = Gate::open(inner)?;
    child::run(ApiProcess { control, reactor, known, gate, ready: Vec::new() })
}

impl child::Process for ApiProcess {
    type Message = ToApi;

    fn parts(&mut self) -> (&mut Control, &Reactor) {
        (&mut self.control, &self.reactor)
    }

    fn message(&mut self, message: ToApi, fds: Vec<OwnedFd>) {
        let known = &self.known;
        match message {
            ToApi::Listen(addresses) => {
                listen(&addresses, fds, &self.gate);
                say_who_may(&addresses, &known.config());
            }
            ToApi::StopListening(addresses) => {
                for address in addresses {
                    if let Err(error) = self.gate.leave(address) {
                        tracing::error!("the API on {address} can't be left: {error}");
                    }
                }
            }
            ToApi::Configure { generation, config } => {
                if let Ok(mut place) = known.config.write() {
                    *place = Arc::new(*config);
                }
                self.control.applied(generation);
            }
            ToApi::Reloaded(reload) => {
                if let Ok(mut place) = known.reload.lock() {
                    *place = reload;
                }
            }
            ToApi::Processes(processes) => {
                if let Ok(mut place) = known.processes.lock() {
                    *place = processes;
                }
            }
        }
    }

    fn keep_again(&mut self) {
        let (addresses, sockets) = self.gate.duplicates();
        self.control.send(&ChildToMaster::Listening { addresses }, sockets);
    }

    fn turn(&mut self) {
        observe(&self.known);
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        self.ready.clear();
        self.reactor.wait(Some(until_ms), &mut self.ready)?;
        Ok(Woken::by(&self.ready))
    }
}

/// Notes what is needed for rates.
fn observe(known: &Known) {
    let infos = known.processes();
    let due = known.observer.lock().is_ok_and(|mut observer| {
        let due = reactor::now_ms() >= observer.deadline();
        if due {
            observer.look(&infos, &known.board);
        }
        due
    });
    if due && let Ok(mut host) = known.host.lock() {
        host.look(&known.config().stats.disks);
    }
}

/// An API that can be reached from elsewhere is not open because of that.
fn say_who_may(addresses: &[SocketAddr], config: &Config) {
    let api = &config.http_api;
    let far = addresses.iter().find(|address| **address == api.listen && !address.ip().is_loopback());
    if let Some(address) =
        far.filter(|_| api.enabled && api.auth.is_none() && api.reads != conf::config::Reads::All)
    {
        tracing::info!(
            "the API on {address} answers other hosts only with the token; http_api {{ reads all; }}, or auth, opens it \
             for reading"
        );
    }
}

fn listen(addresses: &[SocketAddr], fds: Vec<OwnedFd>, gate: &Gate) {
    for (fd, address) in fds.into_iter().zip(addresses) {
        if let Err(error) = gate.listen(*address, fd) {
            tracing::error!("the API on {address} can't be served: {error}");
        }
    }
}
