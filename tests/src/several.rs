//! A stream of several tracks of a kind, put together from files that ffmpeg makes: what of it comes out is compared with what
//! those files hold.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Kind;
use flv::file::Tag;

use crate::capture::{publish_tags, publisher, tags};
use crate::clip::QUIET;
use crate::process::run;
use crate::wait::SOON;

/// Pictures and sounds of each track: size and rate of pictures, pitch, sampling rate and channels of sounds.
const TRACKS: [(&str, &str); 2] = [
    ("testsrc2=size=320x180:rate=25", "sine=frequency=440:sample_rate=44100,aformat=channel_layouts=stereo"),
    ("testsrc=size=160x90:rate=25", "sine=frequency=880:sample_rate=48000"),
];

/// A packet of a classic header (H.264, AAC) as one of the further track with this number.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn further(kind: Kind, body: &[u8], number: u8) -> Bytes {
    let packet_type = body[1];
    let packet = if kind == Kind::Video {
        let times = if packet_type == 1 { &body[2..5] } else { &[] };
        [&[0x86 | body[0] & 0x70, packet_type][..], b"avc1", &[number], times, &body[5..]].concat()
    } else {
        [&[0x95, packet_type][..], b"mp4a", &[number], &body[2..]].concat()
    };
    packet.into()
}

/// Files of one picture and one sound track each, and a stream of them all.
#[derive(Debug)]
pub struct Several {
    /// By number of the track.
    pub sources: Vec<PathBuf>,
    /// Headers first, then all packets in the order of their times.
    pub tags: Vec<Tag>,
}

impl Several {
    /// Makes the files in a directory: so many seconds, a key frame each second.
    ///
    /// # Panics
    /// When ffmpeg can't.
    #[must_use]
    pub fn make(directory: &Path, seconds: u32) -> Self {
        let mut all = Vec::new();
        let mut sources = Vec::new();
        for ((pictures, sounds), number) in TRACKS.into_iter().zip(0_u8..) {
            let file = directory.join(format!("track-{number}.flv"));
            let length = seconds.to_string();
            let mut command = Command::new("ffmpeg");
            command.args(QUIET).args(["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sounds]);
            command.args(["-t", &length, "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"]);
            // Without noise, which a decoder that begins later would make otherwise.
            command.args(["-x264-params", "scenecut=0", "-c:a", "aac", "-aac_pns", "0", "-b:a", "64k"]);
            command.arg(&file);
            drop(run(&mut command, SOON).expect_success());
            for tag in tags(&file) {
                match (tag.kind, number) {
                    (Kind::Data, 0) | (_, 0) => all.push(tag),
                    (Kind::Data, _) => {}
                    (kind, _) => all.push(Tag { body: further(kind, &tag.body, number), ..tag }),
                }
            }
            sources.push(file);
        }
        let is_header = |tag: &Tag| {
            let info = flv::classify(tag.kind, &tag.body);
            tag.kind == Kind::Data || info.sequence_header
        };
        all.sort_by_key(|tag| (!is_header(tag), tag.timestamp_ms));
        Self { sources, tags: all }
    }

    /// The stream without the further tracks of a kind.
    #[must_use]
    pub fn without(&self, kind: Kind) -> Vec<Tag> {
        let is_left = |tag: &&Tag| tag.kind == kind && flv::classify(kind, &tag.body).track > 0;
        self.tags.iter().filter(|tag| !is_left(tag)).cloned().collect()
    }
}

/// A stream that is published at the pace of its times, again and again, until this is dropped.
#[derive(Debug)]
pub struct Paced {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Paced {
    /// Begins.
    #[must_use]
    pub fn start(url: &str, tags: Vec<Tag>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut publisher = publisher(url);
        let length_ms = tags.iter().map(|tag| tag.timestamp_ms).max().unwrap_or(0) + 23;
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let began = Instant::now();
                for (round, tag) in (0..).flat_map(|round| tags.iter().map(move |tag| (round, tag))) {
                    let time_ms = round * length_ms + tag.timestamp_ms;
                    let due = began + Duration::from_millis(time_ms.into());
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    publish_tags(&mut publisher, std::slice::from_ref(tag), round * length_ms);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Asserts that hashes of what was decoded are those of the source from somewhere on, but for the first and last few, and
/// that no more than `lost` of the source is missing.
///
/// # Panics
/// When it is not so.
pub fn assert_decoded(what: &str, got: &[String], source: &[String], lost: usize) {
    assert!(got.len() + lost >= source.len() && got.len() > 4, "{what}: {} of {}", got.len(), source.len());
    // What comes before the first time of all is cut off there.
    let inner = &got[2..got.len() - 1];
    let at = source.windows(inner.len()).position(|part| part == inner);
    assert!(at.is_some(), "{what}: not what was encoded: {} of {}", got.len(), source.len());
}

/// What ffprobe says of the streams of a file: kind, width or sampling rate, in the order of the kinds' tracks.
///
/// # Panics
/// When it can't read it.
#[must_use]
pub fn streams(file: &Path) -> Vec<(String, u32)> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_type,width,sample_rate", "-of", "csv=p=0"]);
    let said = run(command.arg(file), SOON).expect_success();
    let mut found: Vec<(String, u32)> = Vec::new();
    for line in said.lines() {
        let Some((kind, value)) = line.trim_end_matches(',').split_once(',') else { continue };
        let one = (kind.to_owned(), value.parse().expect("a number"));
        // Those of a program are told twice.
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found.sort_by_key(|(kind, _)| kind != "video");
    found
}
