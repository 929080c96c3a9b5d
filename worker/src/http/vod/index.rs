//! What is where in a file, and where it is cut.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use flv::aac::AacConfig;
use flv::avc::AvcConfig;
use flv::hvcc::HevcConfig;
use hls::{Cut, Facts, Rules, Segmenter};
use media::Kind;
use mp4::{Entry, MAX_SAMPLES, MovieTrack};
use remux::{AudioTrack, Coded, Lineup, Seen, TsPackager, VideoTrack};

/// Wanted length of a segment, and the longest, ms.
const FRAGMENT_MS: i64 = 6_000;
const LONGEST_MS: i64 = 20_000;
/// Largest table of contents of an MP4 file.
const MAX_MOOV: u64 = 64 << 20;
/// Most boxes that are passed over to find it.
const MAX_BOXES: usize = 10_000;
/// Largest picture or sound.
const MAX_SAMPLE_BYTES: u32 = 16 << 20;
/// Largest segment.
const MAX_SEGMENT_BYTES: usize = 256 << 20;
/// Largest decoder configuration.
const MAX_CONFIG_BYTES: u32 = 64 << 10;
/// Bytes of a packet that tell what it is.
const LOOK_BYTES: u32 = 64;
/// Sounds that are not further apart are written together, ms.
const GATHER_MS: i64 = 70;

/// Why a file can't be played.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no such file.
    #[error("the file is not what its name says")]
    Format,
    /// Its tables make no sense.
    #[error(transparent)]
    Movie(#[from] mp4::MovieError),
    /// There is nothing in it that can be packed.
    #[error("nothing in the file can be packed")]
    Nothing,
    /// More than is taken.
    #[error("the file has more samples than are taken")]
    TooMany,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    kind: Kind,
    dts_ms: i64,
    composition_ms: i32,
    offset: u64,
    size: u32,
    is_key: bool,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    first: usize,
    end: usize,
    duration_ms: i64,
}

/// A file.
#[derive(Debug)]
pub(super) struct Index {
    samples: Vec<Sample>,
    segments: Vec<Segment>,
    /// Decoder configurations in FLV's form, each with the sample before which it stands.
    configs: Vec<(usize, Kind, Bytes)>,
    /// Those of a file that says them once.
    lineup: Lineup,
    is_flv: bool,
    target_s: i64,
}

impl Index {
    /// Reads a file.
    pub(super) fn read(file: &File, name: &str) -> Result<Self, IndexError> {
        let mut index = Self {
            samples: Vec::new(),
            segments: Vec::new(),
            configs: Vec::new(),
            lineup: Lineup::default(),
            is_flv: name.to_ascii_lowercase().ends_with(".flv"),
            target_s: 1,
        };
        if index.is_flv {
            index.read_flv(file)?
        } else {
            index.read_mp4(file)?
        }
        index.cut();
        if index.segments.is_empty() { Err(IndexError::Nothing) } else { Ok(index) }
    }

    fn read_flv(&mut self, file: &File) -> Result<(), IndexError> {
        let mut reader = BufReader::with_capacity(64 << 10, file);
        reader.seek(SeekFrom::Start(0))?;
        let mut head = [0; 13];
        reader.read_exact(&mut head)?;
        if !head.starts_with(b"FLV\x01") {
            return Err(IndexError::Format);
        }
        let mut at = head.len() as u64;
        let mut lineup = Lineup::default();
        let mut tag = [0; 11];
        while reader.read_exact(&mut tag).is_ok() {
            let [tag_type, s0, s1, s2, t0, t1, t2, t3, ..] = tag;
            let size = u32::from_be_bytes([0, s0, s1, s2]);
            let dts_ms = i64::from(u32::from_be_bytes([t3, t0, t1, t2]));
            let Some(kind) = Kind::from_type_id(tag_type) else { break };
            let mut look = vec![0; size.min(LOOK_BYTES) as usize];
            if reader.read_exact(&mut look).is_err() {
                break;
            }
            let info = flv::classify(kind, &look);
            if info.sequence_header && size <= MAX_CONFIG_BYTES {
                let taken = look.len();
                look.resize(size as usize, 0);
                if reader.read_exact(look.get_mut(taken..).unwrap_or(&mut [])).is_err() {
                    break;
                }
                reader.seek_relative(4)?;
                let config = Bytes::from(look);
                if lineup.see(kind, &config).is_ok() {
                    self.configs.push((self.samples.len(), kind, config));
                }
            } else {
                reader.seek_relative(i64::from(size) - look.len() as i64 + 4)?;
                // Whether it can be packed is found out when it is; here only that it is something to pack.
                if kind != Kind::Data && !info.end_of_sequence && size <= MAX_SAMPLE_BYTES {
                    let (offset, is_key) = (at + 11, info.key_frame);
                    self.samples.push(Sample { kind, dts_ms, composition_ms: 0, offset, size, is_key });
                }
            }
            at += 11 + u64::from(size) + 4;
            if self.samples.len() > MAX_SAMPLES || self.configs.len() > MAX_BOXES {
                return Err(IndexError::TooMany);
            }
        }
        Ok(())
    }

