//! Transport streams by the rules of their specification, packet by packet, by our own reading of it and by that of others.

use std::fs;
use std::process::Command;

use srs_tests::capture::{ffmpeg_publish, publisher, tags};
use srs_tests::clip::Clip;
use srs_tests::process::run;
use srs_tests::program::{have, optional};
use srs_tests::site::{decoded, get, segments, site, wait_listed};
use srs_tests::transport::Transport;
use srs_tests::wait::SOON;

/// Where 33 bits of 90 kHz end, ms.
const END_OF_TIME_MS: u32 = 95_443_717;

/// What tsreport has to say against a file.
fn faults(file: &std::path::Path) -> Vec<String> {
    let mut command = Command::new("tsreport");
    let ended = run(command.arg("-buffering").arg(file), SOON);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.status.success() && said.contains("PCRs found"), "{said}");
    let is_fault = |line: &&str| {
        let marked = line.contains("!!!") || line.contains("###");
        let gap = line.contains("gaps: ") && !line.contains("gaps: 0,");
        // How far the clock is ahead of what it is for.
        let late = line.contains("difference was -");
        marked || gap || late
    };
    said.lines().filter(is_fault).map(str::to_owned).collect()
}

#[test]
fn live_windows_and_films_keep_all_rules() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let with_report = optional(&["tsreport"]);
    let server =
        site("hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; }");
    let clips = [Clip::H264Aac, Clip::BFrames, Clip::H264Mp3, Clip::AudioOnly, Clip::VideoOnly];
    for (at, clip) in clips.into_iter().enumerate() {
        let path = format!("live/{at}");
        let encoder = ffmpeg_publish(&clip.path(), &server.url(&path), false);
        drop(encoder.finish(SOON).expect_success());
        let list = wait_listed(&server, &path, 5.7);
        let live = segments(&server, &path, &list);
        assert!(live.len() >= 5, "{clip:?}: {} segments", live.len());
        let film = server.directory().join(format!("html/{at}.flv"));
        fs::copy(clip.path(), film).unwrap();
        let film = vec![get(&server.web(), &format!("/{at}.flv.0.ts")).unwrap()];
        for (what, segments) in [("live", live), ("film", film)] {
            // Counters and times go on from one to the next.
            let mut transport = Transport::default();
            segments.iter().for_each(|segment| transport.read_segment(segment));
            assert!(transport.longest_clock_step_ms() <= 100, "{what} of {clip:?}");
            assert!(transport.longest_step_ms() <= 200, "{what} of {clip:?}");
            if with_report {
                let file = server.directory().join("whole.ts");
                fs::write(&file, segments.concat()).unwrap();
                assert_eq!(faults(&file), [""; 0], "{what} of {clip:?}");
            }
        }
    }
}

/// With `atc on` times are the encoder's own, so that they can end anywhere.
#[test]
fn times_go_on_over_the_end_of_33_bits() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(
        "atc on; hls { enabled on; hls_fragment 1; hls_window 60; hls_storage memory; hls_path TOP/html; }",
    );
    let source = decoded(&Clip::BFrames.path().to_string_lossy(), "v");
    let mut publisher = publisher(&server.url("live/a"));
    // Those of pictures, then those of the clock end within a segment; the 32 bits of RTMP in the second one.
    for (name, beginning) in [("a", END_OF_TIME_MS - 2_500), ("b", u32::MAX - 2_500)] {
        if name == "b" {
            publisher = srs_tests::capture::publisher(&server.url("live/b"));
        }
        for tag in tags(&Clip::BFrames.path()) {
            publisher.send(tag.kind, tag.timestamp_ms.wrapping_add(beginning), &tag.body).unwrap();
        }
        let path = format!("live/{name}");
        let list = wait_listed(&server, &path, 4.7);
        let bytes = segments(&server, &path, &list);
        let mut transport = Transport::default();
        bytes.iter().for_each(|segment| transport.read_segment(segment));
        assert!(transport.longest_clock_step_ms() <= 100);
        assert!(transport.longest_step_ms() <= 200);
        for segment in &list.segments {
            assert!((0.9..1.1).contains(&segment.duration), "{list:?}");
        }
        let file = server.directory().join("whole.ts");
        fs::write(&file, bytes.concat()).unwrap();
        let pictures = decoded(&file.to_string_lossy(), "v");
        assert!(pictures.len() >= 110 && source.starts_with(&pictures), "{name}: {}", pictures.len());
        if name == "a" {
            let wraps = |times: &[u64]| times.windows(2).filter(|pair| pair[1] < pair[0]).count();
            assert_eq!(wraps(&transport.clocks), 1);
            assert!(transport.times.values().all(|times| wraps(times) == 1), "each track once");
        }
    }
}
