//! The web server: connections, the streams that they watch, and what is due when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use conf::Config;
use endpoint::{AudienceId, LinkEvent, Links};
use media::StreamKey;
use mediaring::{Counter, Scoreboard};
use reactor::{Reactor, Ready, Token};
use slab::Slab;

use super::backlog::Format;
use super::connection::{Body, Connection, Gone, State};
use super::disk::{Disk, Done};
use super::dvr::Recorders;
use super::feed::Feed;
use super::files::Mounts;
use super::hls::House;
use super::live::Filled;
use super::transport::{Certificate, Transport};
use super::tunnel;
use super::vod::Vod;
use crate::stream::accept::Listeners;

/// Tokens of connections begin here.
const FIRST_TOKEN: usize = endpoint::FIRST_TOKEN;
/// How often those who wait for something are looked at, at most, ms.
const LOOK_MS: u64 = 20;
/// How often connections are looked after, ms.
const SWEEP_MS: u64 = 250;
/// From accept, or the first byte of another head, to the end of the head, ms.
const HEAD_MS: u64 = 5_000;
/// How long a connection may rest between two requests, ms.
const IDLE_MS: u64 = 60_000;
/// How long a client may take to read our last words, ms.
const LINGER_MS: u64 = 1_000;
/// How often it is looked whether a stream can be read that is held back, ms.
const HOLD_LOOK_MS: u64 = 3;
/// How long a player of HLS that an operator ended is refused, ms.
const REFUSE_MS: u64 = 60_000;
/// How long the disk may take for what is to be written before the end, ms.
const LAST_WRITES_MS: u64 = 2_000;
/// How long viewers stay when nobody publishes any more, at least, ms.
const LEAST_GRACE_MS: u64 = 5_000;

/// The web server.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) config: Arc<Config>,
    /// Of the server, as answers name it.
    pub(crate) version: String,
    pub(crate) mounts: Mounts,
    board: Arc<Scoreboard>,
    slot: usize,
    next_id: u64,
    pub(crate) connections: Slab<Connection>,
    pub(crate) listeners: Listeners,
    tls: BTreeSet<SocketAddr>,
    certificate: Certificate,
    /// Addresses that nobody is taken from, until when, ms.
    refused: HashMap<IpAddr, u64>,
    pub(super) links: Links,
    /// How long packets are gathered where the server decides, ms.
    pub(super) gather_ms: u64,
    pub(crate) feeds: Slab<Feed>,
    feed_of: HashMap<StreamKey, usize>,
    pub(super) members: HashMap<usize, BTreeSet<usize>>,
    /// Streams that exist, and whether somebody publishes them.
    pub(crate) streams: HashMap<StreamKey, bool>,
    /// Feeds with something new, and when feeds are to be looked at though nothing has come.
    stirred: BTreeSet<usize>,
    due: BTreeMap<usize, u64>,
    /// Connections that are to be served again in this turn.
    again: BTreeSet<usize>,
    /// Something is there that was not: who waits is looked at.
    pub(crate) news: bool,
    /// When that was done last, ms: however much is new, and however many wait, it is not done all the time.
    looked_ms: u64,
    pub(crate) hls: House,
    pub(crate) dvr: Recorders,
    pub(crate) vod: Vod,
    swept_ms: u64,
    /// Requests for the API whose sockets are to be watched.
    pub(super) knocks: Vec<usize>,
    /// Pages that want to hear of events, and when they hear of us at the latest, ms.
    pub(super) event_listeners: BTreeSet<usize>,
    pub(super) next_ping_ms: u64,
    pub(crate) now_ms: u64,
    pub(super) ended: BTreeMap<&'static str, u64>,
}

impl Web {
    pub(crate) fn new(
        config: Arc<Config>,
        board: Arc<Scoreboard>,
        (number, slot): (u32, u32),
        first_id: u64,
        (disk, vod): (Disk, Vod),
    ) -> Self {
        Self {
            hls: House::new(disk, &config.runtime_dir, number),
            dvr: Recorders::default(),
            vod,
            mounts: Mounts::new(&config),
            gather_ms: 0,
            links: Links::new(config.backsources.max(1)),
            listeners: Listeners::new(config.limits.turn_accepts),
            config,
            version: String::new(),
            board,
            slot: slot as usize,
            next_id: first_id,
            connections: Slab::new(),
            tls: BTreeSet::new(),
            certificate: Certificate::default(),
            refused: HashMap::new(),
            feeds: Slab::new(),
            feed_of: HashMap::new(),
            members: HashMap::new(),
            streams: HashMap::new(),
            stirred: BTreeSet::new(),
            due: BTreeMap::new(),
            again: BTreeSet::new(),
            news: false,
            looked_ms: 0,
            swept_ms: 0,
            knocks: Vec::new(),
            event_listeners: BTreeSet::new(),
            next_ping_ms: 0,
            now_ms: reactor::now_ms(),
            ended: BTreeMap::new(),
        }
    }

