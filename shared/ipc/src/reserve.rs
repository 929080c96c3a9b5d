//! A reserve of descriptors. What strangers bring must not take the last ones: then nothing of ours could be handed over,
//! and a process could neither be told anything new nor be started again.

use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit};

/// Descriptors that are kept free of clients and what belongs to them.
pub const RESERVED: u64 = 64;

/// Whether a descriptor that was just opened lies in the reserve. The kernel gives the lowest free number, so its number
/// says how many are left (POSIX, file descriptor allocation).
#[must_use]
pub fn in_reserve(fd: &impl AsRawFd) -> bool {
    let number = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| number.saturating_add(RESERVED) >= soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_near_the_limit_lies_in_the_reserve() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        struct Number(i32);
        impl AsRawFd for Number {
            fn as_raw_fd(&self) -> i32 {
                self.0
            }
        }
        let at = |below: u64| Number(i32::try_from(soft - below).unwrap_or(i32::MAX));
        assert!(in_reserve(&at(1)) && in_reserve(&at(RESERVED)) && !in_reserve(&at(RESERVED + 1)));
    }
}
