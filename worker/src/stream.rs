//! A stream process: it accepts RTMP connections, serves the viewers among them from the rings, and hands publishers to
//! the back-source that owns their stream.

mod handoff;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use child::{Control, Process, Woken};
use endpoint::{
    Asker, AudienceId, ConnectionId, ConnectionSnapshot, Host, Hub, LinkEvent, Links, Reason, Refusal,
    Verdict, Wakes,
};
use ipc::{ChildToMaster, ToStream, ViewerRequest};
use media::{Kind, StreamKey};
use mediaring::RingReader;
use reactor::{Reactor, Ready};
use rtmp::PublishRequest;

use crate::listeners::Listeners;
use handoff::Waiting;

/// How long clients may take to read our goodbye, ms.
const GOODBYE_MS: u64 = 1_500;

/// The stream process.
#[derive(Debug)]
pub(crate) struct StreamProcess {
    control: Control,
    links: Links,
    listeners: Listeners,
    /// Publishers whose back-source is not there (yet).
    waiting: Waiting,
    /// Nobody is accepted any more; the process ends with its last client.
    draining: bool,
    /// Who is left then is ended, monotonic ms.
    drain_until_ms: Option<u64>,
}

/// The stream process with the connections of its clients.
struct Serving {
    process: StreamProcess,
    hub: Hub,
    /// What is ready beside connections.
    others: Vec<Ready>,
}

/// Runs a stream process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::begin(control)?;
    let config = Arc::new((*control.start.config).clone());
    let mut hub = Hub::new(
        Arc::clone(&config),
        Arc::clone(&control.board),
        control.start.board_slot,
        Arc::clone(&control.work),
        control.start.first_connection_id,
    )?;
    // Once for the life of the process.
    hub.version = Box::leak(control.start.version.clone().into_boxed_str());
    let process = StreamProcess {
        control,
        links: Links::new(config.backsources.max(1)),
        listeners: Listeners::new(config.limits.turn_accepts),
        waiting: Waiting::default(),
        draining: false,
        drain_until_ms: None,
    };
    child::run(Serving { process, hub, others: Vec::new() })
}

impl Process for Serving {
    type Message = ToStream;
    const IS_CONFINED: bool = true;

    fn parts(&mut self) -> (&mut Control, &Reactor) {
        (&mut self.process.control, &self.hub.reactor)
    }

    fn message(&mut self, message: ToStream, fds: Vec<OwnedFd>) {
        self.process.message(&mut self.hub, message, fds);
    }

    fn keep_again(&mut self) {
        let (addresses, sockets) = self.process.listeners.duplicates();
        self.process.control.send(&ChildToMaster::Listening { addresses }, sockets);
    }

    fn report(&mut self, with_clients: bool) -> api::Report {
        self.hub.report(&self.process.control.name(), with_clients)
    }

    fn kick(&mut self, id: u64) -> bool {
        self.hub.kick(&mut self.process, id)
    }

    fn turn(&mut self) {
        let (process, hub) = (&mut self.process, &mut self.hub);
        for ready in std::mem::take(&mut self.others) {
            process.other(hub, ready);
        }
        let events = process.links.tick(hub.now_ms());
        process.apply(hub, events);
        if let Some(at_ms) = process.links.deadline() {
            hub.wake_at(at_ms);
        }
        process.accept(hub);
        hub.run(process);
    }

    fn is_over(&self) -> bool {
        let is_late = self.process.drain_until_ms.is_some_and(|until_ms| self.hub.now_ms() >= until_ms);
        self.process.draining && (self.hub.connection_count() == 0 || is_late)
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        self.hub.turn(until_ms, &mut self.others)?;
        Ok(Woken::by(&self.others))
    }

    fn goodbye(&mut self) -> io::Result<()> {
        self.hub.goodbye(&mut self.process, "The server ends");
        let end_ms = reactor::now_ms() + GOODBYE_MS;
        while self.hub.connection_count() > 0 && reactor::now_ms() < end_ms {
            let until_ms = self.process.control.beat().min(end_ms);
            self.hub.turn(until_ms, &mut self.others)?;
            self.others.clear();
            self.hub.run(&mut self.process);
        }
        Ok(())
    }
}

impl StreamProcess {
    fn other(&mut self, hub: &mut Hub, ready: Ready) {
        if self.links.owns(ready.token) {
            let events = self.links.ready(ready.token);
            self.apply(hub, events);
        } else {
            self.listeners.ready(ready.token);
        }
    }

