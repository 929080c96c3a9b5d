//! What players and publishers may ask for, and what they get.

use std::process::Command;
use std::time::Duration;

use amf0::Value;
use client::{Event, Kind, Options, Packet, Player, Publisher};
use srs_tests::capture::{
    assert_continuous, frames, player, publisher, receive_frames, receive_rest, receive_until, silent_for,
};
use srs_tests::marked::{self, Unit};
use srs_tests::pattern::{self, GOP, Live};
use srs_tests::raw::{Raw, connect_object};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

fn numbers(packets: &[Packet]) -> Vec<u64> {
    packets.iter().filter_map(pattern::check).collect()
}

#[test]
fn the_gop_cache_decides_where_a_late_player_begins() {
    for (on, directive) in
        [(true, "gop_cache on;"), (true, "gop_cache_max_frames 0;"), (false, "gop_cache off;")]
    {
        let server = Server::start(&format!("vhost __defaultVhost__ {{ {directive} }}"));
        let url = server.url("live/gop");
        let mut witness = player(&url);
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..GOP * 2 + 30);
        drop(receive_until(&mut witness, |packet| pattern::check(packet) == Some(GOP * 2 + 29)));
        let mut late = player(&url);
        server.wait_players(2);
        // With the cache it has its place once it got what is there; a burst before that moves the newest key frame on.
        let mut packets = if on { receive_frames(&mut late, 30) } else { Vec::new() };
        pattern::send_frames(&mut publisher, GOP * 2 + 30..GOP * 4);
        packets.extend(receive_until(&mut late, |packet| pattern::check(packet) == Some(GOP * 4 - 1)));
        let got = numbers(&packets);
        if on {
            assert_eq!(got, (GOP * 2..GOP * 4).collect::<Vec<_>>(), "from the newest key frame");
        } else {
            assert!(got[0] >= GOP * 2 + 30, "nothing of the past: {}", got[0]);
            let pictures: Vec<u64> = got.iter().copied().filter(|number| number % 2 == 0).collect();
            let from = pictures[0];
            assert_eq!(pictures, (from..GOP * 4).step_by(2).collect::<Vec<_>>(), "no hole");
        }
        let configured = |kind| {
            packets.iter().position(|packet| {
                packet.kind == kind && flv::classify(kind, &packet.payload).sequence_header
            })
        };
        let first = packets.iter().position(|packet| pattern::check(packet).is_some());
        assert!(configured(Kind::Video).is_some() && configured(Kind::Video) < first);
        assert!(configured(Kind::Audio).is_some() && configured(Kind::Audio) < first);
    }
}

#[test]
fn a_paused_player_gets_nothing_and_then_goes_on() {
    let server = Server::start("vhost __defaultVhost__ { queue_length 30; }");
    let url = server.url("live/pause");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut player = player(&url);
    let before = receive_frames(&mut player, 20);
    player.pause(true).unwrap();
    // What was on its way still comes; then the notice, then silence.
    wait_for("the notice of the pause", SOON, || {
        drop(player.next());
        player.take_statuses().contains(&"NetStream.Pause.Notify".to_owned()).then_some(())
    });
    drop(receive_rest(&mut player, Duration::from_millis(100)));
    live.wait_more(30);
    assert!(silent_for(&mut player, Duration::from_millis(200)), "a paused player gets nothing");
    player.pause(false).unwrap();
    let after = receive_frames(&mut player, 100);
    assert!(player.take_statuses().contains(&"NetStream.Unpause.Notify".to_owned()));
    assert!(numbers(&after)[0] > numbers(&before)[0]);
    let times: Vec<u32> =
        frames(&before).iter().chain(&frames(&after)).map(|packet| packet.timestamp).collect();
    assert!(times.is_sorted_by(|one, other| one <= &(other + 40)), "time does not go back: {times:?}");
    let _sent = live.stop();
}

#[test]
fn players_wait_for_the_next_publisher() {
    let server = Server::start("");
    let url = server.url("live/wait");
    let mut player = player(&url);
    for round in 0..3 {
        let mut publisher = publisher(&url);
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..60);
        let packets = receive_frames(&mut player, 60);
        assert_eq!(numbers(&packets), (0..60).collect::<Vec<_>>(), "round {round}");
        assert_continuous(&packets);
        publisher.finish().unwrap();
    }
}

