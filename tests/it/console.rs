//! The pages of the server in a real browser.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::browser::Browser;
use srs_tests::capture::ffmpeg_publish;
use srs_tests::clip::Clip;
use srs_tests::pattern::{Live, Watcher};
use srs_tests::process::{Running, run, signal};
use srs_tests::program::{have, source_tree};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A server with pages, and a stream `live/show` from a clip that is played again and again.
struct Stage {
    server: Server,
    _publisher: Running,
}

const PAGES: &str = "http_server { enabled on; listen 127.0.0.1:0; dir /nonexistent; }\n";

impl Stage {
    fn start() -> Option<Self> {
        if !have(&["ffmpeg"]) {
            return None;
        }
        let server = Server::start(&format!(
            "{PAGES}vhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_storage memory; hls_fragment 2; }} }}"
        ));
        let publisher = Running::start(
            Command::new("ffmpeg")
                .args(srs_tests::clip::QUIET)
                .args(["-re", "-stream_loop", "-1", "-i"])
                .arg(source_tree().join("conf/demo.flv"))
                .args(["-c", "copy", "-f", "flv"])
                .arg(server.url("live/show")),
        );
        server.wait_published("live/show");
        Some(Self { server, _publisher: publisher })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.web())
    }
}

/// Complaints that are nobody's fault: a player that is told to stop aborts what it was loading.
fn complaints(browser: &Browser) -> Vec<String> {
    let mut complaints = browser.complaints();
    complaints.retain(|line| !line.contains("ERR_ABORTED"));
    complaints
}

/// Pictures for docs/images, when they are wanted: `SRS_TEST_PICTURES=DIRECTORY`.
fn picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os("SRS_TEST_PICTURES") {
        browser.picture(&Path::new(&directory).join(name));
    }
}

/// Waits until a page's video plays: its time and its decoded frames grow.
fn plays(browser: &Browser) {
    browser.wait("document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames > 5");
    let frames = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames";
    let time = "document.querySelector('video').currentTime";
    let (first, at) = (browser.number(frames), browser.number(time));
    wait_until("more frames, and time that passes", || {
        browser.number(frames) > first + 20.0 && browser.number(time) > at + 0.5
    });
}

