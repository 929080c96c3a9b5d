//! What is published is what is played: every packet, byte for byte, whatever the codec, the encoder and the player.

use std::fs;
use std::process::Command;
use std::time::Duration;

use client::{Kind, Options, Packet, Publisher, Style};
use nix::sys::signal::Signal;
use rtmp::chunk::writer::write_message;
use srs_tests::capture::{
    Frames, Recorder, ffmpeg_publish, frames, is_frame, player, publish_tags, publisher, receive_frames,
    receive_until, tags,
};
use srs_tests::clip::Clip;
use srs_tests::pattern;
use srs_tests::process::Running;
use srs_tests::program::have;
use srs_tests::raw::{Raw, basic_header, chunk0};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for};

/// How many packets ffmpeg may hold back until its own end.
const HELD_BACK: usize = 10;

/// One clip from ffmpeg through the server to ffmpeg; the player is there first and gets everything.
fn through_ffmpeg(server: &Server, clip: Clip, stream: &str, real_time: bool) {
    let source = Frames::of_file(&clip.path());
    let url = server.url(&format!("live/{stream}"));
    let recorder = Recorder::start(&url);
    server.wait_players(1);
    let encoder = ffmpeg_publish(&clip.path(), &url, real_time);
    let played = recorder.finish(source.len() - HELD_BACK);
    drop(encoder.finish(SOON).expect_success());
    played.assert_part_of(&source, false);
    assert_eq!(played.video.first().map(|frame| &frame.hash), source.video.first().map(|frame| &frame.hash));
    assert_eq!(played.audio.first().map(|frame| &frame.hash), source.audio.first().map(|frame| &frame.hash));
    assert!(played.len() + HELD_BACK >= source.len(), "{clip:?}: {} of {}", played.len(), source.len());
    server.wait_players(0);
}

#[test]
fn every_packet_of_a_real_encoder_reaches_a_real_player() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start("");
    for (at, clip) in [Clip::H264Aac, Clip::H264Mp3, Clip::AudioOnly, Clip::VideoOnly, Clip::BFrames]
        .into_iter()
        .enumerate()
    {
        through_ffmpeg(&server, clip, &format!("full-speed-{at}"), false);
    }
}

#[test]
fn every_packet_comes_through_in_real_time() {
    if !have(&["ffmpeg"]) {
        return;
    }
    through_ffmpeg(&Server::start(""), Clip::H264Aac, "real-time", true);
}

#[test]
fn one_process_does_the_same() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start("process_mode single;");
    through_ffmpeg(&server, Clip::H264Aac, "single", false);
    assert!(srs_tests::process::children(server.pid()).is_empty(), "single means one process");
}

#[test]
fn several_back_sources_share_the_streams() {
    let server = Server::start("backsources 2;");
    for n in 0..6 {
        let url = server.url(&format!("live/{n}"));
        let mut player = player(&url);
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..100);
        let packets = receive_frames(&mut player, 100);
        assert_eq!(
            packets.iter().filter_map(pattern::check).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }
}

#[test]
fn small_chunks_and_both_styles_of_publishing_change_nothing() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = Server::start("");
    let tags = tags(&Clip::BFrames.path());
    let sent: Vec<_> = tags.iter().filter(|tag| is_frame(tag.kind, &tag.body)).collect();
    for (at, style) in [Style::Fmle, Style::Flash].into_iter().enumerate() {
        let url = server.url(&format!("live/{at}"));
        let mut player = player(&url);
        let options = Options { chunk_size: 128, style, ..Options::default() };
        let mut publisher = Publisher::connect(&url, options).unwrap();
        publish_tags(&mut publisher, &tags, 0);
        let received = receive_frames(&mut player, sent.len());
        let received = frames(&received);
        for (tag, packet) in sent.iter().zip(&received) {
            assert_eq!((tag.kind, &tag.body), (packet.kind, &packet.payload), "at {} ms", tag.timestamp_ms);
            assert_eq!(packet.timestamp, tag.timestamp_ms);
        }
        publisher.finish().unwrap();
    }
}

