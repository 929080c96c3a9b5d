//! A place for a child, the child in it, and what is told to it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use ipc::{Channel, ChannelError, ChildToMaster, MasterToChild, Role};
use mediaring::WorkRecord;
use nix::sys::signal::Signal;

use super::adopted::Adopted;
use super::configuration::{Configuration, IngestName};
use super::duplicate;
use crate::spawn::{Ending, Running};

/// When what found no room is given or asked for again, ms.
const AGAIN_MS: u64 = 100;
/// A process of which only threads are left that the kernel does not let go is given up after so long, ms: at an ordinary end they
/// are there for a moment.
const CORPSE_MS: u64 = 1_000;
/// How long a child that has lost its channel may take to come again, ms.
const PATIENCE_MS: u64 = 3_000;

/// Signs of life of a child, all in monotonic ms.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// It need not have shown that it lives before this time.
    pub(super) watched_from_ms: u64,
    /// When it last said something, and when it was last asked whether it is there.
    pub(super) heard_ms: u64,
    pub(super) asked_ms: u64,
    /// It was told to end because it showed no sign of life.
    pub(super) aborted: bool,
}

/// What is to be mended between the master and a child, all in monotonic ms.
#[derive(Debug, Default)]
struct Mending {
    /// Since when its channel is lost though it lives.
    lost_ms: Option<u64>,
    /// When it is to be given again what belongs to it, and asked again for what it keeps with us.
    give_again_ms: Option<u64>,
    keep_again_ms: Option<u64>,
}

/// What a channel brought.
#[derive(Debug)]
pub(super) enum Received {
    /// A message, and its descriptors.
    Message(ChildToMaster, Vec<OwnedFd>),
    /// Something that only another version knows.
    Unknown,
    /// Nothing for now.
    Nothing,
    /// There is no channel any more.
    Ended,
}

/// Messages between us and a child of another version that one side did not understand.
#[derive(Debug, Default)]
struct NotUnderstood {
    here: u64,
    there: u64,
}

/// A place for a child, and the child in it.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) role: Role,
    pub(super) number: u32,
    /// Vhost and id of the ingest that it does.
    pub(super) ingest: Option<IngestName>,
    /// It is to end with its last client.
    pub(super) draining: bool,
    pub(super) signs: Signs,
    /// When it was started, monotonic ms, and the generation of the configuration that it goes by.
    pub(super) started_ms: u64,
    pub(super) generation: u64,
    /// How the one before it ended, which process it was, and when, monotonic ms.
    pub(super) last_end: Option<(String, u32, u64)>,
    mending: Mending,
    /// Which state it has for the next master.
    pub(super) state_told: u64,
    /// Messages that were not understood: of it here, and of ours there.
    not_understood: NotUnderstood,
    /// Listening sockets that it brought with it.
    pub(super) listening: Vec<(SocketAddr, OwnedFd)>,
    /// What the process in this place is doing with bytes from outside, also when it has just died.
    pub(super) work: Option<WorkRecord>,
    running: Option<Running>,
    /// Since when its main thread has ended and another one has not, monotonic ms.
    corpse_since_ms: Option<u64>,
    channel: Option<Channel>,
    pid: u32,
    ready: bool,
    port: u16,
}

