//! Players that pages have, in a real browser, with streams that are hard to play: hls.js, mpegts.js, Shaka Player and our own. Each
//! goes on behind the hard place, and shows what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use client::Kind;
use flv::file::Tag;
use serde::Deserialize;
use srs_tests::browser::Browser;
use srs_tests::capture::{publisher, tags};
use srs_tests::clip::QUIET;
use srs_tests::process::run;
use srs_tests::program::{have, source_tree};
use srs_tests::server::{Server, configuration};
use srs_tests::site::wait_listed;
use srs_tests::tools::npm;
use srs_tests::wait::wait_for;
use tempfile::TempDir;

/// How long sources are, s, where their hard place begins, and where it ends at most.
const LENGTH: u32 = 16;
const HARD: (u32, u32) = (6, 9);
/// How long players may take to show all of that.
const PATIENCE: Duration = Duration::from_secs(90);
/// After so long in which no player that is to go on has shown another second, none will.
const STILL: Duration = Duration::from_secs(15);

/// Seconds that may be missing.
const MISSED: usize = 2;

/// Sources that are played at once: a browser on two busy cores decodes no more.
const AT_ONCE: usize = 4;
/// Players that may fail once, on a machine that has no time for them.
const SECOND_ATTEMPTS: usize = 2;

/// What each player reports of itself.
#[derive(Deserialize)]
struct Report {
    /// Errors that it gave up for.
    fatal: Vec<String>,
    /// Errors for which its page had it begin anew, or where it stood.
    begun: Vec<String>,
    /// Others, which it gets over by itself.
    told: Vec<String>,
    /// What it did last, as far as it says so.
    events: Vec<String>,
    /// Seconds of the source in the order in which they were shown.
    seconds: Vec<u32>,
    /// Decoded pictures.
    frames: u32,
    /// How wide they were.
    widths: Vec<u32>,
}

/// A clip whose pictures say by bars which second they belong to.
fn clip(directory: &Path, name: &str, width: u32, group: u32) -> Vec<Tag> {
    let file = directory.join(name);
    let bars = format!(
        "color=black:size=16x9:rate=25:duration={LENGTH},format=yuv444p,\
         geq=lum='if(mod(floor(N/25/pow(2,floor(X*8/W))),2),235,16)':cb=128:cr=128,\
         scale={width}x{}:flags=neighbor,format=yuv420p",
        width * 9 / 16
    );
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-f", "lavfi", "-i", &bars]);
    command.args(["-f", "lavfi", "-i", &format!("sine=frequency=440:sample_rate=44100:duration={LENGTH}")]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-sc_threshold", "0"]);
    command.args(["-g", &group.to_string(), "-c:a", "aac", "-b:a", "64k"]).arg(&file);
    drop(run(&mut command, Duration::from_secs(60)).expect_success());
    tags(&file)
}

fn is_header(tag: &Tag) -> bool {
    tag.kind != Kind::Data && flv::classify(tag.kind, &tag.body).sequence_header
}

fn is_within(tag: &Tag, (from, to): (u32, u32)) -> bool {
    (from * 1000..to * 1000).contains(&tag.timestamp_ms)
}

/// The sources: what is sent, by name.
fn sources(directory: &Path) -> BTreeMap<&'static str, Vec<Tag>> {
    let usual = clip(directory, "usual.flv", 320, 25);
    let keep =
        |keeps: &dyn Fn(&Tag) -> bool| usual.iter().filter(|tag| keeps(tag)).cloned().collect::<Vec<_>>();
    let before = (0, HARD.0);
    // Sound that begins later has its header where it begins.
    let begins_later = |is_announced: bool| {
        let mut tags = keep(&|tag: &Tag| match tag.kind {
            Kind::Audio => is_header(tag) || !is_within(tag, before),
            Kind::Video => true,
            Kind::Data => is_announced,
        });
        let header = tags.iter().position(|tag| tag.kind == Kind::Audio && is_header(tag)).unwrap();
        let header = tags.remove(header);
        let at = tags.iter().position(|tag| tag.kind == Kind::Audio).unwrap();
        tags.insert(at, Tag { timestamp_ms: tags[at].timestamp_ms, ..header });
        tags
    };
    let changed = {
        let larger = clip(directory, "larger.flv", 640, 25);
        let header = larger.iter().find(|tag| tag.kind == Kind::Video && is_header(tag)).unwrap();
        let header = Tag { timestamp_ms: HARD.0 * 1000, ..header.clone() };
        let mut tags = keep(&|tag| is_within(tag, before));
        tags.push(header);
        tags.extend(larger.into_iter().filter(|tag| !is_within(tag, before)));
        tags
    };
    [
        ("late-sound", begins_later(true)),
        ("added-sound", begins_later(false)),
        ("changed-size", changed),
        ("paused", keep(&|tag| tag.kind != Kind::Video || !is_within(tag, HARD))),
        ("gap", keep(&|tag| !is_within(tag, HARD))),
        ("long-group", clip(directory, "long.flv", 320, 25 * LENGTH)),
        ("usual", usual.clone()),
    ]
    .into()
}

