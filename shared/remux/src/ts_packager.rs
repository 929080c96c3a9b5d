//! MPEG-TS of a stream's packets.

use flv::aac::AacConfig;
use media::Kind;
use ts::adts::Adts;
use ts::annexb::{self, Format};
use ts::{Access, Muxer, TRACKS, Ticks, Track, VideoType};

use crate::track_set::{AccessUnit, AudioTrack, RemuxError, TrackSet, VideoTrack};

/// Furthest that a picture may be shown behind its DTS, ms.
const MAX_COMPOSITION_MS: i64 = 10_000;
/// Furthest that a picture may be shown before its DTS, ms: what is more is an error of the encoder.
const MAX_LEAD_MS: i64 = 2_000;
/// Gathered sounds are written when there are so many, whatever the time.
const MAX_GATHERED_BYTES: usize = 32 << 10;

/// Makes a transport stream, or one segment after the other of one.
#[derive(Debug, Clone)]
pub struct TsPackager {
    muxer: Muxer,
    gather_ms: i64,
    /// Of each track of sounds what was gathered.
    sounds: Vec<Sounds>,
    picture: Vec<u8>,
    /// How much earlier than FLV says pictures are decoded, ms: none may be shown before. It only grows.
    lead_ms: i64,
    pictures: [Pictures; TRACKS],
}

/// Sounds of one track that are written together.
#[derive(Debug, Clone)]
struct Sounds {
    track: u8,
    bytes: Vec<u8>,
    /// DTS of the first, ms.
    first_ms: i64,
}

/// What is to be known of a track of pictures.
#[derive(Debug, Clone, Copy, Default)]
struct Pictures {
    /// DTS of the last one.
    last: Option<Ticks>,
    /// The next one has the parameter sets with it, though it be none that a decoder begins with.
    owes_sets: bool,
}

impl TsPackager {
    /// A packager that writes sounds together that are not further apart than `gather_ms` (0: each for itself).
    #[must_use]
    pub fn new(gather_ms: i64) -> Self {
        Self {
            muxer: Muxer::default(),
            gather_ms,
            sounds: Vec::new(),
            picture: Vec::new(),
            lead_ms: 0,
            pictures: [Pictures::default(); TRACKS],
        }
    }

    /// The next picture of each track has the parameter sets with it in any case: a segment begins.
    pub fn owe_sets(&mut self) {
        self.pictures.iter_mut().for_each(|pictures| pictures.owes_sets = true);
    }

    /// Pictures are shown before their DTS by up to so many ms, as is known beforehand.
    pub fn set_lead(&mut self, lead_ms: i64) {
        self.lead_ms = self.lead_ms.max(lead_ms.min(MAX_LEAD_MS));
        self.muxer.set_lead(Ticks::of_ms(self.lead_ms));
    }

    /// Begins a segment, or a live stream, or repeats in it what it consists of.
    pub fn begin(&mut self, track_set: &TrackSet, out: &mut Vec<u8>) {
        self.flush(out);
        self.muxer.set_tracks(track_set.ts_tracks());
        self.muxer.write_tables(out);
    }

    /// Begins a segment that depends on nothing before: another server may write the same bytes.
    pub fn begin_anew(&mut self, track_set: &TrackSet, out: &mut Vec<u8>) {
        self.sounds.clear();
        self.muxer.set_tracks(track_set.ts_tracks());
        self.muxer.restart();
        self.muxer.write_tables(out);
    }

    /// Packs one packet.
    ///
    /// # Errors
    /// [`RemuxError`] when it can't be; nothing was written then.
    pub fn push(
        &mut self,
        track_set: &TrackSet,
        dts_ms: i64,
        coded: &AccessUnit,
        out: &mut Vec<u8>,
    ) -> Result<(), RemuxError> {
        match coded.kind {
            Kind::Video => self.picture(track_set, dts_ms, coded, out),
            Kind::Audio => self.sound(track_set, dts_ms, coded, out),
            Kind::Data => Ok(()),
        }
    }

