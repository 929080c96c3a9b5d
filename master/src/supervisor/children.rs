//! The children: starting them, connecting them with each other, and what they say.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use ipc::{Channel, ChannelError, ChildToMaster, MasterToChild, Role, Start, StreamInfo};
use nix::sys::signal::Signal;
use reactor::Token;

use super::adopt::{self, Adopted};
use super::{FIRST_CHILD, Supervisor, duplicate, web};
use crate::plan::Event;
use crate::spawn::{Ending, Running};

/// Ids of connections: each start of a process has a block of its own.
const ID_BLOCK: u64 = 1_000_000;

/// Most bytes that a process may want to be remembered.
const MAX_REMEMBERED: usize = 4 << 20;

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
    /// When the process began, as the kernel counts.
    pub(super) began: u64,
    /// What the process in this place wants its successor to know.
    pub(super) remembered: Vec<u8>,
    /// Listening sockets that it brought with it.
    pub(super) listening: Vec<(SocketAddr, OwnedFd)>,
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
            began: 0,
            remembered: Vec::new(),
            listening: Vec::new(),
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

    /// A process of a former master has this place; without a channel it is on its way out.
    pub(super) fn take_over(&mut self, adopted: Adopted, channel: Option<Channel>) {
        self.pid = adopted.pid();
        self.began = adopt::began(self.pid).unwrap_or(0);
        // In hundredths of a second since boot.
        self.started_ms = self.began.saturating_mul(10);
        self.running = Some(Running::Adopted(adopted));
        self.channel = channel;
        self.watched_from_ms = reactor::now_ms();
    }

    /// The place is free again.
    pub(super) fn clear(&mut self) {
        self.running = None;
        self.channel = None;
        self.ready = false;
        self.port = 0;
    }

    pub(super) fn is_up(&self) -> bool {
        self.channel.is_some()
    }

    pub(super) fn tell(&mut self, message: &MasterToChild, fds: Vec<OwnedFd>) {
        let name = self.name();
        let Some(channel) = &mut self.channel else { return };
        match channel.send(message, fds) {
            // A child that has gone is noticed by its end.
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => tracing::error!("{name} can't be told something: {error}"),
        }
    }
}

impl Supervisor {
    /// Starts the child of a slot and gives it all it needs.
    pub(super) fn start(&mut self, slot: usize) {
        if let Err(error) = self.try_start(slot) {
            let name = self.children.get(slot).map(Child::name).unwrap_or_default();
            tracing::error!("{name} can't be started: {error}");
            self.lend(slot);
            self.handle(Event::NotStarted { slot });
        }
    }

    fn try_start(&mut self, slot: usize) -> std::io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let board = duplicate(self.board.fd())?;
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        let (role, number) = (child.role, child.number);
        let running = self.spawner.spawn(role, number, theirs)?;
        reactor::crash_point("spawned");
        child.pid = running.pid();
        child.began = adopt::began(child.pid).unwrap_or(0);
        child.running = Some(running);
        self.reactor.register(ours.as_raw_fd(), Token(FIRST_CHILD + slot))?;
        child.channel = Some(Channel::new(ours));
        child.ready = false;
        child.port = 0;
        (child.watched_from_ms, child.aborted) = (reactor::now_ms(), false);
        tracing::info!("{} is pid {}", child.name(), child.pid);
        let start = Start {
            role,
            slot: number,
            board_slot: u32::try_from(slot).unwrap_or(u32::MAX),
            first_connection_id: self.spawned * ID_BLOCK + 100,
            generation: self.generation,
            config: Box::new(self.config.clone()),
            ingest: child.ingest.clone(),
            token: self.token.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        (child.started_ms, child.generation) = (reactor::now_ms(), self.generation);
        self.spawned += 1;
        child.tell(&MasterToChild::Start(start), vec![board]);
        if matches!(role, Role::Stream | Role::Http) {
            self.tell_refused(slot);
        }
        self.give_listeners(slot)?;
        self.take_back(slot);
        // Before it learns which streams there are.
        if let Some(child) = self.children.get_mut(slot).filter(|child| !child.remembered.is_empty()) {
            child.tell(&MasterToChild::Remembered { state: child.remembered.clone() }, Vec::new());
        }
        match role {
            Role::BackSource => {
                self.give_rings(slot)?;
                for other in 0..self.children.len() {
                    self.connect(other, slot)?;
                    if other != slot {
                        self.connect(slot, other)?;
                    }
                }
            }
            Role::Stream | Role::Http => {
                for other in 0..self.children.len() {
                    self.connect(slot, other)?;
                    self.acquaint(slot, other)?;
                }
            }
            Role::Api => self.tell_last_reload(slot),
            _ => {}
        }
        if role == Role::Http {
            self.tell_last_reload(slot);
            self.give_downloads(slot);
        }
        self.tell_processes();
        self.save();
        Ok(())
    }

    /// The listening sockets that belong to a slot.
    fn give_listeners(&mut self, slot: usize) -> std::io::Result<()> {
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        match child.role {
            Role::Stream => {
                for (address, shared) in &self.rtmp {
                    if let Some(socket) = shared.get(child.number as usize) {
                        addresses.push(*address);
                        sockets.push(duplicate(socket)?);
                    }
                }
            }
            Role::Http => web::give(child, &self.web)?,
            Role::Api => {
                for (address, socket) in self.api.iter().chain(&self.metrics) {
                    addresses.push(*address);
                    sockets.push(duplicate(socket)?);
                }
            }
            _ => {}
        }
        if !addresses.is_empty() {
            child.tell(&MasterToChild::Listen { addresses }, sockets);
        }
        Ok(())
    }