/// Sends tags as time passes.
fn publish(url: &str, tags: &[Tag]) {
    let mut publisher = publisher(url);
    let began = Instant::now();
    for tag in tags {
        let due = began + Duration::from_millis(tag.timestamp_ms.into());
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            publisher.wait(left).unwrap();
        }
        match tag.kind {
            Kind::Data => publisher.send_metadata(tag.timestamp_ms, &tag.body),
            kind => publisher.send(kind, tag.timestamp_ms, &tag.body),
        }
        .unwrap();
    }
    publisher.finish().unwrap();
}

/// The page with its players, in the directory of a server.
fn page(html: &Path) -> Option<()> {
    let files: [(&str, PathBuf); 3] = [
        ("hls.js", npm("hls.js", "dist/hls.min.js")?),
        ("mpegts.js", npm("mpegts.js", "dist/mpegts.js")?),
        ("shaka.js", npm("shaka-player", "dist/shaka-player.compiled.js")?),
    ];
    for (name, file) in files {
        fs::copy(file, html.join(name)).unwrap();
    }
    fs::copy(source_tree().join("tests/src/players.html"), html.join("players.html")).unwrap();
    Some(())
}

/// Which player plays which output.
const PLAYERS: [(&str, &str, &str); 7] = [
    ("hls.js", "hls", "/live/NAME.m3u8"),
    ("hls.js, disk", "hls", "/disk/live/NAME.m3u8"),
    ("shaka", "shaka", "/live/NAME.m3u8"),
    ("mpegts.js, flv", "mpegts", "/live/NAME.flv"),
    ("mpegts.js, ts", "mpegts", "/live/NAME.ts"),
    ("own, mp4", "own", "/live/NAME.mp4"),
    ("own, flv", "own", "/live/NAME.flv"),
];

/// A player that is to play a source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Trial {
    source: &'static str,
    player: &'static str,
    kind: &'static str,
    path: &'static str,
}

impl Trial {
    fn all(source: &'static str) -> impl Iterator<Item = Self> {
        // Shaka Player goes on without fail only where each segment begins with a key frame.
        let plays = move |player| (player, source) != ("shaka", "long-group");
        let of = move |(player, kind, path)| Self { source, player, kind, path };
        PLAYERS.into_iter().filter(move |(player, ..)| plays(*player)).map(of)
    }

    fn name(&self) -> String {
        format!("{}: {}", self.player, self.source)
    }
}

#[test]
fn players_of_pages_go_on_behind_every_hard_place() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let html = directory.path().join("html");
    fs::create_dir_all(&html).unwrap();
    let Some(()) = page(&html) else { return };
    let Some(browser) = Browser::start(1280, 900) else { return };
    let sources = sources(directory.path());
    let own = "http_server { enabled on; listen 127.0.0.1:0; dir TOP/html; }
        vhost __defaultVhost__ { http_remux { enabled on; }
            hls { enabled on; hls_fragment 1; hls_aof_ratio 1.5; hls_window 60; hls_storage memory; hls_path TOP/html; } }
        vhost second { hls { enabled on; hls_fragment 1; hls_aof_ratio 1.5; hls_window 60; hls_path TOP/html; hls_dispose 0;
            hls_m3u8_file disk/[app]/[stream].m3u8; hls_ts_file disk/[app]/[stream]-[seq].ts; } }";
    let own = own.replace("TOP", &directory.path().display().to_string());
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    let names: Vec<&str> = sources.keys().copied().collect();
    let mut failed = BTreeMap::new();
    for batch in names.chunks(AT_ONCE) {
        let trials: Vec<Trial> = batch.iter().flat_map(|name| Trial::all(name)).collect();
        failed.extend(attempt(&server, &browser, &sources, "first", &trials));
    }
    let told: Vec<&str> = failed.values().map(String::as_str).collect();
    let told = told.join("\n");
    assert!(failed.len() <= SECOND_ATTEMPTS, "{} players failed:\n{told}", failed.len());
    if !failed.is_empty() {
        eprintln!("{} players get a second attempt:\n{told}", failed.len());
        let trials: Vec<Trial> = failed.into_keys().collect();
        let again = attempt(&server, &browser, &sources, "second", &trials);
        let again: Vec<String> = again.into_values().collect();
        assert!(again.is_empty(), "these failed twice:\n{}\nfirst:\n{told}", again.join("\n"));
    }
}

