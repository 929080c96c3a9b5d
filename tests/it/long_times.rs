//! A day and more of a stream, in seconds: times that need more bits than most have, in every format at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use client::{Kind, Publisher};
use flv::file::{Reader, Tag};
use srs_tests::capture::publisher;
use srs_tests::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION};
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::site::{list, segments, site};
use srs_tests::transport::Transport;
use srs_tests::wait::{SOON, wait_for, wait_until};

/// Between two pictures, and two sounds, ms.
const STEP_MS: u64 = 400;
/// Pictures from key frame to key frame.
const GOP: u64 = 10;
/// Twenty-seven hours: more than 33 bits of 90 kHz.
const LENGTH_MS: u64 = 27 * 3_600_000;
/// What is sent before it is looked whether it has arrived, ms.
const STRIDE_MS: u64 = 600_000;
/// Where 33 bits of 90 kHz end, ms.
const END_OF_TIME_MS: u64 = (1 << 33) / 90;

/// The picture with a number: one unit, well-formed as far as anybody looks who does not decode it.
fn picture(number: u64) -> Vec<u8> {
    let (first, unit) = if number.is_multiple_of(GOP) { (0x17, 0x65) } else { (0x27, 0x41) };
    let digits = format!("{number:012}");
    [&[first, 1, 0, 0, 0, 0, 0, 0, 13, unit], digits.as_bytes()].concat()
}

fn sound(number: u64) -> Vec<u8> {
    [&[0xaf, 1, 0x21], format!("{number:012}").as_bytes()].concat()
}

/// An encoder whose clock begins anywhere.
struct Encoder {
    publisher: Publisher,
    beginning_ms: u64,
    number: u64,
}

impl Encoder {
    fn start(url: &str, beginning_ms: u64) -> Self {
        let mut encoder = Self { publisher: publisher(url), beginning_ms, number: 0 };
        let time = encoder.time();
        encoder.publisher.send(Kind::Video, time, VIDEO_CONFIGURATION).unwrap();
        encoder.publisher.send(Kind::Audio, time, AUDIO_CONFIGURATION).unwrap();
        encoder
    }

    fn time(&self) -> u32 {
        u32::try_from((self.beginning_ms + self.number * STEP_MS) & u64::from(u32::MAX)).unwrap()
    }

    /// Sends what comes before `until_ms` of its own time.
    fn send_until(&mut self, until_ms: u64) {
        while self.number * STEP_MS < until_ms {
            let time = self.time();
            self.publisher.send(Kind::Video, time, &picture(self.number)).unwrap();
            self.publisher.send(Kind::Audio, time, &sound(self.number)).unwrap();
            self.number += 1;
        }
    }
}

/// A viewer over HTTP that wants every picture and every sound, at its time.
struct Viewer {
    socket: TcpStream,
    reader: Reader,
    pictures: u64,
    sounds: u64,
}

