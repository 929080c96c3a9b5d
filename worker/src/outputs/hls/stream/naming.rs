//! How the lists and segments of a stream are called, in URLs and below the directory where they are stored.

use bytes::Bytes;
use conf::vhost::{Hls, HlsStorage};
use hls::template::{Moment, Names, fill, fill_plain};
use media::StreamKey;

use super::Stored;
use crate::disk::{FilePath, NUMBER, place};

/// Variables of names that differ by more than the number of a segment.
const VARYING: [&str; 9] =
    ["[timestamp]", "[2006]", "[01]", "[02]", "[15]", "[04]", "[05]", "[999]", "[duration]"];

/// A stream, and what is configured for its HLS.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) key: StreamKey,
    pub(crate) config: Hls,
}

impl Naming {
    /// Whether anything of it is on the disk.
    pub(crate) fn on_disk(&self) -> bool {
        self.config.storage != HlsStorage::Memory
    }

    /// Whether its list would be the same file with this configuration.
    pub(crate) fn has_files_of(&self, config: &Hls) -> bool {
        let is_there = config.storage != HlsStorage::Memory;
        is_there && config.path == self.config.path && config.m3u8_file == self.config.m3u8_file
    }

    fn names(&self, number: u64, duration_ms: u64, moment: Moment) -> Names<'_> {
        Names { key: &self.key, number, duration_ms, moment }
    }

    /// The path of a segment by a template.
    pub(crate) fn segment_path(
        &self,
        template: &str,
        number: u64,
        duration_ms: u64,
        moment: Moment,
    ) -> String {
        fill(template, &self.names(number, duration_ms, moment))
    }

    /// Path of the list as somebody asks for it who knows the names: what the URL says once it is decoded.
    pub(crate) fn asked_path(&self) -> String {
        fill_plain(&self.config.m3u8_file, &self.names(0, 0, Moment::default()))
    }

    /// Path of the list below the root.
    pub(crate) fn list_path(&self) -> String {
        fill(&self.config.m3u8_file, &self.names(0, 0, Moment::default()))
    }

    pub(crate) fn list_place(&self) -> FilePath {
        place(&self.config.path, self.list_path())
    }

    /// What names segments have, with [`NUMBER`] for the number; `None` when more than the number differs.
    pub(crate) fn segment_pattern(&self) -> Option<FilePath> {
        let fixed = self.config.ts_file.replace("[seq]", NUMBER);
        let is_plain = fixed.matches(NUMBER).count() == 1 && !VARYING.iter().any(|part| fixed.contains(part));
        let last = fixed.rsplit('/').next().unwrap_or("");
        let below = fill(&fixed, &self.names(0, 0, Moment::default()));
        (is_plain && last.contains(NUMBER)).then(|| place(&self.config.path, below))
    }

    /// The number of the segment that has this path, where the path says no more than that.
    pub(crate) fn number_of(&self, path: &str) -> Option<u64> {
        let pattern = self.segment_pattern()?;
        let (before, behind) = pattern.below.split_once(NUMBER)?;
        path.strip_prefix(before)?.strip_suffix(behind)?.parse().ok()
    }

    /// Where the bytes of a segment are from now on, and how it is named in its list.
    pub(crate) fn store(&self, path: String, bytes: Bytes) -> (String, Stored) {
        let uri = hls::uri::relative(&self.list_path(), &path);
        let uri = format!("{}{uri}", self.config.entry_prefix);
        let len = bytes.len() as u64;
        let file = self.on_disk().then(|| place(&self.config.path, path.clone()));
        (uri, Stored { bytes: Some(bytes), file, len, path })
    }
}
