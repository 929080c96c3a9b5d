//! Packets in, segments out: what is open, and where it ends. Nothing here knows names, lists or the disk.

use hls::{Cut, Facts, Member, Rules, Segmenter};
use media::Kind;
use remux::{AccessUnit, TrackSet, TsPackager};

use super::renditions::Renditions;
use super::{GATHER_MS, MAX_SEGMENT_BYTES};

#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    began_ms: i64,
    is_break: bool,
    /// The tracks that it says it has.
    track_set: TrackSet,
}

/// A segment that is complete.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) duration_ms: u64,
    /// Time of the stream at which it begins, ms.
    pub(crate) began_ms: i64,
    /// When that was, ms since 1970, where it is known.
    pub(crate) wall_ms: Option<i64>,
    pub(crate) is_break: bool,
    /// MPEG-TS of the first tracks, and of each further one.
    pub(crate) bytes: Vec<u8>,
    pub(crate) others: Vec<(Member, Vec<u8>)>,
}

/// Where a stream is cut, and what is open.
#[derive(Debug)]
pub(crate) struct Cutting {
    segmenter: Segmenter,
    packager: TsPackager,
    open: Option<Open>,
    /// What the list has: the first track of each kind.
    pub(crate) track_set: TrackSet,
    /// Further tracks.
    pub(crate) renditions: Renditions,
    /// The configuration of a track has changed.
    pub(crate) changed: bool,
    /// The stream's time is absolute.
    pub(crate) absolute: bool,
    /// A time of the stream, and what the clock said then, ms since 1970.
    anchor: Option<(i64, i64)>,
    /// Something before the next segment is lost.
    pub(crate) owes_break: bool,
    /// Segments have begun without a key frame, which was said.
    is_cut_between: bool,
}

impl Cutting {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            absolute: rules.absolute,
            segmenter: Segmenter::new(rules),
            packager: TsPackager::new(GATHER_MS),
            open: None,
            track_set: TrackSet::default(),
            renditions: Renditions::default(),
            changed: false,
            anchor: None,
            owes_break: false,
            is_cut_between: false,
        }
    }

    /// Whether a segment is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Another publish begins: when its times were is yet to be seen.
    pub(crate) fn begin_publish(&mut self, track_set: &TrackSet) {
        self.anchor = None;
        self.renditions.retain(track_set);
    }

    /// What is to be done before a packet is packed; and since when what is open goes, time of the stream, ms.
    pub(crate) fn look(&mut self, dts_ms: i64, coded: &AccessUnit) -> (Cut, Option<i64>) {
        let facts = Facts {
            kind: coded.kind,
            dts_ms,
            is_key: coded.is_key,
            is_break: std::mem::take(&mut self.changed),
            has_video: self.track_set.ts_tracks().has_video(),
        };
        let began = self.segmenter.open();
        (self.segmenter.look(&facts), began)
    }

    /// A segment begins; `unix_ms` is the time of day.
    pub(crate) fn begin(&mut self, is_break: bool, dts_ms: i64, unix_ms: i64) {
        self.anchor = self.anchor.filter(|_| !is_break).or(Some((dts_ms, unix_ms)));
        let mut bytes = Vec::with_capacity(1 << 16);
        if self.absolute {
            self.packager.begin_anew(&self.track_set, &mut bytes);
        } else {
            self.packager.begin(&self.track_set, &mut bytes);
        }
        self.packager.owe_sets();
        self.renditions.begin(self.absolute);
        let is_break = is_break || std::mem::take(&mut self.owes_break);
        self.open = Some(Open { bytes, began_ms: dts_ms, is_break, track_set: self.track_set.clone() });
    }

    /// Whether a packet with which a segment begins is no key frame, for the first time.
    pub(crate) fn is_first_between(&mut self, coded: &AccessUnit) -> bool {
        coded.kind == Kind::Video && !coded.is_key && !std::mem::replace(&mut self.is_cut_between, true)
    }

    /// Packs a packet of the first tracks. `false` when that can't be.
    pub(crate) fn pack(&mut self, dts_ms: i64, coded: &AccessUnit) -> bool {
        let Some(open) = &mut self.open else { return true };
        open.bytes.len() <= MAX_SEGMENT_BYTES
            && self.packager.push(&self.track_set, dts_ms, coded, &mut open.bytes).is_ok()
    }

    /// The first tracks are these. Whether what was there before is another now.
    pub(crate) fn set_tracks(&mut self, track_set: TrackSet) -> bool {
        if self.track_set == track_set {
            return false;
        }
        // A track more: it is in the segment that is open, too.
        if let Some(open) = self.open.as_mut().filter(|open| track_set.extends(&open.track_set)) {
            open.track_set = track_set.clone();
            self.packager.begin(&track_set, &mut open.bytes);
        }
        self.track_set = track_set;
        true
    }

    /// The publish ends: the segment that was open, if it was open long enough.
    pub(crate) fn end(&mut self) -> Option<Closed> {
        match self.segmenter.end() {
            Some(duration_ms) => self.close(duration_ms),
            None => {
                self.open = None;
                self.renditions.drop_open();
                None
            }
        }
    }

    /// The segment that was open, which is so long, ms.
    pub(crate) fn close(&mut self, duration_ms: i64) -> Option<Closed> {
        let Open { mut bytes, began_ms, is_break, .. } = self.open.take()?;
        self.packager.flush(&mut bytes);
        let others = self.renditions.end();
        let wall_ms = self.anchor.map(|(dts_ms, unix_ms)| unix_ms + began_ms - dts_ms);
        let duration_ms = u64::try_from(duration_ms).unwrap_or(0);
        Some(Closed { duration_ms, began_ms, wall_ms, is_break, bytes, others })
    }
}
