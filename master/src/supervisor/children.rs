//! The children: starting them, connecting them with each other, and what they say.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use ipc::{Channel, ChannelError, ChildToMaster, MasterToChild, Role, Start};
use mediaring::WorkRecord;
use nix::sys::signal::Signal;
use reactor::Token;

use super::adopt::Adopted;
use super::{FIRST_CHILD, Supervisor, duplicate};
use crate::plan::Event;
use crate::spawn::{Ending, Running};

/// Ids of connections: each start of a process has a block of its own.
const ID_BLOCK: u64 = 1_000_000;

/// Most messages of one child that are read in one turn: nobody who talks without end holds up the others.
const TURN_MESSAGES: usize = 256;

/// So many turns are read at once of a channel that brings nothing more: beyond what the kernel holds for it.
const LAST_TURNS: usize = 16;

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
    pub(super) ingest: Option<(String, String)>,
    /// It is to end with its last client.
    pub(super) draining: bool,
    /// It need not have shown that it lives before this time, ms.
    pub(super) watched_from_ms: u64,
    /// When it last said something, and when it was last asked whether it is there, ms.
    pub(super) heard_ms: u64,
    pub(super) pinged_ms: u64,
    /// It was told to end because it showed no sign of life.
    pub(super) aborted: bool,
    /// When it was started, monotonic ms, and the generation of the configuration that it goes by.
    pub(super) started_ms: u64,
    pub(super) generation: u64,
    /// How the one before it ended, which process it was, and when, monotonic ms.
    pub(super) last_end: Option<(String, u32, u64)>,
    /// Since when its channel is lost though it lives, monotonic ms.
    pub(super) lost_ms: Option<u64>,
    /// When it is to be given again what belongs to it, and asked again for what it keeps with us, monotonic ms.
    pub(super) give_again_ms: Option<u64>,
    pub(super) keep_again_ms: Option<u64>,
    /// Which state it has for the next master.
    pub(super) state_told: u64,
    /// Messages that were not understood: of it here, and of ours there.
    not_understood: NotUnderstood,
    /// Listening sockets that it brought with it.
    pub(super) listening: Vec<(SocketAddr, OwnedFd)>,
    /// What the process in this place is doing with bytes from outside, also when it has just died.
    pub(super) work: Option<WorkRecord>,
    running: Option<Running>,
    channel: Option<Channel>,
    pid: u32,
    ready: bool,
    port: u16,
}

