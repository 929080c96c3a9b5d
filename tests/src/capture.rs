//! What came out of a player, packet by packet: by ffmpeg's hashes, by ffprobe's times, or as our client received it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Kind, Options, Packet, Player, Publisher};
use flv::file::{Reader, Tag};
use tempfile::TempDir;

use crate::clip::QUIET;
use crate::process::{Running, run};
use crate::wait::{SOON, wait_for};

/// How long ffmpeg may take for a short clip.
const FFMPEG_DEADLINE: Duration = Duration::from_secs(60);

/// One packet as ffmpeg saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// DTS in ms.
    pub dts_ms: i64,
    /// Payload size in bytes.
    pub size: u64,
    /// MD5 of the payload.
    pub hash: String,
}

/// The packets of all tracks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    /// Pictures.
    pub video: Vec<Frame>,
    /// Sounds.
    pub audio: Vec<Frame>,
}

impl Frames {
    /// Reads ffmpeg's `framemd5` output.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut frames = Self::default();
        let mut kinds = Vec::new();
        let mut rates = Vec::new();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("#media_type ") {
                kinds.push(kind.ends_with("video"));
            } else if let Some(base) = line.strip_prefix("#tb ") {
                let (_, base) = base.split_once(": ").expect("a time base");
                let (num, den) = base.split_once('/').expect("a fraction");
                rates.push((num.parse::<i64>().unwrap(), den.trim().parse::<i64>().unwrap()));
            } else if !line.starts_with('#') {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                let [stream, dts, _, _, size, hash, ..] = fields.as_slice() else { continue };
                let stream: usize = stream.parse().unwrap();
                let (num, den) = rates[stream];
                let dts_ms = dts.parse::<i64>().unwrap() * num * 1000 / den;
                let frame = Frame { dts_ms, size: size.parse().unwrap(), hash: (*hash).to_owned() };
                if kinds[stream] { &mut frames.video } else { &mut frames.audio }.push(frame);
            }
        }
        frames
    }

    /// The packets of a file.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(QUIET).arg("-i").arg(path).args(["-c", "copy", "-f", "framemd5", "-"]);
        Self::parse(&run(&mut command, FFMPEG_DEADLINE).expect_success())
    }

    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.video.len() + self.audio.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asserts that each track of `self` is a part of the source's track without a hole, with the same steps of time, and
    /// that it lasts to the source's end when `to_the_end`.
    ///
    /// # Panics
    /// When it is not so.
    pub fn assert_part_of(&self, source: &Self, to_the_end: bool) {
        for (name, mine, theirs) in
            [("video", &self.video, &source.video), ("audio", &self.audio, &source.audio)]
        {
            assert_eq!(mine.is_empty(), theirs.is_empty(), "{name}: {} of {}", mine.len(), theirs.len());
            let Some(first) = mine.first() else { continue };
            let same = |one: &Frame, other: &Frame| (one.size, &one.hash) == (other.size, &other.hash);
            // The same silence may be encoded to the same bytes more than once: try every place.
            let start = (0..theirs.len())
                .find(|at| {
                    same(first, &theirs[*at])
                        && mine.len() <= theirs.len() - at
                        && mine.iter().zip(&theirs[*at..]).all(|(one, other)| same(one, other))
                })
                .unwrap_or_else(|| {
                    let matching = theirs.iter().position(|frame| same(first, frame));
                    panic!(
                        "{name}: {} packets are not a part without holes of the source's {}; the first one is \
                         packet {matching:?} of the source",
                        mine.len(),
                        theirs.len()
                    )
                });
            if to_the_end {
                assert_eq!(start + mine.len(), theirs.len(), "{name}: the end is missing");
            }
            for (pair, source_pair) in mine.windows(2).zip(theirs[start..].windows(2)) {
                let step = pair[1].dts_ms - pair[0].dts_ms;
                let source_step = source_pair[1].dts_ms - source_pair[0].dts_ms;
                assert_eq!(step, source_step, "{name}: the step behind {} ms", pair[0].dts_ms);
            }
        }
    }
}

/// An ffmpeg that plays a URL and writes down what it gets.
#[derive(Debug)]
pub struct Recorder {
    ffmpeg: Running,
    directory: TempDir,
}

impl Recorder {
    /// Starts it. It plays until [`Self::finish`].
    #[must_use]
    pub fn start(url: &str) -> Self {
        Self::start_with(url, &[])
    }

    /// Starts it with more options for the input.
    #[must_use]
    pub fn start_with(url: &str, options: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new("ffmpeg");
        command.args(QUIET).args(options).args(["-i", url, "-c", "copy", "-flush_packets", "1"]);
        command.args(["-f", "framemd5"]).arg(directory.path().join("frames"));
        Self { ffmpeg: Running::start(&mut command), directory }
    }

    /// What it got so far.
    #[must_use]
    pub fn frames(&self) -> Frames {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        // The last line may be half written.
        Frames::parse(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    /// Waits until it has so many packets, ends it, and returns what it got. ffmpeg keeps its last packets to itself,
    /// because it sorts them by time first: do not wait for all that were sent.
    ///
    /// # Panics
    /// When they do not come.
    #[must_use]
    pub fn finish(mut self, packets: usize) -> Frames {
        wait_for(&format!("{packets} packets in ffmpeg"), SOON * 2, || {
            if let Some(status) = self.ffmpeg.try_wait() {
                let got = self.frames().len();
                assert!(
                    got >= packets,
                    "ffmpeg ended with {status} at {got} of {packets} packets\n{}",
                    self.ffmpeg.stderr()
                );
            }
            (self.frames().len() >= packets).then_some(())
        });
        let frames = self.frames();
        drop(self.ffmpeg);
        frames
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("frames")
    }
}

/// Publishes a file with ffmpeg without changing it; at its own pace when `real_time`.
#[must_use]
pub fn ffmpeg_publish(file: &Path, url: &str, real_time: bool) -> Running {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET);
    if real_time {
        command.arg("-re");
    }
    command.arg("-i").arg(file).args(["-c", "copy", "-f", "flv"]).arg(url);
    Running::start(&mut command)
}

/// The tags of an FLV file.
///
/// # Panics
/// When it is not one.
#[must_use]
pub fn tags(path: &Path) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(&fs::read(path).expect("a file"));
    std::iter::from_fn(|| reader.next_tag().expect("FLV")).collect()
}

