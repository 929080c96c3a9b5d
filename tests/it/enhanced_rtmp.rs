//! Enhanced RTMP as an encoder of others sends it: what ffmpeg decodes from every output is what it has sent, picture by picture
//! and sound by sound, at the same times.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::clip::QUIET;
use srs_tests::live::HttpViewer;
use srs_tests::process::{Running, run};
use srs_tests::server::Server;
use srs_tests::site::{list, segments, site};
use srs_tests::tools::ffmpeg_enhanced;
use srs_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

/// How long ffmpeg may take for a short clip.
const PATIENCE: Duration = Duration::from_secs(60);
const PICTURES: &str = "testsrc2=size=320x180:rate=25:duration=3";

/// What is sent: the encoders' options, and whether MPEG-TS has a place for pictures and for sounds.
struct Case {
    name: &'static str,
    video: &'static str,
    audio: &'static str,
    in_ts: (bool, bool),
}

const CASES: [Case; 7] = [
    Case { name: "avc-opus", video: "libx264 -bf 2", audio: "libopus", in_ts: (true, true) },
    Case { name: "avc-mp3", video: "libx264 -bf 0", audio: "libmp3lame", in_ts: (true, true) },
    Case { name: "hevc-aac", video: HEVC, audio: "aac", in_ts: (true, true) },
    Case { name: "hevc-flac", video: HEVC, audio: "flac", in_ts: (true, false) },
    Case { name: "av1-ac3", video: "libsvtav1 -preset 10", audio: "ac3", in_ts: (false, true) },
    Case {
        name: "av1-opus",
        video: "libaom-av1 -cpu-used 8 -usage realtime",
        audio: "libopus",
        in_ts: (false, true),
    },
    Case {
        name: "vp9-eac3",
        video: "libvpx-vp9 -deadline realtime -cpu-used 8",
        audio: "eac3",
        in_ts: (false, true),
    },
];
const HEVC: &str = "libx265 -preset ultrafast -x265-params log-level=none:bframes=2";

fn ffmpeg(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(QUIET).env("SVT_LOG", "1");
    command
}