impl Child {
    pub(super) fn new(role: Role, number: u32, ingest: Option<(String, String)>) -> Self {
        Self {
            role,
            number,
            ingest,
            draining: false,
            watched_from_ms: 0,
            heard_ms: 0,
            pinged_ms: 0,
            aborted: false,
            started_ms: 0,
            generation: 0,
            last_end: None,
            lost_ms: None,
            give_again_ms: None,
            keep_again_ms: None,
            state_told: 0,
            not_understood: NotUnderstood::default(),
            listening: Vec::new(),
            work: None,
            running: None,
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
        if !matches!(self.running, Some(Running::Process(_) | Running::Adopted(_)))
            || !crate::relatives::is_corpse(self.pid)
        {
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
        self.watched_from_ms = reactor::now_ms();
    }

    /// It has come again over another channel.
    pub(super) fn take_back(&mut self, channel: Channel) {
        self.channel = Some(channel);
        self.lost_ms = None;
        self.state_told = 0;
        self.watched_from_ms = reactor::now_ms();
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
            self.lost_ms = Some(reactor::now_ms());
        }
    }

    /// The place is free again.
    pub(super) fn clear(&mut self) {
        self.running = None;
        self.channel = None;
        self.lost_ms = None;
        self.give_again_ms = None;
        self.keep_again_ms = None;
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
    fn end_for_nonsense(&mut self) {
        tracing::error!("{} is ended: it says what is not its business", self.name());
        self.kill();
        self.lose_channel();
    }

    /// It does not know what it was told.
    fn does_not_understand(&mut self, what: &str) {
        self.not_understood.there += 1;
        let count = self.not_understood.there;
        if count.is_power_of_two() {
            // A name of a message: what it says of itself is not repeated as it is.
            let what: String = what.chars().take(64).flat_map(char::escape_debug).collect();
            tracing::warn!("{} does not understand {what} ({count} so far)", self.name());
        }
    }
}

impl Supervisor {
    /// Starts the child of a slot and gives it all it needs.
    pub(super) fn start(&mut self, slot: usize) {
        let Err(error) = self.try_start(slot) else { return };
        let Some(child) = self.children.get_mut(slot) else { return };
        tracing::error!("{} can't be started: {error}", child.name());
        let is_short =
            error.raw_os_error().is_some_and(|code| code == nix::libc::EMFILE || code == nix::libc::ENFILE);
        if child.is_alive() {
            // It is there, and knows only half: its end is worked off like any other's.
            child.kill();
            return;
        }
        child.clear();
        if is_short {
            self.keeper.make_room();
        }
        self.lend(slot);
        self.handle(Event::NotStarted { slot });
    }

    fn try_start(&mut self, slot: usize) -> std::io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let board = duplicate(self.board.fd())?;
        let work = WorkRecord::create()?;
        let work_of_child = duplicate(work.fd())?;
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        let (role, number) = (child.role, child.number);
        let running =
            self.spawner.spawn(role, number, (&self.family.name, &self.family.runtime_dir), theirs)?;
        reactor::crash_point("spawned");
        child.clear();
        child.work = Some(work);
        child.pid = running.pid();
        child.running = Some(running);
        self.reactor.register(ours.as_raw_fd(), Token(FIRST_CHILD + slot))?;
        child.channel = Some(Channel::new(ours));
        (child.watched_from_ms, child.aborted) = (reactor::now_ms(), false);
        tracing::info!("{} is pid {}", child.name(), child.pid);
        let start = Start {
            role,
            slot: number,
            board_slot: u32::try_from(slot).unwrap_or(u32::MAX),
            first_connection_id: self.lineage.spawned * ID_BLOCK + 100,
            generation: self.generation,
            config: Self::config_for(role, &self.config),
            ingest: child.ingest.clone(),
            token: if role == Role::Api { self.token.clone() } else { api::Token::default() },
            key: self.token.of_process(role.name(), number),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            family: self.family.name.clone(),
        };
        (child.started_ms, child.generation) = (reactor::now_ms(), self.generation);
        self.lineage.spawned += 1;
        child.tell(&MasterToChild::Start(start), vec![board, work_of_child]);
        reactor::crash_point("started");
        if let Err(error) = self.give_all(slot) {
            // It is there, and gets the rest when there is room.
            self.give_again_later(slot, &error);
        }
        reactor::crash_point("connected-one");
        // The links to the others, and what the next master must know, follow with the end of this turn.
        self.links.look_again();
        self.tell_processes();
        self.save();
        Ok(())
    }

    /// A configuration as a process of this role gets it: who faces clients does not learn what opens the API.
    pub(super) fn config_for(role: Role, config: &conf::Config) -> Box<conf::Config> {
        Box::new(if role == Role::Api { config.clone() } else { config.without_secrets() })
    }

    /// All that belongs to a child beside its links. Given again it changes nothing: what the child has it leaves.
    pub(super) fn give_all(&mut self, slot: usize) -> std::io::Result<()> {
        let Some(role) = self.children.get(slot).map(|child| child.role) else { return Ok(()) };
        if matches!(role, Role::Stream | Role::Http) {
            self.tell_refused(slot);
        }
        self.give_listeners(slot)?;
        self.take_back(slot);
        if matches!(role, Role::Api | Role::Http) {
            self.tell_last_reload(slot);
        }
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        let is_new = child.state_told == 0 && !child.ready;
        // Before it learns which streams there are.
        self.keeper.give(child, is_new, self.config.backsources)
    }

    /// The listening sockets that belong to a slot.
    pub(super) fn give_listeners(&mut self, slot: usize) -> std::io::Result<()> {
        self.children.get_mut(slot).map_or(Ok(()), |child| self.listening.give(child, &[]))
    }

    /// Asks a child to end.
    pub(super) fn ask_to_end(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.tell(&MasterToChild::Stop, Vec::new());
        }
    }

