//! Sources of every shape against every output: what is published is what comes out, for those who were there before and those
//! who come late.
//!
//! The sources are synthetic: each picture and sound has its number in it, so that a hole, a repetition or a wrong time is seen
//! whatever the container. All streams are published to one server side by side.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use client::Publisher;
use srs_tests::capture::{player, publisher, receive_frames};
use srs_tests::live::HttpViewer;
use srs_tests::marked::{self, Unit, assert_same, assert_shown, of_kind, usual};
use srs_tests::pattern::AUDIO_CONFIGURATION;
use srs_tests::server::{Server, configuration};
use srs_tests::site::{list, segments};
use srs_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

/// A source: headers at the beginning, and what is sent in which order. Between two parts every early viewer has got
/// something.
struct Source {
    name: &'static str,
    /// Whether there is a header of pictures, and one of sounds, at the beginning.
    headers: (bool, bool),
    parts: Vec<Vec<Unit>>,
    /// How the encoder writes a packet.
    body: fn(&Unit) -> Vec<u8>,
}

/// The same with pictures and sounds moved by so much, in the order of their times.
fn moved(units: &[Unit], pictures_ms: i64, sounds_ms: i64) -> Vec<Unit> {
    let mut units = units.to_vec();
    for unit in &mut units {
        unit.dts_ms += if unit.is_video { pictures_ms } else { sounds_ms };
    }
    units.sort_by_key(|unit| unit.dts_ms);
    units
}

/// The first picture comes before the first sound, though its time lies behind.
fn behind(units: &[Unit]) -> Vec<Unit> {
    let mut units = moved(units, 100, 60);
    let first = units.iter().position(|unit| unit.is_video).unwrap();
    units[..=first].rotate_right(1);
    units
}

/// With start codes of three and of four bytes in turn, and units that are empty.
fn with_start_codes(unit: &Unit) -> Vec<u8> {
    let body = unit.body();
    if !unit.is_video {
        return body;
    }
    let (head, picture) = (&body[..5], &body[9..]);
    let code: &[u8] = match unit.number / 2 % 4 {
        0 => &[0, 0, 0, 1],
        1 => &[0, 0, 1],
        2 => &[0, 0, 0, 1, 0, 0, 1],
        // Behind its length, and behind an empty unit.
        _ => return [head, &[0; 4], &body[5..], &[0; 4]].concat(),
    };
    [head, code, picture].concat()
}

impl Source {
    fn units(&self) -> Vec<Unit> {
        self.parts.concat()
    }

    /// What somebody gets who joins when all was sent.
    fn late(&self) -> Vec<Unit> {
        let units = self.units();
        let from = units.iter().rposition(|unit| unit.is_key).unwrap_or(0);
        units[from..].to_vec()
    }

    fn has(&self, is_video: bool) -> bool {
        self.units().iter().any(|unit| unit.is_video == is_video)
    }
}

fn sources() -> Vec<Source> {
    let both = usual(6000, 1000);
    let one = |name, parts| Source { name, headers: (true, true), parts, body: Unit::body };
    let with = |change: &dyn Fn(&mut Unit)| {
        let mut units = both.clone();
        units.iter_mut().for_each(change);
        units
    };
    let pause = 4000..18_000;
    // A key frame each second, then each three.
    let longer = |mut unit: Unit| {
        unit.is_key &= unit.dts_ms < 3000 || unit.dts_ms % 3000 == 0;
        unit
    };
    // Decoding order of groups I P B B: shown 40 ms behind the DTS, then later, then earlier.
    let reordered = |shift: i64| {
        with(&move |unit| {
            if unit.is_video {
                unit.composition_ms =
                    [0, 80, -40, -40][usize::try_from(unit.dts_ms / 40 % 4).unwrap()] + shift;
            }
        })
    };
    vec![
        one("usual", vec![both.clone()]),
        one("reordered", vec![reordered(40)]),
        one("shown-before", vec![reordered(0)]),
        one("shown-late", vec![reordered(2000)]),
        Source { name: "sounds", headers: (false, true), ..one("", vec![of_kind(&both, false)]) },
        Source { name: "pictures", headers: (true, false), ..one("", vec![of_kind(&both, true)]) },
        one("sound-first", vec![moved(&both, 500, 0)]),
        one("sound-behind", vec![behind(&both)]),
        one(
            "paused",
            vec![
                usual(20_000, 1000)
                    .into_iter()
                    .filter(|unit| !unit.is_video || !pause.contains(&unit.dts_ms))
                    .collect(),
            ],
        ),
        one("longer-groups", vec![usual(12_000, 1000).into_iter().map(longer).collect()]),
        one("short-end", vec![usual(4050, 1000)]),
        Source {
            name: "one-picture",
            headers: (true, false),
            ..one("", vec![vec![Unit::picture(0, 0, true)]])
        },
        Source { name: "start-codes", body: with_start_codes, ..one("", vec![both.clone()]) },
    ]
}