    fn picture(
        &mut self,
        track_set: &TrackSet,
        dts_ms: i64,
        coded: &AccessUnit,
        out: &mut Vec<u8>,
    ) -> Result<(), RemuxError> {
        let place = usize::from(coded.track);
        let (Some(track_set), Some(known)) = (track_set.of(coded.track), self.pictures.get(place).copied())
        else {
            return Err(RemuxError::NoConfig);
        };
        self.picture.clear();
        let has_sets = coded.is_key || known.owes_sets;
        match &track_set.video {
            Some(VideoTrack::Avc(config)) => {
                let sets: Vec<_> = config.sps.iter().chain(&config.pps).collect();
                let format = Format {
                    video: VideoType::H264,
                    nal_length_bytes: config.nal_length_bytes,
                    parameter_sets: &sets,
                };
                annexb::write(&mut self.picture, &format, has_sets, &coded.data)?;
            }
            Some(VideoTrack::Hevc(config)) => {
                let format = Format {
                    video: VideoType::Hevc,
                    nal_length_bytes: config.nal_length_bytes,
                    parameter_sets: &config.parameter_sets,
                };
                annexb::write(&mut self.picture, &format, has_sets, &coded.data)?;
            }
            Some(VideoTrack::Av1 { .. }) => return Err(RemuxError::Codec(flv::unit::AV1)),
            Some(VideoTrack::Vp9 { .. }) => return Err(RemuxError::Codec(flv::unit::VP9)),
            None => return Err(RemuxError::NoConfig),
        }
        let composition_ms = i64::from(coded.composition_ms).clamp(-MAX_LEAD_MS, MAX_COMPOSITION_MS);
        self.set_lead(-composition_ms);
        let dts = self.decoded(dts_ms, known.last);
        let access = Access {
            track: Track::Video(coded.track),
            dts,
            // A few ticks late at most, and where the lead has just grown.
            pts: Ticks::of_ms(dts_ms.saturating_add(composition_ms)).max(dts),
            random_access: coded.is_key,
            data: &self.picture,
        };
        self.muxer.write(out, &access);
        if let Some(pictures) = self.pictures.get_mut(place) {
            *pictures = Pictures { last: Some(dts), owes_sets: false };
        }
        Ok(())
    }

    /// When a picture is decoded: behind the one before it also where the lead has just grown.
    fn decoded(&self, dts_ms: i64, last: Option<Ticks>) -> Ticks {
        let wanted = Ticks::of_ms(dts_ms.saturating_sub(self.lead_ms));
        let lead = Ticks::of_ms(self.lead_ms);
        let behind = last.filter(|last| (Ticks::ZERO..=lead).contains(&(*last - wanted)));
        behind.map_or(wanted, |last| last + Ticks::ONE)
    }

    fn sound(
        &mut self,
        track_set: &TrackSet,
        dts_ms: i64,
        coded: &AccessUnit,
        out: &mut Vec<u8>,
    ) -> Result<(), RemuxError> {
        if self.muxer.tracks().audio(coded.track).is_none() {
            return Err(RemuxError::NoConfig);
        }
        let known = self.sounds.iter().position(|sounds| sounds.track == coded.track);
        let at = known.unwrap_or_else(|| {
            self.sounds.push(Sounds { track: coded.track, bytes: Vec::new(), first_ms: dts_ms });
            self.sounds.len() - 1
        });
        if let Some(sounds) = self.sounds.get_mut(at) {
            let apart = dts_ms.saturating_sub(sounds.first_ms);
            if !(0..self.gather_ms).contains(&apart) || sounds.bytes.len() > MAX_GATHERED_BYTES {
                sounds.write(&mut self.muxer, out);
            }
            if sounds.bytes.is_empty() {
                sounds.first_ms = dts_ms;
            }
            append(track_set, coded, &mut sounds.bytes)?;
            if self.gather_ms == 0 {
                sounds.write(&mut self.muxer, out);
            }
        }
        Ok(())
    }

    /// Writes the sounds that were gathered.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.sounds.iter_mut().for_each(|sounds| sounds.write(&mut self.muxer, out));
    }
}

impl Sounds {
    fn write(&mut self, muxer: &mut Muxer, out: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            return;
        }
        let time = Ticks::of_ms(self.first_ms);
        let access = Access {
            track: Track::Audio(self.track),
            dts: time,
            pts: time,
            random_access: !muxer.tracks().has_video(),
            data: &self.bytes,
        };
        muxer.write(out, &access);
        self.bytes.clear();
    }
}

/// Appends a sound as a transport stream has it.
fn append(track_set: &TrackSet, coded: &AccessUnit, out: &mut Vec<u8>) -> Result<(), RemuxError> {
    match track_set.of(coded.track).and_then(|of| of.audio.as_ref()) {
        Some(AudioTrack::Aac(config)) => {
            let adts = adts(config).ok_or(RemuxError::Codec(flv::unit::AAC))?;
            if !adts.write(out, &coded.data) {
                return Err(RemuxError::Frame(coded.data.len()));
            }
        }
        Some(AudioTrack::Mp3 { .. } | AudioTrack::Ac3(_)) => out.extend_from_slice(&coded.data),
        Some(AudioTrack::Opus(_)) => ts::opus::write(out, &coded.data),
        Some(track @ AudioTrack::Flac { .. }) => return Err(RemuxError::Codec(track.codec())),
        None => return Err(RemuxError::NoConfig),
    }
    Ok(())
}

