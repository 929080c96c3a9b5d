//! What of a stream an output can't carry: said once in the log, shown to operators.

use std::collections::BTreeSet;

use media::{Kind, StreamKey};

/// Most names that are kept of one stream.
const MOST: usize = 8;
/// What an output lacks that goes by the first track where all tracks are further ones,
pub(crate) const NO_FIRST: &str = "everything: there is no track 0 to go by";
/// and where all pictures are of further ones.
pub(crate) const NO_FIRST_PICTURES: &str = "everything: there are no pictures of track 0 to go by";

/// What of one stream one output lacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut {
    names: Vec<String>,
    /// For outputs that are several in one.
    with_outputs: Vec<String>,
    /// Something is not in them any more.
    has_more: bool,
    /// Tracks whose numbers are too high, and whether it was noted how many they are.
    beyond: BTreeSet<(bool, u8)>,
    is_counted: bool,
}

impl LeftOut {
    /// Something is not in an output. What is new is said.
    pub(crate) fn note(&mut self, key: &StreamKey, output: &str, what: &str) {
        let named = format!("{output}: {what}");
        if self.with_outputs.contains(&named) {
            return;
        }
        if self.names.len() < MOST {
            tracing::warn!("{output} of {key} lacks {what}");
            self.names.push(what.to_owned());
            self.with_outputs.push(named);
        } else if !std::mem::replace(&mut self.has_more, true) {
            tracing::warn!("{output} of {key} lacks {what}, and perhaps more, which is not said");
        }
    }

    /// A packet is of a track whose number is too high. When one comes again, all have shown themselves: then it is noted how many
    /// there are. Returns that, in words.
    pub(crate) fn count_beyond(&mut self, kind: Kind, track: u8) -> Option<String> {
        if self.beyond.insert((kind == Kind::Video, track)) || std::mem::replace(&mut self.is_counted, true) {
            return None;
        }
        let count = self.beyond.len();
        Some(format!("{count} of its tracks: of those of a kind numbers 0 to 7 are carried"))
    }

    /// The same where somebody else has said it.
    pub(crate) fn note_beyond(&mut self, output: &str, kind: Kind, track: u8) {
        if let Some(what) = self.count_beyond(kind, track).filter(|_| self.names.len() < MOST) {
            self.with_outputs.push(format!("{output}: {what}"));
            self.names.push(what);
        }
    }

    /// All that was noted.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The same with the outputs that lack it.
    pub(crate) fn with_outputs(&self) -> &[String] {
        &self.with_outputs
    }
}
