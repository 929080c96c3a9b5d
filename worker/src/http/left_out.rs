//! What of a stream an output can't carry: said once in the log, shown to operators.

use media::StreamKey;

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
}

impl LeftOut {
    /// Something is not in an output. What is new is said.
    pub(crate) fn note(&mut self, key: &StreamKey, output: &str, what: &str) {
        let named = format!("{output}: {what}");
        if self.names.len() < MOST && !self.with_outputs.contains(&named) {
            tracing::warn!("{output} of {key} lacks {what}");
            self.names.push(what.to_owned());
            self.with_outputs.push(named);
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
