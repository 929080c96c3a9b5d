//! Players that pages have, in a real browser, with streams that are hard to play: hls.js, mpegts.js, Shaka Player and our own. Each
//! goes on behind the hard place, and shows what was sent.

use std::collections::BTreeMap;
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
const PATIENCE: Duration = Duration::from_secs(50);

/// Seconds that may be missing.
const MISSED: usize = 2;

/// Frames of several hosts are in one process.
const ONE_PROCESS: [&str; 2] =
    ["--renderer-process-limit=1", "--disable-features=IsolateOrigins,site-per-process"];

/// What each player reports of itself.
#[derive(Deserialize)]
struct Report {
    /// Errors that it gave up for.
    fatal: Vec<String>,
    /// Errors for which its page had it begin anew.
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
        "color=black:size={width}x{}:rate=25:duration={LENGTH},format=yuv420p,\
         geq=lum='if(mod(floor(N/25/pow(2,floor(X*8/W))),2),235,16)':cb=128:cr=128",
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

#[test]
fn players_of_pages_go_on_behind_every_hard_place() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let html = directory.path().join("html");
    fs::create_dir_all(&html).unwrap();
    let Some(()) = page(&html) else { return };
    let Some(browser) = Browser::start_with(1280, 900, &ONE_PROCESS) else { return };
    let sources = sources(directory.path());
    let own = "http_server { enabled on; listen 127.0.0.1:0; dir TOP/html; }
        vhost __defaultVhost__ { http_remux { enabled on; }
            hls { enabled on; hls_fragment 1; hls_aof_ratio 1.5; hls_window 60; hls_storage memory; hls_path TOP/html; } }
        vhost second { hls { enabled on; hls_fragment 1; hls_aof_ratio 1.5; hls_window 60; hls_path TOP/html; hls_dispose 0;
            hls_m3u8_file disk/[app]/[stream].m3u8; hls_ts_file disk/[app]/[stream]-[seq].ts; } }";
    let own = own.replace("TOP", &directory.path().display().to_string());
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    browser.open(&format!("{}/players.html", server.web()));
    browser.wait("window.ready");
    let mut count = 0;
    for name in sources.keys() {
        // Shaka Player goes on without fail only where each segment begins with a key frame.
        let plays = |player| (player, *name) != ("shaka", "long-group");
        for (player, kind, path) in PLAYERS.into_iter().filter(|(player, ..)| plays(*player)) {
            let path = path.replace("NAME", name);
            let _ = browser.run(&format!("prepare('{player}: {name}', '{kind}', '{path}')"));
            count += 1;
        }
    }
    browser.wait(&format!("window.loaded.size === {count}"));
    let reports = thread::scope(|scope| {
        for (name, tags) in &sources {
            for vhost in ["", "?vhost=second"] {
                let url = server.url(&format!("live{vhost}/{name}"));
                scope.spawn(move || publish(&url, tags));
            }
        }
        for name in sources.keys() {
            // A player that sees one segment only takes that for all that is ever listed.
            drop(wait_listed(&server, &format!("live/{name}"), 2.5));
            let _ = browser.run(&format!("play('{name}')"));
        }
        watch(&browser, count)
    });
    let wrong: Vec<String> = reports.iter().filter_map(|(name, report)| wrong(name, report)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(reports.len(), count);
}

/// Waits until so many players have shown the last second, or will not; their reports.
fn watch(browser: &Browser, count: usize) -> BTreeMap<String, Report> {
    let last = LENGTH - 1;
    let over = format!("Object.values(reports).filter((each) => each.seconds.at(-1) === {last}).length");
    let began = Instant::now();
    wait_for("the last second", PATIENCE * 2, || {
        let is_over = browser.number(&format!("{over} === {count}")) > 0.0;
        (is_over || began.elapsed() > PATIENCE).then_some(())
    });
    serde_json::from_value(browser.run("return reports")).unwrap()
}

/// What is wrong with what a player has done.
fn wrong(name: &str, report: &Report) -> Option<String> {
    let (player, source) = name.split_once(": ").unwrap();
    let mut wrong = Vec::new();
    if !report.fatal.is_empty() {
        wrong.push("it has given up");
    }
    // A page's media source has the tracks that it begins with.
    let adds_a_track = matches!(source, "late-sound" | "added-sound");
    if !report.begun.is_empty() && !adds_a_track {
        wrong.push("it had to begin anew");
    }
    if report.seconds.last() != Some(&(LENGTH - 1)) {
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
    (!wrong.is_empty()).then(|| format!("{name}: {wrong:?}: {shown:?}; what it did:\n  {}", did.join("\n  ")))
}