impl Viewer {
    fn start(server: &Server, path: &str) -> Self {
        let mut socket = TcpStream::connect(server.web_address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(format!("GET /{path}.flv HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        Self { socket, reader: Reader::new(), pictures: 0, sounds: 0 }
    }

    fn read_head(&mut self) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
    }

    /// Reads until it has so many pictures and sounds.
    fn read_until(&mut self, count: u64) {
        let mut buffer = vec![0; 256 << 10];
        while self.pictures < count || self.sounds < count {
            while let Some(tag) = self.reader.next_tag().unwrap() {
                self.take(&tag);
            }
            if self.pictures < count || self.sounds < count {
                let length = self.socket.read(&mut buffer).unwrap();
                assert!(length > 0, "the answer ended at picture {}", self.pictures);
                self.reader.push(&buffer[..length]);
            }
        }
    }

    fn take(&mut self, tag: &Tag) {
        let (wanted, number) = match (tag.kind, tag.body.get(1)) {
            (Kind::Video, Some(1)) => (picture(self.pictures), &mut self.pictures),
            (Kind::Audio, Some(1)) => (sound(self.sounds), &mut self.sounds),
            _ => return,
        };
        assert_eq!(tag.body, wanted, "{:?} {number}", tag.kind);
        assert_eq!(u64::from(tag.timestamp_ms), *number * STEP_MS, "the time of {:?} {number}", tag.kind);
        *number += 1;
    }
}

/// What the list says now, checked: numbers go on, segments are as long as they should be, and nothing is a break.
fn check_list(server: &Server, path: &str, last: &mut u64) -> m3u8_rs::MediaPlaylist {
    let list = list(server, path).expect("a list");
    let end = list.media_sequence + list.segments.len() as u64;
    assert!(end >= *last, "numbers go back");
    *last = end;
    for segment in &list.segments {
        assert!(!segment.discontinuity, "{segment:?}");
        assert!((9.5..12.1).contains(&segment.duration), "{segment:?}");
    }
    list
}

#[test]
fn a_day_of_a_stream_keeps_its_times_in_every_format() {
    if !have(&["ffprobe"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/[stream].flv; } queue_length 100000; \
         hls { enabled on; hls_fragment 10; hls_window 900; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    let mut viewer = Viewer::start(&server, "live/a");
    wait_until("the viewer", || server.clients().iter().any(|client| client.process.starts_with("http")));
    // The encoder's own 32 bits end after twenty hours.
    let mut encoder = Encoder::start(&server.url("live/a"), (1 << 32) - 20 * 3_600_000);
    let (mut last, mut looked_at) = (0, Vec::new());
    for end in (STRIDE_MS..=LENGTH_MS).step_by(usize::try_from(STRIDE_MS).unwrap()) {
        encoder.send_until(end);
        if end == STRIDE_MS {
            viewer.read_head();
        }
        viewer.read_until(encoder.number);
        // It ends with the next key frame behind its length: the last one is not there yet.
        let list = wait_for(&format!("what was published until {end} ms in the list"), SOON, || {
            let list = check_list(&server, "live/a", &mut last);
            (last * 12_000 + 24_000 >= end).then_some(list)
        });
        // The hours in which the bits of something end: 24 of the tag, 32 of the encoder, 33 of the transport stream.
        let ends = [1 << 24, 20 * 3_600_000, END_OF_TIME_MS - 800, END_OF_TIME_MS];
        if ends.iter().any(|at| (end - STRIDE_MS..end).contains(at)) {
            let mut transport = Transport::default();
            for segment in segments(&server, "live/a", &list) {
                transport.read_segment(&segment);
            }
            assert!(transport.longest_step_ms() <= STEP_MS, "{} ms", transport.longest_step_ms());
            assert!(transport.longest_clock_step_ms() <= STEP_MS);
            looked_at.push(transport.clocks.windows(2).filter(|pair| pair[1] < pair[0]).count());
        }
    }
    assert_eq!(looked_at.iter().sum::<usize>(), 1, "the clock of the transport stream ended once");
    encoder.publisher.finish().unwrap();
    // The recording: its length, and the times of its last tags, which need 27 bits.
    let recording = server.directory().join("html/a.flv");
    wait_until("the recording", || recording.exists());
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]).arg(&recording);
    let seconds: f64 = run(&mut command, SOON).expect_success().trim().parse().unwrap();
    assert!((seconds - 97_200.0).abs() < 1.0, "{seconds} s");
    let tags = srs_tests::capture::tags(&recording);
    let pictures = tags.iter().filter(|tag| tag.kind == Kind::Video && tag.body.get(1) == Some(&1));
    for (number, tag) in (0..).zip(pictures.clone()) {
        assert_eq!(u64::from(tag.timestamp_ms), number * STEP_MS, "picture {number} of the recording");
    }
    assert_eq!(pictures.count() as u64, encoder.number);
}
