//! Reload: another configuration for a running server. The file is read and checked as a whole, everything that can fail is
//! tried first, and only then does anything change; any error leaves all as it was.

use std::collections::{BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use api::Reload;
use conf::Config;
use conf::vhost::Ingest;
use ipc::{MasterToChild, Role};

use super::children::Child;
use super::listening::Listening;
use super::operators::OperatorId;
use super::{Loader, MAX_CHILDREN, StartError, Supervisor, runtime};
use crate::plan::State;
use crate::systemd;

/// How long processes may take to apply a configuration, ms.
const PATIENCE_MS: u64 = 5_000;

/// Reloads that were asked for, that are under way, and the last one.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// Who asked: an operator, or nobody who waits for an answer. One reload serves all that were asked for before it began.
    asked: VecDeque<Option<OperatorId>>,
    under_way: Option<UnderWay>,
    pub(super) last: Reload,
}

#[derive(Debug)]
struct UnderWay {
    result: Reload,
    waiting: BTreeSet<usize>,
    until_ms: u64,
    operators: Vec<OperatorId>,
}

impl Reloads {
    /// When [`Supervisor::check_reload`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.under_way {
            Some(under_way) => Some(under_way.until_ms),
            None => (!self.asked.is_empty()).then_some(0),
        }
    }
}

/// What a reload would do; nothing has changed yet.
#[derive(Debug)]
pub(super) struct Draft {
    /// As it is written, with the old values where only a restart changes them.
    pub(super) config: Config,
    pub(super) changes: Vec<String>,
    pub(super) after_restart: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What was bound for it.
#[derive(Debug)]
struct Bound {
    listening: Listening,
    ingests: Vec<(String, String)>,
}

/// What only a restart can change, taken over from the configuration in force.
fn keep_until_restart(new: &mut Config, old: &Config) {
    new.daemon = old.daemon;
    new.pid.clone_from(&old.pid);
    new.work_dir.clone_from(&old.work_dir);
    new.runtime_dir.clone_from(&old.runtime_dir);
    new.process_mode = old.process_mode;
    new.backsources = old.backsources;
    new.http_workers = old.http_workers;
    new.private_api_port = old.private_api_port;
    new.asprocess = old.asprocess;
    if new.process_mode == conf::config::ProcessMode::Single {
        // Its roles are threads, which can't be ended one by one.
        new.workers = old.workers;
    }
}

fn lines(old: &Config, new: &Config) -> Vec<String> {
    conf::diff::diff(old, new).iter().map(ToString::to_string).collect()
}

/// The ingests that a configuration asks for, when there is room for all its processes.
fn count_children(loader: &Loader, new: &Config) -> Result<Vec<(String, String)>, StartError> {
    let ingests = runtime::ingests(loader, new)?;
    let others = (new.backsources + new.http_workers + runtime::workers(new)) as usize;
    let count = others + 1 + ingests.len();
    if count > MAX_CHILDREN { Err(StartError::TooMany(count)) } else { Ok(ingests) }
}

fn ingest<'c>(config: &'c Config, name: &(String, String)) -> Option<&'c Ingest> {
    let vhost = config.vhosts.iter().find(|vhost| vhost.name == name.0)?;
    vhost.ingests.iter().find(|ingest| ingest.id == name.1)
}

impl Supervisor {
    /// Somebody wants a reload; it begins with this turn, or when the one under way is done.
    pub(super) fn ask_reload(&mut self, operator: Option<OperatorId>) {
        self.reloads.asked.push_back(operator);
    }

    /// Begins what was asked for, and ends what is done or takes too long.
    pub(super) fn check_reload(&mut self) {
        if self
            .reloads
            .under_way
            .as_ref()
            .is_some_and(|under_way| under_way.waiting.is_empty() || reactor::now_ms() >= under_way.until_ms)
        {
            self.finish_reload();
        }
        if self.reloads.under_way.is_none() && !self.reloads.asked.is_empty() && !self.plan.is_stopping() {
            let operators = self.reloads.asked.drain(..).flatten().collect();
            self.reload(operators);
        }
    }

    /// Reads the configuration and says what would change.
    pub(super) fn draft(&self) -> Result<Draft, String> {
        let loaded = (self.loader.load)().map_err(|failure| failure.to_string())?;
        let written = loaded.config;
        let mut config = written.clone();
        keep_until_restart(&mut config, &self.asked);
        Ok(Draft {
            changes: lines(&self.asked, &config),
            after_restart: lines(&config, &written),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            config,
        })
    }

    fn reload(&mut self, operators: Vec<OperatorId>) {
        if self.served {
            systemd::reloading();
        }
        let result = self.draft().and_then(|draft| {
            let bound = self.bind(&draft.config).map_err(|error| error.to_string())?;
            Ok((draft, bound))
        });
        let mut reload = Reload { generation: self.generation, ..Reload::default() };
        reload.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut waiting = BTreeSet::new();
        match result {
            Err(error) => {
                tracing::error!("the configuration is not reloaded, nothing changes: {error}");
                reload.error = Some(error);
            }
            Ok((draft, bound)) => {
                for warning in &draft.warnings {
                    tracing::warn!("{warning}");
                }
                for line in &draft.after_restart {
                    tracing::warn!("reload: {line}: only after a restart of the server");
                }
                if !draft.changes.is_empty() {
                    self.generation += 1;
                    waiting = self.put_in_force(draft.config, bound);
                }
                reload.generation = self.generation;
                reload.processes = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                (reload.changes, reload.after_restart) = (draft.changes, draft.after_restart);
            }
        }
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        self.reloads.under_way = Some(UnderWay { result: reload, waiting, until_ms, operators });
        if self.reloads.under_way.as_ref().is_some_and(|under_way| under_way.waiting.is_empty()) {
            self.finish_reload();
        }
    }

