//! Codecs that came with Enhanced RTMP, in the containers that have a place for them: what ffmpeg decodes from the live streams
//! and the recordings is what was encoded. ffmpeg publishes none of them itself here, so their packets are taken out of simpler
//! files and sent by our client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use client::Kind;
use srs_tests::capture::publisher;
use srs_tests::clip::QUIET;
use srs_tests::process::{Running, run};
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// A stream of one codec: its FourCC, its sequence header (empty: none), and its packets: time in ms, whether a decoder can
/// begin there, and the bytes.
struct Coded {
    kind: Kind,
    code: &'static [u8; 4],
    header: Vec<u8>,
    packets: Vec<(u32, bool, Vec<u8>)>,
    file: PathBuf,
}

const PICTURES: &str = "testsrc2=size=320x180:rate=25:duration=2";
const SOUNDS: &str = "sine=frequency=440:sample_rate=48000:duration=2";

/// Encodes into a file of the directory. `false` when this ffmpeg can't.
fn encode(source: &str, options: &str, to: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", "lavfi", "-i", source]).args(options.split(' ')).arg(to);
    run(&mut command, Duration::from_secs(120)).status.success()
}

/// The content of the first box of a name.
fn box_of(path: &Path, name: &[u8; 4]) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(4).position(|window| window == name).unwrap();
    let len = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    bytes[at + 4..at - 4 + len].to_vec()
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(from).args(["-c", "copy"]).arg(to);
    drop(run(&mut command, SOON).expect_success());
}

/// The frames of an IVF file.
fn ivf(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut frames) = (32, Vec::new());
    while at + 12 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        frames.push(bytes[at + 12..at + 12 + len].to_vec());
        at += 12 + len;
    }
    frames
}

/// The packets of an Ogg file.
fn ogg(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut packets, mut open) = (0, Vec::new(), Vec::new());
    while at + 27 <= bytes.len() {
        let segments = usize::from(bytes[at + 26]);
        let mut data = at + 27 + segments;
        for lacing in &bytes[at + 27..at + 27 + segments] {
            open.extend_from_slice(&bytes[data..data + usize::from(*lacing)]);
            data += usize::from(*lacing);
            if *lacing < 255 {
                packets.push(std::mem::take(&mut open));
            }
        }
        at = data;
    }
    packets
}

/// `None` when this ffmpeg has no such encoder.
fn coded(codec: &str, directory: &Path) -> Option<Coded> {
    let at = |name: &str| directory.join(name);
    let pictures = |options: &str, config: &[u8; 4]| {
        let (mp4, ivf) = (at("source.mp4"), at("source.ivf"));
        encode(PICTURES, options, &mp4).then(|| {
            copy(&mp4, &ivf);
            (box_of(&mp4, config), self::ivf(&ivf), ivf)
        })
    };
    let every = |step_us: usize| move |n: usize| u32::try_from(n * step_us / 1000).unwrap();
    let sounds = |code, header, frames: Vec<Vec<u8>>, step_us, file| {
        let time = every(step_us);
        let packets = frames.into_iter().enumerate().map(|(n, frame)| (time(n), false, frame)).collect();
        Coded { kind: Kind::Audio, code, header, packets, file }
    };
    match codec {
        "av1" => {
            let options = "-c:v libsvtav1 -preset 10 -g 25 -pix_fmt yuv420p";
            let (header, frames, file) = pictures(options, b"av1C")?;
            // Units that only say where a picture begins are not sent.
            let frames =
                frames.into_iter().map(|frame| frame.strip_prefix(&[0x12, 0]).unwrap_or(&frame).to_vec());
            let packets =
                frames.enumerate().map(|(n, frame)| (every(40_000)(n), frame[0] >> 3 & 15 == 1, frame));
            Some(Coded { kind: Kind::Video, code: b"av01", header, packets: packets.collect(), file })
        }
        "vp9" => {
            let options = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -b:v 300k -pix_fmt yuv420p";
            let (header, frames, file) = pictures(options, b"vpcC")?;
            let packets = frames
                .into_iter()
                .enumerate()
                .map(|(n, frame)| (every(40_000)(n), frame[0] & 0x0c == 0, frame));
            // Version and flags of the box are none of the record.
            let header = header[4..].to_vec();
            Some(Coded { kind: Kind::Video, code: b"vp09", header, packets: packets.collect(), file })
        }
        "opus" => {
            let file = at("source.ogg");
            encode(SOUNDS, "-c:a libopus -b:a 96k -ac 2", &file).then(|| {
                let mut packets = ogg(&file);
                let header = packets.remove(0);
                packets.remove(0);
                sounds(b"Opus", header, packets, 20_000, file)
            })
        }
        "flac" => {
            let file = at("source.oga");
            encode(SOUNDS, "-c:a flac -ac 2 -frame_size 4608 -f ogg", &file).then(|| {
                let mut packets = ogg(&file);
                let first = packets.remove(0);
                packets.retain(|packet| packet.first() == Some(&0xff));
                // Behind the head that only Ogg has: the magic of a file and the first block.
                sounds(b"fLaC", first[9..].to_vec(), packets, 96_000, file)
            })
        }
        "ac3" | "eac3" => {
            let file = at(&format!("source.{codec}"));
            let options = format!("-c:a {codec} -b:a 192k -ac 2");
            encode(SOUNDS, &options, &file).then(|| {
                let packets = fs::read(&file).unwrap().chunks(768).map(<[u8]>::to_vec).collect();
                let code = if codec == "ac3" { b"ac-3" } else { b"ec-3" };
                sounds(code, Vec::new(), packets, 32_000, file)
            })
        }
        _ => None,
    }
}