#[test]
fn metadata_are_kept_and_signed() {
    let server = Server::start("");
    let url = server.url("live/metadata");
    let mut early = player(&url);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    // What the encoder's file says of itself is not true of the stream: players would show a bar to seek on.
    let properties = [("testnumber", 4711.0), ("width", 320.0), ("duration", 3600.0), ("filesize", 1e9)];
    let properties = properties.map(|(name, value)| (name.to_owned(), Value::Number(value))).to_vec();
    let mut metadata = Vec::new();
    amf0::encode_all(&["onMetaData".into(), Value::EcmaArray(properties)], &mut metadata);
    publisher.send_metadata(0, &metadata).unwrap();
    pattern::send_frames(&mut publisher, 0..60);
    let mut late = {
        drop(receive_frames(&mut early, 60));
        player(&url)
    };
    let packets = receive_until(&mut late, |packet| packet.kind == Kind::Data);
    let payload = &packets.last().unwrap().payload;
    let values = amf0::decode_all(payload, &amf0::Limits::default()).unwrap();
    assert_eq!(values[0].as_str(), Some("onMetaData"));
    assert_eq!(values[1].get("testnumber").and_then(Value::as_f64), Some(4711.0));
    assert_eq!(values[1].get("width").and_then(Value::as_f64), Some(320.0));
    assert!(values[1].get("duration").is_none() && values[1].get("filesize").is_none(), "{values:?}");
    let version = Command::new(srs_tests::program::srs()).arg("-v").output().unwrap();
    let version = String::from_utf8_lossy(&version.stderr).trim().to_owned();
    assert!(!version.is_empty());
    assert_eq!(values[1].get("server").and_then(Value::as_str), Some(format!("SRS/{version}").as_str()));
    assert_eq!(values[1].get("server_version").and_then(Value::as_str), Some(version.as_str()));
    // Other data pass through as they are.
    let mut cue = Vec::new();
    amf0::encode_all(&["onCuePoint".into(), Value::object([("name", "here".into())])], &mut cue);
    publisher.send(Kind::Data, 1_300, &cue).unwrap();
    let packets = receive_until(&mut late, |packet| packet.payload.ends_with(&cue));
    assert_eq!(packets.last().unwrap().kind, Kind::Data);
}

#[test]
fn a_name_has_one_publisher() {
    let server = Server::start("");
    let url = server.url("live/busy");
    let live = Live::start(&url, Duration::from_millis(10));
    live.wait_more(10);
    let refused = Publisher::connect(&url, Options::default()).unwrap_err();
    assert_eq!(refused.code(), Some("NetStream.Publish.BadName"), "{refused}");
    live.wait_more(10);
    let _undisturbed = live.stop();
    wait_until("the name to be free", || Publisher::connect(&url, Options::default()).is_ok());
}

#[test]
fn a_newer_publisher_may_take_over() {
    let server = Server::start("vhost __defaultVhost__ { publish_takeover on; }");
    let url = server.url("live/takeover");
    let mut player = player(&url);
    let mut first = publisher(&url);
    pattern::send_headers(&mut first);
    pattern::send_frames(&mut first, 0..60);
    let mut packets = receive_frames(&mut player, 60);
    let mut second = publisher(&url);
    wait_until("the end of the first publisher", || first.wait(Duration::from_millis(10)).is_err());
    pattern::send_headers(&mut second);
    pattern::send_frames(&mut second, 0..60);
    packets.extend(receive_frames(&mut player, 60));
    assert_continuous(&packets);
    assert_eq!(numbers(&packets), (0..60).chain(0..60).collect::<Vec<_>>());
}

#[test]
fn an_encoder_whose_old_connection_hangs_comes_in_again() {
    let server = Server::start("");
    let url = server.url("live/hangs?key=of-the-encoder");
    let mut player = player(&server.url("live/hangs"));
    // A connection that stands, and on which nothing comes any more.
    let mut first = publisher(&url);
    pattern::send_headers(&mut first);
    pattern::send_frames(&mut first, 0..60);
    let mut packets = receive_frames(&mut player, 60);
    let other = Publisher::connect(&server.url("live/hangs?key=of-another"), Options::default()).unwrap_err();
    assert_eq!(other.code(), Some("NetStream.Publish.BadName"), "{other}");
    assert!(other.to_string().contains("publish_takeover"), "the way out is named: {other}");
    let mut second = None;
    wait_until("its place", || {
        second = Publisher::connect(&url, Options::default()).ok();
        second.is_some()
    });
    let mut second = second.unwrap();
    wait_until("the end of the first publisher", || first.wait(Duration::from_millis(10)).is_err());
    pattern::send_headers(&mut second);
    pattern::send_frames(&mut second, 0..60);
    packets.extend(receive_frames(&mut player, 60));
    assert_continuous(&packets);
}