    /// Tries what can fail without changing anything: new ports are taken for a moment, and given back.
    pub(super) fn try_out(&self, new: &Config) -> Result<(), StartError> {
        count_children(&self.loader, new)?;
        self.listening.try_out(new)
    }

    /// Tries all that can fail.
    fn bind(&self, new: &Config) -> Result<Bound, StartError> {
        let ingests = count_children(&self.loader, new)?;
        Ok(Bound { listening: self.listening.rebind(new)?, ingests })
    }

    /// Nothing fails any more. Returns the slots that will say that they have applied it.
    fn put_in_force(&mut self, new: Config, bound: Bound) -> BTreeSet<usize> {
        let old = std::mem::replace(&mut self.config, new.clone());
        self.asked = new;
        crate::logging::configure(&self.config.log);
        runtime::raise_descriptor_limit(self.config.max_connections);
        self.listen_on(bound.listening);
        self.change_ingests(&old, bound.ingests);
        let mut waiting = BTreeSet::new();
        for (slot, child) in self.children.iter_mut().enumerate() {
            if child.is_up() && child.role != Role::Ingest {
                let config = Self::config_for(child.role, &self.config);
                child.tell(&MasterToChild::Configure { generation: self.generation, config }, Vec::new());
                waiting.insert(slot);
            }
        }
        self.save();
        waiting
    }

    /// Ingests that have gone or read otherwise are ended, others begun.
    fn change_ingests(&mut self, old: &Config, wanted: Vec<(String, String)>) {
        let mut missing = wanted;
        for slot in 0..self.children.len() {
            let is_wanted = self.plan.slots().get(slot).is_some_and(|slot| slot.wanted);
            let Some(child) = self.children.get_mut(slot) else { continue };
            let Some(name) = child.ingest.clone().filter(|_| is_wanted) else { continue };
            let same = ingest(old, &name) == ingest(&self.config, &name)
                && old.first_port() == self.config.first_port();
            match missing.iter().position(|known| *known == name) {
                Some(at) if same => {
                    missing.swap_remove(at);
                }
                _ => {
                    child.draining = true;
                    self.plan.retire(slot);
                    child.tell(&MasterToChild::Stop, Vec::new());
                }
            }
        }
        for name in missing {
            let taken = |number| {
                self.children
                    .iter()
                    .any(|child| child.role == Role::Ingest && child.number == number && child.is_up())
            };
            let number = (0..u32::MAX).find(|number| !taken(*number)).unwrap_or(0);
            self.add_child(Role::Ingest, number, Some(name));
        }
    }

    /// One child more; it is started with this turn.
    pub(super) fn add_child(&mut self, role: Role, number: u32, ingest: Option<(String, String)>) {
        let slot = self.plan.add(role, number);
        let child = Child::new(role, number, ingest);
        match self.children.get_mut(slot) {
            Some(place) => *place = child,
            None => self.children.push(child),
        }
    }

    /// A child has ended and its place is nobody's now.
    pub(super) fn free_place(&mut self, slot: usize) {
        if self.plan.slots().get(slot).is_some_and(|slot| slot.state == State::Free)
            && let Some(child) = self.children.get_mut(slot)
        {
            child.ingest = None;
        }
    }

    /// A process has applied a configuration.
    pub(super) fn applied(&mut self, slot: usize, generation: u64) {
        if let Some(child) = self.children.get_mut(slot) {
            child.generation = generation;
        }
        if let Some(under_way) = &mut self.reloads.under_way
            && under_way.result.generation == generation
            && under_way.waiting.remove(&slot)
        {
            under_way.result.applied += 1;
        }
    }

    /// A process has ended; its successor begins with the new configuration.
    pub(super) fn not_waited_for(&mut self, slot: usize) {
        if let Some(under_way) = &mut self.reloads.under_way
            && under_way.waiting.remove(&slot)
        {
            under_way.result.applied += 1;
        }
    }

    fn finish_reload(&mut self) {
        let Some(UnderWay { result, waiting, operators, .. }) = self.reloads.under_way.take() else { return };
        for slot in waiting {
            if let Some(child) = self.children.get(slot) {
                tracing::error!("{} has not applied generation {}", child.name(), result.generation);
            }
        }
        let told = match &result.error {
            Some(error) => format!("generation {} stays, the reload failed: {error}", result.generation),
            None => {
                let what = if result.changes.is_empty() {
                    "nothing has changed".to_owned()
                } else {
                    result.changes.join("; ")
                };
                let (applied, processes) = (result.applied, result.processes);
                let told =
                    format!("generation {}: {what}; applied by {applied} of {processes}", result.generation);
                tracing::info!("{told}");
                told
            }
        };
        // Before that, the first message has yet to come.
        if self.served {
            systemd::ready(&told);
        }
        let shows = |child: &&mut Child| matches!(child.role, Role::Api | Role::Http);
        for child in self.children.iter_mut().filter(shows) {
            child.tell(&MasterToChild::Reloaded(result.clone()), Vec::new());
        }
        self.tell_processes();
        for operator in operators {
            self.operators.answer(operator, &result);
        }
        self.reloads.last = result;
    }

    /// Another api process does not know what its predecessor was told.
    pub(super) fn tell_last_reload(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.tell(&MasterToChild::Reloaded(self.reloads.last.clone()), Vec::new());
        }
    }

    /// The log files were renamed: new ones everywhere.
    pub(super) fn reopen_logs(&mut self) {
        crate::logging::reopen();
        for child in &mut self.children {
            child.tell(&MasterToChild::ReopenLog, Vec::new());
        }
        tracing::info!("the log is open again");
    }
}