/// Hashes of what a file decodes to.
fn decoded(path: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(path).args(["-f", "framemd5", "-"]);
    let ended = run(&mut command, Duration::from_secs(60));
    assert!(ended.stderr.is_empty(), "{}: {}", path.display(), ended.stderr);
    let lines = ended.stdout.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

/// What ffprobe calls the codec of a file, and its size or rate.
fn probed(path: &Path) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_name,width,height,sample_rate,channels"]);
    let told = run(command.args(["-of", "csv=p=0"]).arg(path), SOON).expect_success();
    // An empty place for what is told beside the stream may follow.
    told.lines().next().unwrap_or_default().trim_end_matches(',').to_owned()
}

#[test]
fn codecs_of_enhanced_rtmp_are_the_same_in_every_container_that_has_a_place_for_them() {
    if !have(&["ffmpeg", "ffprobe", "curl"]) {
        return;
    }
    for (codec, wanted, endings) in [
        ("av1", "av1,320,180", &["mp4"][..]),
        // Its configuration is without the units that say how large pictures are.
        ("av1-short", "av1,320,180", &["mp4"]),
        ("vp9", "vp9,320,180", &["mp4"]),
        ("opus", "opus,48000,2", &["mp4", "ts"]),
        ("flac", "flac,48000,2", &["mp4"]),
        ("ac3", "ac3,48000,2", &["mp4", "ts"]),
        ("eac3", "eac3,48000,2", &["mp4", "ts"]),
    ] {
        let sources = TempDir::new().unwrap();
        let Some(mut source) = coded(codec.trim_end_matches("-short"), sources.path()) else {
            srs_tests::skipped!("this ffmpeg has no encoder for {codec}");
            continue;
        };
        if codec.ends_with("-short") {
            source.header.truncate(4);
        }
        let directory = TempDir::new().unwrap();
        let top = directory.path().display();
        let own = format!(
            "http_server {{ enabled on; listen 127.0.0.1:0; dir ./conf; stream_wait 5; }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; }} dvr {{ enabled on; dvr_path {top}/rec/[stream].mp4; }} }}"
        );
        let text = configuration(directory.path(), &own);
        let server = Server::start_in(directory, &text);
        let players: Vec<(PathBuf, Running)> = endings
            .iter()
            .map(|ending| {
                let file = sources.path().join(format!("live.{ending}"));
                let url = format!("{}/live/a.{ending}", server.web());
                let curl =
                    Running::start(Command::new("curl").args(["-sS", "--fail", "-o"]).arg(&file).arg(url));
                (file, curl)
            })
            .collect();
        wait_until("the players", || {
            let asked = |client: &&api::Client| client.tc_url.contains("/live/a");
            server.clients().iter().filter(asked).count() == endings.len()
        });
        let mut publisher = publisher(&server.url("live/a"));
        let head = |packet_type: u8, is_key: bool| match source.kind {
            Kind::Video => 0x80 | if is_key { 0x10 } else { 0x20 } | packet_type,
            _ => 0x90 | packet_type,
        };
        let mut send = |time, first: u8, bytes: &[u8]| {
            let payload = [&[first][..], source.code, bytes].concat();
            publisher.send(source.kind, time, &payload).unwrap();
        };
        if !source.header.is_empty() {
            send(0, head(0, true), &source.header);
        }
        for (time, is_key, bytes) in &source.packets {
            send(*time, head(1, *is_key), bytes);
        }
        publisher.finish().unwrap();
        let recorded = server.directory().join("rec/a.mp4");
        wait_until("the recording", || recorded.exists());
        let mut files = vec![recorded];
        for (file, curl) in players {
            drop(curl.finish(Duration::from_secs(60)).expect_success());
            files.push(file);
        }
        let all = decoded(&source.file);
        for file in files {
            assert_eq!(probed(&file), wanted, "{}", file.display());
            if codec.starts_with("av1") {
                let size = box_of(&file, b"av01")[24..28].to_vec();
                assert_eq!(size, [1, 64, 0, 180], "{codec} in {}", file.display());
            }
            let got = decoded(&file);
            if source.kind == Kind::Video {
                assert_eq!(got, all, "{codec} in {}", file.display());
            } else {
                // Containers differ in how they say what is cut off at both ends.
                let middle = &all[2..all.len() - 2];
                let found = got.windows(middle.len()).any(|window| window == middle);
                assert!(found && got.len() <= all.len() + 2, "{codec} in {}", file.display());
            }
        }
    }
}