#[test]
fn a_newcomer_sees_the_stream_and_how_to_publish() {
    let Some(browser) = Browser::start(1280, 900) else { return };
    let Some(stage) = Stage::start() else { return };
    browser.open(&stage.url("/"));
    plays(&browser);
    let rtmp = format!("rtmp://127.0.0.1:{}/live", stage.server.address().port());
    assert_eq!(browser.run("return document.querySelector('#server').textContent"), rtmp);
    browser.wait("document.querySelector('#streams table')");
    browser.click("#statistics");
    browser.wait("document.querySelector('.overlay').textContent.includes('640×360')");
    picture(&browser, "landing.png");
    browser.click("#language");
    browser.wait("document.documentElement.lang === 'zh-CN'");
    assert_eq!(browser.run("return document.querySelector('#yours').textContent"), "推送您自己的流");
    assert_eq!(complaints(&browser), Vec::<String>::new());
    // At the width of a phone nothing sticks out.
    browser.resize(390, 844);
    browser.open(&stage.url("/"));
    plays(&browser);
    let width = browser.number("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert!(width <= 0.0, "{width} pixels too wide");
    picture(&browser, "landing-phone.png");
}

#[test]
fn every_kind_of_player_plays() {
    let Some(browser) = Browser::start(1280, 900) else { return };
    let Some(stage) = Stage::start() else { return };
    for kind in ["mp4", "flv", "hls"] {
        browser.open(&stage.url(&format!("/console/stream.html?app=live&stream=show&kind={kind}")));
        plays(&browser);
        let pressed = "document.querySelector('[data-kind][aria-pressed=true]').dataset.kind";
        assert_eq!(browser.run(&format!("return {pressed}")), kind);
        browser.wait("document.querySelector('#snapshot').dataset.drawn");
        // The newest key frame has been drawn: it is not all of one colour.
        let colours = "const c = document.querySelector('#snapshot'); \
                       const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
                       return new Set(Array.from({length: 200}, (_, n) => d[(n * 997 * 4) % d.length])).size";
        assert!(browser.run(colours).as_f64().unwrap() > 5.0);
        browser.wait("document.querySelector('#details').textContent.includes('640×360')");
        assert_eq!(complaints(&browser), Vec::<String>::new(), "{kind}");
    }
    picture(&browser, "stream.png");
    // The reference's page and its parameters.
    let old = "/players/srs_player.html?server=127.0.0.1&port=1935&vhost=127.0.0.1&app=live&stream=show&autostart=true";
    browser.open(&stage.url(old));
    plays(&browser);
    assert!(browser.run("return location.pathname").as_str().unwrap().ends_with("/console/stream.html"));
    // A stream that is published anew plays on.
    let url = stage.server.url("live/again");
    let again = ffmpeg_publish(&Clip::H264Aac.path(), &url, true);
    stage.server.wait_published("live/again");
    browser.open(&stage.url("/console/stream.html?app=live&stream=again&kind=flv"));
    plays(&browser);
    drop(again);
    let _second = ffmpeg_publish(&Clip::H264Aac.path(), &url, true);
    stage.server.wait_published("live/again");
    browser.wait("document.querySelector('video').currentTime > 0 && !document.querySelector('video').ended");
    plays(&browser);
}

#[test]
fn the_console_shows_what_the_api_says_and_what_happens() {
    let Some(browser) = Browser::start(1360, 1100) else { return };
    let Some(stage) = Stage::start() else { return };
    let server = &stage.server;
    let url = server.url("live/other");
    let live = Live::start(&url, Duration::from_millis(20));
    let watchers: Vec<Watcher> = (0..12).map(|_| Watcher::start(&url)).collect();
    browser.open(&stage.url("/console/"));
    browser.wait("document.querySelectorAll('#streams tbody tr').length === 2");
    browser.wait("document.querySelectorAll('#picture .box').length >= 6");
    let boxes = browser.number("document.querySelectorAll('#picture .box').length");
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let count = server.processes().len() as f64;
    assert!((boxes - count).abs() < 0.5, "{boxes} boxes for {count} processes");
    wait_until("as many clients as the API lists", || {
        let listed = browser.number("document.querySelectorAll('#clients tbody tr').length");
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let known = server.clients().len() as f64;
        (listed - known).abs() < 0.5
    });
    picture(&browser, "console.png");
    // A stream process dies: the page says so, and the others go on.
    let victim = server.pids("stream")[0];
    signal(victim, Signal::SIGKILL);
    browser.wait(&format!("document.querySelector('#events').textContent.includes('{victim}')"));
    browser.wait("document.querySelector('#events').textContent.includes('SIGKILL')");
    picture(&browser, "console-killed.png");
    let alive = wait_for("viewers of the other process", SOON, || {
        let sent = live.sent();
        let alive = watchers.iter().filter(|watcher| !watcher.is_over()).count();
        (alive < 12 && watchers.iter().all(|watcher| watcher.is_over() || watcher.seen() + 50 > sent))
            .then_some(alive)
    });
    assert!(alive > 0);
    assert_eq!(complaints(&browser), Vec::<String>::new());
    drop(watchers);
}

#[test]
fn a_client_is_kicked_with_the_token_and_not_without() {
    let Some(browser) = Browser::start(1360, 1100) else { return };
    let server = Server::start(&format!("{PAGES}vhost __defaultVhost__ {{ }}"));
    let url = server.url("live/kick");
    let live = Live::start(&url, Duration::from_millis(20));
    let watcher = Watcher::start(&url);
    server.wait_players(1);
    let victim = server.clients().into_iter().find(|client| client.kind == "play").unwrap().id;
    browser.open(&format!("{}/console/", server.web()));
    let button = format!("[data-client='{victim}']");
    browser.wait(&format!("document.querySelector(\"{button}\")"));
    // Lists are made anew each second.
    let press = format!("document.querySelector(\"{button}\").click()");
    let _ = browser.run(&press);
    browser.wait("document.querySelector('dialog[open]')");
    browser.type_into("#token-input", "this is not it");
    browser.click("dialog button[type=submit]");
    browser.wait("document.querySelector('dialog .error')");
    assert!(!watcher.is_over());
    let token = std::fs::read_to_string(server.directory().join("run/token")).unwrap();
    browser.type_into("#token-input", token.trim());
    browser.click("dialog button[type=submit]");
    wait_until("the end of the viewer", || watcher.is_over());
    browser.wait("document.querySelector('#events li time')");
    assert!(live.is_running());
}

#[test]
fn names_of_streams_are_text_and_pages_load_nothing_from_outside() {
    let Some(browser) = Browser::start(1000, 800) else { return };
    let server = Server::start(&format!("{PAGES}vhost __defaultVhost__ {{ }}"));
    // All that the console is made of, before anything of it is in a cache.
    browser.open(&format!("{}/console/", server.web()));
    browser.wait("document.querySelectorAll('.tile').length > 5");
    let bytes = browser.number(
        "performance.getEntriesByType('resource').filter((each) => each.name.includes('/console/')) \
         .reduce((sum, each) => sum + each.decodedBodySize, 0)",
    );
    assert!(bytes > 10_000.0 && bytes < 300_000.0, "{bytes} bytes");
    let paint = browser.number("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0");
    println!("first paint after {paint:.0} ms, {bytes} bytes");
    browser.open(&format!(
        "{}/console/stream.html?app=live&stream=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        server.web()
    ));
    browser.wait("document.querySelector('#title').textContent.includes('<img')");
    assert_eq!(browser.number("document.querySelectorAll('#title img').length"), 0.0);
    for page in ["/", "/console/", "/console/publish.html"] {
        browser.open(&format!("{}{page}", server.web()));
        browser.wait("document.readyState === 'complete'");
        let outside = "performance.getEntriesByType('resource').filter((each) => !each.name.startsWith(location.origin)).length";
        assert_eq!(browser.number(outside), 0.0, "{page}");
    }
    browser.open(&format!("{}/console/publish.html?stream=mine", server.web()));
    browser.wait("document.querySelector('#qr').naturalWidth > 100");
    browser.wait("document.querySelector('#key').textContent === 'mine'");
    picture(&browser, "publish.png");
}

/// Files of the server's own directory come first; without the console there are no pages.
#[test]
fn own_files_win_and_the_console_can_be_off() {
    let directory = TempDir::new().unwrap();
    let html = directory.path().join("html");
    std::fs::create_dir_all(html.join("players")).unwrap();
    std::fs::write(html.join("index.html"), "mine").unwrap();
    std::fs::write(html.join("players/srs_player.html"), "my player").unwrap();
    let own = |console: &str| {
        format!(
            "http_server {{ enabled on; listen 127.0.0.1:0; dir {}; console {console}; }}\nvhost __defaultVhost__ {{ }}",
            html.display()
        )
    };
    let text = configuration(directory.path(), &own("on"));
    let server = Server::start_in(directory, &text);
    let get = |path: &str| srs_tests::http::ask(&server.web(), "GET", path, &["Connection: close"]);
    assert_eq!(get("/").body, b"mine");
    assert_eq!(get("/players/srs_player.html").body, b"my player");
    assert_eq!(get("/console/").status, 200);
    let text = configuration(server.directory(), &own("off"));
    std::fs::write(server.directory().join("srs.conf"), text).unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("no console", || get("/console/").status == 404);
    assert_eq!(get("/").body, b"mine");
}

#[test]
fn only_what_is_true_is_told() {
    let Some(browser) = Browser::start(1280, 900) else { return };
    let server = Server::start(&format!("{PAGES}vhost __defaultVhost__ {{ http_remux {{ enabled on; }} }}"));
    let live = Live::start(&server.url("live/drain"), Duration::from_millis(20));
    let watchers = Watcher::start_on_each(&server, &server.url("live/drain"), 8);
    browser.open(&format!("{}/console/", server.web()));
    browser.wait("document.querySelectorAll('#picture .box').length >= 5");
    // A process that drains has a successor beside it, and nobody was started again.
    let mut drain = Command::new(srs_tests::program::srs_cli());
    drop(run(drain.arg("--socket").arg(server.socket()).args(["drain", "stream#0"]), SOON).expect_success());
    browser.wait("document.querySelector('#events').textContent.includes('takes nobody more')");
    let _ = browser.run("window.looks = 0; const f = window.fetch; window.fetch = (...a) => { window.looks += 1; return f(...a); };");
    browser.wait("window.looks >= 9");
    let told = browser.run("return document.querySelector('#events').textContent");
    let told = told.as_str().unwrap().to_owned();
    assert!(!told.contains("was started again") && !told.contains('?'), "{told}");
    assert!(watchers.iter().all(|watcher| !watcher.is_over()));
    // Addresses are those that the vhost serves.
    browser.open(&format!("{}/console/stream.html?app=live&stream=drain", server.web()));
    browser.wait("document.querySelector('#urls').textContent.includes('.flv')");
    let urls = browser.run("return document.querySelector('#urls').textContent");
    assert!(!urls.as_str().unwrap().contains(".m3u8"), "{urls}");
    // A stream that is not there is not a connection that was lost.
    browser.open(&format!("{}/console/stream.html?app=live&stream=nobody&kind=flv", server.web()));
    browser.wait("document.querySelector('.notice').textContent.includes('Nobody publishes this stream')");
    // Nor is it one in what asks again and again.
    browser.open(&format!("{}/console/stream.html?app=live&stream=nobody&kind=mp4", server.web()));
    browser.wait("document.querySelector('.notice').textContent.includes('Nobody publishes this stream')");
    let _ = browser.run(
        "window.told = []; window.asked = 0; const f = window.fetch; \
         window.fetch = (...a) => { if (a[1]?.method === 'HEAD') window.asked += 1; return f(...a); }; \
         const notice = document.querySelector('.notice'); \
         new MutationObserver(() => window.told.push(notice.textContent)) \
           .observe(notice, { childList: true, characterData: true, subtree: true });",
    );
    browser.wait("window.asked >= 2");
    let told = browser.run("return window.told.join(' | ')");
    assert!(!told.as_str().unwrap().contains("lost"), "{told}");
    drop((live, watchers));
    // Without the API the page says what to switch on.
    let server = Server::start(&format!("http_api {{ enabled off; }}\n{PAGES}vhost __defaultVhost__ {{ }}"));
    browser.open(&format!("{}/console/", server.web()));
    browser.wait("document.querySelector('#trouble').textContent.includes('http_api { enabled on; }')");
}
