//! The connections and audiences of one process, and the loop's work on them.

mod decide;
mod handover;
mod io;
mod join;
mod lifetime;
mod preview;
mod report;
mod status;
mod tick;

pub use lifetime::unestablished_places;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use conf::config::Config;
use conf::vhost::Vhost;
use media::{Kind, StreamKey};
use mediaring::{Scoreboard, WorkRecord};
use reactor::{Deadlines, Reactor, Ready};

use rtmp::{Pool, PublishRequest};
use slab::Slab;

use crate::audience::{Audience, AudienceId};
use crate::connection::Connection;
use crate::end::End;

/// Tokens below this are the host's own.
pub const FIRST_TOKEN: usize = 4096;

/// How often slow viewers, silent publishers and the load are looked at, ms.
const TICK_MS: u64 = 200;
/// Largest time that packets are gathered for a viewer, ms.
const MAX_GATHER_MS: u64 = 350;
/// Lines about connections that have not said what they want, in one tick: a flood of them must not become a flood of lines.
const LINES_PER_TICK: u32 = 100;
/// How long ready connections are served before new packets are looked for, ns.
const SLICE_NS: u64 = 1_000_000;
/// Ready connections that may wait because of that.
const MAX_READY: usize = 4096;
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
    /// Viewers of a stream gather packets for so many ms. `true` when wake-ups for it will come at that pace, so that each
    /// means "send now"; `false` when the hub has to gather itself.
    fn pace(&mut self, hub: &mut Hub, key: &StreamKey, ms: u32) -> bool;
    /// The connection is gone; its publishes were ended before.
    fn closed(&mut self, hub: &mut Hub, connection: ConnectionId);
}

