//! Who imports whom inside of `worker`: rooms from the bottom up, each of which may name only some below it. So no output knows
//! another, the disk knows no output, nothing below knows the web server, and there is no circle.

use std::collections::BTreeSet;
use std::path::PathBuf;

use srs_tests::program::source_files;

/// Rooms, from the bottom up: a file or folder below `worker/src`, and the rooms that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("workers", &[]),
    ("listeners", &[]),
    ("outbox", &[]),
    ("reading", &[]),
    ("recording", &["reading"]),
    ("disk", &["workers", "recording"]),
    ("outputs/moment", &[]),
    ("outputs/left_out", &[]),
    ("outputs/owners", &[]),
    ("outputs/vod", &["workers"]),
    ("outputs/pictures", &["workers"]),
    ("outputs/event", &["reading"]),
    ("outputs/feed", &["reading", "outputs/event"]),
    ("outputs/streams", &["reading", "outputs/feed"]),
    ("outputs/output", &["disk", "outputs/owners", "outputs/event", "outputs/feed"]),
    (
        "outputs/live",
        &["outbox", "disk", "outputs/left_out", "outputs/event", "outputs/feed", "outputs/output"],
    ),
    (
        "outputs/hls",
        &[
            "disk",
            "outputs/moment",
            "outputs/left_out",
            "outputs/owners",
            "outputs/event",
            "outputs/feed",
            "outputs/output",
        ],
    ),
    (
        "outputs/dvr",
        &[
            "reading",
            "recording",
            "disk",
            "outputs/moment",
            "outputs/left_out",
            "outputs/event",
            "outputs/feed",
            "outputs/output",
        ],
    ),
    (
        "outputs/media",
        &[
            "reading",
            "disk",
            "outputs/owners",
            "outputs/feed",
            "outputs/streams",
            "outputs/output",
            "outputs/live",
            "outputs/hls",
            "outputs/dvr",
        ],
    ),
    ("api", &[]),
    ("stream", &["listeners"]),
    (
        "web",
        &[
            "workers",
            "listeners",
            "outbox",
            "reading",
            "disk",
            "outputs/moment",
            "outputs/owners",
            "outputs/vod",
            "outputs/pictures",
            "outputs/output",
            "outputs/live",
            "outputs/hls",
            "outputs/media",
            "api",
        ],
    ),
];

/// Crates that only some rooms name: connections of RTMP are the stream role's, and rings are read in one place.
const CRATES: &[(&str, &[&str])] = &[("endpoint", &["reading", "stream"]), ("fanout", &["reading"])];

/// Rooms that hold no code but the names of others.
const SHELLS: [&str; 2] = ["lib", "outputs"];

/// The sources of the worker: module paths (`outputs/hls/stream`), and their text without unit tests.
fn sources() -> Vec<(String, String)> {
    let module = |(path, text): (PathBuf, String)| {
        let below = path.strip_prefix("worker/src").ok().filter(|path| !path.ends_with("tests.rs"))?;
        let text = text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned();
        Some((below.with_extension("").to_string_lossy().into_owned(), text))
    };
    source_files(".rs").into_iter().filter_map(module).collect()
}

/// The room that a module is in.
fn room_of(module: &str) -> Option<&'static str> {
    let is_in = |room: &str| module == room || module.starts_with(&format!("{room}/"));
    ROOMS.iter().map(|(room, _)| *room).filter(|room| is_in(room)).max_by_key(|room| room.len())
}

/// The modules that a text names by paths that begin with `crate` or `super`.
fn named(module: &str, text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for keyword in ["crate::", "super::"] {
            for (at, _) in line.match_indices(keyword) {
                if line[..at]
                    .ends_with(|letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':'))
                {
                    continue;
                }
                let mut base: Vec<&str> =
                    if keyword == "crate::" { Vec::new() } else { module.split('/').collect() };
                let mut rest = &line[at..];
                while let Some(behind) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = behind;
                }
                rest = rest.strip_prefix("crate::").unwrap_or(rest);
                let is_name = |part: &&str| {
                    part.starts_with(|letter: char| letter.is_ascii_lowercase())
                        && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
                };
                let end = rest.find(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
                base.extend(rest[..end.unwrap_or(rest.len())].split("::").take_while(is_name));
                all.insert(base.join("/"));
            }
        }
    }
    all
}

#[test]
fn rooms_of_the_worker_import_downwards_only() {
    for (at, (room, may)) in ROOMS.iter().enumerate() {
        for other in *may {
            let below = ROOMS[..at].iter().any(|(known, _)| known == other);
            assert!(below, "{room} may name only what stands above it in the table, which {other} does not");
        }
    }
    let (mut faults, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (module, text) in sources() {
        if SHELLS.contains(&module.as_str()) {
            continue;
        }
        let Some(room) = room_of(&module) else {
            faults.insert(format!("{module} is in no room"));
            continue;
        };
        let may = ROOMS.iter().find(|(known, _)| *known == room).unwrap().1;
        for name in named(&module, &text) {
            match room_of(&name) {
                Some(other) if other == room => {}
                Some(other) if may.contains(&other) => drop(used.insert((room, other))),
                Some(other) => drop(faults.insert(format!("{module} ({room}) names {name} ({other})"))),
                None => {}
            }
        }
        for (krate, rooms) in CRATES {
            let is_named = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(&format!("{krate}::")));
            if is_named && !rooms.contains(&room) {
                faults.insert(format!("{module} ({room}) names the crate {krate}"));
            }
        }
    }
    // What nobody needs is not allowed beforehand.
    for (room, may) in ROOMS {
        for unused in may.iter().filter(|other| !used.contains(&(*room, **other))) {
            faults.insert(format!("{room} does not name {unused}: take it out of the table"));
        }
    }
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "rooms of worker:\n{}", faults.join("\n"));
}
