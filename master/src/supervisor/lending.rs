//! A stream process that can't be started, or dies again and again, must not leave those who wait in its listening sockets
//! waiting: another one accepts them meanwhile.

use ipc::{MasterToChild, Role};

use super::{Supervisor, duplicate};

impl Supervisor {
    /// Another stream process accepts from the sockets of this slot, too.
    pub(super) fn lend(&mut self, slot: usize) {
        let Some(number) = self.children.get(slot).filter(|child| child.role == Role::Stream) else { return };
        let number = number.number;
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for (address, shared) in &self.rtmp {
            if let Some(Ok(socket)) = shared.get(number as usize).map(duplicate) {
                addresses.push(*address);
                sockets.push(socket);
            }
        }
        let borrower = self.children.iter_mut().enumerate().find(|(at, child)| {
            *at != slot && child.role == Role::Stream && child.is_ready() && !child.draining
        });
        if let (Some((_, borrower)), false) = (borrower, addresses.is_empty()) {
            tracing::warn!("{} takes the clients of stream#{number} meanwhile", borrower.name());
            borrower.tell(&MasterToChild::Lend { slot: number, addresses }, sockets);
        }
    }

    /// The process of this slot is there again.
    pub(super) fn take_back(&mut self, slot: usize) {
        let Some(number) = self.children.get(slot).filter(|child| child.role == Role::Stream) else { return };
        let number = number.number;
        for (at, child) in self.children.iter_mut().enumerate() {
            if at != slot && child.role == Role::Stream && child.is_up() {
                child.tell(&MasterToChild::TakeBack { slot: number }, Vec::new());
            }
        }
    }
}
