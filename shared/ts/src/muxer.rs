//! The muxer: access units with their times to packets, and the clock that goes with them.

use crate::packet::{Adaptation, Continuity, write_pcr, write_unit};
use crate::tables::{AudioType, Tables, Track, Tracks};

/// How much later than the clock an access unit is decoded, 90 kHz (800 ms): what decoders may buffer.
pub const DELAY_90K: i64 = 72_000;
/// Longest step of the clock, 90 kHz: below the 100 ms that the specification allows.
pub const PCR_INTERVAL_90K: i64 = 90 * 90;
/// Shortest: more would say nothing new.
const PCR_LEAST_90K: i64 = 20 * 90;
/// A hole in the media that is longer is not filled with clock packets.
const LONGEST_HOLE_90K: i64 = 10 * 90_000;

/// One picture, or sounds that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// What it is.
    pub track: Track,
    /// When it is decoded, 90 kHz, on a time line that does not wrap.
    pub dts_90k: i64,
    /// When it is shown or heard.
    pub pts_90k: i64,
    /// A decoder can begin here.
    pub random_access: bool,
    /// The coded bytes: Annex B, ADTS or MPEG audio frames.
    pub data: &'a [u8],
}

/// Makes one stream of packets.
#[derive(Debug, Clone, Default)]
pub struct Muxer {
    tracks: Tracks,
    tables: Tables,
    /// Tracks of which something was written.
    written: Vec<(Track, Continuity)>,
    /// The first packet of a track does not follow what was before.
    is_broken: bool,
    last_pcr_90k: Option<i64>,
    /// How much earlier pictures are decoded than their place among the sounds says, 90 kHz.
    lead_90k: i64,
}

impl Muxer {
    /// A muxer for these tracks.
    #[must_use]
    pub fn new(tracks: Tracks) -> Self {
        Self { tracks, ..Self::default() }
    }

    /// What it announces.
    #[must_use]
    pub fn tracks(&self) -> Tracks {
        self.tracks
    }

    /// The tracks are others from the next tables on.
    pub fn set_tracks(&mut self, tracks: Tracks) {
        if tracks != self.tracks {
            self.tracks = tracks;
            self.tables.next_version();
            self.last_pcr_90k = None;
        }
    }

    /// Pictures are decoded so much earlier than their place among the sounds says, 90 kHz: the clock goes by them.
    pub fn set_lead(&mut self, lead_90k: i64) {
        self.lead_90k = lead_90k;
    }

    /// Begins anew as if nothing had been written, and says so in the packets: what follows depends on nothing before.
    pub fn restart(&mut self) {
        self.tables.restart();
        self.written.clear();
        self.is_broken = true;
        self.last_pcr_90k = None;
    }

    /// Writes the tables. They stand at the beginning of each segment, and are repeated in a live stream.
    pub fn write_tables(&mut self, out: &mut Vec<u8>) {
        let is_broken = self.is_broken && self.written.is_empty();
        self.tables.write(out, &self.tracks, is_broken);
    }

    /// Writes one access unit, behind as many clock packets as are missing.
    pub fn write(&mut self, out: &mut Vec<u8>, access: &Access<'_>) {
        let clock = self.tracks.clock();
        let is_clock = access.track == clock;
        let now_90k = self.now(access);
        self.fill(out, clock, now_90k);
        let due = self.last_pcr_90k.is_none_or(|last| {
            let step = now_90k - last;
            access.random_access || !(0..PCR_LEAST_90K).contains(&step)
        });
        let mut first = Adaptation { random_access: access.random_access, ..Adaptation::default() };
        if is_clock && due {
            first.pcr_90k = Some(wrap(now_90k));
            self.last_pcr_90k = Some(now_90k);
        }
        let stream_id = match access.track {
            Track::Video(number) => 0xe0 | number & 0x0f,
            Track::Audio(number) if self.tracks.audio(number).is_none_or(AudioType::is_mpeg) => {
                0xc0 | number & 0x1f
            }
            Track::Audio(_) => 0xbd,
        };
        let (head, len) = pes_header(stream_id, access);
        let head = head.get(..len).unwrap_or(&head);
        let known = self.written.iter_mut().find(|(track, _)| *track == access.track);
        if let Some((_, continuity)) = known {
            write_unit(out, access.track.pid(), continuity, first, head, access.data);
            return;
        }
        let mut continuity = Continuity::default();
        first.discontinuity = self.is_broken;
        write_unit(out, access.track.pid(), &mut continuity, first, head, access.data);
        self.written.push((access.track, continuity));
    }

    /// What the clock says at an access unit. Where the lead has become larger it stands until that is made up.
    fn now(&self, access: &Access<'_>) -> i64 {
        let lead = if matches!(access.track, Track::Audio(_)) { self.lead_90k } else { 0 };
        let now = access.dts_90k.saturating_sub(lead);
        self.last_pcr_90k.filter(|last| (1..=self.lead_90k).contains(&(last - now))).unwrap_or(now)
    }

    /// Clock packets up to `now`, where the clock would stand still for too long.
    fn fill(&mut self, out: &mut Vec<u8>, clock: Track, now_90k: i64) {
        let known = self.written.iter().find(|(track, _)| *track == clock);
        let continuity = known.map_or_else(Continuity::default, |(_, continuity)| *continuity);
        let Some(mut last) = self.last_pcr_90k else { return };
        if now_90k - last > LONGEST_HOLE_90K {
            return;
        }
        while now_90k - last > PCR_INTERVAL_90K {
            last += PCR_INTERVAL_90K;
            write_pcr(out, clock.pid(), continuity, wrap(last));
        }
        self.last_pcr_90k = Some(last);
    }
}

