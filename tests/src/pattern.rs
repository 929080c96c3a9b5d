//! Streams whose every byte is a function of its number, so that a player can tell what is missing, doubled or wrong.
//!
//! A frame carries its number behind the codec's header; the bytes behind that are pseudo-random from the number.
//! ```text
//! 17|27 01 00 00 00 | number:8 | noise…      video, a key frame every 25
//! af 01             | number:8 | noise…      audio
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use client::{Kind, Options, Packet, Player, Publisher};
use flv::file::Tag;

use crate::capture::{player, publisher, receive_frames};
use crate::server::Server;
use crate::wait::{SOON, wait_for};

/// Frames from key frame to key frame, sounds included.
pub const GOP: u64 = 50;

/// Decoder configuration for pictures: well-formed AVC configuration with one SPS and one PPS.
pub const VIDEO_CONFIGURATION: &[u8] =
    &[0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 2, 0x68, 0xce];

/// Decoder configuration for sound: AAC LC, 44100 Hz, stereo.
pub const AUDIO_CONFIGURATION: &[u8] = &[0xaf, 0, 0x12, 0x10];

/// `onMetaData` with a width, as a script tag's body.
#[must_use]
pub fn metadata() -> Vec<u8> {
    let mut body = Vec::new();
    let properties = [("width", 320.0), ("height", 180.0), ("framerate", 25.0), ("testnumber", 4711.0)];
    let properties = properties.map(|(key, value)| (key.to_owned(), amf0::Value::Number(value)));
    amf0::encode_all(&["onMetaData".into(), amf0::Value::EcmaArray(properties.to_vec())], &mut body);
    body
}

/// The frame with a number: pictures and sounds take turns, 20 ms apart.
#[must_use]
pub fn frame(number: u64) -> Tag {
    frame_of(number, 1_500)
}

/// The frame with a number; noise of up to `most` bytes.
#[must_use]
pub fn frame_of(number: u64, most: u64) -> Tag {
    let video = number.is_multiple_of(2);
    let mut body = if !video {
        vec![0xaf, 1]
    } else if number.is_multiple_of(GOP) {
        vec![0x17, 1, 0, 0, 0]
    } else {
        vec![0x27, 1, 0, 0, 0]
    };
    body.extend_from_slice(&number.to_be_bytes());
    let mut noise = Noise(number);
    let length = noise.next() % most;
    while (body.len() as u64) < length {
        body.extend_from_slice(&noise.next().to_be_bytes());
    }
    let kind = if video { Kind::Video } else { Kind::Audio };
    let timestamp_ms = u32::try_from((number * 20) & u64::from(u32::MAX)).expect("masked");
    Tag { kind, timestamp_ms, body: body.into() }
}

/// The number of a received frame, if it has one.
#[must_use]
pub fn number(kind: Kind, payload: &[u8]) -> Option<u64> {
    let at = match (kind, payload) {
        (Kind::Video, [0x17 | 0x27, 1, ..]) => 5,
        (Kind::Audio, [0xaf, 1, ..]) => 2,
        _ => return None,
    };
    Some(u64::from_be_bytes(*payload.get(at..)?.first_chunk()?))
}

/// Asserts that a packet is the frame with its number, to the last byte; returns the number, `None` for other packets.
///
/// # Panics
/// When it differs.
pub fn check(packet: &Packet) -> Option<u64> {
    check_of(packet, 1_500)
}

/// As [`check`], for frames of [`frame_of`].
///
/// # Panics
/// When it differs.
pub fn check_of(packet: &Packet, most: u64) -> Option<u64> {
    let number = number(packet.kind, &packet.payload)?;
    let wanted = frame_of(number, most);
    assert!(wanted.kind == packet.kind && wanted.body == packet.payload, "frame {number} has other bytes");
    Some(number)
}

/// Sends what a stream begins with.
///
/// # Panics
/// When the server does not take it.
pub fn send_headers(publisher: &mut Publisher) {
    publisher.send_metadata(0, &metadata()).unwrap();
    publisher.send(Kind::Video, 0, VIDEO_CONFIGURATION).unwrap();
    publisher.send(Kind::Audio, 0, AUDIO_CONFIGURATION).unwrap();
}

/// Sends frames with these numbers.
///
/// # Panics
/// When the server does not take them.
pub fn send_frames(publisher: &mut Publisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let tag = frame(number);
        publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
    }
}

