//! A stream process: it accepts RTMP connections, serves the viewers among them from the rings, and hands publishers to
//! the back-source that owns their stream.

pub(crate) mod accept;
mod handoff;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use child::{API_TOKEN, CONTROL_TOKEN, Control, PrivateApi, Query};
use endpoint::{AudienceId, ConnectionId, Host, Hub, LinkEvent, Links};
use ipc::{ChildToMaster, ToStream};
use media::{Kind, StreamKey};
use reactor::Ready;
use rtmp::PublishRequest;

use accept::Listeners;
use handoff::Waiting;

/// How long clients may take to read our goodbye, ms.
const GOODBYE_MS: u64 = 1_500;

/// The stream process.
#[derive(Debug)]
pub(crate) struct StreamProcess {
    control: Control,
    api: PrivateApi,
    links: Links,
    listeners: Listeners,
    /// Publishers whose back-source is not there (yet).
    waiting: Waiting,
    /// Nobody is accepted any more; the process ends with its last client.
    draining: bool,
    /// Who is left then is ended, monotonic ms.
    drain_until_ms: Option<u64>,
}

/// Runs a stream process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut control = Control::begin(control)?;
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
    hub.reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let api =
        PrivateApi::start(control.private_api_port(), control.key.clone(), hub.reactor.waker(API_TOKEN)?)?;
    // In single mode this would be the whole server.
    if config.process_mode == conf::config::ProcessMode::Multi
        && let Err(error) = child::confine()
    {
        tracing::warn!("this process could not give up the rights that it does not need: {error}");
    }
    control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
    let mut process = StreamProcess {
        control,
        api,
        links: Links::new(config.backsources.max(1)),
        listeners: Listeners::new(config.limits.turn_accepts),
        waiting: Waiting::default(),
        draining: false,
        drain_until_ms: None,
    };
    let mut others = Vec::new();
    process.read_control(&mut hub)?;
    while !process.control.is_stopped() {
        hub.turn(&mut others)?;
        if process.control.look_for_master(&hub.reactor)? {
            process.tell_new_master();
        }
        if let Some(at_ms) = process.control.look_again_ms() {
            hub.wake_at(at_ms);
        }
        for ready in std::mem::take(&mut others) {
            process.other(&mut hub, ready)?;
        }
        let events = process.links.tick(hub.now_ms());
        process.apply(&mut hub, events);
        if let Some(at_ms) = process.links.deadline() {
            hub.wake_at(at_ms);
        }
        process.accept(&mut hub);
        hub.run(&mut process);
        process.give_up_waiting(&mut hub);
        let is_over = process.drain_until_ms.is_some_and(|until_ms| hub.now_ms() >= until_ms);
        if process.draining && (hub.connection_count() == 0 || is_over) {
            break;
        }
    }
    hub.goodbye(&mut process, "The server ends");
    let until = reactor::now_ms() + GOODBYE_MS;
    while hub.connection_count() > 0 && reactor::now_ms() < until {
        hub.turn(&mut others)?;
        others.clear();
        hub.run(&mut process);
    }
    Ok(())
}

impl StreamProcess {
    fn other(&mut self, hub: &mut Hub, ready: Ready) -> Result<(), child::ControlError> {
        if ready.token == CONTROL_TOKEN {
            self.read_control(hub)?;
        } else if ready.token == API_TOKEN {
            while let Some(query) = self.api.next() {
                match query {
                    Query::Report { with_clients, reply } => {
                        reply.answer(hub.report(&self.control.name(), with_clients));
                    }
                    Query::Kick { id, reply } => reply.answer(hub.kick(self, id)),
                    Query::Record { reply, .. } => {
                        reply.answer(api::RecordAnswer::refused("this process records nothing"));
                    }
                }
            }
        } else if self.links.owns(ready.token) {
            let events = self.links.ready(ready.token);
            self.apply(hub, events);
        } else {
            self.listeners.ready(ready.token);
        }
        Ok(())
    }

    /// What a master keeps for this process, to one that does not have it.
    fn tell_new_master(&mut self) {
        let (addresses, sockets) = self.listeners.duplicates();
        self.control.send(&ChildToMaster::Listening { addresses }, sockets);
        self.control.send(&ChildToMaster::Ready { private_api_port: self.api.port() }, Vec::new());
    }

    fn read_control(&mut self, hub: &mut Hub) -> Result<(), child::ControlError> {
        while let Some((message, mut fds)) = self.control.receive()? {
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
                ToStream::Lend { slot, addresses } => {
                    self.listeners.borrow(&hub.reactor, slot, &addresses, fds);
                }
                ToStream::TakeBack(slot) => self.listeners.give_back(&hub.reactor, slot),
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
        Ok(())
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
                LinkEvent::Ring(audience, ring) => hub.set_ring(self, audience, ring),
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
    fn publish(&mut self, hub: &mut Hub, connection: ConnectionId, key: StreamKey, _: PublishRequest) {
        self.hand_over(hub, connection, key);
    }

    fn media(&mut self, _: &mut Hub, _: ConnectionId, _: u32, _: Kind, _: u32, _: Bytes) {
        // Publishers leave this process before their first packet is read.
    }

    fn unpublish(&mut self, _: &mut Hub, _: ConnectionId, _: u32) {}

    fn wanted(&mut self, _: &mut Hub, audience: AudienceId, key: &StreamKey) {
        self.links.watch(audience, key);
    }

    fn unwanted(&mut self, _: &mut Hub, _: AudienceId, key: &StreamKey) {
        self.links.unwatch(key);
    }

    fn hold(&mut self, _: &mut Hub, key: &StreamKey, lag_ms: u64) {
        self.links.hold(key, lag_ms);
    }

    fn pace(&mut self, _: &mut Hub, key: &StreamKey, ms: u32) -> bool {
        self.links.pace(key, ms);
        true
    }

    fn closed(&mut self, _: &mut Hub, connection: ConnectionId) {
        self.waiting.forget(connection);
    }
}