/// 33 bits.
fn wrap(time_90k: i64) -> u64 {
    time_90k.rem_euclid(1 << 33).cast_unsigned()
}

/// A PES header, and how long it is.
fn pes_header(stream_id: u8, access: &Access<'_>) -> ([u8; 19], usize) {
    let pts = wrap(access.pts_90k + DELAY_90K);
    let dts = wrap(access.dts_90k + DELAY_90K);
    let (flags, stamps, len) = if pts == dts { (0x80, 5, 14) } else { (0xc0, 10, 19) };
    // From behind the length field; unbounded (0) where it does not fit, which is allowed for pictures only.
    let size = u16::try_from(access.data.len() + 3 + stamps).unwrap_or(0);
    let [high, low] = size.to_be_bytes();
    let [p0, p1, p2, p3, p4] = stamp(if pts == dts { 2 } else { 3 }, pts);
    let [d0, d1, d2, d3, d4] = stamp(1, dts);
    let stamps = u8::try_from(stamps).unwrap_or(5);
    let head = [0, 0, 1, stream_id, high, low, 0x80, flags, stamps, p0, p1, p2, p3, p4, d0, d1, d2, d3, d4];
    (head, len)
}

fn stamp(prefix: u8, time: u64) -> [u8; 5] {
    let byte = |value: u64| u8::try_from(value & 0xff).unwrap_or(0);
    [
        prefix << 4 | byte(time >> 29 & 0x0e) | 1,
        byte(time >> 22),
        byte(time >> 14 & 0xfe) | 1,
        byte(time >> 7),
        byte(time << 1 & 0xfe) | 1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PACKET_BYTES, VideoType};

    fn clocks(packets: &[u8]) -> Vec<(u16, u64)> {
        let mut found = Vec::new();
        for packet in packets.chunks(PACKET_BYTES) {
            if packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0 {
                let base = packet[6..11].iter().fold(0_u64, |base, byte| base << 8 | u64::from(*byte)) >> 7;
                found.push((u16::from_be_bytes([packet[1] & 0x1f, packet[2]]), base));
            }
        }
        found
    }

    fn assert_dense(clocks: &[(u16, u64)], pid: u16) {
        assert!(clocks.iter().all(|(on, _)| *on == pid));
        for pair in clocks.windows(2) {
            assert!((1..=9000).contains(&(pair[1].1 - pair[0].1)), "{pair:?}");
        }
    }

    #[test]
    fn the_clock_never_stands_still_for_a_tenth_of_a_second() {
        // One picture a second and sounds in between; then sounds alone, gathered too long.
        let both = Tracks::of(Some(VideoType::H264), Some(AudioType::Aac));
        let mut muxer = Muxer::new(both);
        let mut out = Vec::new();
        muxer.write_tables(&mut out);
        for n in 0..100_i64 {
            let (track, step) = if n % 40 == 0 { (Track::Video(0), 0) } else { (Track::Audio(0), n * 2090) };
            let dts_90k = if step == 0 { n * 2090 } else { step };
            let access = Access { track, dts_90k, pts_90k: dts_90k, random_access: n == 0, data: &[1; 300] };
            muxer.write(&mut out, &access);
        }
        assert_dense(&clocks(&out), 0x100);
        let mut muxer = Muxer::new(Tracks::of(None, Some(AudioType::Aac)));
        let mut out = Vec::new();
        for n in 0..20 {
            let dts_90k = n * 18_000;
            muxer.write(
                &mut out,
                &Access {
                    track: Track::Audio(0),
                    dts_90k,
                    pts_90k: dts_90k,
                    random_access: false,
                    data: &[1; 90],
                },
            );
        }
        assert_dense(&clocks(&out), 0x101);
    }

    #[test]
    fn counters_go_on_and_times_wrap() {
        let mut muxer = Muxer::new(Tracks::of(Some(VideoType::H264), None));
        let mut out = Vec::new();
        let late = (1 << 33) - DELAY_90K - 3600;
        for n in 0..40 {
            let dts_90k = late + n * 3600;
            let pts_90k = dts_90k + 3600;
            let access =
                Access { track: Track::Video(0), dts_90k, pts_90k, random_access: false, data: &[7; 5000] };
            muxer.write(&mut out, &access);
        }
        let mut counter = 0;
        let mut times = Vec::new();
        for packet in out.chunks(PACKET_BYTES) {
            assert_eq!(packet[3] & 0x0f, counter);
            counter = (counter + 1) & 0x0f;
            if packet[1] & 0x40 != 0 {
                let skip = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
                let pes = &packet[skip..];
                let read = |at: usize| {
                    let b: Vec<u64> = pes[at..at + 5].iter().map(|byte| u64::from(*byte)).collect();
                    (b[0] & 0x0e) << 29 | b[1] << 22 | (b[2] & 0xfe) << 14 | b[3] << 7 | b[4] >> 1
                };
                times.push((read(9), read(14)));
            }
        }
        assert_eq!(times[0], (0, (1 << 33) - 3600));
        assert_eq!(times[1], (3600, 0));
    }
}