/// Deterministic noise (splitmix64).
#[derive(Debug)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// A stream that is published at its own pace in the background, until it is stopped.
#[derive(Debug)]
pub struct Live {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Live {
    /// Publishes frames from number 0 on, one each `step`.
    #[must_use]
    pub fn start(url: &str, step: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let mut publisher = publisher(url);
        send_headers(&mut publisher);
        let thread = thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                let began = Instant::now();
                for number in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = began + step * number;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let tag = frame(number.into());
                    publisher
                        .send(tag.kind, tag.timestamp_ms, &tag.body)
                        .map_err(|cause| format!("frame {number}: {cause}"))?;
                    sent.store(u64::from(number) + 1, Ordering::Release);
                }
                publisher.finish().map_err(|cause| cause.to_string())
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// How many frames were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// How many viewers live and have all that was sent until now, each number of it; the others are over.
    ///
    /// # Panics
    /// When the fate of one stays open, or one that lives misses something.
    #[must_use]
    pub fn survivors(&self, watchers: Vec<Watcher>) -> usize {
        let sent = self.sent();
        let mut survivors = 0;
        for mut watcher in watchers {
            let lives = wait_for("a viewer's fate", SOON, || {
                (watcher.is_over() || watcher.seen() >= sent).then(|| !watcher.is_over())
            });
            if lives {
                watcher.wait_seen(sent);
                let _every_number = watcher.stop();
                survivors += 1;
            }
        }
        survivors
    }

    /// Waits until so many more frames were sent than now.
    ///
    /// # Panics
    /// When the publisher has died.
    pub fn wait_more(&self, frames: u64) {
        let wanted = self.sent() + frames;
        wait_for("frames of the live publisher", SOON, || {
            assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the publisher died");
            (self.sent() >= wanted).then_some(())
        });
    }

    /// Whether its connection still stands.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the stream; returns how many frames were sent.
    ///
    /// # Panics
    /// When the server had closed the connection before.
    #[must_use]
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("the publisher did not panic").expect("the publisher was not disturbed");
        self.sent()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A player that checks a pattern in the background: every byte, and that no number is missing.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Seen, String>>>,
}

/// What a [`Watcher`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

impl Watcher {
    /// Begins to play.
    #[must_use]
    pub fn start(url: &str) -> Self {
        let mut player = player(url);
        player.set_read_timeout(Duration::from_millis(50));
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicU64::new(0));
        let thread = thread::spawn({
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            move || watch(&mut player, &stop, &seen)
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// Begins to play so often, and as much more often until every stream process has a viewer: the kernel chooses which
    /// process a connection comes to. Nobody else plays.
    #[must_use]
    pub fn start_on_each(server: &Server, url: &str, count: usize) -> Vec<Self> {
        let mut watchers: Vec<Self> = Vec::new();
        let is_on_each = || {
            let clients = server.clients();
            let playing = clients.iter().filter(|client| client.kind == "play");
            let processes: HashSet<&str> = playing.map(|client| client.process.as_str()).collect();
            processes.len() == server.pids("stream").len()
        };
        while watchers.len() < count || !is_on_each() {
            assert!(watchers.len() < count + 64, "the kernel gives every viewer to one process");
            watchers.push(Self::start(url));
            if watchers.len() >= count {
                server.wait_players(watchers.len());
            }
        }
        for watcher in &mut watchers {
            watcher.wait_seen(1);
        }
        watchers
    }

    /// One more than the highest number seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Whether it has ended by itself: the server closed, or something was wrong.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has seen all numbers below `number`.
    ///
    /// # Panics
    /// When it does not come to see them.
    pub fn wait_seen(&mut self, number: u64) {
        wait_for(&format!("frame {number} at a player"), SOON, || {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                panic!("the player ended: {:?}", self.thread.take().map(JoinHandle::join));
            }
            (self.seen() >= number).then_some(())
        });
    }

    /// Ends the play; returns what was seen.
    ///
    /// # Panics
    /// When anything was wrong or missing.
    #[must_use]
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("the player did not panic").expect("the player was not disturbed")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn watch(player: &mut Player, stop: &AtomicBool, seen: &AtomicU64) -> Result<Seen, String> {
    let mut range: Option<Seen> = None;
    while !stop.load(Ordering::Relaxed) {
        let packet = match player.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Err(format!("the server closed, seen {range:?}")),
            Err(cause) if cause.is_timeout() => continue,
            Err(cause) => return Err(cause.to_string()),
        };
        let Some(number) = check(&packet) else { continue };
        let range = range.get_or_insert(Seen { first: number, last: number });
        if number != range.first && number != range.last + 1 {
            return Err(format!("frame {number} follows frame {}", range.last));
        }
        range.last = number;
        seen.store(number + 1, Ordering::Release);
    }
    range.ok_or_else(|| "no frame came".to_owned())
}

/// A new stream is published there and played.
///
/// # Panics
/// When it is not soon, or something of it is missing.
pub fn serves(url: &str) {
    let mut publisher = wait_for("a publish", SOON, || Publisher::connect(url, Options::default()).ok());
    let mut player = wait_for("a play", SOON, || {
        Player::connect(url, Options { read_timeout: SOON, ..Options::default() }).ok()
    });
    send_headers(&mut publisher);
    send_frames(&mut publisher, 0..30);
    assert_eq!(receive_frames(&mut player, 30).iter().filter_map(check).count(), 30);
}
