//! What goes on over the masters of a server.

use api::State;
use ipc::{ProcessInfo, Role};

use super::legacy::Legacy;

/// What goes on over the masters of a server.
#[derive(Debug)]
pub(super) struct Lineage {
    /// When the server was started, monotonic ms.
    pub(super) began_ms: u64,
    /// How many masters there were before this one, and how the last ended: how, which process, when (monotonic ms).
    pub(super) masters: u32,
    pub(super) last_master: Option<(String, u32, u64)>,
    /// Number of what the children hold for the next master; it grows with each change.
    pub(super) sequence: u64,
}

impl Lineage {
    /// Of the first master of a server.
    pub(super) fn founded() -> Self {
        Self { began_ms: reactor::now_ms(), masters: 0, last_master: None, sequence: 1 }
    }

    /// Of the next one after a death.
    pub(super) fn after(legacy: &Legacy) -> Self {
        let now_ms = reactor::now_ms();
        Self {
            // Masters of earlier versions did not tell it.
            began_ms: if legacy.began_ms > 0 { legacy.began_ms } else { now_ms },
            masters: legacy.masters + 1,
            last_master: Some(("death".to_owned(), legacy.pid, now_ms)),
            sequence: legacy.sequence,
        }
    }

    /// What the children hold for the next master is true no more: they are told anew with the next turn.
    pub(super) fn has_changed(&mut self) {
        self.sequence += 1;
    }

    /// This master, as operators see it.
    pub(super) fn describe(&self, generation: u64, is_draining: bool) -> ProcessInfo {
        ProcessInfo {
            role: Role::Master,
            number: 0,
            pid: std::process::id(),
            restarts: self.masters,
            private_api_port: 0,
            board_slot: None,
            generation,
            state: if is_draining { State::Draining } else { State::Serving },
            started_ms: self.began_ms,
            last_end: self.last_master.clone(),
        }
    }
}
