//! What every output of a live stream is to those who read the stream: HLS, recordings, sound that is kept for listeners to come; later
//! others.

use std::collections::HashMap;

use conf::Config;
use media::StreamKey;

use super::event::{FeedEvent, StreamInfo};
use super::feed::Feed;
use super::owners::Owners;
use crate::disk::Disk;

/// When something happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Monotonic, ms.
    pub(crate) ms: u64,
    /// Time of day, ms since 1970.
    pub(crate) unix_ms: i64,
}

/// What is decided by.
#[derive(Debug)]
pub(crate) struct Surroundings<'s> {
    pub(crate) config: &'s Config,
    pub(crate) owners: &'s Owners,
    /// Streams that there are, and whether somebody publishes them.
    pub(crate) streams: &'s HashMap<StreamKey, bool>,
    pub(crate) now: Now,
}

impl Surroundings<'_> {
    /// Whether somebody publishes a stream.
    pub(crate) fn is_live(&self, key: &StreamKey) -> bool {
        self.streams.get(key).copied().unwrap_or(false)
    }
}

/// An output. It knows its streams by the numbers of their feeds, and is asked again whenever a stream begins, the configuration is
/// another, or an operator says something: it has what it is to have, whatever came before.
pub(crate) trait Output {
    /// Whether it is to have a stream that is published.
    fn wants(&self, key: &StreamKey, around: &Surroundings<'_>) -> bool;

    /// It lets go of streams that it is to have no longer, or otherwise. Returns their feeds.
    fn drop_unwanted(&mut self, around: &Surroundings<'_>, disk: &mut Disk) -> Vec<usize>;

    /// It gets a stream, which it may have already.
    fn begin(&mut self, id: usize, feed: &Feed, around: &Surroundings<'_>, disk: &mut Disk);

    /// Whether it has a stream, which is read as long as one output has it.
    fn has(&self, id: usize) -> bool;

    /// Something has happened in a stream, which it may have or not.
    fn take(&mut self, id: usize, event: &FeedEvent, info: &StreamInfo, now: Now, disk: &mut Disk);

    /// Nobody publishes a stream any more, and all of it was read.
    fn rest(&mut self, id: usize, now: Now, disk: &mut Disk);

    /// Adds what operators are to know; `process` is the name of this one.
    fn report(&self, process: &str, now: Now, report: &mut api::Report);
}