/// A server with all outputs; recordings of the first vhost are FLV files, those of the second MP4 files.
fn server() -> Server {
    let directory = TempDir::new().unwrap();
    let own = "http_server { enabled on; listen 127.0.0.1:0; vod on; dir TOP/html; stream_wait 5; }
        vhost __defaultVhost__ { http_remux { enabled on; }
            hls { enabled on; hls_fragment 2; hls_window 100; hls_storage memory; hls_path TOP/html; hls_ctx off; }
            dvr { enabled on; dvr_path TOP/html/rec/[stream].flv; } }
        vhost second { dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } }";
    let own = own.replace("TOP", &directory.path().display().to_string());
    fs::create_dir_all(directory.path().join("html")).unwrap();
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

/// The files of a recording, in their order.
fn recorded(server: &Server, name: &str, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(server.directory().join("html/rec")).into_iter().flatten().flatten();
    let is_it = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        file.strip_suffix(&format!(".{ending}")).is_some_and(|stem| {
            stem.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[1..].parse::<u32>().is_ok())
        })
    };
    let mut found: Vec<PathBuf> = all.map(|entry| entry.path()).filter(is_it).collect();
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    found
}

/// A source with who watches it from before its first packet.
struct Running {
    source: Source,
    publishers: Vec<Publisher>,
    viewers: Vec<(&'static str, HttpViewer)>,
    player: client::Player,
}

const FORMATS: [&str; 3] = ["flv", "ts", "mp4"];

impl Running {
    fn begin(server: &Server, source: Source) -> Self {
        let watching = server.clients().len();
        let path = format!("live/{}", source.name);
        let watch = |ending| (ending, HttpViewer::start(&server.web(), &format!("/{path}.{ending}")));
        let viewers: Vec<_> = FORMATS.into_iter().map(watch).collect();
        let player = player(&server.url(&path));
        wait_until("viewers that wait", || server.clients().len() >= watching + 4);
        let second = format!("live?vhost=second/{}", source.name);
        let publishers = vec![publisher(&server.url(&path)), publisher(&server.url(&second))];
        Self { source, publishers, viewers, player }
    }

    fn publish(&mut self) {
        let (video, audio) = self.source.headers;
        for publisher in &mut self.publishers {
            marked::send_headers(publisher, video, audio);
        }
        for (n, part) in self.source.parts.iter().enumerate() {
            for unit in part {
                let body = (self.source.body)(unit);
                self.publishers.iter_mut().for_each(|publisher| unit.send_as(publisher, &body));
            }
            if n + 1 < self.source.parts.len() {
                let (ending, flv) = &self.viewers[0];
                wait_until(&format!("part {n} over {ending}"), || {
                    marked::of_flv(&flv.bytes()).iter().any(|unit| part.contains(unit))
                });
            }
        }
    }
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
        check_live(name, "flv", &flv.whole(), &units);
        for ending in ["flv", "mp4"] {
            let files = wait_for("a recording", Duration::from_secs(20), || {
                Some(recorded(&server, name, ending)).filter(|files| !files.is_empty())
            });
            assert_eq!(files.len(), 1, "{name}.{ending}: {files:?}");
            let bytes = fs::read(&files[0]).unwrap();
            check_live(&format!("recorded {name}"), ending, &bytes, &units);
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
            check_live(name, "mp4", &mp4.whole(), &units);
        }
    }
}

