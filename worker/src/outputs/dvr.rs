//! Recording: which streams, into which files.

pub(crate) mod orders;
pub(crate) mod recording;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use conf::Config;
use conf::vhost::{Dvr, DvrPlan};
use hls::Trace;
use media::StreamKey;
use serde::{Deserialize, Serialize};

use self::recording::Recording;
use super::event::{FeedEvent, StreamInfo};
use super::feed::Feed;
use super::output::{Now, Output, Surroundings};
use crate::disk::{Disk, DvrDone, Ended, Job};
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
    /// Directories that were looked through for what a former run left, and how names of files there are traced back to streams, by
    /// vhost.
    repaired: HashMap<PathBuf, Vec<(String, Trace)>>,
}

/// Whether a stream is to be recorded: as an operator has said, else as the configuration says.
fn wanted<'c>(config: &'c Config, key: &StreamKey, ordered: Option<bool>) -> Option<&'c Dvr> {
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
    fn repair(&mut self, config: &Config, disk: &Disk) {
        for vhost in config.vhosts.iter().filter(|vhost| vhost.enabled) {
            let (root, template) = recording::split(&vhost.dvr.path);
            let is_new = !self.repaired.contains_key(&root);
            let traces = self.repaired.entry(root.clone()).or_default();
            // A file that is continued is told of when it ends.
            let is_told = vhost.dvr.plan != DvrPlan::Append;
            if is_told && traces.iter().all(|(known, _)| *known != vhost.name) {
                traces.extend(Trace::new(&template, &vhost.name).map(|trace| (vhost.name.clone(), trace)));
            }
            if is_new {
                disk.push(Job::Repair(root));
            }
        }
    }

    /// Recordings that a former run left are finished: those whose names say of which stream they are, are told like others.
    fn has_repaired(&mut self, root: &Path, repaired: Vec<(String, Ended)>) {
        let traces = self.repaired.get(root).cloned().unwrap_or_default();
        for (name, Ended { path, length }) in repaired {
            let traced = traces.iter().find_map(|(vhost, trace)| Some((vhost, trace.find(&name)?)));
            let (Some((vhost, (app, stream))), Some(length)) = (traced, length) else { continue };
            let key = StreamKey { vhost: vhost.clone(), app, stream };
            let Length { duration_ms, bytes } = length;
            self.remember_finished(Finished { key, path, duration_ms, bytes });
        }
    }

    fn remember_finished(&mut self, finished: Finished) {
        self.is_new = true;
        self.finished.push_back(finished);
        if self.finished.len() > MAX_REMEMBERED {
            self.finished.pop_front();
        }
    }

    /// A stream is recorded no longer.
    fn end(&mut self, feed: usize, disk: &mut Disk) {
        if let Some(mut recording) = self.recordings.remove(&feed) {
            self.ending.extend(recording.close(disk));
        }
    }

    /// Takes what the disk's thread has done for recordings.
    pub(crate) fn done(&mut self, done: DvrDone, now: Now, disk: &mut Disk) {
        match done {
            DvrDone::Failed(id, error) => self.failed(id, &error, now.ms, disk),
            DvrDone::GoesOn(id, before) => self.goes_on(id, before),
            DvrDone::Finished(id, result) => self.has_finished(id, result),
            DvrDone::Repaired(root, repaired) => self.has_repaired(&root, repaired),
        }
    }

    /// A file could not be written: what there is of it is finished, and another is begun a little later.
    fn failed(&mut self, id: u64, error: &std::io::Error, now_ms: u64, disk: &mut Disk) {
        for recording in self.recordings.values_mut().filter(|recording| recording.is_in(id)) {
            tracing::error!("dvr of {}: {error}", recording.key);
            self.ending.extend(recording.give_up(now_ms, disk));
        }
    }

    /// A file is continued that was so long before.
    fn goes_on(&mut self, id: u64, before: Length) {
        if let Some(recording) = self.recordings.values_mut().find(|recording| recording.is_in(id)) {
            recording.goes_on(before);
        }
    }

    /// A file has its name.
    fn has_finished(&mut self, id: u64, result: std::io::Result<Ended>) {
        let Some(mut finished) = self.ending.remove(&id) else { return };
        match result {
            Ok(Ended { path, length }) => {
                finished.path = path;
                if let Some(length) = length {
                    (finished.duration_ms, finished.bytes) = (length.duration_ms, length.bytes);
                }
                let Finished { key, path, duration_ms, bytes } = &finished;
                tracing::info!("dvr of {key}: {} with {duration_ms} ms, {bytes} bytes", path.display());
                self.remember_finished(finished);
            }
            Err(error) => tracing::error!("dvr of {}: a recording can't be finished: {error}", finished.key),
        }
    }
}

impl Output for Recorders {
    fn wants(&self, key: &StreamKey, around: &Surroundings<'_>) -> bool {
        let ordered = self.ordered.get(key).copied();
        around.owners.is_mine(key) && wanted(around.config, key, ordered).is_some()
    }

    fn drop_unwanted(&mut self, around: &Surroundings<'_>, disk: &mut Disk) -> Vec<usize> {
        self.repair(around.config, disk);
        let is_unwanted = |recording: &Recording| {
            let ordered = self.ordered.get(&recording.key).copied();
            wanted(around.config, &recording.key, ordered) != Some(&recording.config)
        };
        let unwanted = self.recordings.iter().filter(|(_, recording)| is_unwanted(recording));
        let unwanted: Vec<usize> = unwanted.map(|(feed, _)| *feed).collect();
        unwanted.iter().for_each(|feed| self.end(*feed, disk));
        unwanted
    }

    fn begin(&mut self, id: usize, feed: &Feed, around: &Surroundings<'_>, disk: &mut Disk) {
        let ordered = self.ordered.get(&feed.key).copied();
        let Some(config) = wanted(around.config, &feed.key, ordered).filter(|_| !self.has(id)) else {
            return;
        };
        self.recordings.insert(id, Recording::new(feed.key.clone(), config.clone()));
        // What came since the newest key frame is in it, too.
        feed.replay(false, &mut |event, info| self.take(id, event, info, around.now, disk));
    }

    fn has(&self, id: usize) -> bool {
        self.recordings.contains_key(&id)
    }

    fn take(&mut self, id: usize, event: &FeedEvent, info: &StreamInfo, now: Now, disk: &mut Disk) {
        if let Some(recording) = self.recordings.get_mut(&id) {
            self.ending.extend(recording.take(event, &info.track_set, (now.unix_ms, now.ms), disk));
        }
    }

    fn rest(&mut self, id: usize, _: Now, disk: &mut Disk) {
        self.end(id, disk);
    }

    fn report(&self, process: &str, _: Now, report: &mut api::Report) {
        self.report_recordings(process, report);
    }
}
