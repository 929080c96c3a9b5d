//! What is kept of a file: its samples in the order of their DTS, and the parts with one configuration each.

use media::Kind;
use remux::TrackSet;

use crate::{MAX_SAMPLES, Storage, VodError, flv_file, movie};

/// How long a sample lasts of which nothing is known, ms.
const USUAL_STEP_MS: u32 = 40;

/// One picture or sound of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Offset of its bytes in the file.
    pub at: u64,
    /// How many.
    pub len: u32,
    /// DTS since the beginning of the file, ms.
    pub dts_ms: u32,
    /// How much later it is shown, ms.
    pub composition_ms: i16,
    /// A picture.
    pub is_video: bool,
    /// A picture that a decoder can begin with.
    pub is_key: bool,
}

/// A composition time as a sample keeps it.
pub(crate) fn composition(ms: i32) -> i16 {
    i16::try_from(ms).unwrap_or(if ms < 0 { i16::MIN } else { i16::MAX })
}

impl Sample {
    /// Picture or sound.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.is_video { Kind::Video } else { Kind::Audio }
    }
}

/// Samples that have the same configuration: from `first` to the first of the next part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Index of its first sample.
    pub first: usize,
    /// What the tracks are.
    pub track_set: TrackSet,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// In the order of their DTS.
    pub samples: Vec<Sample>,
    /// At least one.
    pub parts: Vec<Part>,
    /// When the last sample ends, where the file says so, ms; else 0.
    pub end_ms: u32,
    /// What of the file is in no sample, because it can't be packed here: names of codecs, or other words.
    pub left_out: Vec<String>,
}

impl Index {
    /// Reads what a file says of its samples.
    ///
    /// # Errors
    /// [`VodError`] when it is none, or makes no sense.
    pub fn read(storage: &(impl Storage + ?Sized)) -> Result<Self, VodError> {
        let mut head = [0; 12];
        if storage.len() < head.len() as u64 {
            return Err(VodError::Kind);
        }
        storage.read(0, &mut head)?;
        let mut index = match head {
            [b'F', b'L', b'V', ..] => flv_file::read(storage)?,
            [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => {
                movie::read(storage)?
            }
            _ => return Err(VodError::Kind),
        };
        if index.samples.is_empty() || index.parts.is_empty() {
            return Err(VodError::NoTrack);
        }
        index.samples.shrink_to_fit();
        Ok(index)
    }

    /// What of the file HLS of it lacks: what is in no sample, and tracks that a transport stream has no place for.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let track_sets = self.parts.iter().map(|part| &part.track_set);
        let unfit = |kind, name: &str| {
            track_sets.clone().any(|track_set| !track_set.fits_ts(kind, 0)).then(|| name.to_owned())
        };
        let unfit =
            [unfit(Kind::Video, "pictures of this codec"), unfit(Kind::Audio, "sounds of this codec")];
        self.left_out.iter().cloned().chain(unfit.into_iter().flatten()).collect()
    }

    /// Adds a sample.
    pub(crate) fn push(samples: &mut Vec<Sample>, sample: Sample) -> Result<(), VodError> {
        if samples.len() >= MAX_SAMPLES {
            return Err(VodError::TooLong);
        }
        samples.push(sample);
        Ok(())
    }

    /// How long the file plays, ms.
    #[must_use]
    pub fn duration_ms(&self) -> u32 {
        let last = |is_video: bool| {
            let mut of = self.samples.iter().rev().filter(|sample| sample.is_video == is_video);
            let last = of.next()?;
            // The last one lasts as long as the one before it.
            let step = of.next().map(|before| last.dts_ms.saturating_sub(before.dts_ms));
            Some(last.dts_ms.saturating_add(step.filter(|step| *step > 0).unwrap_or(USUAL_STEP_MS)))
        };
        if self.end_ms > 0 { self.end_ms } else { last(true).max(last(false)).unwrap_or(0) }
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.samples.len() * size_of::<Sample>() + self.parts.len() * 1024
    }

    /// The configuration of a sample, and whether it is the first that has it (but for the first of all).
    pub(crate) fn part(&self, sample: usize) -> Option<(&Part, bool)> {
        let at = self.parts.partition_point(|part| part.first <= sample).checked_sub(1)?;
        let part = self.parts.get(at)?;
        Some((part, at > 0 && part.first == sample))
    }
}
