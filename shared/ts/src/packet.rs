//! One packet after the other: header, adaptation field, stuffing.

/// Size of a packet.
pub const PACKET_BYTES: usize = 188;
const SYNC: u8 = 0x47;
/// Bytes of a packet behind its header.
const ROOM: usize = PACKET_BYTES - 4;

/// What the adaptation field of the first packet of a unit says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Adaptation {
    /// The continuity counter does not follow the packet before.
    pub(crate) discontinuity: bool,
    /// A decoder can begin here.
    pub(crate) random_access: bool,
    /// Program clock, 90 kHz, 33 bits.
    pub(crate) pcr_90k: Option<u64>,
}

impl Adaptation {
    /// Flags and clock, without the length byte; empty when there is nothing to say.
    fn write(self, out: &mut Vec<u8>) {
        let flags = if self.discontinuity { 0x80 } else { 0 }
            | if self.random_access { 0x40 } else { 0 }
            | if self.pcr_90k.is_some() { 0x10 } else { 0 };
        if flags == 0 {
            return;
        }
        out.push(flags);
        if let Some(pcr) = self.pcr_90k {
            // 33 bits of base, six reserved ones, nine bits of extension.
            let [_, _, a, b, c, d, e, f] = ((pcr & 0x1_ffff_ffff) << 15 | 0x7e00).to_be_bytes();
            out.extend_from_slice(&[a, b, c, d, e, f]);
        }
    }
}

/// The continuity counter of one PID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Continuity(u8);

impl Continuity {
    fn next(&mut self) -> u8 {
        let now = self.0;
        self.0 = (now + 1) & 0x0f;
        now
    }

    /// The counter of the last packet with a payload.
    fn last(self) -> u8 {
        self.0.wrapping_sub(1) & 0x0f
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) {
        self.0 = 0;
    }
}

fn header(out: &mut Vec<u8>, pid: u16, start: bool, control: u8, counter: u8) {
    let [high, low] = (pid & 0x1fff).to_be_bytes();
    out.extend_from_slice(&[SYNC, high | if start { 0x40 } else { 0 }, low, control << 4 | counter]);
}

/// Writes `head` and `data` as one unit of `pid`, the last packet stuffed by its adaptation field.
pub(crate) fn write_unit(
    out: &mut Vec<u8>,
    pid: u16,
    continuity: &mut Continuity,
    first: Adaptation,
    head: &[u8],
    data: &[u8],
) {
    let (mut head, mut data) = (head, data);
    let mut field = Vec::with_capacity(8);
    first.write(&mut field);
    let mut start = true;
    while start || !head.is_empty() || !data.is_empty() {
        let left = head.len() + data.len();
        // The length byte belongs to the field.
        let said = if field.is_empty() { 0 } else { field.len() + 1 };
        let stuffing = (ROOM - said).saturating_sub(left);
        let has_field = said > 0 || stuffing > 0;
        header(out, pid, start, if has_field { 3 } else { 1 }, continuity.next());
        if has_field {
            let len = (said + stuffing).saturating_sub(1);
            out.push(u8::try_from(len).unwrap_or(u8::MAX));
            let before = out.len();
            out.extend_from_slice(&field);
            if field.is_empty() && len > 0 {
                out.push(0);
            }
            out.resize(before + len, 0xff);
        }
        let mut room = ROOM - said - stuffing;
        for part in [&mut head, &mut data] {
            let (now, later) = part.split_at(room.min(part.len()));
            out.extend_from_slice(now);
            room -= now.len();
            *part = later;
        }
        field.clear();
        start = false;
    }
}

/// Writes a packet that carries the program clock and nothing else.
pub(crate) fn write_pcr(out: &mut Vec<u8>, pid: u16, continuity: Continuity, pcr_90k: u64) {
    header(out, pid, false, 2, continuity.last());
    let from = out.len();
    out.push(u8::try_from(ROOM - 1).unwrap_or(u8::MAX));
    Adaptation { pcr_90k: Some(pcr_90k), ..Adaptation::default() }.write(out);
    out.resize(from + ROOM, 0xff);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of whole packets, checked on the way.
    fn payload(packets: &[u8]) -> Vec<u8> {
        assert!(packets.len().is_multiple_of(PACKET_BYTES));
        let mut out = Vec::new();
        for (n, packet) in packets.chunks(PACKET_BYTES).enumerate() {
            assert_eq!(packet[0], SYNC);
            assert_eq!(packet[1] & 0x40 != 0, n == 0);
            assert_eq!(usize::from(packet[3] & 0x0f), n % 16);
            let skip = if packet[3] & 0x20 != 0 { usize::from(packet[4]) + 1 } else { 0 };
            out.extend_from_slice(&packet[4 + skip..]);
        }
        out
    }

    #[test]
    fn every_length_comes_back_whatever_the_field() {
        let fields = [
            Adaptation::default(),
            Adaptation { random_access: true, ..Adaptation::default() },
            Adaptation { random_access: true, pcr_90k: Some(1 << 32), ..Adaptation::default() },
        ];
        for field in fields {
            for len in 0..700 {
                let data: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
                let mut out = Vec::new();
                write_unit(&mut out, 0x100, &mut Continuity::default(), field, b"head", &data);
                assert_eq!(payload(&out), [b"head".as_slice(), &data].concat(), "{field:?}, {len} bytes");
            }
        }
    }

    #[test]
    fn the_clock_is_laid_out_as_the_specification_says() {
        let mut out = Vec::new();
        write_pcr(&mut out, 0x100, Continuity::default(), 0x1_2345_6789);
        assert_eq!(out.len(), PACKET_BYTES);
        assert_eq!(out[..12], [SYNC, 0x01, 0x00, 0x2f, 183, 0x10, 0x91, 0xa2, 0xb3, 0xc4, 0xfe, 0x00]);
        assert!(out[12..].iter().all(|byte| *byte == 0xff));
    }
}
