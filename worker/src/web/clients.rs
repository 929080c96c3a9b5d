//! Connections: who they are, who watches what, who is to be served, who waits.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use slab::Slab;

use super::connection::{Body, Connection, State};
use super::waiters::Waiters;
use crate::outputs::live::packet_queue::Format;

/// All connections of this process.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) connections: Slab<Connection>,
    next_id: u64,
    /// Those who watch a stream, by its feed.
    viewers: HashMap<usize, BTreeSet<usize>>,
    /// Connections that are to be served again in this turn.
    runnable: BTreeSet<usize>,
    pub(crate) waiters: Waiters,
    /// Requests for the API whose sockets are to be watched.
    pub(crate) unregistered_tunnels: Vec<usize>,
}

/// Those with whom something is to be done, when all were looked after.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// They let too much time pass.
    pub(crate) late: Vec<usize>,
    /// The stream that they watch has ended, or does not begin.
    pub(crate) over: Vec<usize>,
}

impl Clients {
    /// None yet; the first gets this number.
    pub(crate) fn new(first_id: u64) -> Self {
        Self {
            connections: Slab::new(),
            next_id: first_id,
            viewers: HashMap::new(),
            runnable: BTreeSet::new(),
            waiters: Waiters::default(),
            unregistered_tunnels: Vec::new(),
        }
    }

    /// A number for a connection, or for a player that has none.
    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Connections, and what gives numbers meanwhile.
    pub(crate) fn with_ids(&mut self) -> (&mut Slab<Connection>, impl FnMut() -> u64) {
        let Self { connections, next_id, .. } = self;
        let ids = || {
            *next_id += 1;
            *next_id - 1
        };
        (connections, ids)
    }

    pub(crate) fn get(&self, key: usize) -> Option<&Connection> {
        self.connections.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Connection> {
        self.connections.get_mut(key)
    }

    /// The connection at this key, if it is still the one of that number.
    pub(crate) fn same_mut(&mut self, (key, id): (usize, u64)) -> Option<&mut Connection> {
        self.get_mut(key).filter(|connection| connection.id == id)
    }

    /// The key of a connection.
    pub(crate) fn find(&self, id: u64) -> Option<usize> {
        self.connections.iter().find(|(_, connection)| connection.id == id).map(|(key, _)| key)
    }

    /// A connection is gone from here.
    pub(crate) fn remove(&mut self, key: usize) -> Option<Connection> {
        self.waiters.remove(key);
        self.runnable.remove(&key);
        self.connections.try_remove(key)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<usize> {
        self.connections.iter().map(|(key, _)| key).collect()
    }

    /// Serves a connection in this turn.
    pub(crate) fn run(&mut self, key: usize) {
        self.runnable.insert(key);
    }

    pub(crate) fn take_runnable(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.runnable)
    }

    /// Whether somebody is to be served.
    pub(crate) fn is_busy(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// Somebody watches a stream from now on.
    pub(crate) fn join(&mut self, key: usize, feed: usize) {
        self.viewers.entry(feed).or_default().insert(key);
    }

    /// Somebody watches it no longer.
    pub(crate) fn leave(&mut self, key: usize, feed: usize) {
        if let Some(viewers) = self.viewers.get_mut(&feed) {
            viewers.remove(&key);
            if viewers.is_empty() {
                self.viewers.remove(&feed);
            }
        }
    }

    /// Those who watch a stream and whose sockets take something.
    pub(crate) fn free_viewers(&self, feed: usize) -> Vec<usize> {
        let viewers = self.viewers.get(&feed).into_iter().flatten().copied();
        viewers.filter(|key| self.get(*key).is_some_and(|connection| !connection.blocked)).collect()
    }

    /// Viewers of the feeds for which this is so.
    pub(crate) fn viewers(&self, is_so: impl Fn(usize) -> bool) -> Vec<usize> {
        let viewers = self.viewers.iter().filter(|(feed, _)| is_so(**feed));
        viewers.flat_map(|(_, viewers)| viewers.iter().copied()).collect()
    }

    /// A request that waits, which is to be looked at again: it waits no longer.
    pub(crate) fn take_waiting(&mut self, key: usize) -> Option<super::connection::Wait> {
        self.waiters.remove(key);
        let connection = self.get_mut(key)?;
        if !matches!(connection.state, State::Answer(Body::Wait(_))) {
            return None;
        }
        match std::mem::replace(&mut connection.state, State::Answer(Body::Rest)) {
            State::Answer(Body::Wait(wait)) => Some(*wait),
            _ => None,
        }
    }

    /// How many have asked for nothing, and who of them is to go when there are more than `places`: the one that has asked for nothing
    /// longest, of the address that has most of them.
    pub(crate) fn unestablished(&self, places: usize) -> (usize, Option<usize>) {
        let mut of_address: HashMap<IpAddr, (usize, u64, usize)> = HashMap::new();
        let mut all = 0;
        for (key, connection) in self.connections.iter().filter(|(_, connection)| connection.asks_nothing()) {
            all += 1;
            let (count, oldest, at) = of_address.entry(connection.peer.ip().to_canonical()).or_insert((
                0,
                connection.deadline_ms,
                key,
            ));
            *count += 1;
            if connection.deadline_ms < *oldest {
                (*oldest, *at) = (connection.deadline_ms, key);
            }
        }
        let greediest = of_address.into_values().max_by_key(|(count, ..)| *count).filter(|_| all >= places);
        (all, greediest.map(|(_, _, key)| key))
    }

    /// Looks after all; `rests_since_ms` says since when nobody has published the stream of a feed, and `grace_ms` is how long viewers
    /// stay then.
    pub(crate) fn sweep(
        &mut self,
        now_ms: u64,
        grace_ms: u64,
        rests_since_ms: impl Fn(usize) -> Option<u64>,
    ) -> Swept {
        let mut swept = Swept::default();
        for (key, connection) in &mut self.connections {
            connection.rates.note(now_ms, connection.bytes_in, connection.bytes_out);
            match connection.viewer() {
                Some(viewer) if connection.blocked => {
                    let _ = viewer;
                    if now_ms >= connection.deadline_ms {
                        swept.late.push(key);
                    }
                }
                Some(viewer) => {
                    let rests = rests_since_ms(viewer.feed);
                    if !viewer.has_begun() && now_ms >= viewer.until_ms
                        || rests.is_some_and(|since| now_ms >= since + grace_ms)
                    {
                        swept.over.push(key);
                    }
                }
                None if now_ms >= connection.deadline_ms
                    && !matches!(connection.state, State::Answer(Body::Wait(_)))
                    && (connection.blocked || !connection.may_rest()) =>
                {
                    swept.late.push(key);
                }
                None => {}
            }
        }
        swept
    }

    /// What the viewer of each feed and format who is furthest behind gets next.
    pub(crate) fn furthest_behind(&self) -> HashMap<(usize, Format), u64> {
        let mut wanted: HashMap<(usize, Format), u64> = HashMap::new();
        for (_, connection) in &self.connections {
            if let Some((viewer, next)) =
                connection.viewer().and_then(|viewer| Some((viewer, viewer.next()?)))
            {
                let place = wanted.entry((viewer.feed, viewer.format)).or_insert(next);
                *place = next.min(*place);
            }
        }
        wanted
    }
}
