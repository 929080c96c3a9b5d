//! Sources of every shape and codec against every output: what is published is what comes out, for those who were there before
//! and those who come late; what an output has no place for is said.
//!
//! The sources are synthetic: each picture and sound has its number in it, so that a hole, a repetition or a wrong time is seen
//! whatever the container. All streams of a test are published to one server side by side.

mod outputs;
mod sources;

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use client::{Packet, Publisher};
use outputs::{check_hls, check_live, check_recordings, check_told, recorded, server};
use sources::{Part, Source, Turn, codings, gaps, moved, shapes};
use srs_tests::capture::{player, publisher, receive_frames};
use srs_tests::live::HttpViewer;
use srs_tests::marked::{self, Unit, assert_same, assert_shown, usual};
use srs_tests::pattern::AUDIO_CONFIGURATION;
use srs_tests::server::Server;
use srs_tests::site::{list, segments};
use srs_tests::wait::{wait_for, wait_until};

/// Sources that are published at once.
const PUBLISHING: usize = 6;

const FORMATS: [&str; 3] = ["flv", "ts", "mp4"];

/// A source with who watches it from before its first packet.
struct Running {
    source: Source,
    publishers: Vec<Publisher>,
    viewers: Vec<(&'static str, HttpViewer)>,
    player: client::Player,
}

impl Running {
    fn watch(server: &Server, source: Source) -> Self {
        let path = format!("live/{}", source.name);
        let watch = |ending| (ending, HttpViewer::start(&server.web(), &format!("/{path}.{ending}")));
        let viewers: Vec<_> = FORMATS.into_iter().map(watch).collect();
        Self { publishers: Vec::new(), viewers, player: player(&server.url(&path)), source }
    }

    /// Publishes all of it to both vhosts, and looks that it has arrived.
    fn publish(&mut self, server: &Server) {
        let Self { source, publishers, viewers, player } = self;
        let urls = [format!("live/{}", source.name), format!("live?vhost=second/{}", source.name)];
        *publishers = urls.map(|url| publisher(&server.url(&url))).into();
        let flv = &viewers[0].1;
        let mut before = Vec::new();
        for part in &source.parts {
            if !before.is_empty() {
                wait_until(&format!("the beginning of {}", source.name), || flv.has(&before));
            }
            send(publishers, source, part);
            before = part.units[0].mark();
        }
        let units = source.units();
        let what = format!("early {} over RTMP", source.name);
        assert_same(&what, &of_packets(&receive_frames(player, units.len())), &units);
        let last = units.last().map(Unit::mark).unwrap();
        wait_until(&format!("all of {} over HTTP", source.name), || flv.has(&last));
    }
}

fn send(publishers: &mut [Publisher], source: &Source, part: &Part) {
    // Time has to pass: a gap is believed where it has.
    let until = Instant::now() + part.passes;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        for publisher in publishers.iter_mut() {
            publisher.wait(left.min(Duration::from_millis(50))).unwrap();
        }
    }
    for publisher in publishers {
        marked::send_headers_of(publisher, &part.coding, part.units[0].dts_ms, part.headers);
        for unit in &part.units {
            unit.send_as(publisher, &(source.body)(&part.coding, unit));
        }
    }
}

fn of_packets(packets: &[Packet]) -> Vec<Unit> {
    let of = |packet: &Packet| marked::of_packet(packet.kind, i64::from(packet.timestamp), &packet.payload);
    packets.iter().flat_map(of).collect()
}

/// Publishes all sources side by side and looks at every output of each.
fn compare(sources: Vec<Source>) {
    let server = server();
    let mut all: Vec<Running> = sources.into_iter().map(|source| Running::watch(&server, source)).collect();
    wait_until("viewers that wait", || server.clients().len() >= all.len() * (FORMATS.len() + 1));
    // A few at once: those that let time pass do so together.
    let waiting = Mutex::new(all.iter_mut());
    thread::scope(|scope| {
        for _ in 0..PUBLISHING {
            scope.spawn(|| {
                let next = || waiting.lock().unwrap().next();
                std::iter::from_fn(next).for_each(|running| running.publish(&server));
            });
        }
    });
    let mut late = Vec::new();
    // Of sounds alone nothing is kept for those who come late.
    for running in all.iter().filter(|running| running.source.has(true)) {
        let (source, path) = (&running.source, format!("live/{}", running.source.name));
        let wanted = source.late();
        let mut player = player(&server.url(&path));
        let got = of_packets(&receive_frames(&mut player, wanted.len()));
        assert_same(&format!("late {} over RTMP", source.name), &got, &wanted);
        for ending in FORMATS {
            let viewer = HttpViewer::start(&server.web(), &format!("/{path}.{ending}"));
            late.push((source.name.clone(), ending, viewer));
        }
    }
    wait_until("late viewers", || late.iter().all(|(.., viewer)| viewer.has_begun() || viewer.is_over()));
    for running in &mut all {
        running.publishers.drain(..).for_each(|publisher| drop(publisher.finish()));
    }
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let mut checks = Vec::new();
        for Running { source, viewers, .. } in all {
            let late: Vec<_> = late.extract_if(.., |(name, ..)| *name == source.name).collect();
            let name = source.name.clone();
            let server = &server;
            checks.push((name, scope.spawn(move || check(server, &source, viewers, late))));
        }
        failed.extend(checks.into_iter().filter_map(|(name, check)| check.join().err().map(|_| name)));
    });
    assert!(failed.is_empty(), "what came out of {failed:?} is said above");
}

