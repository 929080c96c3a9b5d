//! A session as bytes, for handing a connection to another process. The format is ours alone and carries a version;
//! fields are named, so that both sides of an upgrade may differ by an addition.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Raised with every change that old bytes do not survive.
const VERSION: u32 = 1;

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

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    session: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    session: T,
}

#[derive(Deserialize)]
struct ReadVersion {
    version: u32,
}

pub(super) fn write<T: Serialize>(session: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "sessions consist of plain values, and memory does not fail to be written"
    )]
    rmp_serde::to_vec_named(&Written { version: VERSION, session }).expect("a session can be written")
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SnapshotError> {
    let ReadVersion { version } = rmp_serde::from_slice(bytes).map_err(|_| SnapshotError::Malformed)?;
    if version != VERSION {
        return Err(SnapshotError::Version { found: version, expected: VERSION });
    }
    let Read { session } = rmp_serde::from_slice(bytes).map_err(|_| SnapshotError::Malformed)?;
    Ok(session)
}
