//! The connections and audiences of one process, and the loop's work on them.

mod clients;
mod tick;

pub(crate) use clients::prepare;

use std::net::SocketAddr;
use std::sync::Arc;

use api::Touched;
use conf::config::Config;
use conf::vhost::Vhost;
use media::{Kind, StreamKey};
use mediaring::{RingReader, Scoreboard, WorkRecord};
use reactor::{Reactor, Ready};
use rtmp::ClientOptions;

use crate::audience::{AudienceId, Wakes};
use crate::connection::Connection;
use crate::decisions::{Decisions, Open};
use crate::delivery::{Delivery, Over, Progress};
use crate::dialogue::Dialogue;
use crate::host::Host;
use crate::newcomers::Newcomers;
use crate::read_turns::ReadTurns;
use crate::sessions::Sessions;
use crate::status::Turns;
use crate::upstreams::{FIRST_UPSTREAM_TOKEN, Pushed, UpstreamId, Upstreams};

/// Tokens below this are the host's own.
pub const FIRST_TOKEN: usize = 4096;

/// How long ready connections are served before new packets are looked for, ns.
const SLICE_NS: u64 = 1_000_000;

/// Key of a connection, valid until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) usize);

/// See the crate's page.
#[derive(Debug)]
pub struct Hub {
    /// The loop: hosts register their own descriptors with tokens below [`FIRST_TOKEN`].
    pub reactor: Reactor,
    /// The server's version, as it says it to clients.
    pub version: &'static str,
    pub(crate) delivery: Delivery,
    pub(crate) decisions: Decisions,
    pub(crate) newcomers: Newcomers,
    pub(crate) turns: ReadTurns,
    pub(crate) work: Arc<WorkRecord>,
    sessions: Sessions,
    upstreams: Upstreams,
    /// Who writes a status line next.
    status: Turns,
    next_tick_ms: u64,
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
            sessions: Sessions::new(&config, first_id),
            delivery: Delivery::new(config, board, board_slot as usize),
            decisions: Decisions::default(),
            upstreams: Upstreams::default(),
            newcomers: Newcomers::default(),
            turns: ReadTurns::default(),
            work,
            status: Turns::default(),
            next_tick_ms: 0,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.delivery.config
    }

    /// Time of this turn, monotonic ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.delivery.now_ms
    }

    /// A connection.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.delivery.connections.get(id.0)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.delivery.connections.len()
    }

    /// The vhost block that serves a resolved name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.config().vhosts.iter().find(|vhost| vhost.name == name)
    }

    /// Whether any stream has viewers here.
    #[must_use]
    pub fn has_audiences(&self) -> bool {
        !self.delivery.audiences.is_empty()
    }

    /// The audience of a stream, if it has viewers here.
    #[must_use]
    pub fn audience(&self, key: &StreamKey) -> Option<AudienceId> {
        self.delivery.audiences.find(key)
    }

    /// The counters of all processes and streams.
    #[must_use]
    pub fn board(&self) -> &Scoreboard {
        &self.delivery.counts.board
    }

    /// When [`Self::run`] has to be called at the latest, monotonic ms.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if self.is_behind() {
            return 0;
        }
        let due = [
            self.delivery.connections.next_deadline(),
            self.delivery.audiences.next_due(),
            self.decisions.next_deadline(),
            self.upstreams.next_deadline(),
        ];
        due.into_iter().flatten().fold(self.next_tick_ms, u64::min)
    }

    /// Whether connections are ready that the last turn had no time for.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.turns.is_behind() || self.upstreams.is_behind()
    }

    /// Sees to it that the loop comes round at `at_ms` at the latest.
    pub fn wake_at(&mut self, at_ms: u64) {
        self.delivery.connections.wake_at(at_ms);
    }

    /// Waits for the kernel, until this time at the latest (monotonic ms); what concerns the host's own tokens is put into
    /// `others`, the rest is for [`Self::run`].
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn turn(&mut self, until_ms: u64, others: &mut Vec<Ready>) -> std::io::Result<()> {
        let mut ready = Vec::new();
        self.reactor.wait(Some(self.next_deadline().min(until_ms)), &mut ready)?;
        self.delivery.now_ms = reactor::now_ms();
        for event in ready {
            if event.token.0 < FIRST_TOKEN {
                others.push(event);
            } else if event.token.0 >= FIRST_UPSTREAM_TOKEN {
                self.upstreams.ready(event);
            } else {
                self.turns.push(event);
            }
        }
        Ok(())
    }

    /// Everything that is due by now, then the connections that are ready.
    pub fn run<H: Host>(&mut self, host: &mut H) {
        self.delivery.now_ms = reactor::now_ms();
        while let Some(id) = self.delivery.audiences.due(self.now_ms()) {
            self.fan_out(host, id);
        }
        self.serve_ready(host);
        self.serve_upstreams(host);
        while let Some(key) = self.delivery.connections.due(self.now_ms()) {
            self.with(host, key).is_due();
        }
        while let Some(open) = self.decisions.due(self.now_ms()) {
            let Open { key, asked, otherwise, .. } = open;
            if let Some(connection) = self.delivery.connections.get(key) {
                tracing::warn!(cid = connection.id, "{}: nobody has answered in time", asked.name());
            }
            self.with(host, key).answer(otherwise.into());
        }
        self.tick(host);
    }

    /// Serves the connections that are ready. What takes long is left for the next turn, so that new packets never wait
    /// behind viewers that catch up.
    fn serve_ready<H: Host>(&mut self, host: &mut H) {
        let begun_ns = reactor::now_ns();
        let may_leave = self.turns.may_leave();
        while let Some(event) = self.turns.pop() {
            let mut client = self.with(host, event.token.0 - FIRST_TOKEN);
            if event.writable {
                client.flush();
            }
            if event.readable {
                client.readable(!event.to_the_end);
            }
            if may_leave && reactor::now_ns() - begun_ns > SLICE_NS {
                return;
            }
        }
        for key in self.turns.take_unread() {
            self.with(host, key).readable(false);
        }
    }

    /// Serves connections to other servers, and tells the host what they bring.
    fn serve_upstreams<H: Host>(&mut self, host: &mut H) {
        if self.upstreams.len() > 0 {
            let mut buffer = self.turns.take_buffer();
            self.upstreams.serve(&self.reactor, self.delivery.now_ms, &mut buffer);
            self.turns.give_back(buffer);
        }
        while let Some((id, event)) = self.upstreams.pop_event() {
            host.upstream(id, event);
        }
    }

    /// Begins to connect to another server, as a client that plays or publishes there; what it brings is told by
    /// [`Host::upstream`]. Nothing here waits for it.
    ///
    /// # Errors
    /// When there are too many such connections, no descriptor is left, or there is no way to the address.
    pub fn connect_upstream(
        &mut self,
        address: SocketAddr,
        options: ClientOptions,
    ) -> std::io::Result<UpstreamId> {
        self.upstreams.connect(&self.reactor, address, options, reactor::now_ms())
    }

    /// Sends a packet of the stream that is published over a connection to another server; `wire_ms` has 32 bits and wraps.
    pub fn push_upstream(&mut self, id: UpstreamId, kind: Kind, wire_ms: u32, payload: &[u8]) -> Pushed {
        self.upstreams.push(id, kind, wire_ms, payload)
    }

    /// Takes leave of another server. Nothing more is told of that connection.
    pub fn close_upstream(&mut self, id: UpstreamId) {
        self.upstreams.close(&self.reactor, id);
    }

    /// One client, and the host that is asked about it.
    pub(crate) fn with<'a, H: Host>(&'a mut self, host: &'a mut H, key: usize) -> Dialogue<'a, H> {
        Dialogue { hub: self, host, key }
    }

    /// Reads from a ring from now on, for the viewers of a stream.
    pub fn set_ring<H: Host>(&mut self, host: &mut H, id: AudienceId, ring: RingReader, wakes: Wakes) {
        self.delivery.set_ring(id, ring, wakes);
        self.adapt_pace(host, id);
        self.fan_out(host, id);
    }

    /// Tells the sender of wake-ups how long packets are gathered, when that has changed.
    fn adapt_pace<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        if let Some((key, ms)) = self.delivery.new_pace(id) {
            host.pace(&key, ms);
        }
    }

    /// The writer of a stream has added packets: send them, or gather them.
    pub fn advanced<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let Progress { over, hold } = self.delivery.advanced(id);
        self.conclude(host, over);
        if let Some((key, lag_ms)) = hold {
            host.hold(&key, lag_ms);
        }
    }

    /// Nothing more comes for now (the publisher has gone): send what was gathered.
    pub fn rest<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let over = self.delivery.rest(id);
        self.conclude(host, over);
    }

    fn fan_out<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let over = self.delivery.fan_out(id);
        self.conclude(host, over);
    }

    fn conclude<H: Host>(&mut self, host: &mut H, over: Vec<(usize, Over)>) {
        for (key, over) in over {
            self.with(host, key).conclude(over);
        }
    }

    /// A stream is gone: nothing more is counted for it.
    pub fn forget_stream(&mut self, key: &StreamKey) {
        let audiences = &mut self.delivery.audiences;
        if let Some(audience) = audiences.find(key).and_then(|id| audiences.get_mut(id)) {
            audience.tally = None;
        }
    }

    /// Clients (when they are asked for), viewers by stream, ends and refusals by reason; streams are the host's to add.
    #[must_use]
    pub fn report(&self, process: &str, with_clients: bool) -> api::Report {
        let all = self.delivery.overview();
        api::Report {
            process: process.to_owned(),
            pid: std::process::id(),
            clients: if with_clients { all.clients(process) } else { Vec::new() },
            viewers: all.viewers(),
            ended: self.delivery.counts.by_reason(),
            refused: self.decisions.refused(),
            undecided: self.decisions.len() as u64,
            unclaimed_answers: self.decisions.unclaimed(),
            ..api::Report::default()
        }
    }

    /// Whom another configuration would touch: the clients of each vhost that would change or go, and all clients.
    #[must_use]
    pub fn preview(&self, config: &Config) -> (Vec<Touched>, Touched) {
        self.delivery.overview().preview(self.config(), config)
    }
}
