//! A transport stream, read by somebody who knows nothing of how it was written.

use std::collections::BTreeMap;

/// What a transport stream holds.
#[derive(Debug, Default)]
pub struct Transport {
    /// Stream types of the last program map, by PID.
    pub streams: BTreeMap<u16, u8>,
    /// PID that carries the clock.
    pub clock: u16,
    /// The clock, 90 kHz, in order.
    pub clocks: Vec<u64>,
    /// Decoding times by PID, 90 kHz, in order.
    pub times: BTreeMap<u16, Vec<u64>>,
    counters: BTreeMap<u16, u8>,
}

impl Transport {
    /// Reads packets; may be called again with what follows.
    ///
    /// # Panics
    /// When they break the rules: sync bytes, continuity counters (unless they are said to be broken), times that run
    /// backwards.
    pub fn read(&mut self, bytes: &[u8]) {
        assert!(bytes.len().is_multiple_of(188), "{} bytes are no whole packets", bytes.len());
        for packet in bytes.chunks(188) {
            self.packet(packet);
        }
    }

    fn packet(&mut self, packet: &[u8]) {
        assert_eq!(packet[0], 0x47);
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        let flags = if has_field && packet[4] > 0 { packet[5] } else { 0 };
        let counter = packet[3] & 0x0f;
        if let Some(last) = self.counters.insert(pid, counter)
            && flags & 0x80 == 0
        {
            let wanted = if has_payload { (last + 1) & 0x0f } else { last };
            assert_eq!(counter, wanted, "continuity of PID {pid:#x}");
        }
        if flags & 0x10 != 0 {
            assert_eq!(pid, self.clock, "the clock is on the PID that the map says");
            self.clocks.push(packet[6..11].iter().fold(0, |clock, byte| clock << 8 | u64::from(*byte)) >> 7);
        }
        let payload = &packet[4 + if has_field { 1 + usize::from(packet[4]) } else { 0 }..];
        if packet[1] & 0x40 == 0 || !has_payload {
            return;
        }
        match pid {
            0 => {}
            0x1001 => {
                let section = &payload[1..];
                let len = usize::from(section[2]);
                self.clock = u16::from_be_bytes([section[8] & 0x1f, section[9]]);
                self.streams = section[12..3 + len - 4]
                    .chunks(5)
                    .map(|entry| (u16::from_be_bytes([entry[1] & 0x1f, entry[2]]), entry[0]))
                    .collect();
            }
            pid => {
                assert!(self.streams.contains_key(&pid), "PID {pid:#x} is not announced");
                assert_eq!(payload[..3], [0, 0, 1]);
                let stamp = |at: usize| {
                    let byte = |n: usize| u64::from(payload[at + n]);
                    (byte(0) & 0x0e) << 29
                        | byte(1) << 22
                        | (byte(2) & 0xfe) << 14
                        | byte(3) << 7
                        | byte(4) >> 1
                };
                let (pts, dts) = (stamp(9), if payload[7] & 0x40 != 0 { stamp(14) } else { stamp(9) });
                assert!(dts <= pts, "decoded behind its time");
                let times = self.times.entry(pid).or_default();
                assert!(times.last().is_none_or(|last| *last < dts), "PID {pid:#x}: {dts} behind {times:?}");
                times.push(dts);
            }
        }
    }

    /// The longest step of the clock, ms.
    #[must_use]
    pub fn longest_clock_step_ms(&self) -> u64 {
        self.clocks.windows(2).map(|pair| (pair[1] - pair[0]) / 90).max().unwrap_or(0)
    }
}
