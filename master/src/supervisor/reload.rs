//! Reload: another configuration for a running server. The file is read and checked as a whole, everything that can fail is
//! tried first, and only then does anything change; any error leaves all as it was.

use std::collections::{BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use api::Reload;
use conf::Config;
use ipc::{MasterToChild, Role};

use super::child::Child;
use super::children::Children;
use super::configuration::{Draft, IngestName};
use super::listening::Listening;
use super::operators::{OperatorId, Operators};
use super::{StartError, Supervisor, limits};
use crate::systemd;

/// How long processes may take to apply a configuration, ms.
const PATIENCE_MS: u64 = 5_000;

/// Reloads that were asked for, that are under way, and the last one.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// Who asked: an operator, or nobody who waits for an answer. One reload serves all that were asked for before it began.
    asked: VecDeque<Option<OperatorId>>,
    under_way: Option<UnderWay>,
    last: Reload,
}

#[derive(Debug)]
struct UnderWay {
    result: Reload,
    waiting: BTreeSet<usize>,
    until_ms: u64,
    operators: Vec<OperatorId>,
}

impl Reloads {
    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.under_way {
            Some(under_way) => Some(under_way.until_ms),
            None => (!self.asked.is_empty()).then_some(0),
        }
    }

    /// Somebody wants a reload; it begins with this turn, or when the one under way is done.
    pub(super) fn ask(&mut self, operator: Option<OperatorId>) {
        self.asked.push_back(operator);
    }

    /// Those who wait for the reload that is to begin now.
    fn take_asked(&mut self) -> Option<Vec<OperatorId>> {
        let is_due = self.under_way.is_none() && !self.asked.is_empty();
        is_due.then(|| self.asked.drain(..).flatten().collect())
    }

    /// The server ends: nothing is reloaded any more.
    fn refuse(&mut self, operators: &mut Operators) {
        for operator in self.asked.drain(..).flatten() {
            let error = Some("the server ends".to_owned());
            operators.answer(operator, &Reload { error, ..self.last.clone() });
        }
    }

    fn begin(&mut self, result: Reload, waiting: BTreeSet<usize>, operators: Vec<OperatorId>) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        self.under_way = Some(UnderWay { result, waiting, until_ms, operators });
    }

    /// Takes out the one under way when all have applied it, or have had their time.
    fn take_done(&mut self) -> Option<UnderWay> {
        self.under_way
            .take_if(|under_way| under_way.waiting.is_empty() || reactor::now_ms() >= under_way.until_ms)
    }

    /// A process has applied a configuration.
    pub(super) fn applied(&mut self, slot: usize, child: &mut Child, generation: u64) {
        child.generation = generation;
        if self.under_way.as_ref().is_some_and(|under_way| under_way.result.generation == generation) {
            self.not_waited_for(slot);
        }
    }

    /// A process has ended; its successor begins with the new configuration.
    pub(super) fn not_waited_for(&mut self, slot: usize) {
        if let Some(under_way) = &mut self.under_way
            && under_way.waiting.remove(&slot)
        {
            under_way.result.applied += 1;
        }
    }

    /// All is told who asked, and those who show it.
    fn finish(&mut self, done: UnderWay, children: &mut Children, operators: &mut Operators) -> String {
        let UnderWay { result, waiting, operators: asked, .. } = done;
        for child in waiting.iter().filter_map(|slot| children.get(*slot)) {
            tracing::error!("{} has not applied generation {}", child.name(), result.generation);
        }
        let told = match &result.error {
            Some(error) => format!("generation {} stays, the reload failed: {error}", result.generation),
            None => {
                let nothing = result.changes.is_empty();
                let what = if nothing { "nothing has changed".to_owned() } else { result.changes.join("; ") };
                let (applied, processes) = (result.applied, result.processes);
                let told =
                    format!("generation {}: {what}; applied by {applied} of {processes}", result.generation);
                tracing::info!("{told}");
                told
            }
        };
        self.last = result;
        for child in children.of_roles(&[Role::Api, Role::Http]) {
            self.tell_last(child);
        }
        for operator in asked {
            operators.answer(operator, &self.last);
        }
        told
    }

    /// Another process that shows it does not know what its predecessor was told.
    pub(super) fn tell_last(&self, child: &mut Child) {
        child.tell(&MasterToChild::Reloaded(self.last.clone()), Vec::new());
    }
}

/// What was bound for it.
#[derive(Debug)]
struct Bound {
    listening: Listening,
    ingests: Vec<IngestName>,
}

impl Supervisor {
    /// Begins what was asked for, and ends what is done or takes too long.
    pub(super) fn check_reload(&mut self) {
        self.finish_reload();
        if self.processes.is_stopping() {
            return self.processes.reloads.refuse(&mut self.operators);
        }
        if let Some(operators) = self.processes.reloads.take_asked() {
            self.reload(operators);
            self.finish_reload();
        }
    }

    fn finish_reload(&mut self) {
        let Some(done) = self.processes.reloads.take_done() else { return };
        let told = self.processes.reloads.finish(done, &mut self.processes.children, &mut self.operators);
        // Before that, the first message has yet to come.
        if self.processes.served {
            systemd::ready(&told);
        }
        self.processes.tell_processes();
    }

    fn reload(&mut self, operators: Vec<OperatorId>) {
        if self.processes.served {
            systemd::reloading();
        }
        let result = self.processes.configuration.draft().and_then(|draft| {
            let bound = self.bind(&draft.config).map_err(|error| error.to_string())?;
            Ok((draft, bound))
        });
        let mut reload =
            Reload { generation: self.processes.configuration.generation(), ..Reload::default() };
        reload.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut waiting = BTreeSet::new();
        match result {
            Err(error) => {
                tracing::error!("the configuration is not reloaded, nothing changes: {error}");
                reload.error = Some(error);
            }
            Ok((draft, bound)) => {
                let Draft { config, changes, after_restart, warnings } = draft;
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                for line in &after_restart {
                    tracing::warn!("reload: {line}: only after a restart of the server");
                }
                if !changes.is_empty() {
                    waiting = self.put_in_force(config, bound);
                }
                reload.generation = self.processes.configuration.generation();
                reload.processes = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                (reload.changes, reload.after_restart) = (changes, after_restart);
            }
        }
        self.processes.reloads.begin(reload, waiting, operators);
    }

    /// Tries all that can fail.
    fn bind(&self, new: &Config) -> Result<Bound, StartError> {
        let ingests = self.processes.configuration.ingests(new)?;
        Ok(Bound { listening: self.processes.listening.rebind(new)?, ingests })
    }

    /// Nothing fails any more. Returns the slots that will say that they have applied it.
    fn put_in_force(&mut self, new: Config, bound: Bound) -> BTreeSet<usize> {
        let old = self.processes.configuration.replace(new, &bound.listening);
        let config = self.processes.configuration.in_force();
        crate::logging::configure(&config.log);
        limits::raise_descriptor_limit(config.max_connections);
        self.processes.listening.replace(bound.listening, &mut self.processes.children, config);
        self.processes.runtime_files.say(&self.processes.listening.serving());
        self.processes.listening.keep();
        self.processes.children.fit_ingests(&old, config, bound.ingests);
        let mut waiting = BTreeSet::new();
        for (slot, child) in self.processes.children.iter_mut().enumerate() {
            if child.is_up() && child.role != Role::Ingest {
                child.tell(&self.processes.configuration.message(child.role), Vec::new());
                waiting.insert(slot);
            }
        }
        self.processes.family.lineage.has_changed();
        waiting
    }
}