/// The chunks of one message, each for itself; chunk streams beyond 63, and timestamps repeated or not.
fn chunks(csid: u32, timestamp: u32, type_id: u8, payload: &[u8], repeat_timestamp: bool) -> Vec<Vec<u8>> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut pieces = payload.chunks(128);
    let mut out = vec![chunk0(csid, timestamp, length, type_id, 1, pieces.next().unwrap_or_default())];
    for piece in pieces {
        let mut chunk = basic_header(3, csid);
        if repeat_timestamp && timestamp >= 0x00ff_ffff {
            chunk.extend_from_slice(&timestamp.to_be_bytes());
        }
        chunk.extend_from_slice(piece);
        out.push(chunk);
    }
    out
}

#[test]
fn interleaved_chunks_are_put_together_by_chunk_stream() {
    let server = Server::start("");
    // Chunk streams of pictures and sounds, first timestamp, whether extended timestamps are repeated.
    let cases = [(6, 4, 0, true), (400, 66, 0, true), (6, 7, 0x0100_0000, true), (6, 7, 0x0100_0000, false)];
    for (at, (video, audio, base, repeat)) in cases.into_iter().enumerate() {
        let stream = format!("case-{at}");
        let mut player = player(&server.url(&format!("live/{stream}")));
        let (mut raw, msid) = Raw::publishing(server.address(), "live", &stream);
        assert_eq!(msid, 1);
        raw.send(&chunks(video, base, 9, pattern::VIDEO_CONFIGURATION, repeat).concat());
        raw.send(&chunks(audio, base, 8, pattern::AUDIO_CONFIGURATION, repeat).concat());
        for number in (0..120_u64).step_by(2) {
            let [picture, sound] = [number, number + 1].map(pattern::frame);
            let mut pictures =
                chunks(video, base + picture.timestamp_ms, 9, &picture.body, repeat).into_iter();
            let mut sounds = chunks(audio, base + sound.timestamp_ms, 8, &sound.body, repeat).into_iter();
            loop {
                // The picture begins first; what is left of one is sent when the other is through.
                let turn: Vec<u8> =
                    [pictures.next(), sounds.next()].into_iter().flatten().flatten().collect();
                if turn.is_empty() {
                    break;
                }
                raw.send(&turn);
            }
        }
        // Whichever is shorter is complete first: order between the tracks is not the point, order within is.
        let packets = receive_frames(&mut player, 120);
        for kind in [Kind::Video, Kind::Audio] {
            let of_kind = packets.iter().filter(|packet| packet.kind == kind);
            let numbers: Vec<u64> = of_kind.filter_map(pattern::check).collect();
            let first = u64::from(kind == Kind::Audio);
            assert_eq!(numbers, (first..120).step_by(2).collect::<Vec<_>>(), "case {at}, {kind:?}");
        }
    }
}