/// What stands in front of each frame; `None` when that can't say what the frames are.
pub(crate) fn adts(config: &AacConfig) -> Option<Adts<'_>> {
    let rate_index = config.rate_index.filter(|_| config.fits_adts())?;
    Some(Adts {
        object_type: config.object_type,
        rate_index,
        // Where a description says it, the header does not.
        channel_config: if config.description.is_empty() { config.channel_config } else { 0 },
        description: &config.description,
    })
}

/// Sounds of the first track outside of a container: AAC frames with their headers, MP3 frames as they are.
impl TrackSet {
    /// Whether the sounds are MP3, as they stand alone; `None` when they can't.
    #[must_use]
    pub fn bare_is_mp3(&self) -> Option<bool> {
        match &self.audio {
            Some(AudioTrack::Aac(config)) if config.fits_adts() => Some(false),
            Some(AudioTrack::Mp3 { .. }) => Some(true),
            _ => None,
        }
    }

    /// Appends one sound.
    ///
    /// # Errors
    /// [`RemuxError`] when it can't stand alone; nothing was written then.
    pub fn write_bare(&self, coded: &AccessUnit, out: &mut Vec<u8>) -> Result<(), RemuxError> {
        match &self.audio {
            Some(AudioTrack::Aac(config)) => {
                let adts = adts(config).ok_or(RemuxError::Codec(flv::unit::AAC))?;
                if adts.write(out, &coded.data) { Ok(()) } else { Err(RemuxError::Frame(coded.data.len())) }
            }
            Some(AudioTrack::Mp3 { .. }) => {
                out.extend_from_slice(&coded.data);
                Ok(())
            }
            Some(track) => Err(RemuxError::Codec(track.codec())),
            None => Err(RemuxError::NoConfig),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Probe;

    const AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x02\x68\xee";

    fn coded(track_set: &mut TrackSet, kind: Kind, payload: &'static [u8]) -> AccessUnit {
        match track_set.see(kind, &Bytes::from_static(payload)) {
            Ok(Probe::AccessUnit(coded)) => coded,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn segments_that_begin_anew_have_the_same_bytes_wherever_they_are_made() {
        let segment = |before: usize| {
            let mut track_set = TrackSet::default();
            track_set.see(Kind::Video, &Bytes::from_static(AVC)).unwrap();
            track_set.see(Kind::Audio, &Bytes::from_static(b"\xaf\x00\x12\x10")).unwrap();
            let picture = coded(&mut track_set, Kind::Video, b"\x17\x01\0\0\0\0\0\0\x01\x65");
            let sound = coded(&mut track_set, Kind::Audio, b"\xaf\x01abc");
            let mut packager = TsPackager::new(70);
            let mut out = Vec::new();
            if before > 0 {
                packager.begin(&track_set, &mut out);
            }
            for n in 0..before {
                let dts_ms = i64::try_from(n).unwrap() * 23;
                packager.push(&track_set, dts_ms, &sound, &mut out).unwrap();
            }
            packager.flush(&mut out);
            out.clear();
            packager.begin_anew(&track_set, &mut out);
            for n in 0..20 {
                packager.push(&track_set, 10_000 + n * 40, &picture, &mut out).unwrap();
                packager.push(&track_set, 10_003 + n * 40, &sound, &mut out).unwrap();
            }
            packager.flush(&mut out);
            out
        };
        assert_eq!(segment(0), segment(117));
        assert!(segment(0).len().is_multiple_of(ts::PACKET_BYTES));
    }

    /// Groups of a picture that is shown at its DTS, one that is shown later, and two that are shown before.
    #[test]
    fn pictures_that_are_shown_before_their_dts_keep_their_times() {
        let mut track_set = TrackSet::default();
        track_set.see(Kind::Video, &Bytes::from_static(AVC)).unwrap();
        track_set.see(Kind::Audio, &Bytes::from_static(b"\xaf\x00\x12\x10")).unwrap();
        let picture = coded(&mut track_set, Kind::Video, b"\x17\x01\0\0\0\0\0\0\x01\x65");
        let sound = coded(&mut track_set, Kind::Audio, b"\xaf\x01abc");
        let mut packager = TsPackager::new(0);
        let mut out = Vec::new();
        packager.begin(&track_set, &mut out);
        for n in 0..100_usize {
            let dts_ms = i64::try_from(n).unwrap() * 40;
            let composition_ms = [0, 80, -40, -40][n % 4];
            let picture = AccessUnit { composition_ms, ..picture.clone() };
            packager.push(&track_set, dts_ms, &picture, &mut out).unwrap();
            packager.push(&track_set, dts_ms + 1, &sound, &mut out).unwrap();
        }
        let (mut times, mut clocks) = (Vec::new(), Vec::new());
        for packet in out.as_chunks::<{ ts::PACKET_BYTES }>().0 {
            let has_field = packet[3] & 0x20 != 0 && packet[4] > 0;
            if has_field && packet[5] & 0x10 != 0 {
                clocks.push(packet[6..11].iter().fold(0_i64, |base, byte| base << 8 | i64::from(*byte)) >> 7);
            }
            if packet[1..3] != [0x41, 0] {
                continue;
            }
            let pes = &packet[if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 }..];
            let stamp = |at: usize| {
                let b: Vec<i64> = pes[at..at + 5].iter().map(|byte| i64::from(*byte)).collect();
                (b[0] & 0x0e) << 29 | b[1] << 22 | (b[2] & 0xfe) << 14 | b[3] << 7 | b[4] >> 1
            };
            let shown = stamp(9);
            times.push((
                shown - ts::DELAY.count(),
                if pes[7] & 0x40 != 0 { stamp(14) } else { shown } - ts::DELAY.count(),
            ));
        }
        let wanted: Vec<i64> =
            (0..100).map(|n| (n * 40 + [0, 80, -40, -40][usize::try_from(n % 4).unwrap()]) * 90).collect();
        // Before the first one it is not known by how much; then it is made up for in steps of one tick.
        let late = |at: usize| times[at].0 - wanted[at];
        assert!(
            (0..8).all(|at| (0..10).contains(&late(at))) && (8..100).all(|at| late(at) == 0),
            "{times:?}"
        );
        assert!(times.iter().all(|(shown, decoded)| decoded <= shown), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].1), "{times:?}");
        assert!(times[8..].windows(2).all(|pair| pair[1].1 - pair[0].1 == 3600), "{times:?}");
        assert!(clocks.windows(2).all(|pair| (0..9000).contains(&(pair[1] - pair[0]))), "{clocks:?}");
    }

    /// What colours mean may be said in messages that stand in the configuration alone.
    #[test]
    fn messages_in_the_configuration_of_hevc_stand_before_key_frames() {
        let mut header = b"\x90hvc1\x01".to_vec();
        header.extend_from_slice(&[0; 20]);
        header.extend_from_slice(b"\x03\x04");
        for (nal_type, unit) in
            [(32, b"\x40\x01vp"), (33, b"\x42\x01sp"), (34, b"\x44\x01pp"), (39, b"\x4e\x01se")]
        {
            header.extend_from_slice(&[nal_type, 0, 1, 0, 4]);
            header.extend_from_slice(unit);
        }
        let mut track_set = TrackSet::default();
        track_set.see(Kind::Video, &header.into()).unwrap();
        let mut packager = TsPackager::new(0);
        let mut out = Vec::new();
        packager.begin(&track_set, &mut out);
        for (at, is_key) in [(0, true), (40, false), (80, true)] {
            let packet: &'static [u8] =
                if is_key { b"\x93hvc1\0\0\0\x04\x26\x01id" } else { b"\xa3hvc1\0\0\0\x04\x02\x01tr" };
            let picture = coded(&mut track_set, Kind::Video, packet);
            packager.push(&track_set, at, &picture, &mut out).unwrap();
        }
        let before = b"\0\0\0\x01\x4e\x01se\0\0\x01\x26\x01id";
        assert_eq!(out.windows(before.len()).filter(|window| window == before).count(), 2);
        assert_eq!(out.windows(4).filter(|window| window == b"\x4e\x01se").count(), 2);
    }

    #[test]
    fn what_can_not_be_packed_is_left_out() {
        let mut track_set = TrackSet::default();
        let mut packager = TsPackager::new(0);
        let mut out = Vec::new();
        track_set.see(Kind::Video, &Bytes::from_static(AVC)).unwrap();
        packager.begin(&track_set, &mut out);
        let before = out.len();
        let broken = coded(&mut track_set, Kind::Video, b"\x17\x01\x80\0\0\xff\xff\xff\xff\x65");
        assert!(matches!(packager.push(&track_set, 0, &broken, &mut out), Err(RemuxError::Nal(_))));
        // A sound of a track that was not announced.
        track_set.see(Kind::Audio, &Bytes::from_static(b"\xaf\x00\x12\x10")).unwrap();
        let sound = coded(&mut track_set, Kind::Audio, b"\xaf\x01abc");
        assert_eq!(packager.push(&track_set, 0, &sound, &mut out), Err(RemuxError::NoConfig));
        assert_eq!(out.len(), before);
    }
}
