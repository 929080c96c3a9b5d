//! The processes of the server with all that belongs to them: what starts them, what joins them, what each is given, and what
//! is kept for their successors.

use std::os::fd::AsRawFd;

use conf::Config;
use ipc::MasterToChild;
use mediaring::Scoreboard;
use reactor::{Reactor, Token};

use super::child::Child;
use super::children::Children;
use super::configuration::{self, Configuration, Loader};
use super::family::Family;
use super::keeper::Keeper;
use super::launcher::Launcher;
use super::links::LinkTable;
use super::listening::Listening;
use super::preview::Previews;
use super::reload::Reloads;
use super::reunion::RENDEZVOUS_TOKEN;
use super::runtime_files::RuntimeFiles;
use super::statistics::Statistics;
use super::watch::Watch;
use super::{FILES_TOKEN, StartError, limits, os};
use crate::plan::{Action, Event};
use crate::spawn::Spawner;
use crate::systemd;

/// All processes.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) configuration: Configuration,
    pub(super) reloads: Reloads,
    pub(super) previews: Previews,
    /// The processes of this server, now and under its next masters.
    pub(super) family: Family,
    pub(super) launcher: Launcher,
    pub(super) children: Children,
    /// Which of them are linked with each other.
    pub(super) links: LinkTable,
    pub(super) watch: Watch,
    pub(super) statistics: Statistics,
    /// What is kept for successors of processes that die.
    pub(super) keeper: Keeper,
    /// Where the server listens.
    pub(super) listening: Listening,
    pub(super) runtime_files: RuntimeFiles,
    /// All have served once.
    pub(super) served: bool,
    pub(super) reactor: Reactor,
    /// Nobody is left.
    pub(super) have_ended: bool,
}

impl Processes {
    /// Binds everything and makes the table of children; none runs yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) fn new(
        config: Config,
        family: Family,
        (spawner, loader): (Spawner, Loader),
        reactor: Reactor,
    ) -> Result<Self, StartError> {
        limits::check_descriptor_limit()?;
        limits::raise_descriptor_limit(config.max_connections);
        let listening = Listening::new(&config)?;
        let mut in_force = config.clone();
        listening.note(&mut in_force);
        let configuration = Configuration::new(config, in_force, 1, loader);
        let config = configuration.in_force();
        let ingests = configuration.ingests(config)?;
        let children = Children::of(&configuration::processes(config), ingests);
        let board = Scoreboard::create()?;
        let mut processes = Self::with(configuration, family, spawner, (children, board), reactor)?;
        processes.listening = listening;
        Ok(processes)
    }

    /// These children, which have nothing yet.
    pub(super) fn with(
        configuration: Configuration,
        family: Family,
        spawner: Spawner,
        (children, board): (Children, Scoreboard),
        reactor: Reactor,
    ) -> Result<Self, StartError> {
        if let Some(rendezvous) = &family.rendezvous {
            reactor
                .register_readable(rendezvous.as_raw_fd(), Token(RENDEZVOUS_TOKEN))
                .map_err(os("children can't be waited for"))?;
        }
        let waker = reactor.waker(Token(FILES_TOKEN)).map_err(os("the server can't get an event queue"))?;
        let pid_file = &configuration.in_force().pid;
        let (runtime_files, token) = RuntimeFiles::start(&family.runtime_dir, pid_file, waker)
            .map_err(os("the runtime directory can't be kept"))?;
        Ok(Self {
            configuration,
            reloads: Reloads::default(),
            previews: Previews::default(),
            launcher: Launcher::new(spawner, (family.name.clone(), family.runtime_dir.clone()), token),
            family,
            children,
            links: LinkTable::default(),
            watch: Watch::default(),
            statistics: Statistics::new(board),
            keeper: Keeper::default(),
            listening: Listening::default(),
            runtime_files,
            served: false,
            reactor,
            have_ended: false,
        })
    }

    /// Does what is planned for an event.
    pub(super) fn handle(&mut self, event: Event) {
        if event == Event::Stop {
            systemd::stopping();
        }
        let actions = self.children.plan.handle(reactor::now_ms(), event);
        for action in actions {
            match action {
                Action::Start(slot) => self.start(slot),
                Action::AskToEnd(slot) => {
                    if let Some(child) = self.children.get_mut(slot) {
                        child.tell(&MasterToChild::Stop, Vec::new());
                    }
                }
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
                    self.listening.lend(&mut self.children, slot);
                }
                Action::Exit => self.have_ended = true,
            }
        }
    }

    /// Whether all are to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.children.plan.is_stopping()
    }

    /// Makes links that are missing, and tells the children what the next master must know.
    pub(super) fn tell_what_changed(&mut self) {
        self.links.mend(&mut self.children);
        self.tell_state();
    }

    /// Whether all serve for the first time.
    pub(super) fn begin_to_serve(&mut self) -> bool {
        if self.served || !self.children.iter().all(Child::is_ready) {
            return false;
        }
        self.served = true;
        // What children of a former master brought is in its places.
        self.children.iter_mut().for_each(|child| child.listening.clear());
        self.runtime_files.say(&self.listening.serving());
        self.listening.keep();
        true
    }

    /// Whether somebody may have ended though no signal has said so.
    pub(super) fn may_have_ended(&mut self) -> bool {
        // A thread closes its channel before it has ended: nothing tells of its last moment.
        self.links.take_suspicion() || self.children.iter().any(Child::is_finished_thread)
    }

    /// Looks who has ended.
    pub(super) fn reap(&mut self) {
        for slot in self.children.slots() {
            if let Some(ending) = self.children.ended(slot) {
                self.has_ended(slot, ending);
            }
        }
    }

    /// When there is something to do though nothing happens, monotonic ms.
    pub(super) fn deadline(&self) -> Option<u64> {
        let own = [
            self.children.has_unread().then_some(0),
            self.children.plan.next_deadline(),
            self.links.deadline(),
            self.mend_deadline(),
            self.reloads.deadline(),
            self.previews.deadline(),
            Some(self.watch.deadline()),
            Some(self.statistics.deadline()),
        ];
        own.into_iter().flatten().min()
    }

    /// Notes what is needed for rates.
    pub(super) fn observe(&mut self) {
        let (children, lineage) = (&self.children, &self.family.lineage);
        let generation = self.configuration.generation();
        self.statistics.observe(|| children.process_list(lineage, generation));
    }
}
