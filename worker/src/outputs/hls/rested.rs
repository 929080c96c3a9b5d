//! Streams that nobody publishes and whose files a former process left: their lists say in their time that nothing follows, and
//! their files go.

use std::collections::{HashMap, HashSet};

use conf::vhost::Hls;
use media::StreamKey;

use super::HlsStreams;
use super::stream::HlsStream;
use crate::disk::remains::Remains;
use crate::disk::{Disk, Job};

/// A stream whose list is on the disk, and what there is of it.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) stream: HlsStream,
    remains: Remains,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct Rested {
    /// All that former processes noted is read: they can be looked for.
    pub(crate) are_due: bool,
    /// Those that the disk was asked for, by ticket.
    asked: HashMap<u64, HlsStream>,
    /// Those that are there.
    pub(crate) found: Vec<Left>,
}

impl Rested {
    /// Whether this was asked for one of them.
    pub(crate) fn asked(&self, ticket: u64) -> bool {
        self.asked.contains_key(&ticket)
    }

    /// What the disk has of one.
    pub(crate) fn answered(&mut self, ticket: u64, remains: Remains) {
        let Some(stream) = self.asked.remove(&ticket) else { return };
        if !remains.segments.is_empty() {
            self.found.push(Left { stream, remains });
        }
    }
}

impl HlsStreams {
    /// Streams that a former process noted and that this one does not have.
    pub(crate) fn unclaimed(&self) -> Vec<StreamKey> {
        let here: HashSet<&StreamKey> = self.streams.values().map(|stream| &stream.naming.key).collect();
        self.noted.keys().filter(|key| !here.contains(key)).cloned().collect()
    }

    /// Asks the disk whether there is a list of a stream that nobody publishes.
    pub(crate) fn look_for(&mut self, key: StreamKey, config: &Hls, absolute: bool, disk: &mut Disk) {
        let stream = HlsStream::new(key, config.clone(), absolute, hls::Position::default());
        if !stream.naming.on_disk() {
            return;
        }
        let ticket = disk.ticket();
        // Most of those that are noted have no files any more: nothing is looked through for them.
        if disk.push(Job::Recover(ticket, Box::new(stream.wanted(false)))) {
            self.rested.asked.insert(ticket, stream);
        } else {
            tracing::warn!("hls of {}: the disk is too busy to be asked for its list", stream.naming.key);
        }
    }

    /// Goes on with a stream that nobody publishes. Returns whether there is anything of it.
    pub(crate) fn adopt(&mut self, feed: usize, left: Left, now_ms: u64, disk: &mut Disk) -> bool {
        let Left { mut stream, remains } = left;
        let noted = self.noted.get(&stream.naming.key).copied();
        stream.rests_since_ms = Some(now_ms);
        let changes = stream.recovered(remains, noted, disk);
        if stream.playlist.listed().next().is_none() {
            return false;
        }
        let segments = stream.playlist.listed().count();
        tracing::info!(
            "hls of {}: a former run left {segments} segments, which go in their time",
            stream.naming.key
        );
        // Files that are in no list go now, before others are written.
        let wanted = stream.wanted(stream.naming.config.cleanup && stream.naming.config.dispose_ms > 0);
        if wanted.segment.is_some() {
            let ticket = disk.ticket();
            disk.push(Job::Recover(ticket, Box::new(wanted)));
        }
        self.noted.remove(&stream.naming.key);
        let vhost = stream.naming.key.vhost.clone();
        self.insert(feed, stream);
        self.apply(feed, &vhost, changes);
        true
    }
}
