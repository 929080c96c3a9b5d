//! A stream or http process that can't be started, or dies again and again, must not leave those who wait in its listening sockets
//! waiting: another one accepts them meanwhile.

use ipc::{MasterToChild, Role};

use super::Supervisor;

impl Supervisor {
    /// Role and number of a child that accepts clients beside others of its role.
    fn faces_clients(&self, slot: usize) -> Option<(Role, u32)> {
        let child = self.children.get(slot)?;
        matches!(child.role, Role::Stream | Role::Http).then_some((child.role, child.number))
    }

    /// Another process of its role accepts from the sockets of this slot, too.
    pub(super) fn lend(&mut self, slot: usize) {
        let Some((role, number)) = self.faces_clients(slot) else { return };
        let (addresses, sockets) = self.listening.of(role, number);
        let borrower = self
            .children
            .iter_mut()
            .enumerate()
            .find(|(at, child)| *at != slot && child.role == role && child.is_ready() && !child.draining);
        if let (Some((_, borrower)), false) = (borrower, addresses.is_empty()) {
            tracing::warn!("{} takes the clients of {}#{number} meanwhile", borrower.name(), role.name());
            borrower.tell(&MasterToChild::Lend { slot: number, addresses }, sockets);
        }
    }

    /// The process of this slot is there again.
    pub(super) fn take_back(&mut self, slot: usize) {
        let Some((role, number)) = self.faces_clients(slot) else { return };
        for (at, child) in self.children.iter_mut().enumerate() {
            if at != slot && child.role == role && child.is_up() {
                child.tell(&MasterToChild::TakeBack { slot: number }, Vec::new());
            }
        }
    }
}
