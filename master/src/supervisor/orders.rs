//! What operators want of the master: a reload, what it would do, who is there, the end of one process.

use api::{Done, Order, ProcessList, Reload};
use ipc::{MasterToChild, Role};

use super::child::Child;
use super::operators::OperatorId;
use super::{MAX_CHILDREN, Supervisor};

impl Supervisor {
    /// What an operator wants.
    pub(super) fn request(&mut self, operator: OperatorId, request: &str) {
        match serde_json::from_str(request) {
            Ok(Order::Reload { dry_run: false }) => self.processes.reloads.ask(Some(operator)),
            Ok(Order::Reload { dry_run: true }) => self.preview(operator),
            Ok(Order::Processes) => {
                let process_list_for_operators = self.process_list_for_operators();
                self.operators.answer(operator, &process_list_for_operators);
            }
            Ok(Order::Drain { process, within_ms }) => self.drain(operator, &process, within_ms),
            Err(error) => {
                let result = Reload { error: Some(format!("not a request: {error}")), ..Reload::default() };
                self.operators.answer(operator, &result);
            }
        }
    }

    /// What a reload would do.
    fn preview(&mut self, operator: OperatorId) {
        let generation = self.processes.configuration.generation();
        let tried = self.processes.configuration.draft().and_then(|draft| {
            let ingests = self.processes.configuration.ingests(&draft.config);
            ingests
                .and_then(|_| self.processes.listening.try_out(&draft.config))
                .map_err(|error| error.to_string())?;
            Ok(draft)
        });
        match tried {
            Ok(draft) => {
                self.processes.previews.begin(operator, generation, draft, &mut self.processes.children);
                self.processes.previews.finish(&self.processes.children, &mut self.operators);
            }
            Err(error) => {
                let result = Reload { generation, error: Some(error), ..Reload::default() };
                self.operators.answer(operator, &result);
            }
        }
    }

    /// What an operator needs to ask each process itself.
    pub(super) fn process_list_for_operators(&self) -> ProcessList {
        let (processes, totals) = self.processes.statistics.describe(&self.processes.process_list());
        let config = self.processes.configuration.in_force();
        ProcessList {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            generation: self.processes.configuration.generation(),
            uptime_ms: reactor::now_ms().saturating_sub(self.processes.family.lineage.began_ms),
            token: self.processes.launcher.token().clone(),
            vhosts: config
                .vhosts
                .iter()
                .map(|vhost| (vhost.name.clone(), vhost.enabled, vhost.hls.enabled))
                .collect(),
            log_file: (config.log.tank == conf::config::Tank::File)
                .then(|| std::path::absolute(&config.log.file).ok())
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
        if self.processes.is_stopping() {
            return Err("the server ends".to_owned());
        }
        let order = within_ms.map_or(MasterToChild::Drain, |ms| MasterToChild::DrainWithin { ms });
        // One that drains already may be given an end.
        let drains = |child: &&mut Child| child.name() == process && child.is_up() && child.draining;
        if let Some(ms) = within_ms
            && let Some(child) = self.processes.children.iter_mut().find(drains)
        {
            child.tell(&order, Vec::new());
            return Ok(format!(
                "{process} (pid {}) drains already, and ends within {} s",
                child.last_pid(),
                ms / 1000
            ));
        }
        let is_it = |child: &Child| child.name() == process && child.is_up() && !child.draining;
        let Some(slot) = self.processes.children.iter().position(is_it) else {
            return Err(format!("there is no process {process} that could be drained"));
        };
        let Some(child) = self.processes.children.get(slot) else {
            return Err("it has just gone".to_owned());
        };
        if child.role != Role::Stream {
            return Err(format!("{process} can't be drained: only stream processes can"));
        }
        if self.processes.children.taken() >= MAX_CHILDREN {
            return Err("there is no place for the process that would take over".to_owned());
        }
        let (pid, number) = (child.last_pid(), child.number);
        self.processes.children.retire(slot, &order);
        self.processes.children.add(Role::Stream, number, None);
        self.processes.children_changed();
        let end = match within_ms {
            None => String::new(),
            Some(0) => ", which are ended now".to_owned(),
            Some(ms) => format!(", or after {} s", ms / 1000),
        };
        Ok(format!("{process} (pid {pid}) takes nobody more and ends with its last clients{end}"))
    }
}
