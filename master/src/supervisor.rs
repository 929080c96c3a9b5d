//! The master's loop: signals, children and their channels, in a fixed order. It does what `plan` says.

mod adopt;
mod census;
mod children;
mod downloads;
mod family;
mod keeper;
mod lending;
mod links;
mod listening;
mod operators;
mod preview;
mod quit;
mod reload;
mod reunion;
mod runtime;
mod runtime_files;
mod token;
mod watch;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use conf::Config;
use conf::vhost::IngestSource;
use ipc::Role;
use mediaring::Scoreboard;
use reactor::{Reactor, Ready, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::listen::ListenError;
use crate::plan::{Action, Event, Plan};
use crate::spawn::{Ending, Running, Spawner};
use crate::systemd::{self, Watchdog};
pub(crate) use adopt::Adopted;
use adopt::Lineage;
use children::Child;
use family::Family;
use keeper::Keeper;
use links::LinkTable;
use listening::{Listening, Purpose};
use operators::Operators;
use preview::Previews;
use quit::Quit;
use reload::Reloads;
use reunion::{RENDEZVOUS_TOKEN, STRANGER_TOKEN};
use runtime_files::RuntimeFiles;
use watch::Watch;

/// Token of the signal pipes: one for each signal from here on; children follow.
const FIRST_SIGNAL: usize = 1;
const SIGNALS: [i32; 7] = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];
/// Token of what wakes the loop when the control socket was bound.
const FILES_TOKEN: usize = 34;
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

/// Reads the configuration again, and what it names.
pub struct Loader {
    /// The configuration as it is in its file now.
    pub load: Box<dyn Fn() -> Result<conf::Loaded, conf::Failure>>,
    /// Whether the server's own ingester can play a file; `Err` says why not.
    pub check_clip: fn(&std::path::Path) -> Result<(), String>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loader")
    }
}

