//! The limit of descriptors of a process: looked at before thousands of sockets are opened, so that what is missing is
//! said at once.

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has open beside its connections.
const OTHERS: u64 = 64;

/// Thousands of sockets need as many descriptors: takes all that may be had.
pub fn raise_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// How many descriptors this process, and those it starts, may have.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// Whether so many connections fit into one process.
#[must_use]
pub fn fit(connections: usize) -> bool {
    connections as u64 + OTHERS <= limit()
}

/// Sees to it that `connections` fit into one process.
///
/// # Errors
/// What is missing, and that `remedy` is an option that helps.
pub fn require(connections: usize, who: &str, remedy: &str) -> Result<()> {
    require_of(limit(), connections, who, remedy)
}

/// The same for a process that may open `limit` descriptors.
///
/// # Errors
/// As [`require`].
pub fn require_of(limit: u64, connections: usize, who: &str, remedy: &str) -> Result<()> {
    let needed = connections as u64 + OTHERS;
    if needed > limit {
        bail!(
            "{who} needs {needed} descriptors for {connections} connections, and may have {limit}: \
             take more processes with {remedy}, or raise the limit (ulimit -n)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(fit(1));
        assert!(require_of(20_000, 19_000, "a generator", "--generators").is_ok());
        let error = require_of(20_000, 19_990, "a generator", "--generators").unwrap_err().to_string();
        assert!(
            error.contains("20054") && error.contains("20000") && error.contains("--generators"),
            "{error}"
        );
    }
}