/// An output has what was published.
fn check_live(name: &str, ending: &str, bytes: &[u8], wanted: &[Unit]) {
    let what = format!("{name}.{ending}");
    let mut got = match ending {
        "flv" => marked::of_flv(bytes),
        "ts" => marked::of_ts(bytes),
        _ => marked::of_mp4(bytes),
    };
    if name.starts_with("late") {
        // Of MP4 whole fragments are sent: the one with the newest key frame may not have been ready, and a fragment may begin with
        // sound that lasts until its key frame.
        assert!(of_kind(&got, true).first().is_none_or(|unit| unit.is_key), "{what}: {got:?}");
        let first = |is_video| of_kind(wanted, is_video).first().map_or(0, |unit| unit.number);
        got.retain(|unit| ending != "mp4" || unit.number >= first(unit.is_video));
    }
    match ending {
        // Times of sounds that were written together are guessed.
        "ts" => assert_shown(&what, &got, wanted, 1),
        _ => assert_same(&what, &got, wanted),
    }
}

#[test]
fn what_is_published_comes_out_of_every_output() {
    let server = server();
    let mut all: Vec<Running> = sources().into_iter().map(|source| Running::begin(&server, source)).collect();
    for running in &mut all {
        running.publish();
    }
    let mut late = Vec::new();
    for running in &mut all {
        let (source, count) = (&running.source, running.source.units().len());
        let path = format!("live/{}", source.name);
        // All that was sent is there.
        drop(receive_frames(&mut running.player, count));
        let flv = &running.viewers[0].1;
        wait_until(&format!("all of {path} over HTTP"), || marked::of_flv(&flv.bytes()).len() >= count);
        // Of sounds alone nothing is kept for those who come late.
        if !source.has(true) {
            continue;
        }
        let mut player = player(&server.url(&path));
        drop(receive_frames(&mut player, source.late().len()));
        for ending in FORMATS {
            late.push((source.name, ending, HttpViewer::start(&server.web(), &format!("/{path}.{ending}"))));
        }
    }
    wait_until("late viewers", || late.iter().all(|(.., viewer)| viewer.has_begun()));
    for running in &mut all {
        running.publishers.drain(..).for_each(|publisher| drop(publisher.finish()));
    }
    for running in all {
        let (source, units) = (&running.source, running.source.units());
        for (ending, viewer) in running.viewers {
            check_live(&format!("early {}", source.name), ending, &viewer.whole(), &units);
        }
        check_hls(&server, source);
        check_recordings(&server, source);
    }
    for (name, ending, viewer) in late {
        let source = sources().into_iter().find(|source| source.name == name).unwrap();
        check_live(&format!("late {name}"), ending, &viewer.whole(), &source.late());
    }
}

fn check_hls(server: &Server, source: &Source) {
    let units = source.units();
    let what = format!("hls of {}", source.name);
    let path = format!("live/{}", source.name);
    let listed = wait_for(&what, Duration::from_secs(20), || list(server, &path));
    let segments = segments(server, &path, &listed);
    if source.has(true) {
        for segment in listed.segments.iter().zip(&segments).map(|(listed, segment)| {
            assert!(listed.duration > 0.0 && listed.duration < 4.5, "{what}: {listed:?}");
            segment
        }) {
            let first = marked::of_ts(segment).into_iter().filter(|unit| unit.is_video).min();
            assert!(first.is_none_or(|unit| unit.is_key), "{what}: a segment begins with {first:?}");
        }
    }
    assert_shown(&what, &marked::of_ts(&segments.concat()), &units, 1);
}

fn check_recordings(server: &Server, source: &Source) {
    for ending in ["flv", "mp4"] {
        let what = format!("recording {}.{ending}", source.name);
        let files = wait_for(&what, Duration::from_secs(20), || {
            Some(recorded(server, source.name, ending)).filter(|files| !files.is_empty())
        });
        assert_eq!(files.len(), 1, "{what}");
        let bytes = fs::read(&files[0]).unwrap();
        check_live("recorded", ending, &bytes, &source.units());
        let film = format!("rec/{}.{ending}", source.name);
        let listed = list(server, &film).unwrap_or_else(|| panic!("{film} as HLS"));
        let bytes = segments(server, &film, &listed).concat();
        assert_shown(&format!("film {film}"), &marked::of_ts(&bytes), &source.units(), 1);
    }
}