impl Child {
    pub(super) fn new(role: Role, number: u32, ingest: Option<IngestName>) -> Self {
        Self {
            role,
            number,
            ingest,
            draining: false,
            signs: Signs::default(),
            started_ms: 0,
            generation: 0,
            last_end: None,
            mending: Mending::default(),
            state_told: 0,
            not_understood: NotUnderstood::default(),
            listening: Vec::new(),
            work: None,
            running: None,
            corpse_since_ms: None,
            channel: None,
            pid: 0,
            ready: false,
            port: 0,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{}#{}", self.role.name(), self.number)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn last_pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            running.kill();
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }

    /// Whether it was a thread (single mode) and has ended.
    pub(super) fn is_finished_thread(&self) -> bool {
        matches!(&self.running, Some(Running::Thread(thread)) if thread.is_finished())
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Option<Ending> {
        self.running.as_mut()?.ended()
    }

    /// Takes out a process whose main thread has ended while another one hangs in the kernel (in a write to a disk that does
    /// not answer, say): it does no more work, and ends for good when the kernel lets it.
    pub(super) fn take_corpse(&mut self) -> Option<Running> {
        let is_process = matches!(self.running, Some(Running::Process(_) | Running::Adopted(_)));
        if !is_process || !crate::relatives::is_corpse(self.pid) {
            self.corpse_since_ms = None;
            return None;
        }
        let now_ms = reactor::now_ms();
        let since_ms = *self.corpse_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) < CORPSE_MS {
            return None;
        }
        self.running.take()
    }

    /// A process of a former master has this place.
    pub(super) fn take_over(&mut self, adopted: Adopted, channel: Channel) {
        self.pid = adopted.pid();
        // In hundredths of a second since boot.
        self.started_ms = crate::relatives::began(self.pid).unwrap_or(0).saturating_mul(10);
        self.running = Some(Running::Adopted(adopted));
        self.channel = Some(channel);
        self.signs.watched_from_ms = reactor::now_ms();
    }

    /// It has come again over another channel.
    pub(super) fn take_back(&mut self, channel: Channel) {
        self.channel = Some(channel);
        self.mending.lost_ms = None;
        self.state_told = 0;
        self.signs.watched_from_ms = reactor::now_ms();
    }

    /// The listening socket of this address that it brought.
    pub(super) fn brought(&self, address: SocketAddr) -> Option<OwnedFd> {
        let its = self.listening.iter().find(|(known, _)| *known == address);
        its.and_then(|(_, socket)| duplicate(socket).ok())
    }

    /// Its channel is of no more use. If it lives it comes again.
    pub(super) fn lose_channel(&mut self) {
        if self.channel.take().is_some()
            && matches!(self.running, Some(Running::Process(_) | Running::Adopted(_)))
        {
            self.mending.lost_ms = Some(reactor::now_ms());
        }
    }

    /// The place is free again.
    pub(super) fn clear(&mut self) {
        self.running = None;
        self.corpse_since_ms = None;
        self.channel = None;
        self.mending = Mending::default();
        self.state_told = 0;
        self.ready = false;
        self.port = 0;
    }

    /// Whether it can be told something.
    pub(super) fn is_up(&self) -> bool {
        self.channel.is_some()
    }

    /// Whether there is a process, or a thread, in this place.
    pub(super) fn is_alive(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it has not taken yet what it was told.
    pub(super) fn is_behind(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::wants_write)
    }

    pub(super) fn tell(&mut self, message: &MasterToChild, fds: Vec<OwnedFd>) {
        let name = self.name();
        debug_assert!(message.roles().contains(&self.role), "{} is not for {name}", message.name());
        let Some(channel) = &mut self.channel else { return };
        match channel.send(message, fds) {
            // A child that has gone is noticed by its end.
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => tracing::error!("{name} can't be told something: {error}"),
        }
    }
}

impl Child {
    /// What its channel brings next. A channel that brings nonsense, or nothing more, is given up; `lost` is set when
    /// something came without its descriptors.
    pub(super) fn receive(&mut self, lost: &mut bool) -> Received {
        let Some(channel) = &mut self.channel else { return Received::Ended };
        let received = channel.flush().and_then(|_| channel.receive::<ChildToMaster>());
        *lost |= channel.take_lost();
        match received {
            Ok(Some((message, fds))) => {
                self.signs.heard_ms = reactor::now_ms();
                Received::Message(message, fds)
            }
            Ok(None) => Received::Nothing,
            Err(ChannelError::Unknown(what)) => {
                self.signs.heard_ms = reactor::now_ms();
                self.says_unknown(&what);
                Received::Unknown
            }
            Err(ChannelError::Closed) => {
                self.lose_channel();
                Received::Ended
            }
            Err(error) => {
                // A child that talks nonsense is of no use: a new one takes its place.
                tracing::error!("{} is ended: {error}", self.name());
                self.kill();
                self.lose_channel();
                Received::Ended
            }
        }
    }

