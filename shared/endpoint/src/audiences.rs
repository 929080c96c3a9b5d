//! All audiences of a process: by key, by the name of their stream, and when gathered packets are due.

use std::collections::HashMap;

use media::StreamKey;
use reactor::Deadlines;
use slab::Slab;

use crate::audience::{Audience, AudienceId};
use crate::connection::{Connection, Playing};
use crate::viewer::Viewer;

/// The audiences of one process.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    slab: Slab<Audience>,
    by_key: HashMap<StreamKey, AudienceId>,
    due: Deadlines<usize>,
}

impl Audiences {
    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(crate) fn get(&self, id: AudienceId) -> Option<&Audience> {
        self.slab.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: AudienceId) -> Option<&mut Audience> {
        self.slab.get_mut(id.0)
    }

    /// The audience of a stream.
    pub(crate) fn find(&self, key: &StreamKey) -> Option<AudienceId> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn ids(&self) -> Vec<AudienceId> {
        self.slab.iter().map(|(key, _)| AudienceId(key)).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Audience> {
        self.slab.iter().map(|(_, audience)| audience)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Audience> {
        self.slab.iter_mut().map(|(_, audience)| audience)
    }

    /// The audience of a stream, made when there is none; and whether it is new.
    pub(crate) fn enter(&mut self, key: &StreamKey) -> (AudienceId, bool) {
        match self.by_key.get(key) {
            Some(id) => (*id, false),
            None => {
                let id = AudienceId(self.slab.insert(Audience::new(key.clone())));
                self.by_key.insert(key.clone(), id);
                (id, true)
            }
        }
    }

    /// Forgets an audience without viewers. Returns the stream's name when it was one.
    pub(crate) fn forget_empty(&mut self, id: AudienceId) -> Option<StreamKey> {
        if !self.slab.get(id.0)?.viewers.is_empty() {
            return None;
        }
        let audience = self.slab.try_remove(id.0)?;
        self.by_key.remove(&audience.key);
        Some(audience.key)
    }

    /// What was gathered for an audience is due then, ms.
    pub(crate) fn set_due(&mut self, id: AudienceId, at_ms: u64) {
        if let Some(audience) = self.slab.get_mut(id.0) {
            audience.due_ms = Some(at_ms);
            self.due.add(at_ms, id.0);
        }
    }

    /// When something gathered is due next, monotonic ms.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.next()
    }

    /// One for which gathered packets are due by now.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<AudienceId> {
        while let Some(key) = self.due.pop(now_ms) {
            let audience = self.slab.get(key);
            if audience.is_some_and(|audience| audience.due_ms.is_some_and(|due_ms| due_ms <= now_ms)) {
                return Some(AudienceId(key));
            }
        }
        None
    }

    /// What a connection plays: the audiences and the viewers in them.
    pub(crate) fn viewers_of<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> impl Iterator<Item = (&'a Audience, &'a Viewer)> {
        connection.playing.iter().filter_map(|play| self.viewer(play))
    }

    fn viewer(&self, play: &Playing) -> Option<(&Audience, &Viewer)> {
        let audience = self.get(play.audience)?;
        Some((audience, audience.viewers.get(play.viewer)?))
    }
}
