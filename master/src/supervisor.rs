//! The master's loop: signals, children and their channels, in a fixed order. It does what `plan` says.

mod adopt;
mod adopted;
mod child;
mod children;
mod configuration;
mod downloads;
mod family;
mod keeper;
mod launcher;
mod legacy;
mod limits;
mod lineage;
mod links;
mod listening;
mod messages;
mod operators;
mod orders;
mod preview;
mod processes;
mod quit;
mod reload;
mod reunion;
mod runtime_files;
mod signals;
mod statistics;
mod survivors;
mod token;
mod watch;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use conf::Config;
use reactor::{Reactor, Ready};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::listen::ListenError;
use crate::plan::Event;
use crate::spawn::Spawner;
use crate::systemd::{self, Watchdog};
pub(crate) use adopted::Adopted;
pub use configuration::Loader;
use family::Family;
use operators::Operators;
use processes::Processes;
use quit::Quit;
use reunion::{RENDEZVOUS_TOKEN, STRANGER_TOKEN};
pub use signals::{Signals, listen_to_signals};

/// Token of what wakes the loop when the control socket was bound.
const FILES_TOKEN: usize = 34;
/// Channels of children; the tokens before these are in [`signals`] and [`reunion`].
const FIRST_CHILD: usize = 64;
/// Descriptors of processes that another master started.
const FIRST_PIDFD: usize = 1024;
/// Children in all (the scoreboard's places).
const MAX_CHILDREN: usize = mediaring::SLOTS;

/// Why the server can't start. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The scoreboard.
    #[error("the server can't get shared memory: {0}")]
    Memory(#[from] mediaring::RingError),
    /// The kernel refused something.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A clip of the file ingester.
    #[error("the clip {} of ingest {id} can't be used: {why}; correct `url`, or set `enabled off`", path.display())]
    Clip {
        /// The ingest.
        id: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// An ingest by another program.
    #[error("ingest {id} can't be started: {why}; correct it, or set `enabled off`")]
    Ingest {
        /// The ingest.
        id: String,
        /// The cause.
        why: String,
    },
    /// Another server is there already.
    #[error("another srs ({}) uses the runtime directory {}: stop it, or set another `pid` or `runtime_dir` in this configuration", by.map_or_else(|| "its lock is held".to_owned(), |pid| format!("pid {pid}")), directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// Its master; `None` when only the lock is known.
        by: Option<u32>,
    },
    /// No process could accept anybody.
    #[error(
        "a process may have {hard} descriptors here, {least} at least are needed: raise `ulimit -n` (LimitNOFILE= of the unit)"
    )]
    Descriptors {
        /// The limit.
        hard: u64,
        /// What is needed.
        least: u64,
    },
    /// The configuration asks for more processes than there is room for.
    #[error("the configuration asks for {0} processes, at most {MAX_CHILDREN} are possible: lower `workers`")]
    TooMany(usize),
}

/// What is told when the server serves for the first time.
#[derive(Debug, serde::Serialize)]
pub struct Serving {
    /// RTMP addresses.
    pub rtmp: Vec<SocketAddr>,
    /// Management API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_api: Option<SocketAddr>,
    /// Metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<SocketAddr>,
    /// Web server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_server: Option<SocketAddr>,
    /// Web server over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_server: Option<SocketAddr>,
    /// The master's pid.
    pub pid: u32,
}

/// The master.
#[derive(Debug)]
pub struct Supervisor {
    processes: Processes,
    operators: Operators,
    signals: Signals,
    /// What the service manager wants to hear.
    watchdog: Option<Watchdog>,
    /// A graceful end is under way.
    quit: Option<Quit>,
}

fn os(what: &'static str) -> impl Fn(std::io::Error) -> StartError {
    move |source| StartError::Os { what, source }
}