    fn message(&mut self, hub: &mut Hub, message: ToStream, mut fds: Vec<OwnedFd>) {
        match message {
            ToStream::Listen(addresses) => self.listeners.add(&hub.reactor, &addresses, fds),
            ToStream::Source { shard, link } => match (fds.pop(), fds.pop()) {
                (Some(wake), Some(channel)) => {
                    self.control.link_up(link, true);
                    let events = self.links.connect(&hub.reactor, shard, link, channel, wake);
                    self.apply(hub, events);
                }
                _ => self.control.link_down(link),
            },
            ToStream::StopListening(addresses) => {
                for (socket, peer) in self.listeners.remove(&hub.reactor, &addresses) {
                    hub.adopt(self, socket, peer);
                }
            }
            ToStream::Lend { number, addresses } => {
                self.listeners.borrow(&hub.reactor, number, &addresses, fds);
            }
            ToStream::TakeBack(number) => self.listeners.give_back(&hub.reactor, number),
            ToStream::Drain { within_ms } => {
                self.drain(hub);
                if let Some(ms) = within_ms {
                    let until_ms = hub.now_ms().saturating_add(ms);
                    self.drain_until_ms = Some(until_ms);
                    hub.wake_at(until_ms);
                }
            }
            ToStream::Configure { generation, config } => {
                hub.apply_config(self, Arc::new(*config));
                self.control.applied(generation);
            }
            ToStream::Preview { id, config } => {
                let (touched, all) = hub.preview(&config);
                self.control.send(&ChildToMaster::Previewed { id, touched, all }, Vec::new());
            }
            ToStream::Refuse { ip, for_ms } => hub.refuse(ip, for_ms),
        }
    }

    /// Takes nobody any more but those who wait in the backlogs.
    fn drain(&mut self, hub: &mut Hub) {
        tracing::info!("no new clients: {} are left", hub.connection_count());
        self.draining = true;
        self.control.draining = true;
        for (socket, peer) in self.listeners.remove_all(&hub.reactor) {
            hub.adopt(self, socket, peer);
        }
    }

    fn apply(&mut self, hub: &mut Hub, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Ring(audience, ring) => hub.set_ring(self, audience, ring, Wakes::Paced),
                LinkEvent::Advanced(audience) => hub.advanced(self, audience),
                LinkEvent::Rest(audience) => hub.rest(self, audience),
                LinkEvent::Stream(..) => {}
                LinkEvent::Gone(key) => hub.forget_stream(&key),
                LinkEvent::Up(_) => self.retry_waiting(hub),
                LinkEvent::Down(shard, link) => {
                    tracing::info!("the link to back-source {shard} has ended");
                    self.control.link_down(link);
                }
            }
        }
    }

    fn accept(&mut self, hub: &mut Hub) {
        for (socket, peer) in self.listeners.accept() {
            hub.adopt(self, socket, peer);
        }
        // RTMP has no word for it before the handshake.
        hub.count_refused(self.listeners.take_turned_away().len());
        if let Some(at_ms) = self.listeners.again_ms() {
            hub.wake_at(at_ms);
        }
    }
}

impl Host for StreamProcess {
    /// A publisher goes to the back-source of its stream: socket, session, and the bytes that were not yet read. When that
    /// back-source is not there, the publisher waits a while.
    fn publish(&mut self, hub: &Hub, who: Asker, key: &StreamKey, _: &PublishRequest) -> Verdict {
        if self.links.is_up(key) {
            return Verdict::HandOver;
        }
        self.waiting.add(who, key, hub.now_ms())
    }

    fn begin(
        &mut self,
        _: &Hub,
        _: ConnectionId,
        _: &StreamKey,
        _: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal> {
        // Nobody publishes here.
        Err(Refusal::new(Reason::NoSource, Reason::NoSource.sentence()))
    }

    fn hand_over(&mut self, key: &StreamKey, socket: OwnedFd, connection: ConnectionSnapshot) {
        reactor::crash_point("detached");
        let (cid, shard) = (connection.id, self.links.shard_of(key));
        if self.links.hand_over(key, socket, connection.to_bytes()) {
            tracing::debug!(cid, "the publisher of {key} goes on in back-source {shard}");
        } else {
            tracing::warn!(cid, "the publisher of {key} is lost: its back-source took it no more");
        }
    }

    fn media(&mut self, _: ConnectionId, _: u32, _: Kind, _: u32, _: Bytes) {
        // Publishers leave this process before their first packet is read.
    }

    fn unpublish(&mut self, _: ConnectionId, _: u32) -> Option<StreamKey> {
        None
    }

    fn wanted(
        &mut self,
        audience: AudienceId,
        key: &StreamKey,
        request: ViewerRequest,
    ) -> Option<(RingReader, Wakes)> {
        self.links.watch_for(audience, key, request);
        None
    }

    fn unwanted(&mut self, key: &StreamKey) {
        self.links.unwatch(key);
    }

    fn hold(&mut self, key: &StreamKey, lag_ms: u64) {
        self.links.hold(key, lag_ms);
    }

    fn pace(&mut self, key: &StreamKey, ms: u32) {
        self.links.pace(key, ms);
    }

    fn closed(&mut self, connection: ConnectionId) {
        self.waiting.forget(connection);
    }
}
