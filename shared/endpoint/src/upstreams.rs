//! Connections to other servers: client sessions on the loop, that pull a stream or push one.
//!
//! They are driven as clients are: the kernel says that one is ready, a turn reads so much of it and no more, its session says
//! what it means. Nothing waits: not for a connect, not for a socket that takes nothing.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use media::Kind;
use reactor::{Deadlines, Reactor, Ready, Token};
use rtmp::{ClientEvent, ClientOptions, ClientSession, Output};
use slab::Slab;

use crate::end::End;
use crate::outbox::Outbox;
use crate::transport::Transport;

/// Tokens from this one on are those of upstream connections; those of clients never come near.
pub(crate) const FIRST_UPSTREAM_TOKEN: usize = 1 << (usize::BITS - 2);
/// Most connections of one process to other servers.
const MAX_UPSTREAMS: usize = 4_096;
/// Bytes that are read of one in a turn.
const TURN_BYTES: usize = 256 << 10;
/// Bytes that may wait for a server that takes them slowly.
const MAX_OUTBOX: usize = 4 << 20;

/// A connection to another server; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId {
    key: usize,
    serial: u64,
}

/// What a connection to another server brings.
#[derive(Debug)]
pub enum UpstreamEvent {
    /// Its session says something: it has connected, publishes or plays, has a packet, is refused, its stream has ended.
    Said(ClientEvent),
    /// It is over: no more is heard of it.
    Ended(End),
}

/// What became of a packet for another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is on its way.
    Sent,
    /// Too much waits: the server takes it too slowly.
    Full,
    /// Nothing is published there, or there is no such connection.
    Nowhere,
}

/// One of them.
#[derive(Debug)]
struct Upstream {
    serial: u64,
    transport: Transport,
    session: Box<ClientSession>,
    outbox: Outbox,
    is_connected: bool,
    deadline_ms: Option<u64>,
}

/// All connections of a process to other servers.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    slab: Slab<Upstream>,
    next_serial: u64,
    ready: VecDeque<Ready>,
    deadlines: Deadlines<UpstreamId>,
    events: VecDeque<(UpstreamId, UpstreamEvent)>,
}

