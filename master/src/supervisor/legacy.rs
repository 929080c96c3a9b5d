//! What a master tells its children, and they hold for the next: the table of all processes, the configuration in force, what
//! was counted.

use conf::Config;
use ipc::{Hello, MasterToChild, Role};
use serde::{Deserialize, Serialize};

use super::child::Child;
use super::children::Children;
use super::configuration::{Configuration, IngestName};
use super::lineage::Lineage;
use crate::plan::{Slot, State};

/// What a master tells its children for the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Legacy {
    /// Of two, the one with the higher number is the newer.
    pub(super) sequence: u64,
    pub(super) asked: Config,
    pub(super) config: Config,
    pub(super) generation: u64,
    pub(super) spawned: u64,
    /// When the server was started, and how many masters it has had before the one that wrote this.
    #[serde(default)]
    pub(super) began_ms: u64,
    #[serde(default)]
    pub(super) masters: u32,
    /// The process id of the master.
    #[serde(default)]
    pub(super) pid: u32,
    pub(super) children: Vec<Known>,
}

/// A slot of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) role: Role,
    pub(super) number: u32,
    /// 0: nobody was there.
    pub(super) pid: u32,
    pub(super) restarts: u32,
    pub(super) draining: bool,
    pub(super) free: bool,
    pub(super) ingest: Option<IngestName>,
    #[serde(default)]
    pub(super) last_end: Option<(String, u32, u64)>,
}

impl Known {
    /// What a child says of itself, where the table knows nothing of it.
    pub(super) fn of(hello: &Hello) -> Self {
        Self {
            role: hello.role,
            number: hello.number,
            pid: 0,
            restarts: 0,
            draining: hello.draining,
            free: false,
            ingest: hello.ingest.clone(),
            last_end: None,
        }
    }

    /// Its process has died when no master was there to see how.
    pub(super) fn died_unseen(&mut self) {
        self.restarts += 1;
        self.last_end = Some(("a death without a master".to_owned(), self.pid, reactor::now_ms()));
    }

    pub(super) fn nobody() -> Self {
        let (role, number) = (Role::Ingest, u32::MAX);
        Self { role, number, pid: 0, restarts: 0, draining: false, free: true, ingest: None, last_end: None }
    }

    /// A place as it is now.
    fn now((child, slot): (&Child, &Slot)) -> Self {
        Self {
            role: child.role,
            number: child.number,
            pid: if child.is_alive() { child.last_pid() } else { 0 },
            restarts: slot.restarts,
            draining: child.draining,
            free: slot.state == State::Free,
            ingest: child.ingest.clone(),
            last_end: child.last_end.clone(),
        }
    }
}

/// Tells the children what the next master must know, where they do not hold it yet.
pub(super) fn tell(children: &mut Children, configuration: &Configuration, lineage: &Lineage, spawned: u64) {
    let sequence = lineage.sequence;
    let lags = |child: &Child| child.is_up() && child.state_told != sequence && !child.is_behind();
    if !children.iter().any(lags) {
        return;
    }
    let legacy = Legacy {
        sequence,
        asked: configuration.asked().clone(),
        config: configuration.in_force().clone(),
        generation: configuration.generation(),
        spawned,
        began_ms: lineage.began_ms,
        masters: lineage.masters,
        pid: std::process::id(),
        children: children.planned().map(Known::now).collect(),
    };
    let Ok(whole) = rmp_serde::to_vec_named(&legacy) else { return };
    let (asked, config) = (legacy.asked.without_secrets(), legacy.config.without_secrets());
    let Ok(state) = rmp_serde::to_vec_named(&Legacy { asked, config, ..legacy }) else { return };
    reactor::crash_point("before-save");
    for child in children.iter_mut().filter(|child| lags(child)) {
        let state = if child.role == Role::Api { &whole } else { &state };
        child.tell(&MasterToChild::State { state: state.clone() }, Vec::new());
        child.state_told = sequence;
    }
}