/// Looks at all outputs of a source.
fn check(
    server: &Server,
    source: &Source,
    early: Vec<(&'static str, HttpViewer)>,
    late: Vec<(String, &'static str, HttpViewer)>,
) {
    for (ending, viewer) in early {
        // A player of MP4 follows no other tracks than those at its beginning.
        let ends = ending == "mp4" && source.turn != Turn::None;
        let wanted = if ends { source.parts[0].units.clone() } else { source.units() };
        check_viewer("early", source, ending, viewer, &wanted);
    }
    check_hls(server, source, "live");
    check_hls(server, source, "disk/live");
    check_recordings(server, source);
    check_told(server, source);
    for (_, ending, viewer) in late {
        check_viewer("late", source, ending, viewer, &source.late());
    }
}

/// A viewer over HTTP has got these units, as far as its format has a place for them.
fn check_viewer(when: &str, source: &Source, ending: &str, viewer: HttpViewer, wanted: &[Unit]) {
    let name = format!("{when} {}", source.name);
    let wanted = if ending == "ts" { source.in_ts(wanted) } else { wanted.to_vec() };
    if ending == "ts" && when == "early" && source.in_ts(&source.parts[0].units).is_empty() {
        let answer = viewer.outcome().map(|bytes| bytes.len());
        assert!(answer.as_ref().is_err_and(|error| error.contains("404")), "{name}.ts: {answer:?}");
    } else if ending == "ts" && when == "late" && !source.parts.iter().all(|part| part.coding.fits_ts(true)) {
        // Of sounds alone nothing is kept for those who come late: they get what comes from then on.
        let bytes = viewer.outcome().unwrap_or_default();
        let rest = &wanted[wanted.len().saturating_sub(marked::of_ts(&bytes).len())..];
        check_live(&name, "ts", &bytes, rest, false);
    } else {
        check_live(&name, ending, &viewer.whole(), &wanted, when == "late");
    }
}

#[test]
fn what_is_published_comes_out_of_every_output() {
    compare(shapes());
}

#[test]
fn every_codec_comes_out_of_every_output_that_has_a_place_for_it() {
    compare(codings());
}

#[test]
fn a_gap_is_as_long_in_every_output_as_it_was() {
    compare(gaps());
}

/// Sound that begins when outputs have begun without it: where it was announced it was waited for, and where not, it costs
/// nothing of the pictures.
#[test]
fn a_track_that_begins_later_costs_nothing_of_the_other() {
    let server = server();
    let units = moved(&usual(6000, 1000), 0, 1500);
    let (before, after) = units.split_at(units.iter().position(|unit| !unit.is_video).unwrap());
    let begin = |name: &str, is_announced: bool| {
        let watch = |ending| HttpViewer::start(&server.web(), &format!("/live/{name}.{ending}"));
        let viewers = [watch("mp4"), watch("flv")];
        let urls = [format!("live/{name}"), format!("live?vhost=second/{name}")];
        let mut publishers = urls.map(|url| publisher(&server.url(&url)));
        for publisher in &mut publishers {
            let codec = |name: &str, id: f64| (name.to_owned(), amf0::Value::Number(id));
            let mut properties = vec![codec("videocodecid", 7.0)];
            properties.extend(is_announced.then(|| codec("audiocodecid", 10.0)));
            let mut metadata = Vec::new();
            amf0::encode_all(&["onMetaData".into(), amf0::Value::EcmaArray(properties)], &mut metadata);
            publisher.send_metadata(0, &metadata).unwrap();
            marked::send_headers(publisher, true, false);
            before.iter().for_each(|unit| unit.send(publisher));
        }
        (viewers, publishers)
    };
    let announced = begin("announced", true);
    let surprising = begin("surprising", false);
    wait_until("an output that has begun without sound", || surprising.0[0].has_begun());
    let mut whole = Vec::new();
    for ([mp4, flv], mut publishers) in [announced, surprising] {
        for publisher in &mut publishers {
            marked::send_headers(publisher, false, true);
            after.iter().for_each(|unit| unit.send(publisher));
        }
        wait_until("all of it", || marked::of_flv(&flv.bytes()).len() == units.len());
        publishers.into_iter().for_each(|publisher| drop(publisher.finish()));
        whole.push((mp4, flv));
    }
    for ((mp4, flv), name) in whole.into_iter().zip(["announced", "surprising"]) {
        check_live(name, "flv", &flv.whole(), &units, false);
        for ending in ["flv", "mp4"] {
            let files = wait_for("a recording", Duration::from_secs(20), || {
                Some(recorded(&server, name, ending)).filter(|files| !files.is_empty())
            });
            assert_eq!(files.len(), 1, "{name}.{ending}: {files:?}");
            let bytes = fs::read(&files[0]).unwrap();
            check_live(&format!("recorded {name}"), ending, &bytes, &units, false);
            assert!(ending == "mp4" || bytes[4] == 5, "the file says that it has pictures and sound");
            let is_described = |record: &[u8]| bytes.windows(record.len()).any(|window| window == record);
            assert!(
                is_described(if ending == "mp4" { b"esds" } else { &AUDIO_CONFIGURATION[2..] }),
                "{name}.{ending}"
            );
        }
        let path = format!("live/{name}");
        let listed = list(&server, &path).unwrap();
        let bytes = segments(&server, &path, &listed).concat();
        assert_shown(&format!("hls of {name}"), &marked::of_ts(&bytes), &units, 1);
        if name == "announced" {
            check_live(name, "mp4", &mp4.whole(), &units, false);
        }
    }
}
