//! What publishers say of colours beside the configuration of pictures is in MP4, live and recorded.

use std::fs;
use std::path::Path;
use std::process::Command;

use amf0::Value;
use client::Kind;
use srs_tests::capture::{publish_tags, publisher, tags};
use srs_tests::clip::Clip;
use srs_tests::live::HttpViewer;
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::site::site;
use srs_tests::wait::{SOON, wait_until};

/// Colours of HDR10, made on a display of 1000 cd/m².
fn colours() -> Vec<u8> {
    let object =
        |all: &[(&str, f64)]| Value::object(all.iter().map(|(name, value)| (*name, Value::Number(*value))));
    let value = Value::object([
        (
            "colorConfig",
            object(&[
                ("colorPrimaries", 9.0),
                ("transferCharacteristics", 16.0),
                ("matrixCoefficients", 9.0),
            ]),
        ),
        ("hdrCll", object(&[("maxCLL", 999.0), ("maxFall", 401.0)])),
        (
            "hdrMdcv",
            object(&[
                ("redX", 0.708),
                ("redY", 0.292),
                ("greenX", 0.17),
                ("greenY", 0.797),
                ("blueX", 0.131),
                ("blueY", 0.046),
                ("whitePointX", 0.3127),
                ("whitePointY", 0.329),
                ("maxLuminance", 1000.0),
                ("minLuminance", 0.005),
            ]),
        ),
    ]);
    let mut packet = b"\xd4avc1".to_vec();
    amf0::encode_all([&Value::String("colorInfo".to_owned()), &value], &mut packet);
    packet
}

fn assert_coloured(file: &Path) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "flat"]);
    let said = run(command.arg(file), SOON).expect_success();
    for words in [
        "color_space=\"bt2020nc\"",
        "color_transfer=\"smpte2084\"",
        "color_primaries=\"bt2020\"",
        "red_x=\"35400/50000\"",
        "white_point_y=\"16450/50000\"",
        "max_luminance=\"10000000/10000\"",
        "min_luminance=\"50/10000\"",
        "max_content=999",
        "max_average=401",
    ] {
        assert!(said.contains(words), "{}: {words}: {said}", file.display());
    }
}

#[test]
fn colours_are_in_live_and_recorded_mp4() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = site("http_remux { enabled on; } dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; }");
    let watch = || HttpViewer::start(&server.web(), "/live/a.mp4");
    let early = watch();
    wait_until("who waits", || server.clients().len() == 1);
    let all = tags(&Clip::H264Aac.path());
    let is_header =
        |tag: &&flv::file::Tag| tag.kind == Kind::Video && flv::classify(tag.kind, &tag.body).sequence_header;
    let header = all.iter().position(|tag| is_header(&tag)).unwrap();
    let mut publisher = publisher(&server.url("live/a"));
    publish_tags(&mut publisher, &all[..=header], 0);
    publisher.send(Kind::Video, 0, &colours()).unwrap();
    publish_tags(&mut publisher, &all[header + 1..all.len() - 50], 0);
    wait_until("the stream", || early.has_begun());
    let late = watch();
    wait_until("who came late", || late.has_begun());
    // Said again, it is nothing new.
    publisher.send(Kind::Video, all[all.len() - 50].timestamp_ms, &colours()).unwrap();
    publish_tags(&mut publisher, &all[all.len() - 50..], 0);
    drop(publisher.finish());
    let film = server.directory().join("html/rec/a.mp4");
    wait_until("the recording", || film.exists());
    assert_coloured(&film);
    for (viewer, name) in [(early, "early.mp4"), (late, "late.mp4")] {
        let file = server.directory().join(name);
        fs::write(&file, viewer.whole()).unwrap();
        assert_coloured(&file);
    }
    assert_eq!(fs::read_dir(server.directory().join("html/rec")).unwrap().count(), 1, "one file");
}
