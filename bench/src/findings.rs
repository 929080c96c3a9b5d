//! What viewers that look at packets find.

use serde::{Deserialize, Serialize};

/// Counts over all viewers that look.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Packets with a marker.
    pub packets: u64,
    /// Sequence numbers that were skipped.
    pub lost: u64,
    /// Packets that came after a later one, or twice.
    pub disordered: u64,
    /// Packets with other bytes than they were sent with, or of another stream.
    pub damaged: u64,
    /// Gaps in the pictures that ended with a key frame.
    pub resumed_at_key: u64,
    /// Gaps in the pictures that ended with a picture that no decoder can begin with.
    pub resumed_elsewhere: u64,
}

impl Findings {
    /// A packet with number `seq` came where `expected` was next; `key` is `None` for sound.
    pub fn saw(&mut self, expected: u64, seq: u64, key: Option<bool>) {
        self.packets += 1;
        self.disordered += u64::from(seq < expected);
        if seq > expected {
            self.lost += seq - expected;
            self.resumed_at_key += u64::from(key == Some(true));
            self.resumed_elsewhere += u64::from(key == Some(false));
        }
    }

    /// Adds what somebody else has found.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.disordered += other.disordered;
        self.damaged += other.damaged;
        self.resumed_at_key += other.resumed_at_key;
        self.resumed_elsewhere += other.resumed_elsewhere;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_and_so_is_how_they_end() {
        let mut findings = Findings::default();
        findings.saw(0, 0, Some(true));
        findings.saw(1, 5, Some(true));
        findings.saw(6, 8, Some(false));
        findings.saw(3, 7, None);
        findings.saw(8, 2, None);
        let expected = Findings {
            packets: 5,
            lost: 4 + 2 + 4,
            disordered: 1,
            resumed_at_key: 1,
            resumed_elsewhere: 1,
            ..Findings::default()
        };
        assert_eq!(findings, expected);
        let mut twice = findings.clone();
        twice.merge(&findings);
        assert_eq!((twice.packets, twice.lost, twice.resumed_at_key), (10, 20, 2));
    }
}
