//! Time at the players: it never goes back, has no holes, and keeps the encoder's own steps, whatever its clock does.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Kind, Packet};
use flv::file::Tag;
use srs_tests::capture::{
    assert_continuous, assert_steps, frames, is_frame, player, publish_tags, publisher, receive_frames, tags,
};
use srs_tests::clip::Clip;
use srs_tests::marked::{self, Unit};
use srs_tests::pattern;
use srs_tests::process::Running;
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::site::site;
use srs_tests::wait::{SOON, wait_until};

/// Where a clock begins: at zero, below the limit of 24 bits, of 31 and of 32.
const BEGINNINGS: [u32; 4] = [0, 16_777_200, (1 << 31) - 1_000, u32::MAX - 999];

/// One step, in ms, for each packet of a track behind the first.
fn steps(packets: &[&Packet], kind: Kind) -> Vec<i64> {
    let times: Vec<i64> = packets
        .iter()
        .filter(|packet| packet.kind == kind)
        .map(|packet| i64::from(packet.timestamp))
        .collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn tag_steps(tags: &[&Tag], kind: Kind) -> Vec<i64> {
    let times: Vec<i64> =
        tags.iter().filter(|tag| tag.kind == kind).map(|tag| i64::from(tag.timestamp_ms)).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_clock_may_begin_anywhere_and_wrap() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start("");
    let tags = tags(&Clip::BFrames.path());
    let sent: Vec<&Tag> = tags.iter().filter(|tag| is_frame(tag.kind, &tag.body)).collect();
    for beginning in BEGINNINGS {
        let url = server.url(&format!("live/from-{beginning}"));
        let mut player = player(&url);
        let mut publisher = publisher(&url);
        publish_tags(&mut publisher, &tags, beginning);
        let received = receive_frames(&mut player, sent.len());
        assert_continuous(&received);
        let received = frames(&received);
        for (packet, tag) in received.iter().zip(&sent) {
            assert_eq!((packet.kind, &packet.payload), (tag.kind, &tag.body));
        }
        for kind in [Kind::Video, Kind::Audio] {
            assert_eq!(steps(&received, kind), tag_steps(&sent, kind), "{kind:?} from {beginning}");
        }
    }
}

#[test]
fn ffprobe_sees_monotonic_times_with_b_frames_over_the_wrap() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = Server::start("");
    let tags = tags(&Clip::BFrames.path());
    for beginning in BEGINNINGS {
        let url = server.url(&format!("live/probe-{beginning}"));
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_entries", "packet=codec_type,dts_time,pts_time"]);
        command.args(["-of", "csv=p=0", "-read_intervals", "%+4", &url]);
        let probe = Running::start(&mut command);
        server.wait_players(1);
        let mut publisher = publisher(&url);
        publish_tags(&mut publisher, &tags, beginning);
        let text = probe.finish(SOON * 2).expect_success();
        for kind in ["video", "audio"] {
            let rows = text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(','));
            let rows: Vec<Vec<f64>> = rows
                .map(|row| row.split(',').filter_map(|field| field.parse::<f64>().ok()).collect())
                .collect();
            assert!(rows.len() > 75, "{kind} from {beginning}: {} packets", rows.len());
            for pair in rows.windows(2) {
                let [[_, before], [pts, dts]] = [[pair[0][0], pair[0][1]], [pair[1][0], pair[1][1]]];
                assert!(dts >= before && dts - before <= 0.5, "{kind}: DTS {dts} behind {before}");
                assert!(pts >= dts, "{kind}: PTS {pts} before DTS {dts}");
            }
        }
        drop(publisher);
        server.wait_players(0);
    }
}

#[test]
fn jumps_of_the_encoders_clock_leave_no_trace() {
    let server = Server::start("");
    for (name, jump) in
        [("back", -3_000_i64), ("hour", 3_600_000), ("zero", -4_000), ("hour-back", -3_600_000)]
    {
        let url = server.url(&format!("live/{name}"));
        let mut player = player(&url);
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        for number in 0..400_u64 {
            let tag = pattern::frame(number);
            let base = if jump == -3_600_000 { 7_200_000 } else { 0 };
            let time = base + i64::from(tag.timestamp_ms) + if number < 200 { 0 } else { jump };
            publisher.send(tag.kind, u32::try_from(time.rem_euclid(1 << 32)).unwrap(), &tag.body).unwrap();
        }
        let received = receive_frames(&mut player, 400);
        assert_eq!(received.iter().filter_map(pattern::check).count(), 400, "{name}: all frames come");
        assert_continuous(&received);
        let received = frames(&received);
        // Apart from the jump itself, each track keeps its steps.
        for kind in [Kind::Video, Kind::Audio] {
            let odd: Vec<i64> = steps(&received, kind).into_iter().filter(|step| *step != 40).collect();
            assert!(odd.len() <= 2, "{name}, {kind:?}: other steps than 40 ms: {odd:?}");
        }
        let streams = server.streams();
        let stream = streams.iter().find(|stream| stream.name == name).unwrap();
        assert!(stream.time_jumps > 0, "{name}: the jump is counted");
    }
}