    /// The rings that a predecessor of this back-source wrote.
    fn give_rings(&mut self, slot: usize) -> std::io::Result<()> {
        let shards = self.config.backsources;
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        for (stream, fd) in self.rings.values() {
            if stream.key.shard(shards) == child.number {
                child.tell(&MasterToChild::Ring { stream: stream.clone() }, vec![duplicate(fd)?]);
            }
        }
        Ok(())
    }

    /// Connects a reader of rings with a back-source, if both are there and are what that takes.
    fn connect(&mut self, reader: usize, source: usize) -> std::io::Result<()> {
        let is = |slot: usize, roles: &[Role]| {
            self.children.get(slot).is_some_and(|child| child.is_up() && roles.contains(&child.role))
        };
        if reader == source
            || !is(reader, &[Role::Stream, Role::BackSource, Role::Http])
            || !is(source, &[Role::BackSource])
        {
            return Ok(());
        }
        let (reader_channel, source_channel) = Channel::pair()?;
        let (reader_wake, source_wake) = Channel::pair()?;
        let shard = self.children.get(source).map_or(0, |child| child.number);
        let (mut role, mut number) = (Role::Stream, 0);
        if let Some(child) = self.children.get_mut(reader) {
            (role, number) = (child.role, child.number);
            child.tell(&MasterToChild::Source { shard }, vec![reader_channel, reader_wake]);
        }
        if let Some(child) = self.children.get_mut(source) {
            child.tell(&MasterToChild::Reader { role, slot: number }, vec![source_channel, source_wake]);
        }
        Ok(())
    }

    /// Two http processes get to know each other.
    fn acquaint(&mut self, slot: usize, other: usize) -> std::io::Result<()> {
        let number = |slot: usize| {
            let child = self.children.get(slot).filter(|child| child.is_up() && child.role == Role::Http);
            child.map(|child| child.number)
        };
        let (Some(one), Some(two), true) = (number(slot), number(other), slot != other) else {
            return Ok(());
        };
        let (of_one, of_two) = Channel::pair()?;
        for (at, whom, channel) in [(slot, two, of_one), (other, one, of_two)] {
            if let Some(child) = self.children.get_mut(at) {
                child.tell(&MasterToChild::Sibling { slot: whom }, vec![channel]);
            }
        }
        Ok(())
    }

    /// Asks a child to end.
    pub(super) fn ask_to_end(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.tell(&MasterToChild::Stop, Vec::new());
        }
    }

    /// Reads what a child says. Returns whether it has gone.
    pub(super) fn read_child(&mut self, slot: usize) -> bool {
        loop {
            let Some(child) = self.children.get_mut(slot) else { return false };
            let name = child.name();
            let Some(channel) = &mut child.channel else { return true };
            match channel.flush().and_then(|_| channel.receive::<ChildToMaster>()) {
                Ok(Some((message, fds))) => self.child_says(slot, message, fds),
                Ok(None) => return false,
                Err(ChannelError::Closed) => return true,
                Err(error) => {
                    // A child that talks nonsense is of no use: a new one takes its place.
                    tracing::error!("{name} is ended: {error}");
                    child.kill();
                    child.channel = None;
                    return true;
                }
            }
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
            ChildToMaster::KeepRing { stream } if child.role == Role::BackSource => {
                if let Some(fd) = fds.into_iter().next() {
                    self.keep_ring(stream, fd);
                }
            }
            ChildToMaster::DropRing { stream_id } if child.role == Role::BackSource => {
                self.rings.remove(&stream_id);
            }
            ChildToMaster::KeepDownload { id, state } if child.role == Role::Http => {
                self.downloads.keep(child.number, id, state, fds);
            }
            ChildToMaster::Remember { state }
                if child.role == Role::Http && state.len() <= MAX_REMEMBERED =>
            {
                child.remembered = state;
            }
            ChildToMaster::DropDownload { id } if child.role == Role::Http => {
                self.downloads.forget(child.number, id);
            }
            ChildToMaster::Applied { generation } => self.applied(slot, generation),
            ChildToMaster::Previewed { id, touched, all } => self.previewed(slot, id, touched, all),
            ChildToMaster::Pong => {}
            ChildToMaster::Listening { addresses } => {
                child.listening = addresses.into_iter().zip(fds).collect()
            }
            ChildToMaster::Hello { .. }
            | ChildToMaster::KeepRing { .. }
            | ChildToMaster::DropRing { .. }
            | ChildToMaster::KeepDownload { .. }
            | ChildToMaster::Remember { .. }
            | ChildToMaster::DropDownload { .. } => {
                // As with one that can't be understood: a new one takes its place.
                tracing::error!("{} is ended: it says what is not its business", child.name());
                child.kill();
                child.channel = None;
            }
        }
    }

    fn keep_ring(&mut self, stream: StreamInfo, fd: OwnedFd) {
        self.rings.insert(stream.stream_id, (stream, fd));
    }
}
