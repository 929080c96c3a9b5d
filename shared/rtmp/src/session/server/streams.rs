//! The message streams of one connection and what each of them does.

use super::super::error::SessionError;
use serde::{Deserialize, Serialize};

/// What a message stream does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Idle,
    Publishing { name: String, fmle: bool },
    Playing { name: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) role: Role,
}

/// The message streams in order of creation; a handful at most.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Streams {
    list: Vec<Stream>,
    /// The largest id that there ever was on this connection.
    highest: u32,
}

impl Streams {
    /// Gives back memory that nothing is kept in.
    pub(super) fn compact(&mut self) {
        self.list.shrink_to_fit();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.list.iter()
    }

    /// Names of those that publish, with their ids.
    pub(super) fn publishing(&self) -> impl Iterator<Item = (u32, &str)> {
        self.list.iter().filter_map(|stream| match &stream.role {
            Role::Publishing { name, .. } => Some((stream.id, name.as_str())),
            _ => None,
        })
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.list.iter().find(|stream| stream.id == id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.list.iter_mut().find(|stream| stream.id == id)
    }

    pub(super) fn is_publishing(&self, id: u32) -> bool {
        self.get(id).is_some_and(|stream| matches!(stream.role, Role::Publishing { .. }))
    }

    /// The stream that publishes what came with message stream id `id`. Some encoders send media on the connection's
    /// id 0, or on an id that they made up: while one stream publishes, there is no doubt which one they mean. An id
    /// that this connection has or had says something else: its packets are late, or not for publishing.
    pub(super) fn publisher_for(&self, id: u32) -> Option<u32> {
        if self.is_publishing(id) {
            return Some(id);
        }
        if (1..=self.highest).contains(&id) {
            return None;
        }
        let mut publishing = self.list.iter().filter(|stream| matches!(stream.role, Role::Publishing { .. }));
        match (publishing.next(), publishing.next()) {
            (Some(only), None) => Some(only.id),
            _ => None,
        }
    }

    pub(super) fn is_playing(&self, id: u32) -> bool {
        self.get(id).is_some_and(|stream| matches!(stream.role, Role::Playing { .. }))
    }

    pub(super) fn is_active(&self) -> bool {
        self.list.iter().any(|stream| stream.role != Role::Idle)
    }

    /// The stream that publishes `name`.
    pub(super) fn publisher_of(&self, name: &str) -> Option<u32> {
        let publishes = |role: &Role| matches!(role, Role::Publishing { name: own, .. } if own == name);
        self.list.iter().find(|stream| publishes(&stream.role)).map(|stream| stream.id)
    }

    /// A new stream with the smallest free id, so that the first one is always 1.
    pub(super) fn create(&mut self, max: usize) -> Result<u32, SessionError> {
        let id = (1..=u32::MAX).find(|id| self.get(*id).is_none()).unwrap_or(1);
        self.insert(id, max)?;
        Ok(id)
    }

    /// The stream that a publish or play with message stream id `id` means, created when there is none: some players
    /// leave createStream away, and some use the connection's id 0.
    pub(super) fn resolve(&mut self, id: u32, max: usize) -> Result<u32, SessionError> {
        let id = match (id, self.list.as_slice()) {
            (0, [only]) => only.id,
            (0, _) => 1,
            (id, _) => id,
        };
        if self.get(id).is_none() {
            self.insert(id, max)?;
        }
        Ok(id)
    }

    /// The existing stream that a command with message stream id `id` means.
    pub(super) fn resolve_known(&self, id: u32) -> Option<u32> {
        match (id, self.list.as_slice()) {
            (0, [only]) => Some(only.id),
            (id, _) => self.get(id).map(|stream| stream.id),
        }
    }

    /// Ends what the stream does; returns what it was.
    pub(super) fn stop(&mut self, id: u32) -> Role {
        self.get_mut(id).map_or(Role::Idle, |stream| std::mem::replace(&mut stream.role, Role::Idle))
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.list.retain(|stream| stream.id != id);
    }

    fn insert(&mut self, id: u32, max: usize) -> Result<(), SessionError> {
        if self.list.len() >= max {
            return Err(SessionError::TooManyMessageStreams { max });
        }
        self.list.push(Stream { id, role: Role::Idle });
        self.highest = self.highest.max(id);
        Ok(())
    }
}
