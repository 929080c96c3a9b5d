//! All connections of a process: where they are kept, when each is due, what their sessions hold together.

use reactor::Deadlines;
use rtmp::Pool;
use slab::Slab;

use crate::connection::Connection;

/// The connections of one process, by key.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slab: Slab<Connection>,
    deadlines: Deadlines<(usize, u64)>,
    /// What viewers say alike in their connects.
    pool: Pool,
    /// Bytes of input that all sessions hold.
    buffered: usize,
}

impl Connections {
    pub(crate) fn get(&self, key: usize) -> Option<&Connection> {
        self.slab.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Connection> {
        self.slab.get_mut(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn contains(&self, key: usize) -> bool {
        self.slab.contains(key)
    }

    pub(crate) fn keys(&self) -> Vec<usize> {
        self.slab.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn iter(&self) -> slab::Iter<'_, Connection> {
        self.slab.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> slab::IterMut<'_, Connection> {
        self.slab.iter_mut()
    }

    /// The connection of this id.
    pub(crate) fn find(&self, id: u64) -> Option<(usize, &Connection)> {
        self.slab.iter().find(|(_, connection)| connection.id == id)
    }

    pub(crate) fn insert(&mut self, connection: Connection) -> usize {
        self.slab.insert(connection)
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<Connection> {
        let connection = self.slab.try_remove(key)?;
        self.buffered = self.buffered.saturating_sub(connection.buffered);
        Some(connection)
    }

    /// Notes what a session holds now. Returns what all hold together, bytes.
    pub(crate) fn note_buffered(&mut self, key: usize) -> usize {
        if let Some(connection) = self.slab.get_mut(key) {
            let buffered = connection.session.buffered();
            self.buffered = (self.buffered + buffered).saturating_sub(connection.buffered);
            connection.buffered = buffered;
        }
        self.buffered
    }

    /// Gives back memory that a viewer does not need while it watches.
    pub(crate) fn compact(&mut self, key: usize) {
        if let Some(connection) = self.slab.get_mut(key)
            && !connection.playing.is_empty()
            && connection.publishing.is_empty()
        {
            connection.compact(&mut self.pool);
        }
    }

    /// The loop comes round at `at_ms` at the latest, for no connection.
    pub(crate) fn wake_at(&mut self, at_ms: u64) {
        self.deadlines.add(at_ms, (usize::MAX, 0));
    }

    /// Puts a connection's next deadline on the list, where it is sooner than the one that stands there.
    pub(crate) fn update_deadline(&mut self, key: usize) {
        let Some(connection) = self.slab.get(key) else { return };
        let Some(at_ms) = connection.session.poll_timeout() else { return };
        if connection.life.deadline.is_none_or(|known| at_ms < known) {
            self.set_deadline(key, at_ms);
        }
    }

    /// A connection is due then.
    pub(crate) fn set_deadline(&mut self, key: usize, at_ms: u64) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        connection.life.deadline = Some(at_ms);
        self.deadlines.add(at_ms, (key, connection.id));
    }

    /// When the next one is due, monotonic ms.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// One that is due by now.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<usize> {
        while let Some((key, id)) = self.deadlines.pop(now_ms) {
            if let Some(connection) = self.slab.get_mut(key).filter(|connection| connection.id == id) {
                connection.life.deadline = None;
                return Some(key);
            }
        }
        None
    }
}
