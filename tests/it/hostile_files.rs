//! Hostile rows H65 to H73: names, paths and files of strangers. None of them reaches a file that is not its own, and a healthy
//! stream beside them stays exact to the byte.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use amf0::Value;
use flv::file::Tag;
use media::Kind;
use srs_tests::capture::{publisher, tags};
use srs_tests::clip::Clip;
use srs_tests::http::{address, ask, exchange};
use srs_tests::pattern::{Live, Watcher};
use srs_tests::program::have;
use srs_tests::raw::{Ending, Raw};
use srs_tests::server::Server;
use srs_tests::site::{list, site, site_with};
use srs_tests::wait::wait_until;

/// All that is written for a stream of some name.
const EVERYTHING: &str = "http_remux { enabled on; } \
    hls { enabled on; hls_fragment 1; hls_window 60; hls_storage both; hls_path TOP/html; hls_ctx off; } \
    dvr { enabled on; dvr_path TOP/rec/[app]/[stream].flv; }";

/// Names that are more than names to somebody.
const NAMES: [&str; 22] = [
    "../../escaped",
    "..%2f..%2fescaped",
    "..\\..\\escaped",
    "/etc/escaped",
    "a//escaped",
    ".escaped",
    "..",
    "a/../../escaped",
    "$(touch escaped)",
    "`touch escaped`",
    "'; touch escaped; '",
    "-f",
    "%n%s%n",
    "a|b>escaped",
    "[app]/[stream]",
    "x.m3u8",
    "x.m3u8.tmp",
    "A",
    "a",
    "\u{e9}",
    "e\u{301}",
    "a\u{202e}b",
];

