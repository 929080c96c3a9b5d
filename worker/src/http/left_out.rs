//! What of a stream an output can't carry: said once in the log, shown to operators.

use media::StreamKey;

/// Most names that are kept of one stream.
const MOST: usize = 8;

/// What of one stream one output lacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut(Vec<String>);

impl LeftOut {
    /// Something is not in an output. What is new is said.
    pub(crate) fn note(&mut self, key: &StreamKey, output: &str, what: &str) {
        if self.0.len() < MOST && !self.0.iter().any(|known| known == what) {
            tracing::warn!("{output} of {key} lacks {what}");
            self.0.push(what.to_owned());
        }
    }

    /// All that was noted.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}
