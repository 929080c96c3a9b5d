//! The connections and audiences of one process, and the loop's work on them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conf::config::{Config, Lookup};
use conf::vhost::Vhost;
use media::{Kind, StreamKey};
use mediaring::{Counter, RingReader, Scoreboard};
use reactor::{Deadlines, Reactor, Ready, Token};
use rtmp::{
    Identity, Output, Pending, PublishRequest, RejectReason, ServerEvent, ServerOptions, ServerSession,
};
use slab::Slab;

use crate::audience::{Audience, AudienceId, Served};
use crate::connection::{Connection, ReadTurn};
use crate::end::End;
use crate::refer;
use crate::snapshot::{ConnectionSnapshot, SnapshotError};

/// Tokens below this are the host's own.
pub const FIRST_TOKEN: usize = 4096;

/// How long a connection that we end may take to read our last words, ms.
const LINGER_MS: u64 = 1000;
/// How often slow viewers, silent publishers and the load are looked at, ms.
const TICK_MS: u64 = 200;
/// Largest time that packets are gathered for a viewer, ms.
pub(crate) const MAX_GATHER_MS: u64 = 350;
/// One read.
const READ_BYTES: usize = 64 << 10;

/// Key of a connection, valid until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) usize);

/// What roles do differently.
pub trait Host: Sized {
    /// A connection wants to publish. Answer with [`Hub::accept_publish`], [`Hub::reject_publish`] or
    /// [`Hub::detach`], now or later.
    fn publish(&mut self, hub: &mut Hub, connection: ConnectionId, key: StreamKey, request: PublishRequest);
    /// A packet of an accepted publish.
    fn media(
        &mut self,
        hub: &mut Hub,
        connection: ConnectionId,
        msid: u32,
        kind: Kind,
        wire_ms: u32,
        payload: Bytes,
    );
    /// An accepted publish ended.
    fn unpublish(&mut self, hub: &mut Hub, connection: ConnectionId, msid: u32);
    /// The first viewer of a stream is there: bring the ring with [`Hub::set_ring`] when there is one.
    fn wanted(&mut self, hub: &mut Hub, audience: AudienceId, key: &StreamKey);
    /// The last viewer of a stream has gone.
    fn unwanted(&mut self, hub: &mut Hub, audience: AudienceId, key: &StreamKey);
    /// A viewer lags by so many ms: let the ring hold more.
    fn hold(&mut self, hub: &mut Hub, key: &StreamKey, lag_ms: u64);
    /// The connection is gone; its publishes were ended before.
    fn closed(&mut self, hub: &mut Hub, connection: ConnectionId);
}

/// See the crate's page.
#[derive(Debug)]
pub struct Hub {
    /// The loop: hosts register their own descriptors with tokens below [`FIRST_TOKEN`].
    pub reactor: Reactor,
    pub(crate) connections: Slab<Connection>,
    pub(crate) audiences: Slab<Audience>,
    by_key: HashMap<StreamKey, AudienceId>,
    pub(crate) config: Arc<Config>,
    board: Arc<Scoreboard>,
    board_slot: usize,
    next_id: u64,
    deadlines: Deadlines<(usize, u64)>,
    due: Deadlines<usize>,
    unread: VecDeque<usize>,
    unestablished: HashMap<IpAddr, u32>,
    unestablished_total: u32,
    next_tick_ms: u64,
    auto_gather_ms: u64,
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) sent_before: HashMap<StreamKey, u64>,
    buffer: Vec<u8>,
    now_ms: u64,
    stopping: bool,
}

impl Hub {
    /// An empty hub.
    ///
    /// # Errors
    /// When the kernel gives no event queue.
    pub fn new(
        config: Arc<Config>,
        board: Arc<Scoreboard>,
        board_slot: u32,
        first_id: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            reactor: Reactor::new()?,
            connections: Slab::new(),
            audiences: Slab::new(),
            by_key: HashMap::new(),
            config,
            board,
            board_slot: board_slot as usize,
            next_id: first_id,
            deadlines: Deadlines::default(),
            due: Deadlines::default(),
            unread: VecDeque::new(),
            unestablished: HashMap::new(),
            unestablished_total: 0,
            next_tick_ms: 0,
            auto_gather_ms: 0,
            ended: BTreeMap::new(),
            sent_before: HashMap::new(),
            buffer: vec![0; READ_BYTES],
            now_ms: reactor::now_ms(),
            stopping: false,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Time of this turn, monotonic ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// A connection.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.0)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// The vhost block that serves a resolved name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.config.vhosts.iter().find(|vhost| vhost.name == name)
    }

