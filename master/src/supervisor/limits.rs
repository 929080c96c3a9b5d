//! How many descriptors a process may have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::StartError;

/// Descriptors that a process needs beside its clients: logs, channels, listening sockets, and the reserve.
const OWN_DESCRIPTORS: u64 = 256 + ipc::RESERVED;
/// A publisher takes two of its back-source (its socket and its stream's ring), and the ring one of the master and of each
/// reader. A download that goes on takes two of the http process and two of the master.
const PER_CLIENT: u64 = 2;

/// Least descriptors with which anybody can be served: the reserve, and what a process has of its own before the first client.
const LEAST_DESCRIPTORS: u64 = ipc::RESERVED + 32;

/// Whether a process may have so many descriptors that it can serve anybody.
pub(super) fn check_descriptor_limit() -> Result<(), StartError> {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard < LEAST_DESCRIPTORS => {
            Err(StartError::Descriptors { hard, least: LEAST_DESCRIPTORS })
        }
        _ => Ok(()),
    }
}

/// Raises the descriptor limit as far as it goes, and says so when it is too low for `max_connections`.
pub(super) fn raise_descriptor_limit(max_connections: u32) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        tracing::warn!("the descriptor limit stays at {soft}");
    }
    let needed = u64::from(max_connections) * PER_CLIENT + OWN_DESCRIPTORS;
    if needed > hard {
        tracing::warn!(
            "max_connections {max_connections} may need {needed} descriptors in one process, which may have {hard} here: \
             newcomers are refused when they run out; raise `ulimit -n` (LimitNOFILE= of the unit)"
        );
    }
}