#[test]
fn a_silent_publisher_keeps_its_place_where_that_is_wanted() {
    let server = Server::start("vhost __defaultVhost__ { publish_takeover off; }");
    let url = server.url("live/silent");
    let first = publisher(&url);
    let client = || server.clients().into_iter().find(|client| client.publish);
    wait_until("more silence than it takes", || client().is_some_and(|client| client.alive > 2.5));
    let refused = Publisher::connect(&url, Options::default()).unwrap_err();
    assert_eq!(refused.code(), Some("NetStream.Publish.BadName"), "{refused}");
    drop(first);
}

#[test]
fn acknowledgements_are_asked_and_given_as_configured() {
    for (out, wanted) in
        [("", Some(2_500_000_u32)), ("out_ack_size 77777;", Some(77_777)), ("out_ack_size 0;", None)]
    {
        let server = Server::start(&format!(
            "server_id front-7;\nvhost __defaultVhost__ {{ {out} in_ack_size 4000; }}"
        ));
        let mut raw = Raw::handshaken(server.address());
        raw.command(0, "connect", 1.0, &[connect_object(server.address(), "live")]);
        let mut asked = None;
        while let Some(message) = raw.read_message(SOON).filter(|message| message.type_id != 20) {
            if message.type_id == 5 {
                asked = message.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            }
        }
        assert_eq!(asked, wanted, "{out}");
        for _ in 0..10 {
            raw.message(5, 0, 19, 0, &[0; 500]);
        }
        while raw.read_message(SOON).is_some_and(|message| message.type_id != 3) {}
        let answer = srs_tests::http::ask(&server.api(), "GET", "/api/v1/versions", &["Connection: close"]);
        assert_eq!(answer.json()["server"], "front-7");
    }
}

#[test]
fn sound_and_picture_can_be_switched_off() {
    let server = Server::start("");
    let url = server.url("live/switch");
    let live = Live::start(&url, Duration::from_millis(5));
    for kind in [Kind::Audio, Kind::Video] {
        let mut player = player(&url);
        drop(receive_frames(&mut player, 10));
        if kind == Kind::Audio { player.receive_audio(false) } else { player.receive_video(false) }.unwrap();
        // Once twenty of the other kind come in a row, the wish has arrived; then none of this kind may follow.
        let mut row = 0;
        drop(receive_until(&mut player, |packet| {
            row = if packet.kind == kind { 0 } else { row + 1 };
            row == 20
        }));
        let packets = receive_frames(&mut player, 60);
        assert!(frames(&packets).iter().all(|packet| packet.kind != kind), "{kind:?}");
        if kind == Kind::Audio { player.receive_audio(true) } else { player.receive_video(true) }.unwrap();
        let packets = receive_until(&mut player, |packet| packet.kind == kind);
        let packets = [packets, receive_frames(&mut player, 60)].concat();
        assert!(frames(&packets).iter().any(|packet| packet.kind == kind));
        let first = frames(&packets).into_iter().find(|packet| packet.kind == Kind::Video).unwrap();
        if kind == Kind::Video {
            assert!(pattern::check(first).unwrap().is_multiple_of(GOP), "pictures begin with a key frame");
        }
    }
    let _sent = live.stop();
}