    /// It serves, with its private API at this port.
    pub(super) fn serves(&mut self, port: u16) {
        (self.ready, self.port) = (true, port);
        self.signs.watched_from_ms = reactor::now_ms();
    }

    /// A process, or thread, begins in this place.
    pub(super) fn begin(&mut self, running: Running, work: WorkRecord) {
        self.clear();
        self.work = Some(work);
        self.pid = running.pid();
        self.running = Some(running);
        (self.signs.watched_from_ms, self.signs.aborted) = (reactor::now_ms(), false);
    }

    /// It is told and tells over this channel.
    pub(super) fn connect(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    /// Tells it the configuration in force, when it does not go by it.
    pub(super) fn configure_again(&mut self, configuration: &Configuration, known: u64) {
        if self.role != Role::Ingest && known != configuration.generation() {
            self.tell(&configuration.message(self.role), Vec::new());
        }
    }

    /// It is to be given again, soon, what belongs to it.
    pub(super) fn give_again_soon(&mut self) {
        self.mending.give_again_ms.get_or_insert_with(|| reactor::now_ms() + AGAIN_MS);
    }

    /// It is given again what belongs to it.
    pub(super) fn gives_again(&mut self) {
        self.mending.give_again_ms = None;
    }

    /// It is to be asked again, soon, for what it wants to be kept.
    pub(super) fn keep_again_soon(&mut self) {
        self.mending.keep_again_ms.get_or_insert_with(|| reactor::now_ms() + AGAIN_MS);
    }

    /// When [`Self::mend`] is due, monotonic ms.
    pub(super) fn mend_deadline(&self) -> Option<u64> {
        let Mending { lost_ms, give_again_ms, keep_again_ms } = self.mending;
        [lost_ms.map(|lost_ms| lost_ms + PATIENCE_MS), give_again_ms, keep_again_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// Asks again for what found no room, and ends a child that has lost its channel and does not come. Returns
    /// whether it is to be given again what belongs to it.
    pub(super) fn mend(&mut self, now_ms: u64) -> bool {
        let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        if is_due(self.mending.lost_ms.map(|lost_ms| lost_ms + PATIENCE_MS)) && self.is_alive() {
            tracing::error!("{} has lost its channel and does not come again: killed", self.name());
            self.mending.lost_ms = Some(now_ms);
            self.kill();
        }
        if is_due(self.mending.keep_again_ms) {
            self.mending.keep_again_ms = None;
            self.tell(&MasterToChild::KeepAgain, Vec::new());
        }
        is_due(self.mending.give_again_ms)
    }

    /// It said something that only another version knows.
    fn says_unknown(&mut self, what: &str) {
        self.not_understood.here += 1;
        let count = self.not_understood.here;
        if count.is_power_of_two() {
            tracing::warn!(
                "{} says {what}, which this master does not understand ({count} so far)",
                self.name()
            );
        }
    }

    /// It says what is not its business. As with one that can't be understood: a new one takes its place.
    pub(super) fn end_for_nonsense(&mut self) {
        tracing::error!("{} is ended: it says what is not its business", self.name());
        self.kill();
        self.lose_channel();
    }

    /// It does not know what it was told.
    pub(super) fn does_not_understand(&mut self, what: &str) {
        self.not_understood.there += 1;
        let count = self.not_understood.there;
        if count.is_power_of_two() {
            // A name of a message: what it says of itself is not repeated as it is.
            let what: String = what.chars().take(64).flat_map(char::escape_debug).collect();
            tracing::warn!("{} does not understand {what} ({count} so far)", self.name());
        }
    }
}
