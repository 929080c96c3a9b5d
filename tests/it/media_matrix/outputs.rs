//! What came out: a server with all outputs, and what each of them has to hold of a source.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use srs_tests::marked::{self, Unit, assert_same, assert_shown, of_kind};
use srs_tests::server::{Server, configuration};
use srs_tests::site::{list, segments};
use srs_tests::wait::wait_for;
use tempfile::TempDir;

use super::sources::{Source, Turn};

/// How long files may take that are written behind a publish.
const WRITTEN: Duration = Duration::from_secs(20);

/// A server with all outputs; of the first vhost recordings are FLV files and HLS is in memory, of the second they are MP4 files and
/// HLS is on the disk.
pub(super) fn server() -> Server {
    let directory = TempDir::new().unwrap();
    let own = "http_server { enabled on; listen 127.0.0.1:0; vod on; dir TOP/html; stream_wait 5; }
        vhost __defaultVhost__ { http_remux { enabled on; }
            hls { enabled on; hls_fragment 2; hls_window 100; hls_storage memory; hls_path TOP/html; hls_ctx off; }
            dvr { enabled on; dvr_path TOP/html/rec/[stream].flv; } }
        vhost second {
            hls { enabled on; hls_fragment 2; hls_window 100; hls_path TOP/html; hls_dispose 0;
                hls_m3u8_file disk/[app]/[stream].m3u8; hls_ts_file disk/[app]/[stream]-[seq].ts; }
            dvr { enabled on; dvr_path TOP/html/rec/[stream].mp4; } }";
    let own = own.replace("TOP", &directory.path().display().to_string());
    fs::create_dir_all(directory.path().join("html")).unwrap();
    let text = configuration(directory.path(), &own);
    Server::start_in(directory, &text)
}

/// The files of a recording, in their order.
pub(super) fn recorded(server: &Server, name: &str, ending: &str) -> Vec<PathBuf> {
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

/// An output has what was published; somebody who came late may have a little more.
pub(super) fn check_live(name: &str, ending: &str, bytes: &[u8], wanted: &[Unit], is_late: bool) {
    let what = format!("{name}.{ending}");
    let mut got = match ending {
        "flv" => marked::of_flv(bytes),
        "ts" => marked::of_ts(bytes),
        _ => marked::of_mp4(bytes),
    };
    if is_late {
        // Of MP4 whole fragments are sent: the one with the newest key frame may not have been ready, and a fragment may begin with
        // sound that lasts until its key frame.
        assert!(of_kind(&got, true).first().is_none_or(|unit| unit.is_key), "{what}: {got:?}");
        let first = |is_video| of_kind(wanted, is_video).first().map_or(u64::MAX, |unit| unit.number);
        got.retain(|unit| ending != "mp4" || unit.number >= first(unit.is_video));
    }
    match ending {
        // Times of sounds that were written together are guessed.
        "ts" => assert_shown(&what, &got, wanted, 1),
        _ => assert_same(&what, &got, wanted),
    }
}

/// A list of segments, once the last unit is in them, has all that a transport stream has a place for; its segments can be played
/// each for itself, and say where something else begins.
pub(super) fn check_hls(server: &Server, source: &Source, directory: &str) {
    let wanted = source.in_ts(&source.units());
    let path = format!("{directory}/{}", source.name);
    let what = format!("HLS of {path}");
    if wanted.is_empty() {
        return assert!(list(server, &path).is_none(), "{what}: there is nothing to list");
    }
    let (listed, segments) = wait_for(&what, WRITTEN, || {
        let listed = list(server, &path)?;
        let segments = segments(server, &path, &listed);
        let last = wanted.last()?.mark();
        segments.last()?.windows(last.len()).any(|window| window == last).then_some((listed, segments))
    });
    let in_part =
        |number| source.parts.iter().position(|part| part.units.iter().any(|unit| unit.number == number));
    let mut part_before = None;
    for (listed, segment) in listed.segments.iter().zip(&segments) {
        let units = marked::of_ts(segment);
        let first = of_kind(&units, true).into_iter().min();
        assert!(listed.duration > 0.0, "{what}: {listed:?}");
        if source.has(true) {
            assert!(listed.duration < 4.5, "{what}: {listed:?}");
            let is_key = first.is_none_or(|unit| unit.is_key);
            assert!(is_key || source.has_long_group(), "{what}: a segment begins with {first:?}");
        }
        // Another sound in the middle of a group is cut off at the next key frame.
        let begins_group = source.parts.last().is_some_and(|part| part.units[0].is_key);
        if source.turn == Turn::Changed && begins_group {
            let mut parts: Vec<_> = units.iter().map(|unit| in_part(unit.number)).collect();
            parts.dedup();
            assert_eq!(parts.iter().min(), parts.iter().max(), "{what}: a segment with two configurations");
            let is_other = part_before.replace(parts[0]).is_some_and(|before| before != parts[0]);
            assert_eq!(listed.discontinuity, is_other, "{what}: {listed:?}");
        }
    }
    let breaks = listed.segments.iter().filter(|segment| segment.discontinuity).count();
    assert!(source.turn != Turn::Changed || breaks == 1, "{what}: {breaks} discontinuities");
    assert_shown(&what, &marked::of_ts(&segments.concat()), &wanted, 1);
}

/// Recordings have all of a source, and so has HLS of them.
pub(super) fn check_recordings(server: &Server, source: &Source) {
    for ending in ["flv", "mp4"] {
        let what = format!("recording {}.{ending}", source.name);
        // The tracks of an MP4 file are those at its beginning, and one more.
        let is_cut = ending == "mp4" && source.turn == Turn::Changed;
        let parts: Vec<Vec<Unit>> = if is_cut {
            source.parts.iter().map(|part| part.units.clone()).collect()
        } else {
            vec![source.units()]
        };
        let files = wait_for(&what, WRITTEN, || {
            Some(recorded(server, &source.name, ending)).filter(|files| files.len() >= parts.len())
        });
        assert_eq!(files.len(), parts.len(), "{what}: {files:?}");
        for (file, units) in files.iter().zip(&parts) {
            check_live("recorded", ending, &fs::read(file).unwrap(), units, false);
            check_film(server, source, &file.file_name().unwrap().to_string_lossy(), units);
        }
    }
}

fn check_film(server: &Server, source: &Source, file: &str, units: &[Unit]) {
    let film = format!("rec/{file}");
    let wanted = source.in_ts(units);
    let Some(listed) = list(server, &film) else {
        return assert!(wanted.is_empty(), "{film} as HLS");
    };
    let bytes = segments(server, &film, &listed).concat();
    assert_shown(&format!("film {film}"), &marked::of_ts(&bytes), &wanted, 1);
}

/// What has no place in HLS is said.
pub(super) fn check_told(server: &Server, source: &Source) {
    let log = server.log();
    for is_video in [true, false] {
        let has_place =
            source.in_ts(&of_kind(&source.units(), is_video)) == of_kind(&source.units(), is_video);
        let track = if is_video { "its pictures" } else { "its sound" };
        for vhost in ["__defaultVhost__", "second"] {
            let said = format!("hls of {vhost}/live/{} lacks {track}", source.name);
            assert_eq!(log.contains(&said), !has_place, "{said}");
        }
    }
}
