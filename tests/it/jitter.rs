//! `time_jitter`, `atc` and the chunk size of a vhost: what viewers get of a publisher's clock.

use client::Kind;
use srs_tests::capture::{frames, player, publisher, receive_frames, receive_until};
use srs_tests::pattern;
use srs_tests::raw::Raw;
use srs_tests::server::Server;

/// Timestamps of a hundred frames that begin at a minute and step back by ten seconds in the middle, as a player gets them.
fn seen(vhost: &str) -> Vec<u32> {
    let server = Server::start(&format!("vhost __defaultVhost__ {{ {vhost} }}"));
    let url = server.url("live/clock");
    let mut player = player(&url);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    for number in 0..100 {
        let tag = pattern::frame(number);
        let back = if number < 50 { 0 } else { 10_000 };
        publisher.send(tag.kind, 60_000 + tag.timestamp_ms - back, &tag.body).unwrap();
    }
    frames(&receive_frames(&mut player, 100)).iter().map(|packet| packet.timestamp).collect()
}

fn sent(number: u32) -> u32 {
    60_000 + number * 20 - if number < 50 { 0 } else { 10_000 }
}

#[test]
fn full_is_one_line_from_the_beginning() {
    let times = seen("time_jitter full;");
    assert!(times[0] < 500, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] <= 60), "{times:?}");
}

#[test]
fn off_passes_every_timestamp_on() {
    assert_eq!(seen("time_jitter off;"), (0..100).map(sent).collect::<Vec<_>>());
}

#[test]
fn absolute_time_passes_every_timestamp_on() {
    assert_eq!(seen("atc on;"), (0..100).map(sent).collect::<Vec<_>>());
}

#[test]
fn zero_begins_at_zero_and_again_where_the_clock_steps_back() {
    let times = seen("time_jitter zero;");
    assert!(times[0] < 50, "{times:?}");
    assert!(times[..50].windows(2).all(|pair| pair[1] - pair[0] == 20), "{times:?}");
    assert!(times[50..].windows(2).all(|pair| pair[1] - pair[0] == 20), "{times:?}");
    assert!(times[50] < times[49], "zero takes a new base where the clock steps back: {times:?}");
}

#[test]
fn metadata_may_ask_for_absolute_time() {
    let server = Server::start("vhost __defaultVhost__ { }");
    let url = server.url("live/bravo");
    let mut player = player(&url);
    let mut publisher = publisher(&url);
    let mut body = Vec::new();
    let properties = vec![("bravo_atc".to_owned(), amf0::Value::String("true".to_owned()))];
    amf0::encode_all(&["onMetaData".into(), amf0::Value::EcmaArray(properties)], &mut body);
    publisher.send(Kind::Data, 0, &body).unwrap();
    for number in 0..20 {
        let tag = pattern::frame(number);
        publisher.send(tag.kind, 3_600_000 + tag.timestamp_ms, &tag.body).unwrap();
    }
    let received = receive_frames(&mut player, 20);
    let times: Vec<u32> = frames(&received).iter().map(|packet| packet.timestamp).collect();
    assert_eq!(times, (0..20).map(|number| 3_600_000 + number * 20).collect::<Vec<_>>());
}

#[test]
fn the_chunk_size_of_a_vhost_is_announced_and_kept() {
    let server = Server::start("vhost __defaultVhost__ { chunk_size 128; }");
    let url = server.url("live/chunks");
    let mut raw = Raw::connected(server.address(), "live");
    let msid = raw.create_stream();
    raw.command(msid, "play", 0.0, &[amf0::Value::Null, "chunks".into()]);
    raw.wait_status("NetStream.Play.Start");
    let mut player = player(&url);
    let mut publisher = publisher(&url);
    pattern::send_headers(&mut publisher);
    pattern::send_frames(&mut publisher, 0..200);
    let packets = receive_until(&mut player, |packet| pattern::check(packet) == Some(199));
    assert_eq!(packets.iter().filter_map(pattern::check).count(), 200);
    // The raw client's own chunk reader follows what was announced.
    let mut media = 0;
    while media < 200 {
        let message = raw.read_message(srs_tests::wait::SOON).unwrap();
        media += usize::from(matches!(message.type_id, 8 | 9) && message.payload.get(1) == Some(&1));
    }
}