/// The master.
#[derive(Debug)]
pub struct Supervisor {
    /// The configuration in force, with the addresses that are really bound.
    config: Config,
    /// As it was written.
    asked: Config,
    loader: Loader,
    generation: u64,
    reloads: Reloads,
    previews: Previews,
    operators: Operators,
    runtime_files: RuntimeFiles,
    watch: Watch,
    quit: Option<Quit>,
    reactor: Reactor,
    signals: Vec<UnixStream>,
    plan: Plan,
    children: Vec<Child>,
    spawner: Spawner,
    board: Scoreboard,
    /// Where the server listens.
    listening: Listening,
    /// What opens private APIs.
    token: api::Token,
    observer: child::Observer,
    /// What is kept for successors of processes that die.
    keeper: Keeper,
    /// What the service manager wants to hear.
    watchdog: Option<Watchdog>,
    served: bool,
    exit: bool,
    /// The processes of this server, now and under its next masters.
    family: Family,
    /// Which processes are linked with each other.
    links: LinkTable,
    /// Children that have said more than a turn reads.
    unread: BTreeSet<usize>,
    /// Processes that have ended but for a thread that hangs in the kernel.
    corpses: Vec<Running>,
    /// When it was last said that descriptors are missing, monotonic ms.
    short_ms: u64,
    /// What goes on over the masters of this server.
    lineage: Lineage,
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
        mut config: Config,
        spawner: Spawner,
        loader: Loader,
        signals: Signals,
    ) -> Result<Self, StartError> {
        let family = Family::take(&config)?;
        if let Some(survivors) = adopt::gather(&family) {
            return Self::adopt(survivors, family, (spawner, loader, signals));
        }
        let asked = config.clone();
        runtime::check_descriptor_limit()?;
        runtime::raise_descriptor_limit(config.max_connections);
        let workers = runtime::workers(&config);
        let listening = Listening::new(&config)?;
        listening.note(&mut config);
        let ingests = runtime::ingests(&loader, &config)?;
        let mut table: Vec<(Role, u32)> =
            (0..config.backsources).map(|number| (Role::BackSource, number)).collect();
        table.extend((0..workers).map(|number| (Role::Stream, number)));
        table.extend((0..config.http_workers).map(|number| (Role::Http, number)));
        table.push((Role::Api, 0));
        let count = u32::try_from(ingests.len()).unwrap_or(u32::MAX);
        table.extend((0..count).map(|number| (Role::Ingest, number)));
        if table.len() > MAX_CHILDREN {
            return Err(StartError::TooMany(table.len()));
        }
        let mut ingests = ingests.into_iter();
        let children = table
            .iter()
            .map(|(role, number)| {
                let ingest = if *role == Role::Ingest { ingests.next() } else { None };
                Child::new(*role, *number, ingest)
            })
            .collect();
        let board = Scoreboard::create()?;
        let mut supervisor =
            Self::with(asked, config, family, (spawner, loader, signals), Plan::new(table), board)?;
        (supervisor.listening, supervisor.children) = (listening, children);
        Ok(supervisor)
    }

    /// A supervisor of nobody yet.
    fn with(
        asked: Config,
        config: Config,
        family: Family,
        (spawner, loader, Signals(signals)): (Spawner, Loader, Signals),
        plan: Plan,
        board: Scoreboard,
    ) -> Result<Self, StartError> {
        let reactor = Reactor::new().map_err(os("the server can't get an event queue"))?;
        for (index, signal) in signals.iter().enumerate() {
            reactor
                .register_readable(signal.as_raw_fd(), Token(FIRST_SIGNAL + index))
                .map_err(os("the server can't listen to signals"))?;
        }
        if let Some(rendezvous) = &family.rendezvous {
            reactor
                .register_readable(rendezvous.as_raw_fd(), Token(RENDEZVOUS_TOKEN))
                .map_err(os("children can't be waited for"))?;
        }
        let waker = reactor.waker(Token(FILES_TOKEN)).map_err(os("the server can't get an event queue"))?;
        let (runtime_files, token) = RuntimeFiles::start(&family.runtime_dir, &config.pid, waker)
            .map_err(os("the runtime directory can't be kept"))?;
        Ok(Self {
            asked,
            loader,
            reloads: Reloads::default(),
            previews: Previews::default(),
            watch: Watch::default(),
            quit: None,
            operators: Operators::default(),
            runtime_files,
            plan,
            children: Vec::new(),
            board,
            config,
            generation: 1,
            reactor,
            signals,
            spawner,
            listening: Listening::default(),
            token,
            observer: child::Observer::default(),
            keeper: Keeper::default(),
            watchdog: Watchdog::from_environment(),
            served: false,
            exit: false,
            family,
            links: LinkTable::default(),
            unread: BTreeSet::new(),
            corpses: Vec::new(),
            short_ms: 0,
            lineage: Lineage::founded(),
        })
    }

    /// Where the server serves.
    #[must_use]
    pub fn serving(&self) -> Serving {
        Serving {
            rtmp: self.listening.addresses(Purpose::Rtmp).collect(),
            http_api: self.listening.addresses(Purpose::Api).next(),
            exporter: self.listening.addresses(Purpose::Exporter).next(),
            http_server: self.listening.addresses(Purpose::Http).next(),
            https_server: self.listening.addresses(Purpose::Https).next(),
            pid: std::process::id(),
        }
    }

    /// Starts the children and supervises them until the server is told to end. `served` is called once, when all of
    /// them serve for the first time.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run(&mut self, mut served: impl FnMut(&Serving)) -> Result<(), StartError> {
        let mut ready = Vec::new();
        self.handle(Event::Tick);
        while !self.exit {
            ready.clear();
            self.mend_links();
            self.tell_state();
            let own = [
                (!self.unread.is_empty()).then_some(0),
                self.links.deadline(),
                self.mend_deadline(),
                self.reloads.deadline(),
                self.previews.deadline(),
                self.quit.map(Quit::deadline),
                Some(self.watch.deadline()),
                Some(self.observer.deadline()),
                self.operators.deadline(),
                self.watchdog.map(|watchdog| watchdog.deadline_ms()),
            ];
            let deadline = self.plan.next_deadline().into_iter().chain(own.into_iter().flatten()).min();
            self.reactor.wait(deadline, &mut ready).map_err(os("the server can't wait for events"))?;
            let (mut reap, mut stop) = (false, false);
            for event in &ready {
                self.take_event(event, &mut reap, &mut stop);
            }
            self.read_rest();
            // A thread closes its channel before it has ended: nothing tells of its last moment.
            if reap || self.links.take_suspicion() || self.children.iter().any(Child::is_finished_thread) {
                self.reap();
            }
            if stop && !self.plan.is_stopping() {
                tracing::info!("the server ends");
                self.handle(Event::Stop);
            }
            self.handle(Event::Tick);
            self.mend_children();
            self.check_reload();
            self.check_previews();
            self.watch();
            self.observe();
            self.operators.tick(&self.reactor);
            self.go_on_quitting();
            if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.due(reactor::now_ms())) {
                systemd::alive();
            }
            if !self.served && self.children.iter().all(Child::is_ready) {
                self.served = true;
                // What children of a former master brought is in its places.
                self.children.iter_mut().for_each(|child| child.listening.clear());
                let serving = self.serving();
                self.runtime_files.say(&serving);
                self.listening.keep();
                served(&serving);
            }
        }
        self.operators.close();
        self.runtime_files.close();
        Ok(())
    }

    fn take_event(&mut self, event: &Ready, reap: &mut bool, stop: &mut bool) {
        if self.operators.owns(event.token) {
            for (operator, request) in self.operators.ready(&self.reactor, event.token) {
                self.request(operator, &request);
            }
            return;
        }
        if event.token.0 == FILES_TOKEN {
            if let Some(listener) = self.runtime_files.listener() {
                self.operators.listen(listener, &self.reactor);
            }
            return;
        }
        if matches!(event.token.0, RENDEZVOUS_TOKEN | STRANGER_TOKEN) {
            self.receive_strangers();
            return;
        }
        if event.token.0 >= FIRST_PIDFD {
            *reap = true;
            return;
        }
        if let Some(index) = event.token.0.checked_sub(FIRST_CHILD) {
            if self.read_child(index) {
                // In single mode nothing else tells that a role has ended.
                *reap = true;
            }
            return;
        }
        let Some(index) = event.token.0.checked_sub(FIRST_SIGNAL) else { return };
        let mut buffer = [0; 64];
        let drained =
            self.signals.get_mut(index).map(|signal| while matches!(signal.read(&mut buffer), Ok(1..)) {});
        match SIGNALS.get(index).copied().filter(|_| drained.is_some()) {
            Some(SIGCHLD) => *reap = true,
            Some(SIGQUIT) => *stop |= self.quit_gracefully(),
            Some(SIGTERM) if self.config.grace.force => *stop |= self.quit_gracefully(),
            Some(SIGTERM | SIGINT) => *stop = true,
            Some(SIGHUP) => self.ask_reload(None),
            Some(SIGUSR1) => self.reopen_logs(),
            Some(SIGUSR2) => tracing::warn!("the upgrade of a running server by SIGUSR2 is not built yet"),
            _ => {}
        }
    }

    fn handle(&mut self, event: Event) {
        if event == Event::Stop {
            systemd::stopping();
        }
        let actions = self.plan.handle(reactor::now_ms(), event);
        for action in actions {
            match action {
                Action::Start(slot) => self.start(slot),
                Action::AskToEnd(slot) => self.ask_to_end(slot),
                Action::Kill(slot) => {
                    if let Some(child) = self.children.get_mut(slot) {
                        tracing::warn!("{} does not end: killed", child.name());
                        child.kill();
                    }
                }
                Action::Degraded(slot) => {
                    if let Some(child) = self.children.get(slot) {
                        tracing::error!(
                            "{} dies again and again: it is started again only every few seconds",
                            child.name()
                        );
                    }
                    self.lend(slot);
                }
                Action::Exit => self.exit = true,
            }
        }
    }

    fn reap(&mut self) {
        for slot in 0..self.children.len() {
            let Some(ending) = self.children.get_mut(slot).and_then(Child::ended) else { continue };
            self.has_ended(slot, ending);
        }
        self.tell_processes();
        self.save();
    }

    /// A process of which a part hangs in the kernel is none any more: its place is taken by a successor.
    fn bury(&mut self) {
        self.corpses.retain_mut(|corpse| corpse.ended().is_none());
        for slot in 0..self.children.len() {
            let Some(corpse) = self.children.get_mut(slot).and_then(Child::take_corpse) else { continue };
            tracing::error!("pid {} was killed, and hangs in the kernel: it is not waited for", corpse.pid());
            self.corpses.push(corpse);
            self.has_ended(
                slot,
                Ending { code: None, signal: Some(nix::sys::signal::Signal::SIGKILL as i32) },
            );
            self.tell_processes();
            self.save();
        }
    }

    fn has_ended(&mut self, slot: usize, ending: Ending) {
        // Its last words may be a ring that its successor needs.
        self.read_last(slot);
        let Some(child) = self.children.get_mut(slot) else { return };
        child.clear();
        child.last_end = Some((ending.to_string(), child.last_pid(), reactor::now_ms()));
        if child.draining {
            tracing::info!("{} (pid {}) has ended: its last client has left", child.name(), child.last_pid());
        } else if !self.plan.is_stopping() {
            tracing::error!("{} (pid {}) has ended by {ending}", child.name(), child.last_pid());
        }
        self.post_mortem(slot, ending);
        reactor::crash_point("reaped");
        self.board.release(slot);
        self.links.forget(slot);
        self.not_waited_for(slot);
        let killed = ending.signal == Some(nix::sys::signal::Signal::SIGKILL as i32);
        self.handle(Event::Ended { slot, code: ending.code, killed });
        self.free_place(slot);
    }
}

/// Signals as readable descriptors, in the order of [`SIGNALS`].
#[derive(Debug)]
pub struct Signals(Vec<UnixStream>);

/// Listens to signals from now on: what comes while a server is being prepared, or takes over the children of another, is
/// done as soon as its loop turns. Without that a signal would end the master alone.
///
/// # Errors
/// When no descriptor is left.
pub fn listen_to_signals() -> Result<Signals, StartError> {
    let mut signals = Vec::new();
    for signal in SIGNALS {
        let (reader, writer) = UnixStream::pair().map_err(os("the server can't get a signal pipe"))?;
        reader.set_nonblocking(true).map_err(os("the server can't get a signal pipe"))?;
        signal_hook::low_level::pipe::register(signal, writer)
            .map_err(os("the server can't listen to signals"))?;
        signals.push(reader);
    }
    Ok(Signals(signals))
}

/// Whether a file can be ingested by the server's own ingester.
fn check_clip(loader: &Loader, id: &str, source: &IngestSource) -> Result<(), StartError> {
    let IngestSource::File(path) = source else { return Ok(()) };
    (loader.check_clip)(path).map_err(|why| StartError::Clip { id: id.to_owned(), path: path.clone(), why })
}

/// A duplicate to give away.
fn duplicate(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}
