//! Recording: which streams, into which files.

pub(crate) mod orders;
pub(crate) mod recording;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use conf::Config;
use conf::vhost::Dvr;
use media::StreamKey;
use remux::Lineup;
use serde::{Deserialize, Serialize};

use self::recording::Recording;
use super::feed::FeedEvent;
use crate::disk::{Disk, Ended, Job};
use crate::recording::continued::Length;

/// Most recordings that are remembered when they are finished.
const MAX_REMEMBERED: usize = 1000;

/// A recording that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) key: StreamKey,
    pub(crate) path: PathBuf,
    pub(crate) duration_ms: u64,
    pub(crate) bytes: u64,
}

/// All streams that are recorded here.
#[derive(Debug, Default)]
pub(crate) struct Recorders {
    /// By feed.
    pub(crate) recordings: HashMap<usize, Recording>,
    /// Files that are being finished, by their number.
    ending: HashMap<u64, Finished>,
    /// What was written, the newest last.
    pub(crate) finished: VecDeque<Finished>,
    /// What operators have said of streams that there are.
    pub(crate) ordered: HashMap<StreamKey, bool>,
    /// Something is to be told to the master.
    pub(crate) is_new: bool,
    /// Directories that were looked through for what a former run left.
    repaired: Vec<PathBuf>,
}

/// Whether a stream is to be recorded: as an operator has said, else as the configuration says.
pub(crate) fn wanted<'c>(config: &'c Config, key: &StreamKey, ordered: Option<bool>) -> Option<&'c Dvr> {
    let conf::Lookup::Found(vhost) = config.vhost(&key.vhost) else { return None };
    if let Some(ordered) = ordered {
        return ordered.then_some(&vhost.dvr);
    }
    let name = format!("{}/{}", key.app, key.stream);
    let applies = vhost.dvr.apply.is_empty() || vhost.dvr.apply.contains(&name);
    (vhost.dvr.enabled && applies).then_some(&vhost.dvr)
}

impl Recorders {
    /// What a former run left unfinished is finished, once for each directory; streams may have been recorded by order where
    /// the configuration records none.
    pub(crate) fn repair(&mut self, config: &Config, disk: &Disk) {
        for vhost in config.vhosts.iter().filter(|vhost| vhost.enabled) {
            let (root, _) = recording::split(&vhost.dvr.path);
            if !self.repaired.contains(&root) {
                disk.push(Job::Repair(root.clone()));
                self.repaired.push(root);
            }
        }
    }

    /// A stream is recorded from now on. Returns whether it was not before: then it has to be told what came so far.
    pub(crate) fn begin(&mut self, feed: usize, key: &StreamKey, config: &Dvr) -> bool {
        let before = self.recordings.len();
        self.recordings.entry(feed).or_insert_with(|| Recording::new(key.clone(), config.clone()));
        self.recordings.len() > before
    }

    /// A stream is recorded no longer.
    pub(crate) fn end(&mut self, feed: usize, disk: &mut Disk) {
        if let Some(mut recording) = self.recordings.remove(&feed) {
            self.ending.extend(recording.close(disk));
        }
    }

    /// Something has happened in a stream.
    pub(crate) fn take(
        &mut self,
        feed: usize,
        event: &FeedEvent,
        lineup: &Lineup,
        (unix_ms, now_ms): (i64, u64),
        disk: &mut Disk,
    ) {
        if let Some(recording) = self.recordings.get_mut(&feed) {
            self.ending.extend(recording.take(event, lineup, (unix_ms, now_ms), disk));
        }
    }

    /// A file could not be written: what there is of it is finished, and another is begun a little later.
    pub(crate) fn failed(&mut self, id: u64, error: &std::io::Error, now_ms: u64, disk: &mut Disk) {
        for recording in self.recordings.values_mut().filter(|recording| recording.is_in(id)) {
            tracing::error!("dvr of {}: {error}", recording.key);
            self.ending.extend(recording.give_up(now_ms, disk));
        }
    }

    /// A file is continued that was so long before.
    pub(crate) fn goes_on(&mut self, id: u64, before: Length) {
        if let Some(recording) = self.recordings.values_mut().find(|recording| recording.is_in(id)) {
            recording.goes_on(before);
        }
    }

    /// A file has its name.
    pub(crate) fn has_finished(&mut self, id: u64, result: std::io::Result<Ended>) {
        let Some(mut finished) = self.ending.remove(&id) else { return };
        match result {
            Ok(Ended { path, length }) => {
                finished.path = path;
                if let Some(length) = length {
                    (finished.duration_ms, finished.bytes) = (length.duration_ms, length.bytes);
                }
                let Finished { key, path, duration_ms, bytes } = &finished;
                tracing::info!("dvr of {key}: {} with {duration_ms} ms, {bytes} bytes", path.display());
                self.is_new = true;
                self.finished.push_back(finished);
                if self.finished.len() > MAX_REMEMBERED {
                    self.finished.pop_front();
                }
            }
            Err(error) => tracing::error!("dvr of {}: a recording can't be finished: {error}", finished.key),
        }
    }
}