/// Everything below a directory, but what the server itself puts there.
fn files(top: &Path) -> BTreeSet<String> {
    fn walk(top: &Path, at: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(top, &path, found);
            } else {
                found.insert(path.strip_prefix(top).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(top, top, &mut found);
    found
}

/// A stream beside the attack, with somebody who gets every byte of it.
struct Healthy(Live, Watcher);

impl Healthy {
    fn start(server: &Server) -> Self {
        let url = server.url("healthy/stream");
        let live = Live::start(&url, Duration::from_millis(10));
        let mut watcher = Watcher::start(&url);
        watcher.wait_seen(1);
        Self(live, watcher)
    }

    fn check(mut self, server: &Server, processes: &[u32]) {
        self.0.wait_more(20);
        self.1.wait_seen(self.0.sent());
        let _every_number = self.1.stop();
        let _undisturbed = self.0.stop();
        let now: Vec<u32> = server.processes().iter().map(|process| process.pid).collect();
        assert_eq!(now, processes, "no process has died");
        let log = server.log();
        assert!(!log.contains("panicked") && !log.contains('\u{202e}'));
    }
}

fn processes(server: &Server) -> Vec<u32> {
    server.processes().iter().map(|process| process.pid).collect()
}

/// The first seconds of a clip under a name; whether the server took it.
fn publish(server: &Server, app: &str, name: &str, clip: &[Tag]) -> bool {
    let mut raw = Raw::connected(server.address(), app);
    let msid = raw.create_stream();
    raw.command(msid, "publish", 0.0, &[Value::Null, name.into(), "live".into()]);
    for tag in clip.iter().filter(|tag| tag.kind != Kind::Data) {
        let (csid, type_id) = if tag.kind == Kind::Video { (6, 9) } else { (7, 8) };
        raw.message(csid, tag.timestamp_ms, type_id, msid, &tag.body);
    }
    raw.ending(Duration::from_millis(100)) == Ending::Open
}

#[test]
fn h65_h67_h68_h69_names_reach_no_file_but_their_own() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(EVERYTHING);
    let healthy = Healthy::start(&server);
    let before = processes(&server);
    let mut clip = tags(&Clip::H264Aac.path());
    clip.retain(|tag| tag.timestamp_ms < 1_500);
    let mut taken: Vec<&str> =
        NAMES.into_iter().filter(|name| publish(&server, "live", name, &clip)).collect();
    taken.dedup();
    for app in ["../live", "other/../..", "/other", "other//x", "$(id)"] {
        let _either = std::panic::catch_unwind(|| publish(&server, app, "escaped", &clip));
    }
    // What was taken is recorded, each in a file of its own.
    let recorded = || {
        let all = files(&server.directory().join("rec/live"));
        all.into_iter().filter(|name| name.ends_with(".flv")).collect::<BTreeSet<String>>()
    };
    assert!(taken.contains(&"A") && taken.contains(&"a"), "{taken:?}");
    wait_until("a recording of each that was taken", || recorded().len() >= taken.len());
    assert_eq!(recorded().len(), taken.len(), "{taken:?}: {:?}", recorded());
    for name in files(server.directory()) {
        let own = ["html/", "rec/", "run/"].iter().any(|place| name.starts_with(place));
        assert!(own || ["log", "srs.conf", "srs.pid"].contains(&name.as_str()), "{name}");
        assert!(!name.contains("/.."), "{name}");
    }
    assert!(!Path::new("/etc/escaped").exists() && !Path::new("/etc/escaped.flv").exists());
    // Longer than any name, and with what no name has.
    for name in ["x".repeat(65_000), "x".repeat(300), "a\0b".into(), "a\nb".into(), "a\u{1b}[31mb".into()] {
        let mut raw = Raw::connected(server.address(), "live");
        let msid = raw.create_stream();
        raw.command(msid, "publish", 0.0, &[Value::Null, name.as_str().into(), "live".into()]);
        let shown: String = name.chars().take(20).collect();
        wait_until(&format!("{shown:?} refused"), || {
            raw.ending(Duration::from_millis(50)) == Ending::Closed
                || server.streams().iter().all(|stream| stream.name != name)
        });
        assert!(server.streams().iter().all(|stream| stream.name != name), "{shown:?}");
    }
    healthy.check(&server, &before);
}

#[test]
fn h66_links_that_somebody_planted_are_not_followed() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = site(EVERYTHING);
    let before = processes(&server);
    let victims = server.directory().join("victims");
    fs::create_dir(&victims).unwrap();
    for directory in ["html/live", "rec/live"] {
        fs::create_dir_all(server.directory().join(directory)).unwrap();
    }
    let names = ["html/live/a.m3u8.tmp", "html/live/a-0.ts.tmp", "html/live/a-0.ts", "html/live/a.m3u8"];
    for (at, name) in names.into_iter().chain(["rec/live/a.flv.tmp", "rec/live/a.flv"]).enumerate() {
        let victim = victims.join(at.to_string());
        fs::write(&victim, "victim").unwrap();
        symlink(&victim, server.directory().join(name)).unwrap();
    }
    // An application whose directories are links to another place.
    symlink(&victims, server.directory().join("html/linked")).unwrap();
    symlink(&victims, server.directory().join("rec/linked")).unwrap();
    for app in ["live", "linked"] {
        let mut publisher = publisher(&server.url(&format!("{app}/a")));
        for tag in tags(&Clip::H264Aac.path()) {
            publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        publisher.finish().unwrap();
    }
    wait_until("a list", || list(&server, "live/a").is_some_and(|list| list.segments.len() >= 3));
    wait_until("what can't be written, said", || server.log().contains("linked/a"));
    let rec = server.directory().join("rec/live");
    let is_file = |name: &str| fs::symlink_metadata(rec.join(name)).is_ok_and(|found| found.is_file());
    wait_until("the recording beside the link", || is_file("a-1.flv") || is_file("a.flv"));
    for (name, text) in files(&victims).into_iter().map(|name| (name.clone(), fs::read(victims.join(name)))) {
        assert_eq!(text.unwrap(), b"victim", "{name}");
        assert!(name.parse::<u32>().is_ok(), "{name} was written by way of a link");
    }
    assert_eq!(processes(&server), before);
}

#[test]
fn h71_h73_requests_reach_what_is_served_and_nothing_else() {
    let server = site_with("stream_wait 0;", EVERYTHING);
    let healthy = Healthy::start(&server);
    let before = processes(&server);
    fs::write(server.directory().join("secret"), "secret").unwrap();
    fs::write(server.directory().join("html/page.txt"), "page").unwrap();
    let ranges = format!("Range: bytes={}0-1", "0-1,".repeat(1_000));
    for (path, header) in [
        ("/live/x.m3u8?a=/../../secret", ""),
        ("/../secret", ""),
        ("/%2e%2e/secret", ""),
        ("/..%5csecret", ""),
        ("/live/%00.ts", ""),
        ("/page.txt/../../secret", ""),
        ("/page.txt%00.flv?start=1", ""),
        ("/page.txt.m3u8", ""),
        ("http://127.0.0.1:1/x", ""),
        ("file:///etc/passwd", ""),
        ("/file:///etc/passwd.m3u8", ""),
        ("/http://169.254.169.254/latest.m3u8", ""),
        ("/concat:page.txt|page.txt.m3u8", ""),
        ("/page.txt", "Range: bytes=-1-"),
        ("/page.txt", "Range: bytes=99999999999999999999-"),
        ("/page.txt", ranges.as_str()),
    ] {
        let fields: Vec<&str> = [header, "Connection: close"].into_iter().filter(|f| !f.is_empty()).collect();
        let answer = ask(&server.web(), "GET", path, &fields);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("secret") && !body.contains("root:"), "{path}");
        assert!(answer.body.len() < 100_000 && answer.status < 500, "{path}: {}", answer.status);
    }
    healthy.check(&server, &before);
}

/// The configuration is a file of the operator: nobody can say over the API what is run or where it is written.
#[test]
fn h70_h73_programs_paths_and_addresses_come_from_the_file_only() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; raw_api { enabled on; allow_reload on; } }\n",
    );
    let before = fs::read_to_string(server.directory().join("srs.conf")).unwrap();
    let authorization = format!("Authorization: Bearer {}", server.token());
    for path in [
        "/api/v1/raw?rpc=update&scope=ff_log_dir&value=/tmp/%25s%25n",
        "/api/v1/raw?rpc=update&scope=vhost&value=x&param=create&data=ingest",
        "/api/v1/raw?rpc=update&scope=dvr&value=__defaultVhost__&param=enable&data=live/a",
        "/api/v1/raw?rpc=update&scope=exec&value=/bin/sh",
        "/api/v1/reload?conf=/etc/passwd",
        "/api/v1/streams?add=file:///etc/passwd",
        "/api/v1/dvr/start?app=..%2f..&stream=$(id)&path=/etc/x",
    ] {
        for method in ["GET", "POST"] {
            let body = r#"{"ffmpeg":"/bin/sh","url":"file:///etc/passwd"}"#;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = exchange(address(&server.api()), request.as_bytes()).expect("an answer");
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("root:"), "{method} {path}");
            assert!(answer.status < 500, "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(fs::read_to_string(server.directory().join("srs.conf")).unwrap(), before);
    assert!(server.streams().is_empty());
    assert!(server.processes().iter().all(|process| process.role != "ingest"), "nothing was started");
}