#[test]
fn a_play_of_so_many_seconds_ends_by_itself() {
    let server = Server::start("");
    let url = server.url("live/duration");
    let live = Live::start(&url, Duration::from_millis(5));
    live.wait_more(1);
    let mut raw = Raw::connected(server.address(), "live");
    let msid = raw.create_stream();
    let arguments = [Value::Null, "duration".into(), Value::Number(-2.0), Value::Number(1_000.0)];
    raw.command(msid, "play", 0.0, &arguments);
    raw.wait_status("NetStream.Play.Start");
    let (mut first, mut last) = (None, 0);
    while let Some(message) = raw.read_message(SOON) {
        if matches!(message.type_id, 8 | 9) {
            last = message.timestamp;
            first.get_or_insert(last);
        }
    }
    let lasted = last - first.unwrap();
    assert!((900..=1_100).contains(&lasted), "the play lasted {lasted} ms of the stream");
    let _sent = live.stop();
}

#[test]
fn a_seek_is_answered_and_changes_nothing() {
    let server = Server::start("");
    let url = server.url("live/seek");
    let live = Live::start(&url, Duration::from_millis(10));
    let mut player = player(&url);
    drop(receive_frames(&mut player, 10));
    player.seek(5_000).unwrap();
    let mut before = None;
    loop {
        match player.next_event().unwrap().expect("an open connection") {
            Event::Status { code, .. } if code == "NetStream.Seek.Notify" => break,
            Event::Media { timestamp, .. } => before = Some(timestamp),
            _ => {}
        }
    }
    let after = receive_frames(&mut player, 30);
    assert_continuous(&after);
    assert!(before.is_none_or(|before| frames(&after)[0].timestamp >= before));
    let _sent = live.stop();
}

#[test]
fn referrers_are_checked() {
    let server = Server::start("vhost __defaultVhost__ { refer good.example; }");
    let url = server.url("live/refer");
    let with_page = |page: Option<&str>| Options { page_url: page.map(str::to_owned), ..Options::default() };
    for page in [None, Some("http://evil.example/"), Some("http://notgood.example/")] {
        let refused = Player::connect(&url, with_page(page)).unwrap_err();
        assert_eq!(refused.code(), Some("NetConnection.Connect.Rejected"), "{page:?}: {refused}");
    }
    for page in ["http://good.example/", "https://www.good.example:8080/watch?x"] {
        drop(Player::connect(&url, with_page(Some(page))).unwrap());
    }
    let server = Server::start("vhost __defaultVhost__ { refer_play good.example; }");
    let url = server.url("live/refer");
    drop(Publisher::connect(&url, Options::default()).unwrap());
    assert!(Player::connect(&url, Options::default()).is_err());
    drop(Player::connect(&url, with_page(Some("http://good.example/"))).unwrap());
}

#[test]
fn secrets_in_names_are_shared_by_nobody() {
    let server = Server::start("");
    let mut witness = player(&server.url("live/token"));
    let mut publisher = publisher(&server.url("live/token?token=SECRET1"));
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..60);
    drop(receive_frames(&mut witness, 60));
    for path in ["live/token", "live/token?token=SECRET2&x=y", "live/token?token=SECRET1"] {
        let packets = receive_frames(&mut player(&server.url(path)), 10);
        assert_eq!(numbers(&packets)[0], GOP, "{path}");
    }
    let streams = server.streams();
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["token"]);
    let clients = format!("{:?}", server.clients());
    assert!(!clients.contains("SECRET"), "{clients}");
    assert!(!server.log().contains("SECRET"), "secrets do not stand in the log");
}

/// A camera that shows one picture and waits for something to happen; an encoder that is ended at once; sound alone.
#[test]
fn a_publish_of_one_packet_reaches_who_waits_for_it() {
    for own in ["", "vhost __defaultVhost__ { gop_cache off; play { mw_latency 350; } }"] {
        let server = Server::start(own);
        for (name, is_video, stays, headers) in [
            ("a", true, true, (true, false)),
            ("b", true, false, (true, false)),
            ("c", true, true, (true, true)),
            ("d", false, true, (false, true)),
            ("e", true, true, (false, false)),
            ("f", true, false, (true, true)),
        ] {
            let url = server.url(&format!("live/{name}"));
            let mut player = player(&url);
            let unit = if is_video { Unit::picture(7, 0, true) } else { Unit::sound(7, 0) };
            let mut publisher = publisher(&url);
            marked::send_headers(&mut publisher, headers.0, headers.1);
            unit.send(&mut publisher);
            if !stays {
                publisher.finish().unwrap();
            }
            let packets = receive_frames(&mut player, 1);
            assert_eq!(packets.last().unwrap().payload, unit.body(), "{name}");
        }
    }
}