impl Upstreams {
    /// Begins to connect.
    ///
    /// # Errors
    /// When there are too many, no descriptor is left, or there is no way to the address.
    pub(crate) fn connect(
        &mut self,
        reactor: &Reactor,
        address: SocketAddr,
        options: ClientOptions,
        now_ms: u64,
    ) -> io::Result<UpstreamId> {
        if self.slab.len() >= MAX_UPSTREAMS {
            return Err(io::Error::other("too many connections to other servers"));
        }
        let transport = Transport::connect(address)?;
        let fd = transport.as_raw_fd();
        let (serial, session) = (self.next_serial, Box::new(ClientSession::new(now_ms, options)));
        self.next_serial += 1;
        let outbox = Outbox::default();
        let upstream =
            Upstream { serial, transport, session, outbox, is_connected: false, deadline_ms: None };
        let key = self.slab.insert(upstream);
        if let Err(error) = reactor.register(fd, Token(FIRST_UPSTREAM_TOKEN + key)) {
            self.slab.remove(key);
            return Err(error);
        }
        self.update_deadline(key);
        Ok(UpstreamId { key, serial })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    fn get_mut(&mut self, id: UpstreamId) -> Option<&mut Upstream> {
        self.slab.get_mut(id.key).filter(|upstream| upstream.serial == id.serial)
    }

    /// Sends a packet of the stream that is published there; `wire_ms` as RTMP has it.
    pub(crate) fn push(&mut self, id: UpstreamId, kind: Kind, wire_ms: u32, payload: &[u8]) -> Pushed {
        let Some(upstream) = self.get_mut(id) else { return Pushed::Nowhere };
        if upstream.outbox.len() + payload.len() > MAX_OUTBOX {
            return Pushed::Full;
        }
        if !upstream.session.send_media(kind, wire_ms, payload) {
            return Pushed::Nowhere;
        }
        self.pump(id.key);
        Pushed::Sent
    }

    /// Takes leave of the server, and ends the connection. Nothing more is told of it.
    pub(crate) fn close(&mut self, reactor: &Reactor, id: UpstreamId) {
        let Some(upstream) = self.get_mut(id) else { return };
        upstream.session.finish();
        upstream.drain(|_| {});
        // What its socket does not take at once is lost with the connection.
        let _ = upstream.flush();
        self.remove(reactor, id.key);
    }

    /// The kernel says that one is ready.
    pub(crate) fn ready(&mut self, event: Ready) {
        self.ready.push_back(event);
    }

    /// Whether something waits for the next turn.
    pub(crate) fn is_behind(&self) -> bool {
        !self.ready.is_empty() || !self.events.is_empty()
    }

    /// When one is due, monotonic ms.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// Serves those that are ready or due, once each.
    pub(crate) fn serve(&mut self, reactor: &Reactor, now_ms: u64, buffer: &mut [u8]) {
        for event in std::mem::take(&mut self.ready) {
            let key = event.token.0.wrapping_sub(FIRST_UPSTREAM_TOKEN);
            if let Err(end) = self.serve_one(event, key, now_ms, buffer) {
                self.end(reactor, key, end);
            }
        }
        while let Some(id) = self.deadlines.pop(now_ms) {
            let Some(upstream) = self.get_mut(id) else { continue };
            upstream.deadline_ms = None;
            if let Err(error) = upstream.session.handle_timeout(now_ms) {
                self.end(reactor, id.key, End::Protocol(error));
            } else {
                self.update_deadline(id.key);
            }
        }
    }

    /// The next thing that one of them brought.
    pub(crate) fn pop_event(&mut self) -> Option<(UpstreamId, UpstreamEvent)> {
        self.events.pop_front()
    }

    fn serve_one(&mut self, event: Ready, key: usize, now_ms: u64, buffer: &mut [u8]) -> Result<(), End> {
        let Some(upstream) = self.slab.get_mut(key) else { return Ok(()) };
        if !upstream.is_connected {
            match upstream.transport.connected() {
                None => return Ok(()),
                Some(connected) => connected.map_err(End::Socket)?,
            }
            upstream.is_connected = true;
        }
        if event.writable {
            self.pump(key);
            if let Some(upstream) = self.slab.get_mut(key) {
                upstream.flush()?;
            }
        }
        if event.readable { self.read(event, key, now_ms, buffer) } else { Ok(()) }
    }

    fn read(&mut self, event: Ready, key: usize, now_ms: u64, buffer: &mut [u8]) -> Result<(), End> {
        let mut taken = 0;
        while let Some(upstream) = self.slab.get_mut(key) {
            if taken >= TURN_BYTES {
                self.ready.push_back(Ready { writable: false, ..event });
                return Ok(());
            }
            let count = match upstream.transport.read(buffer) {
                Ok(0) => return Err(End::PeerClosed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::Socket(error)),
            };
            taken += count;
            let handled = upstream.session.handle_input(now_ms, buffer.get(..count).unwrap_or(&[]));
            // What was understood before an error still counts.
            let closed = self.pump(key);
            handled.map_err(End::Protocol)?;
            if let Some(end) = closed {
                return Err(end);
            }
            if let Some(upstream) = self.slab.get_mut(key) {
                upstream.flush()?;
            }
            self.update_deadline(key);
        }
        Ok(())
    }

    /// Takes what a session has to say. Returns why it is over, if it says so.
    fn pump(&mut self, key: usize) -> Option<End> {
        let upstream = self.slab.get_mut(key)?;
        let id = UpstreamId { key, serial: upstream.serial };
        let events = &mut self.events;
        let closed = upstream.drain(|event| events.push_back((id, UpstreamEvent::Said(event))));
        closed.or_else(|| if upstream.is_connected { upstream.flush().err() } else { None })
    }

    fn update_deadline(&mut self, key: usize) {
        let Some(upstream) = self.slab.get_mut(key) else { return };
        let Some(at_ms) = upstream.session.poll_timeout() else { return };
        if upstream.deadline_ms.is_none_or(|known| at_ms < known) {
            upstream.deadline_ms = Some(at_ms);
            self.deadlines.add(at_ms, UpstreamId { key, serial: upstream.serial });
        }
    }

    fn end(&mut self, reactor: &Reactor, key: usize, end: End) {
        if let Some(serial) = self.remove(reactor, key) {
            self.events.push_back((UpstreamId { key, serial }, UpstreamEvent::Ended(end)));
        }
    }

    fn remove(&mut self, reactor: &Reactor, key: usize) -> Option<u64> {
        let upstream = self.slab.try_remove(key)?;
        let _ = reactor.deregister(upstream.transport.as_raw_fd());
        Some(upstream.serial)
    }
}

impl Upstream {
    /// Brings what the session has to send into the outbox, and tells its events. Returns why it is over, if it says so.
    fn drain(&mut self, mut tell: impl FnMut(ClientEvent)) -> Option<End> {
        let mut closed = None;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => self.outbox.tail().extend_from_slice(&bytes),
                Output::Event(event) => tell(event),
                Output::Close(reason) => closed = Some(End::Session(reason)),
            }
        }
        closed
    }

    fn flush(&mut self) -> Result<(), End> {
        self.outbox.flush(&mut self.transport).map(drop).map_err(End::Socket)
    }
}
