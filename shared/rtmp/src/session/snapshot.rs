//! A session as bytes, for handing a connection to another process.

/// The bytes are not a snapshot that this version understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another version of the format.
    #[error("snapshot of version {found}, this is version {expected}")]
    Version {
        /// In the bytes.
        found: u32,
        /// Of this program.
        expected: u32,
    },
    /// Not a snapshot, or damaged.
    #[error("malformed snapshot")]
    Malformed,
}

impl SnapshotError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Version { .. } => "snapshot_version",
            Self::Malformed => "snapshot_malformed",
        }
    }
}