#[test]
fn aggregates_are_taken_apart() {
    let server = Server::start("");
    let mut player = player(&server.url("live/aggregate"));
    let (mut raw, msid) = Raw::publishing(server.address(), "live", "aggregate");
    raw.message(6, 0, 9, msid, pattern::VIDEO_CONFIGURATION);
    for group in 0..5_u64 {
        let mut body = Vec::new();
        for number in group * 10..group * 10 + 10 {
            let tag = pattern::frame(number);
            assert!(flv::file::write_tag(&mut body, tag.kind, tag.timestamp_ms, &tag.body));
        }
        raw.message(6, u32::try_from(group).unwrap() * 200, 22, msid, &body);
    }
    let packets = receive_frames(&mut player, 50);
    assert_eq!(packets.iter().filter_map(pattern::check).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
}

/// A packet of Enhanced RTMP: video packet types are 0 configuration, 1 frames; audio the same.
fn enhanced(kind: Kind, four_cc: &[u8; 4], packet_type: u8, key: bool, number: u8) -> Vec<u8> {
    let first = match kind {
        Kind::Video => 0x80 | (if key { 1 } else { 2 } << 4) | packet_type,
        _ => 0x90 | packet_type,
    };
    let mut body = vec![first];
    body.extend_from_slice(four_cc);
    if kind == Kind::Video && packet_type == 1 && four_cc == b"hvc1" {
        body.extend_from_slice(&[0, 0, 40]);
    }
    body.extend((0..300_u32).map(|n| n.to_le_bytes()[0] ^ number));
    body
}

#[test]
fn any_codec_comes_through_untouched_and_late_players_get_its_configuration() {
    let server = Server::start("");
    let pairs: [(&[u8; 4], &[u8; 4]); 4] =
        [(b"hvc1", b"mp4a"), (b"av01", b"Opus"), (b"vp09", b"fLaC"), (b"hvc1", b"ac-3")];
    for (at, (video, audio)) in pairs.into_iter().enumerate() {
        let url = server.url(&format!("live/codec-{at}"));
        let mut early = player(&url);
        let mut publisher = publisher(&url);
        let mut sent = vec![
            (Kind::Video, 0, enhanced(Kind::Video, video, 0, true, 0)),
            (Kind::Audio, 0, enhanced(Kind::Audio, audio, 0, true, 0)),
        ];
        for number in 0..60_u8 {
            let time = u32::from(number) * 40;
            sent.push((Kind::Video, time, enhanced(Kind::Video, video, 1, number % 20 == 0, number)));
            sent.push((Kind::Audio, time + 10, enhanced(Kind::Audio, audio, 1, true, number)));
        }
        for (kind, time, body) in &sent {
            publisher.send(*kind, *time, body).unwrap();
        }
        let is_last = |packet: &Packet| packet.payload == sent[sent.len() - 1].2;
        let received = receive_until(&mut early, is_last);
        let received: Vec<_> = received.iter().filter(|packet| packet.kind != Kind::Data).collect();
        assert_eq!(received.len(), sent.len(), "{}", video.escape_ascii());
        for (packet, (kind, time, body)) in received.iter().zip(&sent) {
            assert_eq!((packet.kind, &packet.payload[..]), (*kind, &body[..]));
            // Decoder configuration has no time of its own.
            assert!(!is_frame(packet.kind, &packet.payload) || packet.timestamp == *time);
        }

        let mut late = player(&url);
        let received = receive_until(&mut late, is_last);
        let received: Vec<_> = received
            .iter()
            .filter(|packet| packet.kind != Kind::Data)
            .map(|packet| (packet.kind, packet.payload.to_vec()))
            .collect();
        let from_last_key: Vec<_> = sent[..2]
            .iter()
            .chain(&sent[2 + 2 * 40..])
            .map(|(kind, _, body)| (*kind, body.clone()))
            .collect();
        assert_eq!(received, from_last_key, "late, {}", video.escape_ascii());
    }
}

#[test]
fn rtmpdump_plays() {
    if !have(&["ffmpeg", "rtmpdump"]) {
        return;
    }
    let server = Server::start("");
    let file = server.directory().join("dump.flv");
    let url = server.url("live/dump");
    let mut command = Command::new("rtmpdump");
    command.args(["--quiet", "--live", "--rtmp", &url, "--flv"]).arg(&file);
    let dump = Running::start(&mut command);
    server.wait_players(1);
    let tags = tags(&Clip::H264Aac.path());
    let mut publisher = publisher(&url);
    publish_tags(&mut publisher, &tags, 0);
    let sent: Vec<_> =
        tags.iter().filter(|tag| tag.kind != Kind::Data).map(|tag| (tag.kind, &tag.body)).collect();
    // rtmpdump writes through a buffer, so that its file lags; its end flushes it.
    let half: u64 = sent.iter().map(|(_, body)| body.len() as u64).sum::<u64>() / 2;
    wait_for("rtmpdump's file", SOON, || {
        fs::metadata(&file).is_ok_and(|metadata| metadata.len() > half).then_some(())
    });
    dump.signal(Signal::SIGINT);
    drop(dump.finish(SOON));
    let dumped = srs_tests::capture::tags(&file);
    let dumped: Vec<_> =
        dumped.iter().filter(|tag| tag.kind != Kind::Data).map(|tag| (tag.kind, &tag.body)).collect();
    assert!(dumped.len() > sent.len() / 3, "{} of {}", dumped.len(), sent.len());
    assert_eq!(dumped, sent[..dumped.len()]);
}

#[test]
fn players_before_and_after_the_publisher_see_the_same() {
    let server = Server::start("");
    let url = server.url("live/order");
    let mut before = player(&url);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..120);
    // All 120 are in the stream once the first player has them.
    let mut first = receive_frames(&mut before, 120);
    let mut after = player(&url);
    // It has its place once it got something; a burst in between may move on the newest key frame.
    let mut second = receive_frames(&mut after, 20);
    pattern::send_frames(&mut publisher, 120..200);
    first.extend(receive_frames(&mut before, 80));
    second.extend(receive_frames(&mut after, 80));
    let numbers = |packets: &[Packet]| packets.iter().filter_map(pattern::check).collect::<Vec<_>>();
    assert_eq!(numbers(&first), (0..200).collect::<Vec<_>>());
    assert_eq!(
        numbers(&second),
        (100..200).collect::<Vec<_>>(),
        "the late one begins at the newest key frame"
    );
    for packets in [&first, &second] {
        let configuration: Vec<&[u8]> = packets
            .iter()
            .filter(|packet| flv::classify(packet.kind, &packet.payload).sequence_header)
            .map(|packet| &packet.payload[..])
            .collect();
        assert_eq!(configuration, [pattern::VIDEO_CONFIGURATION, pattern::AUDIO_CONFIGURATION]);
        assert_eq!(packets[0].kind, Kind::Data, "metadata come first");
    }
}

