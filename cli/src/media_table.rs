//! HLS and recordings as tables.

use comfy_table::{Cell, Color};

use crate::output;
use crate::quantity;
use crate::snapshot::Snapshot;
use crate::table::{self, Column, Lines, plain, stream_name};

/// Finished recordings that a table shows: the newest.
const NEWEST: usize = 15;
/// Names that are shown on one line; `-o json` has all.
const MOST_NAMED: usize = 4;

const HLS: [Column; 9] = [
    ("STREAM", false),
    ("STATE", false),
    ("STORAGE", false),
    ("SEGMENTS", true),
    ("WINDOW", true),
    ("NEXT", true),
    ("BYTES", true),
    ("PLAYERS", true),
    ("LOST", true),
];

const RECORDINGS: [Column; 5] =
    [("STREAM", false), ("STATE", false), ("PLAN", false), ("LENGTH", true), ("BYTES", true)];

const TRACKS: [Column; 4] = [("STREAM", false), ("TRACK", false), ("CODEC", false), ("RATE", true)];

const FILES: [Column; 4] = [("FILE", false), ("STREAM", false), ("LENGTH", true), ("BYTES", true)];

/// The tracks of streams, one a line, and what outputs lack.
pub(crate) fn tracks(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&TRACKS, snapshots, colours);
    for snapshot in snapshots {
        for stream in &snapshot.streams {
            for track in &stream.tracks {
                let (kind, what) = match (&track.video, &track.audio) {
                    (Some(video), _) => ("video", table::video(Some(video))),
                    (None, audio) => ("audio", table::audio(audio.as_ref())),
                };
                let cells = vec![
                    Cell::new(stream_name(
                        &stream.vhost,
                        &format!("{}/{}", stream.app, stream.name),
                        lines.wide,
                    )),
                    Cell::new(format!("{kind} {}", track.number)),
                    Cell::new(what),
                    Cell::new(quantity::kbps(track.kbps)),
                ];
                lines.add(&snapshot.node, cells);
            }
        }
    }
    let lacks = snapshots.iter().flat_map(|snapshot| &snapshot.streams);
    let lacks = lacks.map(|one| (format!("{}/{}/{}", one.vhost, one.app, one.name), &one.left_out));
    format!("{}{}", lines.text("no tracks"), left_out(lacks))
}

/// Streams that have HLS, one a line.
pub(crate) fn hls(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&HLS, snapshots, colours);
    for snapshot in snapshots {
        for hls in &snapshot.hls {
            let (state, colour) = if hls.live { ("live", Color::Green) } else { ("rests", Color::Yellow) };
            let cells = vec![
                Cell::new(stream_name(&hls.vhost, &format!("{}/{}", hls.app, hls.name), lines.wide)),
                lines.cell(state, Some(colour)),
                Cell::new(plain(&hls.storage)),
                Cell::new(hls.segments),
                Cell::new(quantity::duration(hls.window_ms)),
                Cell::new(hls.sequence),
                Cell::new(quantity::bytes(hls.bytes)),
                Cell::new(hls.clients),
                lines.cell(hls.lost, (hls.lost > 0).then_some(Color::Red)),
            ];
            lines.add(&snapshot.node, cells);
        }
    }
    let lacks = snapshots.iter().flat_map(|snapshot| &snapshot.hls);
    let lacks = lacks.map(|hls| (format!("{}/{}/{}", hls.vhost, hls.app, hls.name), &hls.left_out));
    let further =
        snapshots.iter().flat_map(|snapshot| &snapshot.hls).filter(|hls| !hls.renditions.is_empty());
    let further: String = further
        .map(|hls| {
            let name = format!("{}/{}/{}", hls.vhost, hls.app, hls.name);
            let (tracks, lists) = match hls.renditions.len() {
                1 => ("a further track".to_owned(), "a list of its own"),
                count => (format!("{count} further tracks"), "lists of their own"),
            };
            format!("\n{} has {tracks} in {lists}: {}", plain(&name), some_of(&hls.renditions, ", "))
        })
        .collect();
    format!("{}{further}{}", lines.text("no stream has HLS"), left_out(lacks))
}

/// What streams lack there, a line for each that lacks something.
fn left_out<'a>(streams: impl Iterator<Item = (String, &'a Vec<String>)>) -> String {
    let lines = streams.filter(|(_, lacks)| !lacks.is_empty());
    lines.map(|(name, lacks)| format!("\n{} lacks {}", plain(&name), some_of(lacks, "; "))).collect()
}

/// The first of several words; how many more there are.
fn some_of(all: &[String], between: &str) -> String {
    let shown = plain(&all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(between));
    match all.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown}{between}and {more} more"),
    }
}

/// Streams that are recorded, then the files that were finished.
pub(crate) fn dvr(snapshots: &[Snapshot], colours: bool) -> String {
    let mut recordings = Lines::new(&RECORDINGS, snapshots, colours);
    let mut files = Lines::new(&FILES, snapshots, colours);
    let mut older = 0;
    for snapshot in snapshots {
        for one in &snapshot.dvr.recordings {
            let (state, colour) = if one.open { ("records", Color::Green) } else { ("waits", Color::Yellow) };
            let plan = if one.by_operator { format!("{}, by order", one.plan) } else { one.plan.clone() };
            let cells = vec![
                Cell::new(stream_name(&one.vhost, &format!("{}/{}", one.app, one.name), recordings.wide)),
                recordings.cell(state, Some(colour)),
                Cell::new(plain(&plan)),
                Cell::new(quantity::duration(one.duration_ms)),
                Cell::new(quantity::bytes(one.bytes)),
            ];
            recordings.add(&snapshot.node, cells);
        }
        let all = snapshot.dvr.recorded.len();
        let left_out = if output::is_wide() { 0 } else { all.saturating_sub(NEWEST) };
        older += left_out;
        for file in snapshot.dvr.recorded.iter().skip(left_out) {
            let cells = vec![
                Cell::new(plain(&file.path)),
                Cell::new(stream_name(&file.vhost, &format!("{}/{}", file.app, file.name), files.wide)),
                Cell::new(quantity::duration(file.duration_ms)),
                Cell::new(quantity::bytes(file.bytes)),
            ];
            files.add(&snapshot.node, cells);
        }
    }
    let lacks = snapshots.iter().flat_map(|snapshot| &snapshot.dvr.recordings);
    let lacks = lacks.map(|one| (format!("{}/{}/{}", one.vhost, one.app, one.name), &one.left_out));
    let lacks = left_out(lacks);
    let mut text = format!(
        "{}{lacks}

{}",
        recordings.text("nothing is recorded"),
        files.text("no file was finished yet")
    );
    if older > 0 {
        text.push_str(&format!(
            "
and {older} before these (-o wide shows all)"
        ));
    }
    text
}