#[test]
fn sound_and_picture_keep_their_offset() {
    let server = Server::start("");
    for (name, offset) in [("behind", 700_i64), ("ahead", -700)] {
        let url = server.url(&format!("live/{name}"));
        let mut player = player(&url);
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        let shifted = |number: u64| {
            let tag = pattern::frame(number);
            let shift = if tag.kind == Kind::Audio { offset } else { 0 };
            (u32::try_from(10_000 + i64::from(tag.timestamp_ms) + shift).unwrap(), tag)
        };
        // In the order of their times, as a muxer sends them.
        let mut all: Vec<(u32, Tag)> = (0..400).map(shifted).collect();
        all.sort_by_key(|(time, _)| *time);
        for (time, tag) in &all {
            publisher.send(tag.kind, *time, &tag.body).unwrap();
        }
        let received = receive_frames(&mut player, 400);
        assert_continuous(&received);
        let received = frames(&received);
        let first = |kind| received.iter().find(|packet| packet.kind == kind).unwrap();
        let (video, audio) = (first(Kind::Video), first(Kind::Audio));
        // The first sound stands 20 ms behind the first picture, and then the offset.
        let apart = i64::from(audio.timestamp) - i64::from(video.timestamp);
        assert_eq!(apart, 20 + offset, "{name}");
        let last = received.iter().rev().find(|packet| packet.kind == Kind::Video).unwrap();
        assert_eq!(last.timestamp - video.timestamp, 398 * 20, "{name}: the duration is kept");
    }
}

#[test]
fn time_goes_on_when_the_encoder_comes_again() {
    let server = Server::start("");
    let url = server.url("live/again");
    let mut player = player(&url);
    let mut times: Vec<Packet> = Vec::new();
    for round in 0..3_u32 {
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        for number in 0..100 {
            let tag = pattern::frame(number);
            publisher.send(tag.kind, tag.timestamp_ms + round * 1_000_000, &tag.body).unwrap();
        }
        times.extend(receive_frames(&mut player, 100));
        publisher.finish().unwrap();
        server.wait_players(1);
    }
    assert_continuous(&times);
    let all: Vec<i64> = frames(&times).iter().map(|packet| i64::from(packet.timestamp)).collect();
    assert_steps("all", &all);
    assert_eq!(times.iter().filter_map(pattern::check).count(), 300);
}

/// Where the way to the server was broken, what comes behind the gap has the time that it has; where only the clock jumped, none
/// has passed.
#[test]
fn a_gap_of_the_uplink_is_as_long_as_it_was() {
    let server = site("dvr { enabled on; dvr_path TOP/html/rec/[stream].flv; }");
    let units = marked::usual(4000, 1000);
    let (before, after): (Vec<Unit>, Vec<Unit>) = units.iter().partition(|unit| unit.dts_ms < 1000);
    let after: Vec<Unit> = after.into_iter().filter(|unit| unit.dts_ms >= 3000).collect();
    for (name, passes, wanted_ms) in
        [("gap", Duration::from_millis(2100), 3000), ("jump", Duration::ZERO, 1000)]
    {
        let url = server.url(&format!("live/{name}"));
        let mut player = player(&url);
        let mut publisher = publisher(&url);
        marked::send_headers(&mut publisher, true, true);
        before.iter().for_each(|unit| unit.send(&mut publisher));
        drop(receive_frames(&mut player, before.len()));
        // Time has to pass: that is what is looked at.
        let until = Instant::now() + passes;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            publisher.wait(left).unwrap();
        }
        after.iter().for_each(|unit| unit.send(&mut publisher));
        let packets = receive_frames(&mut player, after.len());
        let first = packets.iter().find(|packet| packet.kind == Kind::Video).unwrap();
        let step_ms = i64::from(first.timestamp) - wanted_ms;
        assert!(step_ms.abs() <= 50, "{name}: {} instead of {wanted_ms} ms", first.timestamp);
        drop(publisher.finish());
        let film = server.directory().join(format!("html/rec/{name}.flv"));
        wait_until("the recording", || film.exists());
        let recorded = marked::of_flv(&fs::read(&film).unwrap());
        let length_ms = recorded.last().unwrap().dts_ms - recorded[0].dts_ms;
        assert!((length_ms - wanted_ms - 980).abs() <= 60, "{name}: {length_ms} ms");
    }
}