    /// Reads what a child says, up to the turn's bound. Returns whether its channel has ended.
    pub(super) fn read_child(&mut self, slot: usize) -> bool {
        for _ in 0..TURN_MESSAGES {
            let Some(child) = self.children.get_mut(slot) else { return false };
            let name = child.name();
            let Some(channel) = &mut child.channel else { return true };
            let received = channel.flush().and_then(|_| channel.receive::<ChildToMaster>());
            if channel.take_lost() {
                self.keep_again_later(slot);
            }
            match received {
                Ok(Some((message, fds))) => self.child_says(slot, message, fds),
                Ok(None) => return false,
                Err(ChannelError::Unknown(what)) => {
                    if let Some(child) = self.children.get_mut(slot) {
                        child.heard_ms = reactor::now_ms();
                        child.says_unknown(&what);
                    }
                }
                Err(ChannelError::Closed) => {
                    if let Some(child) = self.children.get_mut(slot) {
                        child.lose_channel();
                    }
                    return true;
                }
                Err(error) => {
                    // A child that talks nonsense is of no use: a new one takes its place.
                    tracing::error!("{name} is ended: {error}");
                    if let Some(child) = self.children.get_mut(slot) {
                        child.kill();
                        child.lose_channel();
                    }
                    return true;
                }
            }
        }
        self.unread.insert(slot);
        false
    }

    /// Reads all that a child has said over a channel that brings nothing more: its last words may be many.
    pub(super) fn read_last(&mut self, slot: usize) {
        for _ in 0..LAST_TURNS {
            self.read_child(slot);
            if !self.unread.remove(&slot) {
                return;
            }
        }
    }

    /// Goes on with what former turns have left unread.
    pub(super) fn read_rest(&mut self) {
        for slot in std::mem::take(&mut self.unread) {
            self.read_child(slot);
        }
    }

    fn child_says(&mut self, slot: usize, message: ChildToMaster, fds: Vec<OwnedFd>) {
        let Some(child) = self.children.get_mut(slot) else { return };
        child.heard_ms = reactor::now_ms();
        match message {
            ChildToMaster::Ready { private_api_port } => {
                child.ready = true;
                child.watched_from_ms = reactor::now_ms();
                child.port = private_api_port;
                self.tell_processes();
            }
            ChildToMaster::Applied { generation } => self.applied(slot, generation),
            ChildToMaster::Previewed { id, touched, all } => self.previewed(slot, id, touched, all),
            ChildToMaster::Pong => {}
            // Known here already.
            ChildToMaster::Listening { .. } if self.served => {}
            ChildToMaster::Listening { addresses } => {
                child.listening = addresses.into_iter().zip(fds).collect();
            }
            ChildToMaster::LinkDown { link } => {
                self.links.ended(link, reactor::now_ms());
            }
            ChildToMaster::GiveAgain => self.wants_again(slot),
            ChildToMaster::NotUnderstood { what } => child.does_not_understand(&what),
            message @ (ChildToMaster::KeepRing { .. }
            | ChildToMaster::DropRing { .. }
            | ChildToMaster::KeepDownload { .. }
            | ChildToMaster::DropDownload { .. }
            | ChildToMaster::Remember { .. }) => {
                if !self.keeper.take((child.role, child.number), message, fds) {
                    child.end_for_nonsense();
                }
            }
            ChildToMaster::Hello(_) => child.end_for_nonsense(),
        }
    }
}
