//! All streams of a back-source: by number, by name, and the memory of their rings together.

use std::collections::HashMap;
use std::sync::Arc;

use conf::Config;
use media::StreamKey;
use mediaring::RingError;
use rustc_hash::FxHashMap;

use crate::source::{Rules, Source};
use crate::stream_ring::Bounds;

/// The streams of one back-source.
#[derive(Debug)]
pub(crate) struct Sources {
    by_id: FxHashMap<u32, Source>,
    by_key: HashMap<StreamKey, u32>,
    next_id: u32,
    /// Number of this back-source, and how many there are: whose a stream is follows from its name, and from its number.
    number: u32,
    shards: u32,
    /// Bytes of all rings.
    ring_bytes: u64,
}

impl Sources {
    pub(crate) fn new(number: u32, shards: u32) -> Self {
        Self {
            by_id: FxHashMap::default(),
            by_key: HashMap::new(),
            next_id: number + shards,
            number,
            shards,
            ring_bytes: 0,
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Source> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Source> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn find(&self, key: &StreamKey) -> Option<&Source> {
        self.by_key.get(key).and_then(|id| self.by_id.get(id))
    }

    pub(crate) fn find_mut(&mut self, key: &StreamKey) -> Option<&mut Source> {
        self.by_key.get(key).and_then(|id| self.by_id.get_mut(id))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.by_id.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        self.by_id.values_mut()
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.by_id.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether this back-source has the streams of that name.
    pub(crate) fn owns(&self, key: &StreamKey) -> bool {
        key.shard(self.shards) == self.number
    }

    /// Whether this back-source, or a predecessor, gave a stream that number.
    pub(crate) fn numbered(&self, id: u32) -> bool {
        id % self.shards == self.number
    }

    /// The number of the stream of that name, which is made when there is none; and whether it is new.
    ///
    /// # Errors
    /// When there is no memory for its ring.
    pub(crate) fn enter(
        &mut self,
        key: &StreamKey,
        rules: Rules,
        config: &Arc<Config>,
    ) -> Result<(u32, bool), RingError> {
        if let Some(id) = self.by_key.get(key) {
            return Ok((*id, false));
        }
        let id = self.next_id;
        let source = Source::create(id, key.clone(), rules, self.bounds(config))?;
        self.next_id = self.next_id.wrapping_add(self.shards);
        self.insert(source);
        Ok((id, true))
    }

    /// Whether the stream of a predecessor can have its number and name here. Numbers go on behind it in any case.
    pub(crate) fn has_place(&mut self, id: u32, key: &StreamKey) -> bool {
        let is_free = !self.by_id.contains_key(&id) && !self.by_key.contains_key(key);
        if is_free {
            self.next_id = self.next_id.max(id.saturating_add(self.shards));
        }
        is_free
    }

    pub(crate) fn insert(&mut self, source: Source) {
        self.by_key.insert(source.key.clone(), source.id);
        self.by_id.insert(source.id, source);
        self.recount();
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Source> {
        let source = self.by_id.remove(&id)?;
        self.by_key.remove(&source.key);
        self.recount();
        Some(source)
    }

    /// How large one ring may be now.
    pub(crate) fn bounds(&self, config: &Config) -> Bounds {
        let ring = &config.ring;
        let total = ring.total_bytes / u64::from(self.shards);
        let used = self.ring_bytes;
        // Near the server's bound nobody grows any more.
        let max = if used >= total {
            ring.initial_bytes
        } else {
            ring.max_bytes.min(total - used + ring.initial_bytes)
        };
        Bounds { initial: ring.initial_bytes, max }
    }

    /// Adds up the rings' memory; whenever one was made, renewed or freed.
    pub(crate) fn recount(&mut self) {
        self.ring_bytes = self.by_id.values().map(|source| source.ring.shape().total_bytes()).sum();
    }
}