    /// Accepts on this from now on.
    pub(crate) fn listen(&mut self, reactor: &Reactor, address: SocketAddr, tls: bool, fds: Vec<OwnedFd>) {
        if tls {
            self.tls.insert(address);
            self.certificate.look(&self.config.http_server.https, true);
        }
        self.listeners.add(reactor, &[address], fds);
    }

    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: Arc<Config>) {
        self.mounts = Mounts::new(&config);
        self.config = config;
        self.news = true;
        self.certificate.look(&self.config.http_server.https, true);
        self.end_homeless();
        self.review_hls();
        self.review_dvr();
    }

    /// Who watches a stream of a vhost that is no more has nothing to watch.
    fn end_homeless(&mut self) {
        let served = |name: &str| {
            self.config
                .vhosts
                .iter()
                .any(|vhost| vhost.enabled && vhost.http_remux.enabled && vhost.name == name)
        };
        let homeless: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let feed = connection.viewer().and_then(|viewer| self.feeds.get(viewer.feed));
                feed.is_some_and(|feed| !served(&feed.key.vhost))
            })
            .map(|(key, _)| key)
            .collect();
        for key in homeless {
            self.end_live(key);
            self.serve(key, false);
        }
    }

    /// Takes nobody from an address for a while.
    pub(crate) fn refuse_address(&mut self, ip: IpAddr, for_ms: u64) {
        self.refused.retain(|_, until_ms| *until_ms > self.now_ms);
        self.refused.insert(ip.to_canonical(), self.now_ms + for_ms);
    }

    /// A back-source is there.
    pub(crate) fn connect(&mut self, reactor: &Reactor, shard: u32, channel: OwnedFd, wake: OwnedFd) {
        let events = self.links.connect(reactor, shard, channel, wake);
        self.apply(events);
    }

    /// A token that is none of the process's own is ready.
    pub(crate) fn ready(&mut self, ready: Ready) {
        if let Some(key) = ready.token.0.checked_sub(tunnel::FIRST_TOKEN) {
            self.serve(key, false);
        } else if let Some(key) = ready.token.0.checked_sub(FIRST_TOKEN) {
            if ready.writable
                && let Some(connection) = self.connections.get_mut(key)
            {
                connection.blocked = false;
            }
            self.serve(key, ready.readable);
        } else if self.links.owns(ready.token) {
            let events = self.links.ready(ready.token);
            self.apply(events);
        } else {
            self.listeners.ready(ready.token);
        }
    }

    fn apply(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Ring(audience, ring) => {
                    if let Some(feed) = self.feeds.get_mut(audience.key()) {
                        feed.tally = self.board.tally(ring.stream_id());
                        feed.set_ring(ring);
                        self.stirred.insert(audience.key());
                    }
                    self.set_pace(audience.key());
                }
                LinkEvent::Advanced(audience) => {
                    self.stirred.insert(audience.key());
                }
                LinkEvent::Stream(key, live) => self.stream(key, live),
                LinkEvent::Rest(_) => {}
                LinkEvent::Gone(key) => {
                    self.stream(key.clone(), false);
                    self.streams.remove(&key);
                    self.dvr.ordered.remove(&key);
                }
                LinkEvent::Up(shard) => tracing::debug!("back-source {shard} is there"),
                LinkEvent::Down(shard) => {
                    tracing::info!("back-source {shard} has gone");
                    // Its successor tells which streams there are; the rings stay readable meanwhile.
                    let shards = self.config.backsources.max(1);
                    self.streams.retain(|key, _| key.shard(shards) != shard);
                }
            }
        }
    }

    /// A stream begins or rests.
    fn stream(&mut self, key: StreamKey, live: bool) {
        if let Some(feed) = self.feed_of.get(&key).copied() {
            if let Some(feed) = self.feeds.get_mut(feed) {
                feed.set_live(live, self.now_ms);
            }
            self.stirred.insert(feed);
        }
        self.streams.insert(key, live);
        self.news = true;
        if live {
            self.review_hls();
            self.review_dvr();
            // At once: a short publish may be over with the next event.
            self.look_at_waiting();
        }
    }

    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The feed of a stream; there is one when this returns.
    pub(crate) fn feed(&mut self, key: &StreamKey, since_ns: u64) -> usize {
        if let Some(feed) = self.feed_of.get(key) {
            return *feed;
        }
        let feed = self.feeds.insert(Feed::new(key.clone(), since_ns));
        self.feed_of.insert(key.clone(), feed);
        self.links.watch(AudienceId::new(feed), key);
        feed
    }

    /// Somebody watches a feed from now on.
    pub(crate) fn join(&mut self, connection: usize, feed: usize, format: Format) {
        self.members.entry(feed).or_default().insert(connection);
        if let Some(feed) = self.feeds.get_mut(feed) {
            feed.join(format);
        }
        self.set_pace(feed);
        self.stirred.insert(feed);
        self.again.insert(connection);
    }

    /// Somebody watches it no longer.
    fn leave(&mut self, connection: usize, feed: usize, format: Format) {
        if let Some(members) = self.members.get_mut(&feed) {
            members.remove(&connection);
        }
        if let Some(known) = self.feeds.get_mut(feed) {
            known.leave(format);
        }
        self.forget_unwanted(feed);
    }

    /// A feed that nobody wants is none.
    pub(crate) fn forget_unwanted(&mut self, feed: usize) {
        if self.feeds.get(feed).is_none_or(Feed::is_wanted) {
            return;
        }
        let gone = self.feeds.remove(feed);
        self.links.unwatch(&gone.key);
        self.feed_of.remove(&gone.key);
        self.members.remove(&feed);
        self.stirred.remove(&feed);
        self.due.remove(&feed);
    }

    /// When [`Self::work`] is due, ms.
    pub(crate) fn deadline(&self) -> u64 {
        if !self.again.is_empty() || !self.stirred.is_empty() {
            return 0;
        }
        let accept = self.listeners.again_ms();
        let due = self.due.values().copied().min();
        let news = self.news.then_some(self.looked_ms + LOOK_MS);
        [Some(self.swept_ms + SWEEP_MS), accept, due, news].into_iter().flatten().min().unwrap_or(0)
    }

    /// Does what is due: accepts, reads streams, serves who watches them.
    pub(crate) fn work(&mut self, reactor: &Reactor) {
        self.now_ms = reactor::now_ms();
        for (at, socket, peer) in self.listeners.accept_at() {
            self.adopt(reactor, at, socket, peer);
        }
        let now_ms = self.now_ms;
        let due: Vec<usize> =
            self.due.iter().filter(|(_, at)| **at <= now_ms).map(|(feed, _)| *feed).collect();
        self.stirred.extend(due);
        for feed in std::mem::take(&mut self.stirred) {
            self.pump(feed);
        }
        self.news |= self.hls.work(now_ms);
        for key in std::mem::take(&mut self.hls.unfit) {
            self.links.end_publish(&key);
        }
        for done in std::mem::take(&mut self.hls.others) {
            match done {
                Done::Failed(id, error) => self.dvr.failed(id, &error, now_ms, &mut self.hls.disk),
                Done::Finished(id, result) => self.dvr.has_finished(id, result),
                Done::Written(..) | Done::Recovered(..) => {}
            }
        }
        for key in std::mem::take(&mut self.again) {
            self.serve(key, false);
        }
        self.watch_tunnels(reactor);
        if self.now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = self.now_ms;
            self.adapt_gathering(reactor.busy());
            self.sweep();
        } else if self.news && self.now_ms >= self.looked_ms + LOOK_MS {
            self.news = false;
            self.looked_ms = self.now_ms;
            self.look_at_waiting();
        }
    }

    fn pump(&mut self, key: usize) {
        self.due.remove(&key);
        if self.hls.holds(key, self.now_ms) {
            self.due.insert(key, self.now_ms + HOLD_LOOK_MS);
            return;
        }
        let Some(feed) = self.feeds.get_mut(key) else { return };
        let (hls, dvr, now_ms) = (&mut self.hls, &mut self.dvr, self.now_ms);
        let unix_ms = unix_ms();
        let again = feed.pump(self.now_ms, &mut |happening, lineup| {
            hls.take(key, happening, lineup, unix_ms);
            dvr.take(key, happening, lineup, (unix_ms, now_ms), &mut hls.disk);
        });
        if let Some(at) = again {
            self.due.insert(key, at);
        }
        if feed.has_ended() {
            self.hls.rest(key, self.now_ms);
            self.dvr.end(key, &mut self.hls.disk);
        }
        let has_ended = feed.has_ended();
        let members: Vec<usize> = self.members.get(&key).into_iter().flatten().copied().collect();
        for member in members {
            if self.connections.get(member).is_some_and(|connection| !connection.blocked) {
                self.serve(member, false);
            }
        }
        if has_ended {
            self.unpin(key);
        }
    }

    fn adopt(&mut self, reactor: &Reactor, at: SocketAddr, socket: TcpStream, peer: SocketAddr) {
        self.board.add(self.slot, Counter::Accepted, 1);
        let open = self.board.sum(Counter::Connections);
        let is_refused =
            self.refused.get(&peer.ip().to_canonical()).is_some_and(|until_ms| *until_ms > self.now_ms);
        if is_refused || open >= u64::from(self.config.max_connections) {
            for counter in [Counter::Refused, Counter::Ended, Counter::Errors] {
                self.board.add(self.slot, counter, 1);
            }
            *self.ended.entry(Gone::Full.reason()).or_default() += 1;
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let transport = match (self.tls.contains(&at), self.certificate.config()) {
            (false, _) => Ok(Transport::Plain(socket)),
            (true, Some(config)) => Transport::tls(socket, config),
            // The certificate could not be read, which was said.
            (true, None) => return,
        };
        let deadline_ms = self.now_ms + HEAD_MS;
        let connection = transport.and_then(|it| Connection::new(it, peer, id, self.now_ms, deadline_ms));
        let Ok(connection) = connection else { return };
        let fd = connection.fd();
        let key = self.connections.insert(connection);
        self.board.add(self.slot, Counter::Connections, 1);
        if let Err(error) = reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.end(key, Gone::Failed);
            return;
        }
        self.serve(key, true);
    }

    /// Serves a connection in this turn.
    pub(super) fn stir(&mut self, key: usize) {
        self.again.insert(key);
    }

    /// Does for a connection all that can be done now.
    pub(crate) fn serve(&mut self, key: usize, readable: bool) {
        let served = self.try_serve(key, readable);
        self.board.end_work(self.slot);
        if let Err(gone) = served {
            self.end(key, gone);
        }
    }

    fn try_serve(&mut self, key: usize, readable: bool) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if readable {
            let before = connection.bytes_in;
            let read = connection.read();
            let moved = connection.bytes_in - before;
            self.board.add(self.slot, Counter::BytesIn, i64::try_from(moved).unwrap_or(0));
            read?;
            if matches!(connection.state, State::Answer(Body::Live(_) | Body::Wait(_) | Body::Events))
                && connection.at_end
            {
                return Err(Gone::Left);
            }
        }
        // Bounded: each turn of this loop ends an answer, fills an outbox, or returns.
        for _ in 0..64 {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            if connection.blocked {
                return Ok(());
            }
            let before = connection.bytes_out;
            let flushed = connection.flush();
            let moved = connection.bytes_out - before;
            let tally = connection.feed().and_then(|(feed, _)| self.feeds.get(feed)?.tally);
            if moved > 0 {
                self.board.add(self.slot, Counter::BytesOut, i64::try_from(moved).unwrap_or(0));
                if let Some(tally) = tally {
                    self.board.tally_sent(tally, moved);
                }
            }
            let is_free = flushed?;
            if moved > 0 {
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
            }
            if !is_free {
                return Ok(());
            }
            if !self.step(key)? {
                return Ok(());
            }
        }
        self.again.insert(key);
        Ok(())
    }

    /// The next step of a connection whose outbox is empty. `false` when it has to wait.
    fn step(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        match &mut connection.state {
            State::Head => self.next_request(key),
            State::Goodbye => Ok(false),
            State::Answer(Body::Wait(_) | Body::Events) => Ok(false),
            State::Answer(Body::Tunnel(_)) => Ok(self.step_tunnel(key)),
            State::Answer(Body::Rest) => self.answered(key),
            State::Answer(Body::File(_)) => {
                let before = connection.bytes_out;
                let done = connection.send_file()?;
                let moved = connection.bytes_out - before;
                self.board.add(self.slot, Counter::BytesOut, i64::try_from(moved).unwrap_or(0));
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
                if !connection.outbox.is_empty() {
                    // What was read of it has yet to be sent.
                    if done {
                        connection.state = State::Answer(Body::Rest);
                    }
                    return Ok(true);
                }
                if done {
                    return self.answered(key);
                }
                if !connection.blocked {
                    self.again.insert(key);
                }
                Ok(false)
            }
            State::Answer(Body::Live(_)) => self.step_live(key),
        }
    }

    fn step_live(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        connection.hear_websocket()?;
        let State::Answer(Body::Live(viewer)) = &mut connection.state else { return Ok(false) };
        let Some(feed) = self.feeds.get_mut(viewer.feed) else { return Err(Gone::Ending) };
        let queue_ms = queue_ms(&self.config, &feed.key);
        match viewer.fill(feed, queue_ms, &mut connection.outbox) {
            Filled::Some => Ok(true),
            Filled::Nothing => Ok(!connection.outbox.is_empty()),
            Filled::End => {
                self.end_live(key);
                Ok(true)
            }
        }
    }

    /// The body of a live stream ends here.
    fn end_live(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some((feed, format)) = connection.feed() else { return };
        let begun = connection.finish_live();
        self.leave(key, feed, format);
        if !begun {
            self.refuse(key, 404);
        }
    }

    /// An answer is complete.
    fn answered(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        if !connection.keep_alive || connection.at_end && connection.input.is_empty() {
            connection.shut_down();
            connection.state = State::Goodbye;
            connection.deadline_ms = self.now_ms + LINGER_MS;
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        connection.state = State::Head;
        connection.target.clear();
        connection.deadline_ms = self.now_ms + if connection.input.is_empty() { IDLE_MS } else { HEAD_MS };
        // What came meanwhile may have been left in the socket.
        connection.read()?;
        Ok(true)
    }

    fn next_request(&mut self, key: usize) -> Result<bool, Gone> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        if connection.input.is_empty() {
            return if connection.at_end { Err(Gone::Left) } else { Ok(false) };
        }
        if tunnel::is_for_api(&connection.input) {
            let passed = self.pass_on(key)?;
            if let Some(connection) = self.connections.get_mut(key)
                && matches!(connection.state, State::Head)
            {
                // Counted from its first byte, not from the last.
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + HEAD_MS);
            }
            return Ok(passed);
        }
        // Should this process die of it, it is known whose it was.
        self.board.begin_work(self.slot, connection.id, connection.peer.ip(), &connection.input);
        match http1::Request::parse(&connection.input) {
            Ok(Some((request, len))) => {
                connection.input.drain(..len);
                connection.keep_alive = request.keep_alive;
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
                self.request(key, request, None);
                Ok(true)
            }
            Ok(None) if connection.at_end => Err(Gone::Left),
            Ok(None) => {
                // Counted from its first byte, not from the last.
                connection.deadline_ms = connection.deadline_ms.min(self.now_ms + HEAD_MS);
                Ok(false)
            }
            Err(error) => {
                tracing::debug!(cid = connection.id, "a request is refused: {error}");
                connection.keep_alive = false;
                connection.input.clear();
                *self.ended.entry(Gone::Refused.reason()).or_default() += 1;
                self.refuse(key, error.status());
                Ok(true)
            }
        }
    }

    /// A connection ends.
    pub(crate) fn end(&mut self, key: usize, gone: Gone) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        self.event_listeners.remove(&key);
        self.board.add(self.slot, Counter::Connections, -1);
        self.board.add(self.slot, Counter::Ended, 1);
        if gone.is_error() {
            self.board.add(self.slot, Counter::Errors, 1);
        }
        *self.ended.entry(gone.reason()).or_default() += 1;
        if let Some((feed, format)) = connection.feed() {
            self.leave(key, feed, format);
        }
    }

    /// Closes a connection because an operator wants it. Returns whether there is one of that id.
    pub(crate) fn kick(&mut self, id: u64) -> bool {
        let found = self.connections.iter().find(|(_, connection)| connection.id == id).map(|(key, _)| key);
        if let Some(key) = found {
            tracing::info!(cid = id, "kicked by an operator");
            self.end(key, Gone::Kicked);
        }
        found.is_some() || self.hls.sessions.kick(id, self.now_ms + REFUSE_MS)
    }

    fn look_at_waiting(&mut self) {
        let waiting: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.state, State::Answer(Body::Wait(_))))
            .map(|(key, _)| key)
            .collect();
        for key in waiting {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let body = std::mem::replace(&mut connection.state, State::Answer(Body::Rest));
            if let State::Answer(Body::Wait(wait)) = body {
                self.request(key, wait.request, Some((wait.since_ns, wait.until_ms)));
                self.serve(key, false);
            }
        }
    }

    /// Looks after all: deadlines, streams that rest, viewers who lag.
    fn sweep(&mut self) {
        self.news = false;
        self.ping_listeners();
        // Whatever others may have written there.
        self.board.set(self.slot, Counter::Connections, self.connections.len() as u64);
        self.look_at_waiting();
        let now_ms = self.now_ms;
        for (_, connection) in &mut self.connections {
            connection.note_rates(now_ms);
        }
        let grace_ms = self.config.http_server.stream_wait_ms.max(LEAST_GRACE_MS);
        let mut late = Vec::new();
        let mut over = Vec::new();
        for (key, connection) in &self.connections {
            match connection.viewer() {
                Some(viewer) => {
                    let feed = self.feeds.get(viewer.feed);
                    let rests = feed.and_then(|feed| feed.rests_since_ms);
                    if connection.blocked {
                        if now_ms >= connection.deadline_ms {
                            late.push(key);
                        }
                    } else if !viewer.has_begun() && now_ms >= viewer.until_ms
                        || rests.is_some_and(|since| now_ms >= since + grace_ms)
                    {
                        over.push(key);
                    }
                }
                None if now_ms >= connection.deadline_ms
                    && !matches!(connection.state, State::Answer(Body::Wait(_)))
                    && (connection.blocked || !matches!(connection.state, State::Answer(Body::Events))) =>
                {
                    late.push(key);
                }
                None => {}
            }
        }
        for key in late {
            let is_over = self.connections.get(key).is_some_and(|connection| {
                matches!(connection.state, State::Goodbye)
                    || matches!(connection.state, State::Head) && connection.input.is_empty()
            });
            self.end(key, if is_over { Gone::Left } else { Gone::Slow });
        }
        for key in over {
            self.end_live(key);
            self.serve(key, false);
        }
        self.trim();
        self.sweep_hls();
        self.certificate.look(&self.config.http_server.https, false);
    }

    /// Lets go of what no viewer needs any more.
    fn trim(&mut self) {
        let mut wanted: HashMap<(usize, usize), u64> = HashMap::new();
        for (_, connection) in &self.connections {
            if let Some((viewer, next)) =
                connection.viewer().and_then(|viewer| Some((viewer, viewer.next()?)))
            {
                let place = wanted.entry((viewer.feed, viewer.format.index())).or_insert(next);
                *place = next.min(*place);
            }
        }
        for (key, feed) in &mut self.feeds {
            let queue_ms = queue_ms(&self.config, &feed.key);
            for format in Format::ALL {
                let last = wanted.get(&(key, format.index())).copied().unwrap_or(u64::MAX);
                feed.trim(format, last, queue_ms);
            }
        }
    }

    /// All connections end, and all files.
    pub(crate) fn end_all(&mut self) {
        let feeds: Vec<usize> = self.feeds.iter().map(|(feed, _)| feed).collect();
        for feed in feeds {
            self.hls.rest(feed, self.now_ms);
            self.dvr.end(feed, &mut self.hls.disk);
        }
        let until_ms = self.now_ms + LAST_WRITES_MS;
        while !self.hls.disk.is_done() && reactor::now_ms() < until_ms {
            self.hls.work(reactor::now_ms());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end(key, Gone::Ending);
        }
    }

    /// Accepts on these no more.
    pub(crate) fn stop_listening(&mut self, reactor: &Reactor, addresses: &[SocketAddr]) {
        for (socket, peer) in self.listeners.remove(reactor, addresses) {
            if let Some(at) = addresses.first().copied() {
                self.adopt(reactor, at, socket, peer);
            }
        }
        for address in addresses {
            self.tls.remove(address);
        }
    }
}

/// The time of day, ms since 1970: for names and dates, never for lengths.
pub(crate) fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
}

/// How far a viewer of a stream may lag, ms.
fn queue_ms(config: &Config, key: &StreamKey) -> i64 {
    match config.vhost(&key.vhost) {
        conf::Lookup::Found(vhost) => i64::try_from(vhost.queue_length_ms).unwrap_or(30_000),
        _ => 30_000,
    }
}