impl Supervisor {
    /// Binds everything and makes the table of children; none runs yet. All that can be wrong with the machine is found
    /// here, before anything is served.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn prepare(
        config: Config,
        spawner: Spawner,
        loader: Loader,
        signals: Signals,
    ) -> Result<Self, StartError> {
        let reactor = Reactor::new().map_err(os("the server can't get an event queue"))?;
        signals.register(&reactor)?;
        let family = Family::take(&config)?;
        let processes = match survivors::gather(&family) {
            Some(survivors) => Processes::adopt(survivors, family, (spawner, loader), reactor)?,
            None => Processes::new(config, family, (spawner, loader), reactor)?,
        };
        Ok(Self {
            processes,
            operators: Operators::default(),
            signals,
            watchdog: Watchdog::from_environment(),
            quit: None,
        })
    }

    /// Where the server serves.
    #[must_use]
    pub fn serving(&self) -> Serving {
        self.processes.listening.serving()
    }

    /// Starts the children and supervises them until the server is told to end. `served` is called once, when all of
    /// them serve for the first time.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run(&mut self, mut served: impl FnMut(&Serving)) -> Result<(), StartError> {
        let mut ready = Vec::new();
        self.processes.handle(Event::Tick);
        while !self.processes.have_ended {
            ready.clear();
            self.processes.tell_what_changed();
            let deadline = self.deadline();
            let waited = self.processes.reactor.wait(deadline, &mut ready);
            waited.map_err(os("the server can't wait for events"))?;
            self.turn(&ready);
            if self.processes.begin_to_serve() {
                served(&self.serving());
            }
        }
        self.operators.close();
        self.processes.runtime_files.close();
        Ok(())
    }

    /// When there is something to do though nothing happens, monotonic ms.
    fn deadline(&self) -> Option<u64> {
        let quit = self.quit.filter(|_| !self.processes.is_stopping()).map(Quit::deadline);
        let watchdog = self.watchdog.map(|watchdog| watchdog.deadline_ms());
        [self.processes.deadline(), quit, self.operators.deadline(), watchdog].into_iter().flatten().min()
    }

    /// One turn: what has happened, then what is due.
    fn turn(&mut self, ready: &[Ready]) {
        let mut turn = Turn::default();
        for event in ready {
            self.take_event(event, &mut turn);
        }
        self.processes.read_rest();
        if turn.reap || self.processes.may_have_ended() {
            self.processes.reap();
        }
        if turn.stop && !self.processes.is_stopping() {
            tracing::info!("the server ends");
            self.processes.handle(Event::Stop);
        }
        self.processes.handle(Event::Tick);
        self.processes.mend_children();
        self.check_reload();
        let Processes { previews, children, .. } = &mut self.processes;
        previews.finish(children, &mut self.operators);
        self.processes.watch();
        self.processes.observe();
        self.operators.tick(&self.processes.reactor);
        self.go_on_quitting();
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.due(reactor::now_ms())) {
            systemd::alive();
        }
    }

    fn take_event(&mut self, event: &Ready, turn: &mut Turn) {
        if self.operators.owns(event.token) {
            for (operator, request) in self.operators.ready(&self.processes.reactor, event.token) {
                self.request(operator, &request);
            }
            return;
        }
        match event.token.0 {
            FILES_TOKEN => {
                if let Some(listener) = self.processes.runtime_files.listener() {
                    self.operators.listen(listener, &self.processes.reactor);
                }
            }
            RENDEZVOUS_TOKEN | STRANGER_TOKEN => self.processes.receive_strangers(),
            FIRST_PIDFD.. => turn.reap = true,
            // In single mode nothing else tells that a role has ended.
            FIRST_CHILD.. => turn.reap |= self.processes.read_child(event.token.0 - FIRST_CHILD),
            token => match self.signals.take(token) {
                Some(SIGCHLD) => turn.reap = true,
                Some(SIGQUIT) => turn.stop |= self.quit_gracefully(),
                Some(SIGTERM) if self.processes.configuration.in_force().grace.force => {
                    turn.stop |= self.quit_gracefully();
                }
                Some(SIGTERM | SIGINT) => turn.stop = true,
                Some(SIGHUP) => self.processes.reloads.ask(None),
                Some(SIGUSR1) => self.processes.reopen_logs(),
                Some(SIGUSR2) => {
                    tracing::warn!("the upgrade of a running server by SIGUSR2 is not built yet");
                }
                _ => {}
            },
        }
    }
}

/// What a turn has found to be done.
#[derive(Debug, Default)]
struct Turn {
    /// Somebody may have ended.
    reap: bool,
    /// The server is to end.
    stop: bool,
}

/// A duplicate to give away.
fn duplicate(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}