    /// The audience of a stream, if it has viewers here.
    #[must_use]
    pub fn audience(&self, key: &StreamKey) -> Option<AudienceId> {
        self.by_key.get(key).copied()
    }

    // ---- the loop ----

    /// When [`Self::run`] has to be called at the latest, monotonic ms.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if !self.unread.is_empty() {
            return 0;
        }
        [self.deadlines.next(), self.due.next()].into_iter().flatten().fold(self.next_tick_ms, u64::min)
    }

    /// Sees to it that the loop comes round at `at_ms` at the latest.
    pub fn wake_at(&mut self, at_ms: u64) {
        // A deadline of no connection: it only ends the wait.
        self.deadlines.add(at_ms, (usize::MAX, 0));
    }

    /// Waits for the kernel and serves the connections; what concerns the host's own tokens is put into `others`.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn turn<H: Host>(&mut self, host: &mut H, others: &mut Vec<Ready>) -> io::Result<()> {
        let mut ready = Vec::new();
        self.reactor.wait(Some(self.next_deadline()), &mut ready)?;
        self.now_ms = reactor::now_ms();
        for event in ready {
            match event.token.0.checked_sub(FIRST_TOKEN) {
                None => others.push(event),
                Some(key) => {
                    if event.writable {
                        self.writable(host, key);
                    }
                    if event.readable {
                        self.readable(host, key);
                    }
                }
            }
        }
        for _ in 0..self.unread.len() {
            if let Some(key) = self.unread.pop_front() {
                self.readable(host, key);
            }
        }
        Ok(())
    }

    /// Everything that is due by now.
    pub fn run<H: Host>(&mut self, host: &mut H) {
        self.now_ms = reactor::now_ms();
        while let Some(key) = self.due.pop(self.now_ms) {
            if self
                .audiences
                .get(key)
                .is_some_and(|audience| audience.due_ms.is_some_and(|due| due <= self.now_ms))
            {
                self.fan_out(host, AudienceId(key));
            }
        }
        while let Some((key, id)) = self.deadlines.pop(self.now_ms) {
            if self.connections.get(key).is_some_and(|connection| connection.id == id) {
                self.check_deadline(host, key);
            }
        }
        if self.now_ms >= self.next_tick_ms {
            self.next_tick_ms = self.now_ms + TICK_MS;
            self.tick(host);
        }
    }

    fn check_deadline<H: Host>(&mut self, host: &mut H, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.deadline = None;
        if let Some(end) = connection.closing.take() {
            self.end(host, key, end);
            return;
        }
        match connection.session.handle_timeout(self.now_ms) {
            Ok(()) => {
                self.pump(host, key);
            }
            Err(error) => self.end(host, key, End::Protocol(error)),
        }
    }

    // ---- connections ----

    /// Takes a connection that was accepted.
    pub fn adopt<H: Host>(&mut self, host: &mut H, socket: TcpStream, peer: SocketAddr) {
        self.board.add(self.board_slot, Counter::Accepted, 1);
        let open = self.board.sum(Counter::Connections);
        let limit = u64::from(self.config.max_connections);
        // A few places beyond the limit are for telling clients why they are refused.
        if open >= limit + 64 || prepare(&socket).is_err() {
            self.board.add(self.board_slot, Counter::Refused, 1);
            *self.ended.entry(End::Full.reason()).or_default() += 1;
            return;
        }
        let ip = peer.ip();
        let limits = &self.config.limits;
        if self.unestablished.get(&ip).copied().unwrap_or(0) >= limits.unestablished_per_ip
            || self.unestablished_total >= limits.unestablished_total
        {
            self.evict_unestablished(host, ip);
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut seed = [0; 32];
        let _ = getrandom::fill(&mut seed);
        let session = ServerSession::new(
            self.now_ms,
            ServerOptions {
                limits: session_limits(&self.config.limits),
                seed,
                identity: Identity {
                    server_ip: socket
                        .local_addr()
                        .map_or_else(|_| String::new(), |local| local.ip().to_canonical().to_string()),
                    pid: std::process::id(),
                    id,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                },
                out_chunk_size: self.config.chunk_size,
                out_window: 2_500_000,
                in_ack_size: 0,
            },
        );
        let mut connection = Connection::new(socket, peer, id, session, self.now_ms);
        connection.refuse = open >= limit;
        *self.unestablished.entry(ip).or_default() += 1;
        self.unestablished_total += 1;
        if let Some(key) = self.insert(connection) {
            tracing::info!(cid = id, "RTMP client ip={ip}:{}", peer.port());
            self.readable(host, key);
        }
    }

    fn insert(&mut self, connection: Connection) -> Option<usize> {
        self.board.add(self.board_slot, Counter::Connections, 1);
        let fd = connection.fd();
        let key = self.connections.insert(connection);
        if let Err(error) = self.reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.connections.remove(key);
            self.board.add(self.board_slot, Counter::Connections, -1);
            return None;
        }
        self.update_deadline(key);
        Some(key)
    }

    /// The oldest connection that has not said what it wants makes room: of the same address first.
    fn evict_unestablished<H: Host>(&mut self, host: &mut H, ip: IpAddr) {
        let candidates = |same: bool| {
            self.connections
                .iter()
                .filter(move |(_, c)| !c.established && (!same || c.peer.ip() == ip))
                .min_by_key(|(_, c)| c.id)
                .map(|(key, _)| key)
        };
        if let Some(key) = candidates(true).or_else(|| candidates(false)) {
            self.end(host, key, End::Unestablished);
        }
    }

    fn establish(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.established {
            connection.established = true;
            let ip = connection.peer.ip();
            self.forget_unestablished(ip);
        }
    }

    fn forget_unestablished(&mut self, ip: IpAddr) {
        self.unestablished_total = self.unestablished_total.saturating_sub(1);
        if let Some(count) = self.unestablished.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.unestablished.remove(&ip);
            }
        }
    }

    fn update_deadline(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(at) = connection.session.poll_timeout() else { return };
        if connection.deadline.is_none_or(|known| at < known) {
            connection.deadline = Some(at);
            self.deadlines.add(at, (key, connection.id));
        }
    }

    fn readable<H: Host>(&mut self, host: &mut H, key: usize) {
        match self.read_turn(host, key) {
            Ok(ReadTurn::Drained) => {}
            Ok(ReadTurn::Budget) => {
                if !self.unread.contains(&key) {
                    self.unread.push_back(key);
                }
            }
            Ok(ReadTurn::Eof) => {
                let end = self.connections.get_mut(key).and_then(|connection| connection.closing.take());
                self.end(host, key, end.unwrap_or(End::PeerClosed));
            }
            Err(end) => {
                let closing = self.connections.get_mut(key).and_then(|connection| connection.closing.take());
                self.end(host, key, closing.unwrap_or(end));
            }
        }
    }

    fn read_turn<H: Host>(&mut self, host: &mut H, key: usize) -> Result<ReadTurn, End> {
        let budget = self.config.limits.turn_bytes as usize;
        let mut taken = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Some(connection) = self.connections.get_mut(key) else { break Ok(ReadTurn::Drained) };
            if taken >= budget {
                break Ok(ReadTurn::Budget);
            }
            let bytes = match connection.read(&mut buffer) {
                Ok(Some([])) => break Ok(ReadTurn::Eof),
                Ok(Some(bytes)) => bytes,
                Ok(None) => break Ok(ReadTurn::Drained),
                Err(end) => break Err(end),
            };
            taken += bytes.len();
            connection.last_input_ms = self.now_ms;
            if connection.closing.is_some() {
                continue;
            }
            if !connection.established {
                connection.acknowledge();
            }
            self.board.add(self.board_slot, Counter::BytesIn, i64::try_from(bytes.len()).unwrap_or(0));
            let handled = connection.session.handle_input(self.now_ms, bytes);
            // What was understood before the error still counts.
            self.pump(host, key);
            if let Err(error) = handled {
                break Err(End::Protocol(error));
            }
        };
        self.buffer = buffer;
        result
    }

    /// Works off what the session has to say. Returns whether the connection still exists.
    pub(crate) fn pump<H: Host>(&mut self, host: &mut H, key: usize) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            if connection.closing.is_some() {
                while connection.session.poll_output().is_some() {}
                return true;
            }
            match connection.deferred.pop_front().or_else(|| connection.session.poll_output()) {
                Some(Output::Transmit(bytes)) => self.queue(key, &bytes),
                Some(Output::Event(event)) => self.event(host, key, event),
                Some(Output::Close(reason)) => self.close_softly(host, key, End::Session(reason)),
                None => break,
            }
        }
        self.update_deadline(key);
        self.flush(host, key);
        self.connections.contains(key)
    }

    /// Brings what the session has to send into the outbox, ahead of what else will go there; events wait for the pump.
    pub(crate) fn drain_transmits(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key) {
            match connection.session.poll_output() {
                Some(Output::Transmit(bytes)) => self.queue(key, &bytes),
                Some(other) => connection.deferred.push_back(other),
                None => break,
            }
        }
    }

    /// Puts bytes into a connection's outbox, behind whole packets only.
    fn queue(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let playing = connection.playing.clone();
        for play in &playing {
            if let Some(audience) = self.audiences.get_mut(play.audience.0) {
                audience.settle(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
                    viewer.set(crate::viewer::QUEUED, true);
                }
            }
        }
        connection.outbox.tail().extend_from_slice(bytes);
    }

    /// Sends what waits, then what the connection's viewers may get.
    fn flush<H: Host>(&mut self, host: &mut H, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let before = connection.bytes_out;
        match connection.flush() {
            Ok(false) => {}
            Ok(true) => return,
            Err(end) => {
                let end = connection.closing.take().unwrap_or(end);
                self.end(host, key, end);
                return;
            }
        }
        let sent = connection.bytes_out - before;
        self.board.add(self.board_slot, Counter::BytesOut, i64::try_from(sent).unwrap_or(0));
        if connection.closing.is_some() {
            if !connection.half_closed {
                connection.half_closed = true;
                let _ = connection.socket.shutdown(std::net::Shutdown::Write);
            }
            return;
        }
        let playing = connection.playing.clone();
        for play in playing {
            self.serve(host, play.audience, play.viewer, key);
        }
    }

    fn writable<H: Host>(&mut self, host: &mut H, key: usize) {
        self.flush(host, key);
    }

    fn serve<H: Host>(&mut self, host: &mut H, audience: AudienceId, viewer: usize, key: usize) {
        let (Some(audience), Some(connection)) =
            (self.audiences.get_mut(audience.0), self.connections.get_mut(key))
        else {
            return;
        };
        match audience.serve(viewer, connection, self.now_ms) {
            Ok(Served::Done) => {}
            Ok(Served::Finished) => {
                let msid = audience.viewers.get(viewer).map_or(0, |viewer| viewer.msid);
                connection.session.end_play(self.now_ms, msid);
                self.stop_play(host, key, msid);
                self.pump(host, key);
            }
            Err(end) => self.end(host, key, end),
        }
    }

    /// Ends a connection after what waits has been sent and the peer has had time to read it.
    pub fn close_softly<H: Host>(&mut self, host: &mut H, key: usize, end: End) {
        self.leave_all(host, key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.closing.is_some() {
            return;
        }
        connection.closing = Some(end);
        let at = self.now_ms + LINGER_MS;
        connection.deadline = Some(at);
        self.deadlines.add(at, (key, connection.id));
        self.flush(host, key);
    }

    /// Ends a connection now.
    pub fn close<H: Host>(&mut self, host: &mut H, id: ConnectionId, end: End) {
        self.end(host, id.0, end);
    }

    /// Stops what a connection plays and publishes.
    fn leave_all<H: Host>(&mut self, host: &mut H, key: usize) {
        while let Some(msid) =
            self.connections.get_mut(key).and_then(|c| c.playing.last()).map(|play| play.msid)
        {
            self.stop_play(host, key, msid);
        }
        while let Some(msid) = self.connections.get_mut(key).and_then(|c| c.publishing.pop()) {
            host.unpublish(self, ConnectionId(key), msid);
        }
    }

    fn end<H: Host>(&mut self, host: &mut H, key: usize, end: End) {
        if !self.connections.contains(key) {
            return;
        }
        self.leave_all(host, key);
        host.closed(self, ConnectionId(key));
        let connection = self.connections.remove(key);
        let _ = self.reactor.deregister(connection.fd());
        self.forget(&connection, &end);
    }

    fn forget(&mut self, connection: &Connection, end: &End) {
        self.board.add(self.board_slot, Counter::Connections, -1);
        if !connection.established {
            self.forget_unestablished(connection.peer.ip());
        }
        *self.ended.entry(end.reason()).or_default() += 1;
        let seconds = self.now_ms.saturating_sub(connection.accepted_ms);
        let line = format_args!(
            "client ip={} ends: {end} ({}), after {}.{:03} s, received {} bytes, sent {} bytes, {} frames, {} dropped",
            connection.peer,
            end.reason(),
            seconds / 1000,
            seconds % 1000,
            connection.bytes_in,
            connection.bytes_out,
            connection.frames,
            connection.dropped,
        );
        if end.is_peer_error() {
            tracing::warn!(cid = connection.id, "{line}");
        } else {
            tracing::info!(cid = connection.id, "{line}");
        }
    }

    // ---- what clients ask ----

    fn event<H: Host>(&mut self, host: &mut H, key: usize, event: ServerEvent) {
        match event {
            ServerEvent::Media { msid, kind, timestamp, payload } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.frames += 1;
                    connection.had_media = true;
                    connection.last_media_ms = self.now_ms;
                }
                host.media(self, ConnectionId(key), msid, kind, timestamp, payload);
            }
            ServerEvent::Connect(request) => self.connect(host, key, &request),
            ServerEvent::Publish(request) => self.publish(host, key, request),
            ServerEvent::Play(request) => self.play(host, key, &request),
            ServerEvent::Unpublish { msid } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.publishing.retain(|known| *known != msid);
                }
                host.unpublish(self, ConnectionId(key), msid);
            }
            ServerEvent::StopPlay { msid } => self.stop_play(host, key, msid),
            ServerEvent::Pause { msid, paused, .. } => {
                self.switch(host, key, msid, crate::viewer::PAUSED, paused)
            }
            ServerEvent::ReceiveAudio { msid, on } => {
                self.switch(host, key, msid, crate::viewer::NO_AUDIO, !on)
            }
            ServerEvent::ReceiveVideo { msid, on } => {
                self.switch(host, key, msid, crate::viewer::NO_VIDEO, !on)
            }
            ServerEvent::Seek { .. } | ServerEvent::BufferLength { .. } | ServerEvent::Acknowledged(_) => {}
        }
    }

    fn connect<H: Host>(&mut self, host: &mut H, key: usize, request: &rtmp::ConnectRequest) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let cid = connection.id;
        let url = rtmp::url::mask_query(&request.tc_url);
        let refusal = match self.config.vhost(&request.target.vhost) {
            _ if connection.refuse => Some("The server is full: max_connections is reached".to_owned()),
            Lookup::Found(vhost) if !refer::allowed(&vhost.refer.all, request.page_url.as_deref()) => {
                Some("The page is not allowed to use this server (refer)".to_owned())
            }
            Lookup::Found(vhost) => {
                connection.vhost = Some(vhost.name.as_str().into());
                if let Some(nodelay) = vhost.tcp_nodelay {
                    let _ = connection.socket.set_nodelay(nodelay);
                }
                None
            }
            Lookup::Disabled(vhost) => Some(format!("The vhost {} is disabled", vhost.name)),
            Lookup::NotFound => Some(format!("There is no vhost {}", request.target.vhost)),
        };
        match refusal {
            None => {
                tracing::info!(
                    cid,
                    "connect app, tcUrl={url}, vhost={}, app={}",
                    connection.vhost().unwrap_or(""),
                    request.target.app
                );
                if let Err(error) = connection.session.accept_connect(self.now_ms) {
                    self.end(host, key, End::Protocol(error));
                }
            }
            Some(why) => {
                tracing::warn!(cid, "connect refused, tcUrl={url}: {why}");
                if connection.refuse {
                    self.board.add(self.board_slot, Counter::Refused, 1);
                }
                connection.session.reject_connect(&why);
            }
        }
    }

    /// The resolved name of a stream that a connection asks for. A `vhost` among the stream's own parameters wins over the
    /// one it connected to, and has to let the client in like that one.
    fn key_of(&self, key: usize, name: &str, params: &[(String, String)]) -> Result<StreamKey, String> {
        let connection = self.connections.get(key).ok_or("The connection is gone")?;
        let request = connection.session.connect_request().ok_or("There was no connect")?;
        let app = request.target.app.clone();
        let stream = name.to_owned();
        let vhost = match params.iter().find(|(key, _)| key == "vhost") {
            None => connection.vhost.as_deref().ok_or("There was no connect")?.to_owned(),
            Some((_, asked)) => match self.config.vhost(&asked.to_lowercase()) {
                Lookup::Found(vhost) if refer::allowed(&vhost.refer.all, request.page_url.as_deref()) => {
                    vhost.name.clone()
                }
                Lookup::Found(_) => {
                    return Err("The page is not allowed to use this server (refer)".to_owned());
                }
                Lookup::Disabled(vhost) => return Err(format!("The vhost {} is disabled", vhost.name)),
                Lookup::NotFound => return Err(format!("There is no vhost {asked}")),
            },
        };
        Ok(StreamKey { vhost, app, stream })
    }

    fn page_allowed(&self, key: usize, vhost: &str, list: impl Fn(&Vhost) -> &Vec<String>) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        let page = connection.session.connect_request().and_then(|request| request.page_url.as_deref());
        let vhost = self.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.enabled && refer::allowed(list(vhost), page))
    }

    fn publish<H: Host>(&mut self, host: &mut H, key: usize, request: PublishRequest) {
        let name = match self.key_of(key, &request.name, &request.params) {
            Ok(name) if self.page_allowed(key, &name.vhost, |vhost| &vhost.refer.publish) => Ok(name),
            Ok(_) => Err("The page is not allowed to publish (refer_publish)".to_owned()),
            Err(why) => Err(why),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    tracing::warn!(cid = connection.id, "publish refused: {why}");
                    connection.session.reject_publish(request.msid, RejectReason::Denied, &why);
                }
                return;
            }
        };
        self.establish(key);
        host.publish(self, ConnectionId(key), name, request);
    }

    /// Accepts a publish that was asked of the host.
    pub fn accept_publish<H: Host>(&mut self, host: &mut H, id: ConnectionId, msid: u32) {
        let Some(connection) = self.connections.get(id.0) else { return };
        let chunk_size = self.chunk_size_of(connection);
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        connection.session.set_out_chunk_size(chunk_size);
        connection.publishing.push(msid);
        connection.had_media = false;
        connection.last_media_ms = self.now_ms;
        match connection.session.accept_publish(self.now_ms, msid) {
            Ok(()) => {
                self.pump(host, id.0);
            }
            Err(error) => self.end(host, id.0, End::Protocol(error)),
        }
    }

    /// The chunk size that a connection's vhost asks for.
    pub(crate) fn chunk_size_of(&self, connection: &Connection) -> u32 {
        let vhost = connection.vhost.as_deref().and_then(|name| self.vhost(name));
        vhost.map_or(self.config.chunk_size, |vhost| vhost.chunk_size)
    }

    /// Refuses a publish that was asked of the host.
    pub fn reject_publish<H: Host>(&mut self, host: &mut H, id: ConnectionId, msid: u32, why: &str) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        tracing::warn!(cid = connection.id, "publish refused: {why}");
        connection.session.reject_publish(msid, RejectReason::BadName, why);
        self.pump(host, id.0);
    }

    // ---- publishers on their way to another process ----

    /// Takes a connection out, for another process: its socket and everything else of it.
    pub fn detach<H: Host>(
        &mut self,
        host: &mut H,
        id: ConnectionId,
    ) -> Option<(OwnedFd, ConnectionSnapshot)> {
        let key = id.0;
        let connection = self.connections.get_mut(key)?;
        let mut playing = Vec::new();
        for play in connection.playing.clone() {
            if let Some(audience) = self.audiences.get_mut(play.audience.0) {
                audience.settle(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get(play.viewer) {
                    playing.push((audience.key.clone(), viewer.into()));
                }
            }
        }
        let snapshot = ConnectionSnapshot {
            id: connection.id,
            peer: connection.peer,
            accepted_ms: connection.accepted_ms,
            vhost: connection.vhost.as_deref().map(str::to_owned),
            bytes: (connection.bytes_in, connection.bytes_out),
            session: connection.session.snapshot(),
            outbox: connection.outbox.waiting().to_vec(),
            playing,
            publishing: connection.publishing.clone(),
        };
        while let Some(msid) = self.connections.get(key).and_then(|c| c.playing.last()).map(|play| play.msid)
        {
            self.stop_play(host, key, msid);
        }
        let connection = self.connections.remove(key);
        let _ = self.reactor.deregister(connection.fd());
        self.board.add(self.board_slot, Counter::Connections, -1);
        if !connection.established {
            self.forget_unestablished(connection.peer.ip());
        }
        *self.ended.entry(End::HandedOver.reason()).or_default() += 1;
        Some((OwnedFd::from(connection.socket), snapshot))
    }

    /// Takes over a connection that another process detached, and goes on where it stood.
    ///
    /// # Errors
    /// When the snapshot can't be read; the connection is closed then.
    pub fn attach<H: Host>(
        &mut self,
        host: &mut H,
        socket: OwnedFd,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        let snapshot = ConnectionSnapshot::from_bytes(bytes)?;
        let session = ServerSession::restore(&snapshot.session)?;
        let socket = TcpStream::from(socket);
        if let Err(error) = prepare(&socket) {
            tracing::warn!(cid = snapshot.id, "a connection that was handed over is dead: {error}");
            return Ok(());
        }
        let pending = session.pending().cloned();
        let mut connection = Connection::new(socket, snapshot.peer, snapshot.id, session, self.now_ms);
        connection.accepted_ms = snapshot.accepted_ms;
        connection.vhost = snapshot.vhost.map(String::into_boxed_str);
        (connection.bytes_in, connection.bytes_out) = snapshot.bytes;
        connection.publishing = snapshot.publishing;
        connection.established = true;
        connection.outbox.tail().extend_from_slice(&snapshot.outbox);
        let Some(key) = self.insert(connection) else { return Ok(()) };
        for (name, viewer) in snapshot.playing {
            self.join(host, key, name, |fd, key, now_ms| viewer.into_viewer(fd, key, now_ms));
        }
        if let Some(Pending::Publish(request)) = pending {
            self.publish(host, key, request);
        }
        if self.pump(host, key) {
            self.readable(host, key);
        }
        Ok(())
    }

    // ---- the end ----

    /// Says goodbye to every client; [`Self::connection_count`] falls to 0 as they go.
    pub fn goodbye<H: Host>(&mut self, host: &mut H, description: &str) {
        self.stopping = true;
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.session.goodbye(description);
            }
            self.pump(host, key);
            self.close_softly(host, key, End::Shutdown);
        }
    }

    // ---- slow work ----

    fn tick<H: Host>(&mut self, host: &mut H) {
        self.adapt_gathering();
        let limits = &self.config.limits;
        let (stalled_ms, drain) = (limits.stalled_timeout_ms, u64::from(limits.min_drain_rate));
        let mut ends = Vec::new();
        let mut holds = Vec::new();
        for (_, audience) in &mut self.audiences {
            let keys: Vec<(usize, usize, u16)> =
                audience.viewers.iter().map(|(key, viewer)| (key, viewer.connection, viewer.flags)).collect();
            for (viewer_key, key, flags) in keys {
                if flags & (crate::viewer::BLOCKED | crate::viewer::PAUSED) == 0 {
                    continue;
                }
                let Some(connection) = self.connections.get_mut(key) else { continue };
                if let Some(lag_ms) = audience.watch(viewer_key, connection, true) {
                    holds.push((audience.key.clone(), lag_ms));
                }
                let Some(viewer) = audience.viewers.get_mut(viewer_key) else { continue };
                if flags & crate::viewer::BLOCKED != 0 {
                    if self.now_ms.saturating_sub(viewer.progress_ms) > stalled_ms {
                        ends.push((key, End::Stalled));
                    } else if drain > 0 && self.now_ms.saturating_sub(viewer.drain_mark.1) >= 10_000 {
                        if viewer.sent - viewer.drain_mark.0 < drain * 10 {
                            ends.push((key, End::TooSlow));
                        }
                        viewer.drain_mark = (viewer.sent, self.now_ms);
                    }
                } else {
                    viewer.drain_mark = (viewer.sent, self.now_ms);
                }
            }
        }
        for (key, connection) in &self.connections {
            if connection.closing.is_some() {
                continue;
            }
            if !connection.publishing.is_empty() {
                let rules =
                    connection.vhost.as_deref().and_then(|name| self.vhost(name)).map(|vhost| &vhost.publish);
                let silent = self.now_ms.saturating_sub(connection.last_media_ms);
                let bound = rules.map_or(30_000, |rules| {
                    if connection.had_media { rules.normal_timeout_ms } else { rules.firstpkt_timeout_ms }
                });
                if bound > 0 && silent > bound {
                    ends.push((key, End::PublishTimeout));
                }
            }
            // Command replies that nobody reads, outside of playing.
            if connection.playing.is_empty()
                && !connection.outbox.is_empty()
                && self.now_ms.saturating_sub(connection.last_input_ms) > stalled_ms
            {
                ends.push((key, End::Stalled));
            }
        }
        for (key, end) in ends {
            self.end(host, key, end);
        }
        for (name, lag_ms) in holds {
            self.ask_hold(host, &name, lag_ms);
        }
    }

    pub(crate) fn ask_hold<H: Host>(&mut self, host: &mut H, name: &StreamKey, lag_ms: u64) {
        let Some(audience) = self.by_key.get(name).and_then(|id| self.audiences.get_mut(id.0)) else {
            return;
        };
        if self.now_ms.saturating_sub(audience.hold_asked_ms) < 100 {
            return;
        }
        audience.hold_asked_ms = self.now_ms;
        let name = name.clone();
        host.hold(self, &name, lag_ms);
    }

    /// `mw_latency auto`: at once while the loop is mostly idle, more the busier it is.
    fn adapt_gathering(&mut self) {
        let busy = self.reactor.busy();
        self.auto_gather_ms = if busy > 0.6 {
            (self.auto_gather_ms + 30).min(MAX_GATHER_MS)
        } else if busy > 0.3 {
            (self.auto_gather_ms + 5).min(MAX_GATHER_MS)
        } else if busy < 0.2 {
            self.auto_gather_ms.saturating_sub(10)
        } else {
            self.auto_gather_ms
        };
    }

    pub(crate) fn auto_gather_ms(&self) -> u64 {
        self.auto_gather_ms
    }

    // ---- access for the part that plays (play.rs) ----

    pub(crate) fn audiences_by_key(&mut self) -> &mut HashMap<StreamKey, AudienceId> {
        &mut self.by_key
    }

    pub(crate) fn add_due(&mut self, at_ms: u64, audience: AudienceId) {
        self.due.add(at_ms, audience.0);
    }

    pub(crate) fn mark_established(&mut self, key: usize) {
        self.establish(key);
    }

    pub(crate) fn asked(
        &self,
        key: usize,
        name: &str,
        params: &[(String, String)],
    ) -> Result<StreamKey, String> {
        let name = self.key_of(key, name, params)?;
        if self.page_allowed(key, &name.vhost, |vhost| &vhost.refer.play) {
            Ok(name)
        } else {
            Err("The page is not allowed to play (refer_play)".to_owned())
        }
    }

    pub(crate) fn end_of<H: Host>(&mut self, host: &mut H, key: usize, end: End) {
        self.end(host, key, end);
    }

    pub(crate) fn serve_one<H: Host>(
        &mut self,
        host: &mut H,
        audience: AudienceId,
        viewer: usize,
        key: usize,
    ) {
        self.serve(host, audience, viewer, key);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.board.add(self.board_slot, Counter::BytesOut, i64::try_from(bytes).unwrap_or(0));
    }

    /// A stream is gone: what was counted for it is forgotten.
    pub fn forget_stream(&mut self, key: &StreamKey) {
        self.sent_before.remove(key);
    }

    /// Reads from a ring from now on, for the viewers of a stream.
    pub fn set_ring<H: Host>(&mut self, host: &mut H, id: AudienceId, ring: RingReader) {
        self.attach_ring(host, id, ring);
    }
}

