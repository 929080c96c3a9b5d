//! Connections that have not said yet what they want: how many there may be, of whom, and how much is logged of them.

use std::collections::HashMap;
use std::net::IpAddr;

/// Fewest places for connections that have not said what they want.
const LEAST_PLACES: u32 = 64;
/// Lines about connections that have not said what they want, in one tick: a flood of them must not become a flood of lines.
const LINES_PER_TICK: u32 = 100;
/// Least time between two lines about lines that were left out, ms.
const COMPLAIN_MS: u64 = 5_000;

/// How many connections of a process may not have said what they want, over RTMP and over HTTP.
#[must_use]
pub fn unestablished_places(max_connections: u32) -> u32 {
    (max_connections / 2).max(LEAST_PLACES)
}

/// Who has come and not said what it wants, and whom nobody takes.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    /// Addresses that nobody is taken from, until when.
    refused: HashMap<IpAddr, u64>,
    by_address: HashMap<IpAddr, u32>,
    total: u32,
    pub(crate) lines: LineQuota,
}

impl Newcomers {
    /// Takes nobody from this address until then, ms.
    pub(crate) fn refuse(&mut self, ip: IpAddr, until_ms: u64) {
        self.refused.insert(ip, until_ms);
    }

    pub(crate) fn is_refused(&self, ip: IpAddr, now_ms: u64) -> bool {
        self.refused.get(&ip).is_some_and(|until_ms| *until_ms > now_ms)
    }

    /// One has come.
    pub(crate) fn arrive(&mut self, ip: IpAddr) {
        *self.by_address.entry(ip).or_default() += 1;
        self.total += 1;
    }

    /// It has said what it wants, or has gone.
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&ip);
            }
        }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// The address whose oldest connection has to make room before one of `ip` is taken: its own when it has all that one
    /// address may have, else the one with most when all places are used.
    pub(crate) fn greediest(&self, ip: IpAddr, of_one: u32, places: u32) -> Option<IpAddr> {
        if self.by_address.get(&ip).copied().unwrap_or(0) >= of_one.min(places) {
            return Some(ip);
        }
        let most = || self.by_address.iter().max_by_key(|(_, count)| **count).map(|(ip, _)| *ip);
        if self.total >= places { most() } else { None }
    }
}

/// How many lines about newcomers may still be logged before the next tick.
#[derive(Debug)]
pub(crate) struct LineQuota {
    left: u32,
    dropped: u64,
    next_ms: u64,
}

impl Default for LineQuota {
    fn default() -> Self {
        Self { left: LINES_PER_TICK, dropped: 0, next_ms: 0 }
    }
}

impl LineQuota {
    /// Whether one more line may be logged.
    pub(crate) fn take(&mut self) -> bool {
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.dropped += u64::from(!may);
        may
    }

    /// A new tick. Returns how many lines were left out, when that is to be said.
    pub(crate) fn renew(&mut self, now_ms: u64) -> Option<u64> {
        self.left = LINES_PER_TICK;
        if self.dropped == 0 || now_ms < self.next_ms {
            return None;
        }
        self.next_ms = now_ms + COMPLAIN_MS;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn who_has_most_makes_room_and_nobody_before_that() {
        let mut newcomers = Newcomers::default();
        for _ in 0..3 {
            newcomers.arrive(ip(1));
        }
        newcomers.arrive(ip(2));
        assert_eq!(newcomers.greediest(ip(3), 4, 5), None);
        assert_eq!(newcomers.greediest(ip(1), 3, 5), Some(ip(1)), "it has all that one address may have");
        assert_eq!(newcomers.greediest(ip(3), 4, 4), Some(ip(1)), "all places are used");
        newcomers.leave(ip(1));
        newcomers.leave(ip(2));
        assert_eq!((newcomers.total(), newcomers.greediest(ip(2), 1, 4)), (2, None));
    }

    #[test]
    fn a_flood_is_told_in_one_line() {
        let mut lines = LineQuota::default();
        let logged = (0..250).filter(|_| lines.take()).count();
        assert_eq!((logged, lines.renew(1_000), lines.renew(1_200)), (100, Some(150), None));
        assert!((0..101).filter(|_| lines.take()).count() == 100);
        assert_eq!((lines.renew(2_000), lines.renew(6_000)), (None, Some(1)), "not more often than that");
    }

    #[test]
    fn an_address_is_refused_for_a_while() {
        let mut newcomers = Newcomers::default();
        newcomers.refuse(ip(1), 500);
        assert!(newcomers.is_refused(ip(1), 499));
        assert!(!newcomers.is_refused(ip(1), 500) && !newcomers.is_refused(ip(2), 0));
    }
}