impl Case {
    /// The clip as FLV, in which the same packets are that are sent.
    fn clip(&self, program: &Path, directory: &Path) -> PathBuf {
        let file = directory.join(format!("{}.flv", self.name));
        let mut command = ffmpeg(program);
        command.args(["-f", "lavfi", "-i", PICTURES]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=3"]);
        command.args(["-g", "25", "-pix_fmt", "yuv420p", "-ac", "2", "-c:v"]).args(self.video.split(' '));
        drop(run(command.args(["-c:a", self.audio]).arg(&file), PATIENCE).expect_success());
        file
    }
}

/// What a file decodes to: time in ms and a hash for each picture or sound. Empty where it has none.
fn decoded(program: &Path, input: &Path, track: &str) -> Vec<(i64, String)> {
    let mut command = ffmpeg(program);
    command.args(["-copyts", "-i"]).arg(input).args([
        "-map",
        &format!("0:{track}?"),
        "-fps_mode",
        "passthrough",
    ]);
    // Times as the file has them, not as the encoder of a rate would.
    command.args(["-enc_time_base", "demux"]);
    // Where no track fits, others would be taken instead.
    command.arg(if track.starts_with('v') { "-an" } else { "-vn" });
    let ended = run(command.args(["-f", "framemd5", "-"]), PATIENCE);
    let rate = ended.stdout.lines().find_map(|line| line.strip_prefix("#tb 0: ")).unwrap_or("1/1000");
    let (count, unit) = rate.trim().split_once('/').unwrap();
    let ms = |time: &str| {
        time.parse::<i64>().unwrap() * count.parse::<i64>().unwrap() * 1000 / unit.parse::<i64>().unwrap()
    };
    let lines = ended.stdout.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    fields.map(|fields| (ms(fields[2]), (*fields.last().unwrap()).to_owned())).collect()
}

/// Pictures are the same, each as far behind the first; and so are sounds, but for those at both ends, of which containers say
/// differently what is cut off; of what was not taken to its end (`is_whole`) the first three quarters count. The first sound is as
/// far behind the first picture as it was.
fn assert_same(
    program: &Path,
    what: &str,
    got: &Path,
    source: &Path,
    (video, audio): (bool, bool),
    is_whole: bool,
) {
    let mut began = Vec::new();
    for (track, has, spare) in [("v:0", video, 0), ("a:0", audio, 2)] {
        let (got, wanted) = (decoded(program, got, track), decoded(program, source, track));
        if !has {
            assert!(got.is_empty(), "{what}, {track}: it has a track that it has no place for");
            continue;
        }
        let end = if is_whole { wanted.len() - spare } else { wanted.len() * 3 / 4 };
        let middle = &wanted[spare..end];
        let at = got
            .windows(middle.len())
            .position(|part| part.iter().zip(middle).all(|(one, two)| one.1 == two.1));
        let at = at.unwrap_or_else(|| panic!("{what}, {track}: {} of {}", got.len(), wanted.len()));
        assert!(got.len() <= wanted.len() + spare, "{what}, {track}: {} of {}", got.len(), wanted.len());
        let apart = got[at].0 - middle[0].0;
        for (one, two) in got[at..].iter().zip(middle) {
            assert!(
                (one.0 - two.0 - apart).abs() <= 2,
                "{what}, {track}: at {} instead of {} ms",
                one.0,
                two.0 + apart
            );
        }
        began.push(apart);
    }
    if let [pictures, sounds] = began[..] {
        assert!((pictures - sounds).abs() <= 2, "{what}: sound has moved by {} ms", sounds - pictures);
    }
}

/// Who watches and records a stream.
struct Watched {
    case: &'static Case,
    viewers: Vec<(&'static str, HttpViewer)>,
    player: Running,
    file: PathBuf,
}

impl Watched {
    fn begin(program: &Path, server: &Server, case: &'static Case, directory: &Path) -> Self {
        let watch =
            |ending| (ending, HttpViewer::start(&server.web(), &format!("/live/{}.{ending}", case.name)));
        let file = directory.join(format!("{}-played.flv", case.name));
        let mut command = ffmpeg(program);
        command.args(["-analyzeduration", "1000000", "-i", &server.url(&format!("live/{}", case.name))]);
        // Without its data, for which the others would wait.
        command.args(["-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1"]).arg(&file);
        let player = Running::start(&mut command);
        Self { case, viewers: ["flv", "ts", "mp4"].map(watch).into(), player, file }
    }
}

#[test]
fn what_ffmpeg_sends_in_enhanced_rtmp_comes_out_of_every_output() {
    let Some(program) = ffmpeg_enhanced() else { return };
    let directory = TempDir::new().unwrap();
    let clips = CASES.each_ref().map(|case| case.clip(&program, directory.path()));
    let server = site(
        "http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } \
         hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; hls_ctx off; }",
    );
    let all: Vec<Watched> =
        CASES.iter().map(|case| Watched::begin(&program, &server, case, directory.path())).collect();
    wait_until("who waits", || server.clients().len() >= 4 * CASES.len());
    let publish = |(case, clip): (&Case, &PathBuf)| {
        let mut command = ffmpeg(&program);
        command.arg("-i").arg(clip).args(["-map", "0", "-c", "copy", "-f", "flv"]);
        Running::start(command.arg(server.url(&format!("live/{}", case.name))))
    };
    let publishers: Vec<Running> = CASES.iter().zip(&clips).map(publish).collect();
    for publisher in publishers {
        let ended = publisher.finish(PATIENCE);
        assert!(ended.status.success(), "{}", ended.stderr);
    }
    for (Watched { case, viewers, player, file }, clip) in all.into_iter().zip(&clips) {
        for (ending, viewer) in viewers {
            let file = directory.path().join(format!("{}-live.{ending}", case.name));
            std::fs::write(&file, viewer.whole()).unwrap();
            let in_format = if ending == "ts" { case.in_ts } else { (true, true) };
            assert_same(&program, &format!("{}.{ending}", case.name), &file, clip, in_format, true);
        }
        let path = format!("live/{}", case.name);
        let listed = wait_for("the list", PATIENCE, || {
            list(&server, &path)
                .filter(|list| list.segments.iter().map(|each| each.duration).sum::<f32>() > 2.9)
        });
        let hls = directory.path().join(format!("{}-hls.ts", case.name));
        std::fs::write(&hls, segments(&server, &path, &listed).concat()).unwrap();
        assert_same(&program, &format!("HLS of {}", case.name), &hls, clip, case.in_ts, true);
        let film = server.directory().join(format!("html/rec/{}.mp4", case.name));
        wait_until("the recording", || film.exists());
        assert_same(&program, &format!("{} recorded", case.name), &film, clip, (true, true), true);
        let log = server.log();
        for (track, is_in) in [("its pictures", case.in_ts.0), ("its sound", case.in_ts.1)] {
            let said = format!("hls of __defaultVhost__/{path} lacks {track}");
            assert_eq!(log.contains(&said), !is_in, "{said}");
        }
        // A player of RTMP waits for more, and keeps its last packets until it is ended: the second signal ends the wait.
        let bytes = |file: &Path| std::fs::metadata(file).map_or(0, |facts| facts.len());
        wait_until("what is played", || bytes(&file) * 5 > bytes(clip) * 4);
        player.signal(Signal::SIGINT);
        player.signal(Signal::SIGTERM);
        drop(player.finish(PATIENCE));
        assert_same(&program, &format!("{} played", case.name), &file, clip, (true, true), false);
    }
}

/// Two sounds beside the pictures: FLV and RTMP carry both.
#[test]
fn what_ffmpeg_sends_with_several_tracks_is_carried() {
    let Some(program) = ffmpeg_enhanced() else { return };
    let directory = TempDir::new().unwrap();
    let clip = directory.path().join("clip.flv");
    let mut command = ffmpeg(&program);
    command.args(["-f", "lavfi", "-i", PICTURES]);
    for frequency in [440, 880] {
        command.args([
            "-f",
            "lavfi",
            "-i",
            &format!("sine=frequency={frequency}:sample_rate=48000:duration=3"),
        ]);
    }
    command
        .args(["-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25"]);
    drop(
        run(command.args(["-c:a:0", "aac", "-c:a:1", "libopus", "-ac", "2"]).arg(&clip), PATIENCE)
            .expect_success(),
    );
    let server = site("http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].flv; }");
    let viewer = HttpViewer::start(&server.web(), "/live/a.flv");
    wait_until("who waits", || server.clients().len() == 1);
    let mut command = ffmpeg(&program);
    command.arg("-i").arg(&clip).args(["-map", "0", "-c", "copy", "-f", "flv"]).arg(server.url("live/a"));
    drop(run(&mut command, PATIENCE).expect_success());
    let live = directory.path().join("live.flv");
    std::fs::write(&live, viewer.whole()).unwrap();
    let film = server.directory().join("html/rec/a.flv");
    wait_until("the recording", || film.exists());
    for (what, file) in [("live", &live), ("recorded", &film)] {
        for track in ["v:0", "a:0", "a:1"] {
            let (got, wanted) = (decoded(&program, file, track), decoded(&program, &clip, track));
            let hashes = |all: &[(i64, String)]| all.iter().map(|each| each.1.clone()).collect::<Vec<_>>();
            assert!(!wanted.is_empty());
            assert_eq!(hashes(&got), hashes(&wanted), "{what}, {track}");
        }
    }
}
