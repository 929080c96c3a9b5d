//! Who hangs, and who died of what a client sent.

use std::collections::HashMap;
use std::net::IpAddr;

use ipc::{MasterToChild, Role};
use mediaring::Counter;
use nix::sys::signal::Signal;

use super::Supervisor;
use super::children::Child;
use crate::spawn::Ending;

/// How often signs of life are looked at, ms.
const LOOK_MS: u64 = 250;
/// A loop that comes round so late was stopped itself: nobody else can be blamed for being silent, ms.
const OWN_GAP_MS: u64 = 1_000;
/// Between the signal that leaves a core and the one that can't be refused, ms.
const KILL_AFTER_MS: u64 = 1_000;
/// Deaths of input from one address within this time count together, ms.
const POISON_WINDOW_MS: u64 = 60_000;
/// So many deaths, and nobody is taken from that address.
const POISON_DEATHS: usize = 2;
/// For so long, ms.
const REFUSE_MS: u64 = 60_000;

/// What the watch remembers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    next_ms: u64,
    last_ms: u64,
    poison: HashMap<IpAddr, Vec<u64>>,
    refused: HashMap<IpAddr, u64>,
}

impl Watch {
    /// When [`Supervisor::watch`] is due.
    pub(super) fn deadline(&self) -> u64 {
        self.next_ms
    }
}

impl Supervisor {
    /// Ends whoever has shown no sign of life for too long: first so that it leaves a core, then for certain.
    pub(super) fn watch(&mut self) {
        let now_ms = reactor::now_ms();
        if now_ms < self.watch.next_ms {
            return;
        }
        let gap = now_ms.saturating_sub(self.watch.last_ms);
        (self.watch.last_ms, self.watch.next_ms) = (now_ms, now_ms + LOOK_MS);
        self.clear_empty_slots();
        self.bury();
        let children = &self.children;
        self.keeper.look_after(|number| {
            let mut its = children.iter().filter(|child| child.role == Role::Http && child.number == number);
            its.any(Child::is_alive)
        });
        let limit = self.config.watchdog_ms;
        let is_watched = |child: &Child| limit > 0 && child.is_up() && child.is_ready();
        if gap > OWN_GAP_MS {
            self.children.iter_mut().for_each(|child| child.watched_from_ms = now_ms);
        }
        // This process may be late itself: what they have said by now counts.
        for slot in 0..self.children.len() {
            if self.children.get(slot).is_some_and(|child| is_watched(child) && self.silent_ms(slot) > limit)
            {
                self.read_child(slot);
            }
        }
        let silent: Vec<u64> = (0..self.children.len()).map(|slot| self.silent_ms(slot)).collect();
        for (child, silent) in self.children.iter_mut().zip(silent) {
            if !is_watched(child) {
                continue;
            }
            if silent > limit / 2 && now_ms.saturating_sub(child.pinged_ms) > limit / 4 {
                child.pinged_ms = now_ms;
                child.tell(&MasterToChild::Ping, Vec::new());
            }
            if silent > limit + KILL_AFTER_MS {
                child.kill();
            } else if silent > limit && !child.aborted {
                tracing::error!(
                    "{} (pid {}) shows no sign of life for {silent} ms: ended",
                    child.name(),
                    child.last_pid()
                );
                child.aborted = true;
                child.signal(Signal::SIGABRT);
            }
        }
    }

    /// How long a child has shown no sign of life, ms. What another process could have written on the scoreboard is not enough to
    /// end one: it is asked, too.
    fn silent_ms(&self, slot: usize) -> u64 {
        let now_ms = reactor::now_ms();
        let beat = self.board.last_beat(slot).min(now_ms);
        let heard = self.children.get(slot).map_or(now_ms, |child| child.watched_from_ms.max(child.heard_ms));
        now_ms.saturating_sub(beat.max(heard))
    }

    /// Where nobody is who serves clients, there are none, whatever was written there. Those who serve them say how many.
    fn clear_empty_slots(&self) {
        for slot in 0..mediaring::SLOTS {
            let serves = self.children.get(slot).is_some_and(|child| {
                child.is_up() && matches!(child.role, Role::BackSource | Role::Stream | Role::Http)
            });
            if !serves {
                self.board.set(slot, Counter::Connections, 0);
            }
        }
    }

    /// A child has died: of what it was reading?
    pub(super) fn post_mortem(&mut self, slot: usize, ending: Ending) {
        let work = self.children.get_mut(slot).and_then(|child| child.work.take());
        let Some(work) = work.and_then(|record| record.work()) else { return };
        // Who was killed from outside died of that.
        let of_itself = [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE];
        let name = self.children.get(slot).map(Child::name).unwrap_or_default();
        if !of_itself.iter().any(|signal| ending.signal == Some(*signal as i32)) {
            return;
        }
        tracing::error!(
            cid = work.connection,
            "{name} died while it read from {}; the last bytes: {}",
            work.ip,
            without_text(&work.bytes)
        );
        if let Some(child) = self.children.get(slot) {
            self.keeper.forget(child.role, child.number, work.connection);
        }
        let now_ms = reactor::now_ms();
        let deaths = self.watch.poison.entry(work.ip).or_default();
        deaths.retain(|at| now_ms.saturating_sub(*at) < POISON_WINDOW_MS);
        deaths.push(now_ms);
        if deaths.len() >= POISON_DEATHS {
            tracing::error!(
                "{} processes died of what came from {}: nobody is taken from there for {} s",
                deaths.len(),
                work.ip,
                REFUSE_MS / 1000
            );
            self.watch.refused.insert(work.ip, now_ms + REFUSE_MS);
            let faces_clients = |child: &&mut Child| matches!(child.role, Role::Stream | Role::Http);
            for child in self.children.iter_mut().filter(faces_clients) {
                child.tell(&MasterToChild::Refuse { ip: work.ip, for_ms: REFUSE_MS }, Vec::new());
            }
        }
        self.watch
            .poison
            .retain(|_, deaths| deaths.iter().any(|at| now_ms.saturating_sub(*at) < POISON_WINDOW_MS));
    }

    /// Tells a new stream process whom not to take.
    pub(super) fn tell_refused(&mut self, slot: usize) {
        let now_ms = reactor::now_ms();
        self.watch.refused.retain(|_, until| *until > now_ms);
        if let Some(child) = self.children.get_mut(slot) {
            for (ip, until) in &self.watch.refused {
                child.tell(&MasterToChild::Refuse { ip: *ip, for_ms: until - now_ms }, Vec::new());
            }
        }
    }
}

/// Bytes of a client for the log. Longer text is only counted: it may be, or be a part of, a key or a password, and what
/// a program dies of is in the bytes around it.
fn without_text(bytes: &[u8]) -> String {
    const SHORT: usize = 4;
    let is_text = |byte: &u8| matches!(byte, 0x20..=0x7E | 0x80..);
    let mut out = String::new();
    for run in bytes.chunk_by(|a, b| is_text(a) == is_text(b)) {
        if run.len() > SHORT && run.first().is_some_and(is_text) {
            out.push_str(&format!("<{} bytes of text>", run.len()));
        } else {
            out.push_str(&run.escape_ascii().to_string());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_text;

    #[test]
    fn what_may_be_a_secret_is_counted_only() {
        let bytes = b"\x02\0\x05tcUrl\x02\0\x16rtmp://h/live?key=SECRET\0\0\x09abc";
        let shown = without_text(bytes);
        assert_eq!(
            shown,
            "\\x02\\x00\\x05<5 bytes of text>\\x02\\x00\\x16<24 bytes of text>\\x00\\x00\\tabc"
        );
    }
}
