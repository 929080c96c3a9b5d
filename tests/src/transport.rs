//! A transport stream, read by somebody who knows nothing of how it was written.

use std::collections::BTreeMap;

/// Times have so many bits: they begin again at 0.
const TIME_BITS: u64 = (1 << 33) - 1;
/// Ticks in a millisecond.
const TICKS: u64 = 90;

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
    map: Option<u16>,
}

/// From one time to a later one, over the end of the clock if need be; `None` when it is an earlier one.
fn step(from: u64, to: u64) -> Option<u64> {
    let step = to.wrapping_sub(from) & TIME_BITS;
    (step <= TIME_BITS / 2).then_some(step)
}

/// The check sum of a table (ISO/IEC 13818-1, annex A): over the table and its sum it is 0.
fn check_sum(table: &[u8]) -> u32 {
    table.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// The table in a packet's payload, which has to be whole and sound.
fn table(payload: &[u8]) -> &[u8] {
    let table = &payload[1 + usize::from(payload[0])..];
    let table = &table[..3 + (usize::from(table[1] & 0x0f) << 8 | usize::from(table[2]))];
    assert_eq!(check_sum(table), 0, "the check sum of table {}", table[0]);
    table
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

    /// Reads a segment: what decoders have to know first stands at its beginning.
    ///
    /// # Panics
    /// When it does not, or the packets break the rules.
    pub fn read_segment(&mut self, bytes: &[u8]) {
        let pid = |at: usize| u16::from_be_bytes([bytes[at + 1] & 0x1f, bytes[at + 2]]);
        self.map = None;
        self.read(&bytes[..188]);
        assert_eq!(Some(pid(188)), self.map, "a segment begins with its tables");
        let clocks = self.clocks.len();
        self.read(&bytes[188..3 * 188]);
        assert_eq!(self.clocks.len(), clocks + 1, "behind the tables stands the clock");
        self.read(&bytes[3 * 188..]);
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
            let clock = packet[6..11].iter().fold(0, |clock, byte| clock << 8 | u64::from(*byte)) >> 7;
            assert!(
                self.clocks.last().is_none_or(|last| step(*last, clock).is_some()),
                "the clock runs back"
            );
            self.clocks.push(clock);
        }
        let payload = &packet[4 + if has_field { 1 + usize::from(packet[4]) } else { 0 }..];
        if packet[1] & 0x40 == 0 || !has_payload {
            return;
        }
        match pid {
            0 => {
                let table = table(payload);
                assert_eq!(table.len(), 16, "one program");
                self.map = Some(u16::from_be_bytes([table[10] & 0x1f, table[11]]));
            }
            pid if Some(pid) == self.map => {
                let table = table(payload);
                self.clock = u16::from_be_bytes([table[8] & 0x1f, table[9]]);
                self.streams = table[12..table.len() - 4]
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
                assert!(step(dts, pts).is_some(), "decoded behind its time");
                let clock = self.clocks.last().expect("a clock before the first picture or sound");
                assert!(step(*clock, dts).is_some(), "PID {pid:#x}: {dts} comes at {clock}, too late");
                let times = self.times.entry(pid).or_default();
                let last = times.last().copied();
                assert!(
                    last.is_none_or(|last| step(last, dts).is_some_and(|step| step > 0)),
                    "PID {pid:#x}: {dts} behind {last:?}"
                );
                times.push(dts);
            }
        }
    }

    /// The longest step of the clock, ms.
    #[must_use]
    pub fn longest_clock_step_ms(&self) -> u64 {
        longest(&self.clocks)
    }

    /// The longest step from one unit of a track to the next, ms.
    #[must_use]
    pub fn longest_step_ms(&self) -> u64 {
        self.times.values().map(|times| longest(times)).max().unwrap_or(0)
    }
}

fn longest(times: &[u64]) -> u64 {
    let steps = times.windows(2).filter_map(|pair| step(pair[0], pair[1]));
    steps.max().unwrap_or(0) / TICKS
}