/// See the crate's page.
#[derive(Debug)]
pub struct Hub {
    /// The loop: hosts register their own descriptors with tokens below [`FIRST_TOKEN`].
    pub reactor: Reactor,
    /// The server's version, as it says it to clients.
    pub version: &'static str,
    connections: Slab<Connection>,
    audiences: Slab<Audience>,
    by_key: HashMap<StreamKey, AudienceId>,
    config: Arc<Config>,
    /// The protocol's share of the limits, for all sessions.
    limits: Arc<rtmp::Limits>,
    pool: Pool,
    board: Arc<Scoreboard>,
    board_slot: usize,
    work: Arc<WorkRecord>,
    next_id: u64,
    deadlines: Deadlines<(usize, u64)>,
    due: Deadlines<usize>,
    unread: VecDeque<usize>,
    ready: VecDeque<Ready>,
    /// Addresses that nobody is taken from, until when.
    refused: HashMap<IpAddr, u64>,
    unestablished: HashMap<IpAddr, u32>,
    unestablished_total: u32,
    /// Bytes of input that all sessions hold.
    buffered: usize,
    /// Lines about newcomers that may be logged before the next tick.
    lines_left: u32,
    lines_dropped: u64,
    next_lines_ms: u64,
    next_tick_ms: u64,
    auto_gather_ms: u64,
    ended: BTreeMap<&'static str, u64>,
    /// Who writes a status line next.
    status: status::Turns,
    buffer: Vec<u8>,
    now_ms: u64,
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
        work: Arc<WorkRecord>,
        first_id: u64,
    ) -> std::io::Result<Self> {
        Ok(Self {
            reactor: Reactor::new()?,
            version: "",
            connections: Slab::new(),
            audiences: Slab::new(),
            by_key: HashMap::new(),
            limits: Arc::new(lifetime::session_limits(&config.limits)),
            pool: Pool::default(),
            config,
            board,
            board_slot: board_slot as usize,
            work,
            next_id: first_id,
            deadlines: Deadlines::default(),
            due: Deadlines::default(),
            unread: VecDeque::new(),
            ready: VecDeque::new(),
            refused: HashMap::new(),
            unestablished: HashMap::new(),
            unestablished_total: 0,
            buffered: 0,
            lines_left: LINES_PER_TICK,
            lines_dropped: 0,
            next_lines_ms: 0,
            next_tick_ms: 0,
            auto_gather_ms: 0,
            ended: BTreeMap::new(),
            status: status::Turns::default(),
            buffer: vec![0; READ_BYTES],
            now_ms: reactor::now_ms(),
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

    /// Whether any stream has viewers here.
    #[must_use]
    pub fn has_audiences(&self) -> bool {
        !self.audiences.is_empty()
    }

    /// The audience of a stream, if it has viewers here.
    #[must_use]
    pub fn audience(&self, key: &StreamKey) -> Option<AudienceId> {
        self.by_key.get(key).copied()
    }

    /// When [`Self::run`] has to be called at the latest, monotonic ms.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if !self.unread.is_empty() || !self.ready.is_empty() {
            return 0;
        }
        [self.deadlines.next(), self.due.next()].into_iter().flatten().fold(self.next_tick_ms, u64::min)
    }

    /// Whether connections are ready that the last turn had no time for.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.unread.is_empty() || !self.ready.is_empty()
    }

    /// Sees to it that the loop comes round at `at_ms` at the latest.
    pub fn wake_at(&mut self, at_ms: u64) {
        // A deadline of no connection: it only ends the wait.
        self.deadlines.add(at_ms, (usize::MAX, 0));
    }

    /// Waits for the kernel, until this time at the latest (monotonic ms); what concerns the host's own tokens is put into
    /// `others`, the rest is for [`Self::run`].
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn turn(&mut self, until_ms: u64, others: &mut Vec<Ready>) -> std::io::Result<()> {
        let mut ready = Vec::new();
        self.reactor.wait(Some(self.next_deadline().min(until_ms)), &mut ready)?;
        self.now_ms = reactor::now_ms();
        for event in ready {
            if event.token.0 < FIRST_TOKEN {
                others.push(event);
            } else {
                self.ready.push_back(event);
            }
        }
        Ok(())
    }

    /// Serves the connections that are ready. What takes long is left for the next turn, so that new packets never wait
    /// behind viewers that catch up.
    fn serve_ready<H: Host>(&mut self, host: &mut H) {
        let begun_ns = reactor::now_ns();
        // Beyond the bound there is no hurry for anything else.
        let may_leave = self.ready.len() < MAX_READY;
        while let Some(event) = self.ready.pop_front() {
            let key = event.token.0 - FIRST_TOKEN;
            if event.writable {
                self.flush(host, key);
            }
            if event.readable {
                self.readable(host, key, !event.to_the_end);
            }
            if may_leave && reactor::now_ns() - begun_ns > SLICE_NS {
                return;
            }
        }
        for _ in 0..self.unread.len() {
            if let Some(key) = self.unread.pop_front() {
                self.readable(host, key, false);
            }
        }
    }

    /// Everything that is due by now, then the connections that are ready.
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
        self.serve_ready(host);
        while let Some((key, id)) = self.deadlines.pop(self.now_ms) {
            if self.connections.get(key).is_some_and(|connection| connection.id == id) {
                self.check_deadline(host, key);
            }
        }
        if self.now_ms >= self.next_tick_ms {
            self.next_tick_ms = self.now_ms + TICK_MS;
            self.tick(host);
            self.print_status();
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

    /// Takes nobody from this address for a while.
    pub fn refuse(&mut self, ip: IpAddr, for_ms: u64) {
        self.refused.insert(ip, self.now_ms + for_ms);
    }

    /// A stream is gone: nothing more is counted for it.
    pub fn forget_stream(&mut self, key: &StreamKey) {
        if let Some(audience) = self.by_key.get(key).and_then(|id| self.audiences.get_mut(id.0)) {
            audience.tally = None;
        }
    }

    /// The counters of all processes and streams.
    #[must_use]
    pub fn board(&self) -> &Scoreboard {
        &self.board
    }
}

/// For tests of what happens when a process dies of its input. Not in releases.
#[cfg(debug_assertions)]
fn crash_on(bytes: &[u8]) {
    static TEXT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let text = TEXT.get_or_init(|| std::env::var("SRS_TEST_CRASH_ON").ok());
    if let Some(text) = text
        && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    {
        std::process::abort();
    }
}