#[test]
fn fifty_players_in_two_processes_get_identical_media() {
    let server = Server::start("");
    let url = server.url("live/many");
    let mut players: Vec<_> = (0..50).map(|_| player(&url)).collect();
    server.wait_players(50);
    let clients = server.clients();
    let mut processes: Vec<&str> = clients.iter().map(|client| client.process.as_str()).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 2, "both processes serve players: {processes:?}");
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..300);
    let mut reference: Option<Vec<Packet>> = None;
    for player in &mut players {
        let packets = receive_frames(player, 300);
        let numbers: Vec<u64> = packets.iter().filter_map(pattern::check).collect();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
        assert_eq!(reference.get_or_insert_with(|| packets.clone()), &packets);
    }
    let streams = server.streams();
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].clients, 51);
    let video = streams[0].video.as_ref().map(|video| video.codec.as_str());
    let audio = streams[0].audio.as_ref().map(|audio| audio.codec.as_str());
    assert_eq!((video, audio), (Some("H264"), Some("AAC")));
}

#[test]
fn one_connection_may_publish_and_play_several_streams() {
    let server = Server::start("");
    let mut raw = Raw::connected(server.address(), "live");
    let [one, two] = [raw.create_stream(), raw.create_stream()];
    assert_ne!(one, two);
    let mut players = ["first", "second"].map(|name| player(&server.url(&format!("live/{name}"))));
    server.wait_players(2);
    for (msid, name) in [(one, "first"), (two, "second")] {
        raw.command(msid, "publish", 0.0, &[amf0::Value::Null, name.into(), "live".into()]);
        raw.wait_status("NetStream.Publish.Start");
    }
    for (player, (msid, first)) in players.iter_mut().zip([(one, 0), (two, 1_000)]) {
        let mut out = Vec::new();
        write_message(&mut out, 6, 0, 9, msid, pattern::VIDEO_CONFIGURATION, 128);
        for number in first..first + 60 {
            let tag = pattern::frame(number);
            write_message(&mut out, 6, tag.timestamp_ms, tag.kind.type_id(), msid, &tag.body, 128);
        }
        raw.send(&out);
        let packets = receive_frames(player, 60);
        let numbers: Vec<u64> = packets.iter().filter_map(pattern::check).collect();
        assert_eq!(numbers, (first..first + 60).collect::<Vec<_>>());
    }
}

#[test]
fn the_last_packets_of_a_publish_are_not_held_back() {
    let server = Server::start("");
    let url = server.url("live/tail");
    let mut player = player(&url);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..77);
    publisher.finish().unwrap();
    player.set_read_timeout(Duration::from_secs(10));
    let numbers: Vec<u64> = receive_frames(&mut player, 77).iter().filter_map(pattern::check).collect();
    assert_eq!(numbers.last(), Some(&76));
}

#[test]
fn the_very_first_packets_are_not_held_back() {
    let server = Server::start("");
    for (name, count) in [("one", 1), ("two", 2), ("five", 5)] {
        for time in [0, 1_000] {
            let url = server.url(&format!("live/{name}-{time}"));
            let mut player = player(&url);
            let mut publisher = publisher(&url);
            publisher.send(Kind::Video, 0, pattern::VIDEO_CONFIGURATION).unwrap();
            for number in 0..count {
                let tag = pattern::frame(number * 2);
                publisher.send(tag.kind, tag.timestamp_ms + time, &tag.body).unwrap();
            }
            let packets = receive_frames(&mut player, usize::try_from(count).unwrap());
            assert_eq!(packets.iter().filter_map(pattern::check).count() as u64, count, "{name} from {time}");
        }
    }
}