/// Publishes what these players are to play and has them play it, in a fresh page: what is wrong with those that fail.
fn attempt(
    server: &Server,
    browser: &Browser,
    sources: &BTreeMap<&'static str, Vec<Tag>>,
    which: &str,
    trials: &[Trial],
) -> BTreeMap<Trial, String> {
    browser.open(&format!("{}/players.html", server.web()));
    browser.wait("window.ready");
    for trial in trials {
        let path = trial.path.replace("NAME", &format!("{which}-{}", trial.source));
        let _ = browser.run(&format!("prepare('{}', '{}', '{path}')", trial.name(), trial.kind));
    }
    look(browser, "the players", |page| page.loaded == trials.len());
    let names: BTreeSet<&str> = trials.iter().map(|trial| trial.source).collect();
    let reports = thread::scope(|scope| {
        for name in &names {
            for vhost in ["", "?vhost=second"] {
                let url = server.url(&format!("live{vhost}/{which}-{name}"));
                scope.spawn(move || publish(&url, &sources[name]));
            }
        }
        for name in &names {
            // A player that sees one segment only takes that for all that is ever listed.
            for list in ["live", "disk/live"] {
                drop(wait_listed(server, &format!("{list}/{which}-{name}"), 2.5));
            }
            let _ = browser.run(&format!("play('{name}')"));
        }
        watch(browser, trials.len())
    });
    let result = |trial: &Trial| match reports.get(&trial.name()) {
        Some(report) => wrong(trial, report).map(|wrong| (*trial, wrong)),
        None => Some((*trial, format!("{}: it reports nothing", trial.name()))),
    };
    trials.iter().filter_map(result).collect()
}

/// How far the players of the page are.
#[derive(Deserialize, PartialEq, Eq)]
struct Progress {
    /// Those that are there.
    loaded: usize,
    /// Those that have shown the last second.
    over: usize,
    /// Seconds that all have shown.
    shown: usize,
}

/// Looks at the page at its own pace, until it is so.
fn look(browser: &Browser, what: &str, mut is_so: impl FnMut(&Progress) -> bool) {
    let script = format!("return progress({})", LENGTH - 1);
    wait_for(what, PATIENCE, || is_so(&serde_json::from_value(browser.run(&script)).unwrap()).then_some(()));
}

/// Waits until so many players have shown the last second, or will not; their reports.
fn watch(browser: &Browser, count: usize) -> BTreeMap<String, Report> {
    let (mut shown, mut since) = (0, Instant::now());
    look(browser, "the last second", |page| {
        if page.shown != shown {
            (shown, since) = (page.shown, Instant::now());
        }
        page.over == count || since.elapsed() > STILL
    });
    serde_json::from_value(browser.run("return reports")).unwrap()
}

/// What is wrong with what a player has done.
fn wrong(trial: &Trial, report: &Report) -> Option<String> {
    let Trial { source, player, .. } = *trial;
    let mut wrong = Vec::new();
    if !report.fatal.is_empty() {
        wrong.push("it has given up");
    }
    // A page's media source has the tracks that it begins with.
    let adds_a_track = matches!(source, "late-sound" | "added-sound");
    // hls.js loads nothing more while its play head stands where a segment has sound and no pictures.
    let may_stand = source == "paused" && report.begun.iter().all(|words| words.starts_with("stands at"));
    if !report.begun.is_empty() && !adds_a_track && !may_stand {
        wrong.push("it had to begin anew");
    }
    if !report.seconds.contains(&(LENGTH - 1)) {
        wrong.push("it has not shown the end");
    }
    // Ours jump to what is newest, and begin anew by themselves.
    let is_ours = player.starts_with("own");
    let hole = if matches!(source, "gap" | "paused") { HARD.1 - HARD.0 } else { 0 };
    // Shaka Player may jump over what has not come yet, and back.
    let goes_on = |pair: &[u32]| pair[0] < pair[1] || player == "shaka";
    let in_order = report.seconds.windows(2).all(|pair| goes_on(pair) && pair[1] < LENGTH);
    // On a busy machine some that were shown were not looked at.
    let seen = report.seconds.len() + usize::try_from(hole).unwrap() + MISSED;
    let is_all = is_ours || report.seconds.first().is_none_or(|first| (*first..LENGTH).count() <= seen);
    if report.begun.is_empty() && !(in_order && is_all) {
        wrong.push("it has not shown all in order");
    }
    if report.frames == 0 || source == "changed-size" && !report.widths.contains(&640) {
        wrong.push("pictures are missing");
    }
    let did: Vec<&str> = report.told.iter().chain(&report.events).map(String::as_str).collect();
    let shown = (&report.seconds, report.frames, &report.widths, &report.fatal, &report.begun);
    let name = trial.name();
    (!wrong.is_empty()).then(|| format!("{name}: {wrong:?}: {shown:?}; what it did:\n  {}", did.join("\n  ")))
}
