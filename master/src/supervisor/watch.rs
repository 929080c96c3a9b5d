//! Who hangs, and who died of what a client sent.

use std::collections::HashMap;
use std::net::IpAddr;

use ipc::{MasterToChild, Role};
use nix::sys::signal::Signal;

use super::child::Child;
use super::children::Children;
use super::keeper::Keeper;
use super::processes::Processes;
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
    /// When it is to be looked again.
    pub(super) fn deadline(&self) -> u64 {
        self.next_ms
    }

    /// Whether it is time to look; children need not have shown that they live while this process was stopped itself.
    pub(super) fn is_due(&mut self, children: &mut Children) -> bool {
        let now_ms = reactor::now_ms();
        if now_ms < self.next_ms {
            return false;
        }
        let gap = now_ms.saturating_sub(self.last_ms);
        (self.last_ms, self.next_ms) = (now_ms, now_ms + LOOK_MS);
        if gap > OWN_GAP_MS {
            children.iter_mut().for_each(|child| child.signs.watched_from_ms = now_ms);
        }
        true
    }

    /// A process has died: of what it was reading? Nobody is taken for a while from where that came, when it was not the first.
    pub(super) fn post_mortem(
        &mut self,
        child: &mut Child,
        ending: Ending,
        keeper: &mut Keeper,
    ) -> Option<IpAddr> {
        let work = child.work.take()?.work()?;
        // Who was killed from outside died of that.
        let of_itself = [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE];
        if !of_itself.iter().any(|signal| ending.signal == Some(*signal as i32)) {
            return None;
        }
        tracing::error!(
            cid = work.connection,
            "{} died while it read from {}; the last bytes: {}",
            child.name(),
            work.ip,
            without_text(&work.bytes)
        );
        keeper.forget(child.role, child.number, work.connection);
        let now_ms = reactor::now_ms();
        let deaths = self.poison.entry(work.ip).or_default();
        deaths.retain(|at| now_ms.saturating_sub(*at) < POISON_WINDOW_MS);
        deaths.push(now_ms);
        let count = deaths.len();
        self.poison.retain(|_, deaths| deaths.iter().any(|at| now_ms.saturating_sub(*at) < POISON_WINDOW_MS));
        if count < POISON_DEATHS {
            return None;
        }
        tracing::error!(
            "{count} processes died of what came from {}: nobody is taken from there for {} s",
            work.ip,
            REFUSE_MS / 1000
        );
        self.refused.insert(work.ip, now_ms + REFUSE_MS);
        Some(work.ip)
    }

    /// Tells a new process that faces clients whom not to take.
    pub(super) fn tell_refused(&mut self, child: &mut Child) {
        let now_ms = reactor::now_ms();
        self.refused.retain(|_, until| *until > now_ms);
        for (ip, until) in &self.refused {
            child.tell(&MasterToChild::Refuse { ip: *ip, for_ms: until - now_ms }, Vec::new());
        }
    }
}

/// Tells processes that face clients to take nobody from an address for a while.
pub(super) fn refuse(children: &mut Children, ip: IpAddr) {
    for child in children.of_roles(&[Role::Stream, Role::Http]) {
        child.tell(&MasterToChild::Refuse { ip, for_ms: REFUSE_MS }, Vec::new());
    }
}

/// A child that shows no sign of life for too long is asked, ended so that it leaves a core, and then ended for certain.
pub(super) fn look_at(child: &mut Child, silent_ms: u64, limit_ms: u64) {
    let now_ms = reactor::now_ms();
    if silent_ms > limit_ms / 2 && now_ms.saturating_sub(child.signs.asked_ms) > limit_ms / 4 {
        child.signs.asked_ms = now_ms;
        child.tell(&MasterToChild::Ping, Vec::new());
    }
    if silent_ms > limit_ms + KILL_AFTER_MS {
        child.kill();
    } else if silent_ms > limit_ms && !child.signs.aborted {
        tracing::error!(
            "{} (pid {}) shows no sign of life for {silent_ms} ms: ended",
            child.name(),
            child.last_pid()
        );
        child.signs.aborted = true;
        child.signal(Signal::SIGABRT);
    }
}

impl Processes {
    /// Looks, now and then, after what nobody tells of: who hangs, and what is kept for whom.
    pub(super) fn watch(&mut self) {
        if !self.watch.is_due(&mut self.children) {
            return;
        }
        self.statistics.clear_empty(&self.children);
        for slot in self.children.bury() {
            let killed = Ending { code: None, signal: Some(Signal::SIGKILL as i32) };
            self.has_ended(slot, killed);
        }
        let children = &self.children;
        self.keeper.look_after(|number| {
            let mut its = children.iter().filter(|child| child.role == Role::Http && child.number == number);
            its.any(Child::is_alive)
        });
        let limit_ms = self.configuration.in_force().watchdog_ms;
        for slot in self.children.slots() {
            let is_watched = |child: &Child| limit_ms > 0 && child.is_up() && child.is_ready();
            let Some(child) = self.children.get(slot).filter(|child| is_watched(child)) else { continue };
            if self.statistics.silent_ms(slot, child) <= limit_ms / 2 {
                continue;
            }
            // This process may be late itself: what they have said by now counts.
            self.read_child(slot);
            if let Some(child) = self.children.get_mut(slot).filter(|child| is_watched(child)) {
                let silent_ms = self.statistics.silent_ms(slot, child);
                look_at(child, silent_ms, limit_ms);
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