/// Sends tags at once, their times moved by `offset_ms` (which may wrap); metadata as an encoder says them.
///
/// # Panics
/// When the server does not take them.
pub fn publish_tags(publisher: &mut Publisher, tags: &[Tag], offset_ms: u32) {
    for tag in tags {
        let timestamp = tag.timestamp_ms.wrapping_add(offset_ms);
        match tag.kind {
            Kind::Data => publisher.send_metadata(timestamp, &tag.body),
            kind => publisher.send(kind, timestamp, &tag.body),
        }
        .unwrap();
    }
}

/// A player whose reads give up soon, so that a test that misses packets fails instead of hanging.
///
/// # Panics
/// When the server refuses.
#[must_use]
pub fn player(url: &str) -> Player {
    let options = Options { read_timeout: SOON, ..Options::default() };
    Player::connect(url, options).unwrap_or_else(|cause| panic!("{cause}"))
}

/// A publisher.
///
/// # Panics
/// When the server refuses.
#[must_use]
pub fn publisher(url: &str) -> Publisher {
    Publisher::connect(url, Options::default()).unwrap_or_else(|cause| panic!("{cause}"))
}

/// Receives packets up to and including the first for which `last` says so.
///
/// # Panics
/// When it does not come; the message says how many packets did.
pub fn receive_until(player: &mut Player, mut last: impl FnMut(&Packet) -> bool) -> Vec<Packet> {
    let mut packets = Vec::new();
    loop {
        match player.next() {
            Ok(Some(packet)) => {
                let done = last(&packet);
                packets.push(packet);
                if done {
                    return packets;
                }
            }
            other => panic!("the last packet did not come; {} did, then {other:?}", packets.len()),
        }
    }
}

/// Receives so many sounds and pictures; decoder configuration and data count not, but are returned too.
pub fn receive_frames(player: &mut Player, count: usize) -> Vec<Packet> {
    let mut frames = 0;
    receive_until(player, |packet| {
        frames += usize::from(is_frame(packet.kind, &packet.payload));
        frames == count
    })
}

/// Receives what comes until nothing comes for `quiet`.
pub fn receive_rest(player: &mut Player, quiet: Duration) -> Vec<Packet> {
    player.set_read_timeout(quiet);
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = player.next() {
        packets.push(packet);
    }
    player.set_read_timeout(SOON);
    packets
}

/// Whether a packet is a picture or a sound, as opposed to decoder configuration, the mark of the end, or data.
#[must_use]
pub fn is_frame(kind: Kind, payload: &[u8]) -> bool {
    let info = flv::classify(kind, payload);
    kind != Kind::Data && !info.sequence_header && !info.end_of_sequence && !info.beside
}

/// Sounds and pictures of a list.
#[must_use]
pub fn frames(packets: &[Packet]) -> Vec<&Packet> {
    packets.iter().filter(|packet| is_frame(packet.kind, &packet.payload)).collect()
}

/// Asserts that no track's time goes back, and that no step is above 500 ms.
///
/// # Panics
/// When one does.
pub fn assert_continuous(packets: &[Packet]) {
    for kind in [Kind::Audio, Kind::Video] {
        let times: Vec<i64> = frames(packets)
            .into_iter()
            .filter(|packet| packet.kind == kind)
            .map(|packet| i64::from(packet.timestamp))
            .collect();
        assert_steps(&format!("{kind:?}"), &times);
    }
}

/// Asserts that times never go back and never step by more than 500 ms.
///
/// # Panics
/// When they do.
pub fn assert_steps(name: &str, times_ms: &[i64]) {
    for (at, pair) in times_ms.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        assert!(
            (0..=500).contains(&step),
            "{name}: packet {} steps by {step} ms, from {} ms",
            at + 1,
            pair[0]
        );
    }
}

/// The DTS of a file's or URL's packets as ffprobe reads them, in ms: video, audio.
///
/// # Panics
/// When ffprobe fails.
#[must_use]
pub fn probe_dts(input: &str, seconds: u32) -> (Vec<i64>, Vec<i64>) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "packet=codec_type,dts_time", "-of", "csv=p=0"]);
    command.args(["-read_intervals", &format!("%+{seconds}")]).arg(input);
    let text = run(&mut command, FFMPEG_DEADLINE).expect_success();
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((kind, dts)) = line.split_once(',') else { continue };
        let Ok(seconds) = dts.trim_end_matches(',').parse::<f64>() else { continue };
        let ms = whole_ms(seconds);
        if kind == "video" { &mut video } else { &mut audio }.push(ms);
    }
    (video, audio)
}

#[expect(clippy::cast_possible_truncation, reason = "times of short clips")]
fn whole_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// Polls until there is a first packet or a deadline; for tests of silence.
#[must_use]
pub fn silent_for(player: &mut Player, quiet: Duration) -> bool {
    let began = Instant::now();
    player.set_read_timeout(quiet);
    let silent = matches!(player.next(), Err(cause) if cause.is_timeout());
    player.set_read_timeout(SOON);
    silent && began.elapsed() >= quiet
}