    fn read_mp4(&mut self, file: &File) -> Result<(), IndexError> {
        let total = file.metadata()?.len();
        let mut at = 0;
        let mut moov = None;
        for _ in 0..MAX_BOXES {
            let mut head = [0; 16];
            let count = usize::try_from(total.saturating_sub(at).min(16)).unwrap_or(0);
            if count < 8 {
                break;
            }
            file.read_exact_at(head.get_mut(..count).unwrap_or(&mut []), at)?;
            let [a, b, c, d, name @ .., l0, l1, l2, l3, l4, l5, l6, l7] = head;
            let (skip, len) = match u32::from_be_bytes([a, b, c, d]) {
                0 => (8, total - at),
                1 => (16, u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7])),
                len => (8, u64::from(len)),
            };
            if len < skip {
                return Err(IndexError::Format);
            }
            if &name == b"moov" {
                let size = len - skip;
                if size > MAX_MOOV || at + len > total {
                    return Err(IndexError::TooMany);
                }
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                file.read_exact_at(&mut bytes, at + skip)?;
                moov = Some(Bytes::from(bytes));
                break;
            }
            at = at.checked_add(len).ok_or(IndexError::Format)?;
        }
        for track in mp4::read_movie(&moov.ok_or(IndexError::Format)?)? {
            self.add_track(track);
        }
        self.samples.sort_by_key(|sample| sample.dts_ms);
        Ok(())
    }

    /// The first track of each kind that can be packed.
    fn add_track(&mut self, track: MovieTrack) {
        let kind = if track.info.entry.is_video() { Kind::Video } else { Kind::Audio };
        let known = match &track.info.entry {
            Entry::Avc { record, .. } if self.lineup.video.is_none() => {
                AvcConfig::parse(record).ok().map(|config| self.lineup.video = Some(VideoTrack::Avc(config)))
            }
            Entry::Hevc { record, .. } if self.lineup.video.is_none() => HevcConfig::parse(record)
                .ok()
                .map(|config| self.lineup.video = Some(VideoTrack::Hevc(config))),
            Entry::Aac { record, .. } if self.lineup.audio.is_none() => {
                AacConfig::parse(record).ok().map(|config| self.lineup.audio = Some(AudioTrack::Aac(config)))
            }
            Entry::Mp3 { channels, sample_rate } if self.lineup.audio.is_none() => {
                let (channels, sample_rate) = (*channels, *sample_rate);
                self.lineup.audio = Some(AudioTrack::Mp3 { sample_rate, channels });
                Some(())
            }
            _ => None,
        };
        if known.is_some() {
            self.samples.extend(track.samples.iter().filter(|sample| sample.size <= MAX_SAMPLE_BYTES).map(
                |sample| Sample {
                    kind,
                    dts_ms: sample.dts_ms,
                    composition_ms: sample.composition_ms,
                    offset: sample.offset,
                    size: sample.size,
                    is_key: sample.is_sync && kind == Kind::Video,
                },
            ));
        }
    }

    fn cut(&mut self) {
        // Files may begin before 0, clocks of transport streams may not.
        let early = self.samples.iter().map(|sample| sample.dts_ms).min().unwrap_or(0).min(0);
        self.samples.iter_mut().for_each(|sample| sample.dts_ms -= early);
        let has_video = self.samples.iter().any(|sample| sample.kind == Kind::Video);
        let rules = Rules {
            fragment_ms: FRAGMENT_MS,
            longest_ms: LONGEST_MS,
            wait_keyframe: true,
            target_ratio: 1.0,
            absolute: false,
        };
        let mut segmenter = Segmenter::new(rules);
        let mut open: Option<(usize, i64)> = None;
        for (at, sample) in self.samples.iter().enumerate() {
            let Sample { kind, dts_ms, is_key, .. } = *sample;
            let facts = Facts { kind, dts_ms, is_key, is_break: false, has_video };
            if let Cut::Begin { .. } = segmenter.look(&facts) {
                if let Some((first, began_ms)) = open {
                    self.segments.push(Segment { first, end: at, duration_ms: dts_ms - began_ms });
                }
                open = Some((at, dts_ms));
            }
        }
        if let (Some((first, _)), Some(duration_ms)) = (open, segmenter.end()) {
            self.segments.push(Segment { first, end: self.samples.len(), duration_ms });
        }
        let longest = self.segments.iter().map(|segment| segment.duration_ms).max().unwrap_or(0);
        self.target_s = ((longest + 999) / 1000).max(1);
    }

    /// The list of all segments.
    pub(super) fn list(&self, name: &str) -> String {
        let mut out = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n",
            self.target_s
        );
        let own = crate::http::hls::list::relative(name, name);
        for (number, segment) in self.segments.iter().enumerate() {
            let (seconds, ms) = (segment.duration_ms / 1000, segment.duration_ms % 1000);
            let _ = writeln!(out, "#EXTINF:{seconds}.{ms:03},\n{own}.{number}.ts");
        }
        out.push_str("#EXT-X-ENDLIST\n");
        out
    }

    /// One segment; `None` when there is none of this number, or it can't be read.
    pub(super) fn segment(&self, file: &File, number: usize) -> Option<Vec<u8>> {
        let segment = self.segments.get(number)?;
        let mut lineup = self.lineup.clone();
        let is_before = |at: usize| at <= segment.first;
        for (_, kind, config) in self.configs.iter().filter(|(at, ..)| is_before(*at)) {
            // It was read before.
            let _ = lineup.see(*kind, config);
        }
        let samples = self.samples.get(segment.first..segment.end)?;
        if self.is_flv {
            self.find_mp3(file, samples, &mut lineup);
        }
        let mut packager = TsPackager::new(GATHER_MS);
        let mut out = Vec::new();
        packager.begin_anew(&lineup, &mut out);
        for sample in samples {
            let mut data = vec![0; sample.size as usize];
            file.read_exact_at(&mut data, sample.offset).ok()?;
            let data = Bytes::from(data);
            let coded = if self.is_flv {
                match lineup.see(sample.kind, &data) {
                    Ok(Seen::Coded(coded)) => coded,
                    _ => continue,
                }
            } else {
                let Sample { kind, is_key, composition_ms, .. } = *sample;
                Coded { kind, is_key, composition_ms, data }
            };
            // What can't be packed is left out, as in a live stream.
            let _ = packager.push(&lineup, sample.dts_ms, &coded, &mut out);
            if out.len() > MAX_SEGMENT_BYTES {
                return None;
            }
        }
        packager.flush(&mut out);
        Some(out)
    }

    /// Of MP3 nothing but its packets tells that it is there.
    fn find_mp3(&self, file: &File, samples: &[Sample], lineup: &mut Lineup) {
        if lineup.audio.is_some() {
            return;
        }
        if let Some(sample) = samples.iter().find(|sample| sample.kind == Kind::Audio) {
            let mut data = vec![0; sample.size.min(LOOK_BYTES) as usize];
            if file.read_exact_at(&mut data, sample.offset).is_ok() {
                let _ = lineup.see(Kind::Audio, &data.into());
            }
        }
    }
}