/// Socket options that every client connection has.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(socket);
    // Urgent bytes stay in the stream: what the kernel counts is then what we read.
    options.set_out_of_band_inline(true)?;
    options.set_tcp_nodelay(true)?;
    options.set_keepalive(true)?;
    let _ = options.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5)),
    );
    let _ = options.set_tcp_user_timeout(Some(Duration::from_secs(30)));
    debug_assert!(socket.as_raw_fd() >= 0);
    Ok(())
}

/// The protocol's share of the configured limits.
fn session_limits(limits: &conf::config::Limits) -> rtmp::Limits {
    rtmp::Limits {
        max_media_message: limits.max_message,
        max_command_message: limits.max_command_message,
        chunk_size_min: limits.chunk_size_min,
        chunk_size_max: limits.chunk_size_max,
        clamp_large_chunk_size: limits.clamp_chunk_size,
        max_csids: limits.max_csids as usize,
        max_messages_in_flight: limits.max_messages_in_flight as usize,
        max_reassembly: usize::try_from(limits.max_reassembly).unwrap_or(usize::MAX),
        handshake_timeout_ms: limits.handshake_timeout_ms,
        identify_timeout_ms: limits.identify_timeout_ms,
        max_message_streams: limits.message_streams as usize,
        max_name_bytes: limits.name_bytes as usize,
        max_pending_pongs: limits.pending_pings,
        ack_window_min: limits.ack_window_min,
        ack_window_max: limits.ack_window_max,
        amf_depth: limits.amf_depth as usize,
        amf_nodes: limits.amf_nodes as usize,
        amf_keys: limits.amf_keys as usize,
        amf_string: limits.amf_string as usize,
        amf_total: limits.amf_total as usize,
        ..rtmp::Limits::default()
    }
}
