//! The muxer: access units with their times to packets, and the clock that goes with them.

use crate::packet::{Adaptation, Continuity, write_pcr, write_unit};
use crate::tables::{AudioType, Tables, Track, Tracks};
use crate::ticks::Ticks;

/// How much later than the clock an access unit is decoded: what decoders may buffer.
pub const DELAY: Ticks = Ticks::of_ms(800);
/// Longest step of the clock: below the 100 ms that the specification allows.
pub const PCR_INTERVAL: Ticks = Ticks::of_ms(90);
/// Shortest: more would say nothing new.
const PCR_LEAST: Ticks = Ticks::of_ms(20);
/// A hole in the media that is longer is not filled with clock packets.
const LONGEST_HOLE: Ticks = Ticks::of_ms(10_000);

/// One picture, or sounds that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// What it is.
    pub track: Track,
    /// When it is decoded.
    pub dts: Ticks,
    /// When it is shown or heard.
    pub pts: Ticks,
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
    last_pcr: Option<Ticks>,
    /// How much earlier pictures are decoded than their place among the sounds says.
    lead: Ticks,
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
            self.last_pcr = None;
        }
    }

    /// Pictures are decoded so much earlier than their place among the sounds says: the clock goes by them.
    pub fn set_lead(&mut self, lead: Ticks) {
        self.lead = lead;
    }

    /// Begins anew as if nothing had been written, and says so in the packets: what follows depends on nothing before.
    pub fn restart(&mut self) {
        self.tables.restart();
        self.written.clear();
        self.is_broken = true;
        self.last_pcr = None;
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
        let now = self.now(access);
        self.fill(out, clock, now);
        let due = self.last_pcr.is_none_or(|last| {
            let step = now - last;
            access.random_access || !(Ticks::ZERO..PCR_LEAST).contains(&step)
        });
        let mut first = Adaptation { random_access: access.random_access, ..Adaptation::default() };
        if is_clock && due {
            first.pcr_90k = Some(now.wrapped());
            self.last_pcr = Some(now);
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
    fn now(&self, access: &Access<'_>) -> Ticks {
        let lead = if matches!(access.track, Track::Audio(_)) { self.lead } else { Ticks::ZERO };
        let now = access.dts - lead;
        self.last_pcr.filter(|last| (Ticks::ONE..=self.lead).contains(&(*last - now))).unwrap_or(now)
    }

    /// Clock packets up to `now`, where the clock would stand still for too long.
    fn fill(&mut self, out: &mut Vec<u8>, clock: Track, now: Ticks) {
        let known = self.written.iter().find(|(track, _)| *track == clock);
        let continuity = known.map_or_else(Continuity::default, |(_, continuity)| *continuity);
        let Some(mut last) = self.last_pcr else { return };
        if now - last > LONGEST_HOLE {
            return;
        }
        while now - last > PCR_INTERVAL {
            last = last + PCR_INTERVAL;
            write_pcr(out, clock.pid(), continuity, last.wrapped());
        }
        self.last_pcr = Some(last);
    }
}

/// A PES header, and how long it is.
fn pes_header(stream_id: u8, access: &Access<'_>) -> ([u8; 19], usize) {
    let pts = (access.pts + DELAY).wrapped();
    let dts = (access.dts + DELAY).wrapped();
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
            let dts = Ticks::new(if step == 0 { n * 2090 } else { step });
            let access = Access { track, dts, pts: dts, random_access: n == 0, data: &[1; 300] };
            muxer.write(&mut out, &access);
        }
        assert_dense(&clocks(&out), 0x100);
        let mut muxer = Muxer::new(Tracks::of(None, Some(AudioType::Aac)));
        let mut out = Vec::new();
        for n in 0..20 {
            let dts = Ticks::of_ms(n * 200);
            muxer.write(
                &mut out,
                &Access { track: Track::Audio(0), dts, pts: dts, random_access: false, data: &[1; 90] },
            );
        }
        assert_dense(&clocks(&out), 0x101);
    }

    #[test]
    fn counters_go_on_and_times_wrap() {
        let mut muxer = Muxer::new(Tracks::of(Some(VideoType::H264), None));
        let mut out = Vec::new();
        let late = Ticks::new((1 << 33) - 3600) - DELAY;
        for n in 0..40 {
            let dts = late + Ticks::of_ms(40) * n;
            let pts = dts + Ticks::of_ms(40);
            let access = Access { track: Track::Video(0), dts, pts, random_access: false, data: &[7; 5000] };
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
