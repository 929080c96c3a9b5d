//! Who is there: the list that the api process gets, and the answer to operators who ask the master itself. It is made of
//! what the master knows; no child is asked.

use api::{Census, Done, State};
use ipc::{MasterToChild, ProcessInfo, Role};

use super::Supervisor;
use super::children::Child;
use super::operators::OperatorId;
use crate::plan::State as SlotState;

impl Supervisor {
    /// All processes, and the places of those that are down.
    fn process_list(&self) -> Vec<ProcessInfo> {
        let mut list = vec![ProcessInfo {
            role: Role::Master,
            slot: 0,
            pid: std::process::id(),
            restarts: self.lineage.masters,
            private_api_port: 0,
            board_slot: None,
            generation: self.generation,
            state: State::Serving,
            started_ms: self.lineage.began_ms,
            last_end: self.lineage.last_master.clone(),
        }];
        for (index, (child, slot)) in self.children.iter().zip(self.plan.slots()).enumerate() {
            let state = match slot.state {
                SlotState::Free => continue,
                SlotState::Out => State::Out,
                _ if !child.is_alive() => State::Dead,
                _ if child.draining => State::Draining,
                _ if child.is_ready() => State::Serving,
                _ => State::Starting,
            };
            list.push(ProcessInfo {
                role: child.role,
                slot: child.number,
                pid: child.last_pid(),
                restarts: slot.restarts,
                private_api_port: child.port(),
                board_slot: u32::try_from(index).ok(),
                generation: child.generation,
                state,
                started_ms: child.started_ms,
                last_end: child.last_end.clone(),
            });
        }
        list
    }

    /// Tells the processes that show it who is there.
    pub(super) fn tell_processes(&mut self) {
        let list = self.process_list();
        let shows = |child: &&mut Child| matches!(child.role, Role::Api | Role::Http);
        for child in self.children.iter_mut().filter(shows) {
            child.tell(&MasterToChild::Processes(list.clone()), Vec::new());
        }
    }

    /// Notes what is needed for rates.
    pub(super) fn observe(&mut self) {
        if reactor::now_ms() >= self.observer.deadline() {
            let list = self.process_list();
            self.observer.look(&list, &self.board);
        }
    }

    /// What an operator needs to ask each process itself.
    pub(super) fn census(&self) -> Census {
        let (processes, totals) = self.observer.describe(&self.process_list(), &self.board);
        Census {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            generation: self.generation,
            uptime_ms: reactor::now_ms().saturating_sub(self.lineage.began_ms),
            token: self.token.clone(),
            vhosts: self
                .config
                .vhosts
                .iter()
                .map(|vhost| (vhost.name.clone(), vhost.enabled, vhost.hls.enabled))
                .collect(),
            log_file: (self.config.log.tank == conf::config::Tank::File)
                .then(|| std::path::absolute(&self.config.log.file).ok())
                .flatten(),
            log_trouble: crate::logging::trouble(),
            processes,
            totals,
        }
    }

    /// A stream process takes nobody more and ends with its last client; another one takes its place at once, so that its
    /// listening sockets are served.
    pub(super) fn drain(&mut self, operator: OperatorId, process: &str, within_ms: Option<u64>) {
        let done = match self.try_drain(process, within_ms) {
            Ok(said) => {
                tracing::info!("an operator drains {process}");
                Done { said, error: None }
            }
            Err(error) => Done { said: String::new(), error: Some(error) },
        };
        self.operators.answer(operator, &done);
    }

    fn try_drain(&mut self, process: &str, within_ms: Option<u64>) -> Result<String, String> {
        if self.plan.is_stopping() {
            return Err("the server ends".to_owned());
        }
        let order = within_ms.map_or(MasterToChild::Drain, |ms| MasterToChild::DrainWithin { ms });
        // One that drains already may be given an end.
        let drains = |child: &&mut Child| child.name() == process && child.is_up() && child.draining;
        if let Some(ms) = within_ms
            && let Some(child) = self.children.iter_mut().find(drains)
        {
            child.tell(&order, Vec::new());
            return Ok(format!(
                "{process} (pid {}) drains already, and ends within {} s",
                child.last_pid(),
                ms / 1000
            ));
        }
        let is_it = |child: &Child| child.name() == process && child.is_up() && !child.draining;
        let Some(slot) = self.children.iter().position(is_it) else {
            return Err(format!("there is no process {process} that could be drained"));
        };
        let Some(child) = self.children.get_mut(slot) else { return Err("it has just gone".to_owned()) };
        if child.role != Role::Stream {
            return Err(format!("{process} can't be drained: only stream processes can"));
        }
        let places = self.plan.slots().iter().filter(|slot| slot.state != SlotState::Free).count();
        if places >= super::MAX_CHILDREN {
            return Err("there is no place for the process that would take over".to_owned());
        }
        let (pid, number) = (child.last_pid(), child.number);
        child.draining = true;
        self.plan.retire(slot);
        child.tell(&order, Vec::new());
        self.add_child(Role::Stream, number, None);
        self.tell_processes();
        self.save();
        let end = match within_ms {
            None => String::new(),
            Some(0) => ", which are ended now".to_owned(),
            Some(ms) => format!(", or after {} s", ms / 1000),
        };
        Ok(format!("{process} (pid {pid}) takes nobody more and ends with its last clients{end}"))
    }
}
