//! A cache in front of the server: many players, few requests.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use m3u8_rs::Playlist;
use srs_tests::clip::{Clip, QUIET};
use srs_tests::process::{Running, run};
use srs_tests::program::have;
use srs_tests::server::Server;
use srs_tests::site::{assert_part_of_endless, decoded, endless, get, site, wait_listed};
use srs_tests::tools::nginx;
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

const PLAYERS: usize = 20;

/// nginx with a cache that goes by what the server says.
struct Cache {
    directory: TempDir,
    base: String,
    _nginx: Running,
}

impl Cache {
    fn before(server: &Server) -> Option<Self> {
        let nginx = nginx()?;
        let directory = TempDir::new().unwrap();
        let at = directory.path().display();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error; worker_processes 1; events {{ }}
http {{ client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
log_format kept '$upstream_cache_status $request_uri'; access_log {at}/access kept;
proxy_cache_path {at}/cache keys_zone=hls:1m;
server {{ listen 127.0.0.1:{port};
location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_cache hls; proxy_cache_lock on; }} }} }}",
            server.web_address()
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let running = Running::start(Command::new(nginx).arg("-c").arg(&file));
        wait_until("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { directory, base: format!("http://127.0.0.1:{port}"), _nginx: running })
    }

    /// Requests of players for what ends so, and how many of those the server got.
    fn requests(&self, ending: &str) -> (usize, usize) {
        let log = fs::read_to_string(self.directory.path().join("access")).unwrap();
        let is_wanted = |line: &&str| line.split('?').next().is_some_and(|path| path.ends_with(ending));
        let all: Vec<&str> = log.lines().filter(is_wanted).collect();
        (all.len(), all.iter().filter(|line| !line.starts_with("HIT ")).count())
    }
}

/// Plays until it has so many segments, in order and without a hole, and each of them whole.
fn play(base: &str, count: usize, playing: &AtomicUsize) {
    let mut path = "a.m3u8".to_owned();
    let (mut next, mut seen) = (None, BTreeSet::new());
    let mut newest = Instant::now();
    while seen.len() < count {
        let text = get(base, &format!("/live/{path}")).expect("a list");
        let list = match m3u8_rs::parse_playlist_res(&text).unwrap() {
            Playlist::MasterPlaylist(master) => {
                path.clone_from(&master.variants[0].uri);
                continue;
            }
            Playlist::MediaPlaylist(list) => list,
        };
        let first = *next.get_or_insert(list.media_sequence);
        assert!(list.media_sequence <= first, "the list has left it behind");
        for (number, segment) in (list.media_sequence..).zip(&list.segments).skip_while(|(n, _)| *n < first) {
            let bytes = get(base, &format!("/live/{}", segment.uri)).expect("what is listed is there");
            assert!(!bytes.is_empty() && bytes.len().is_multiple_of(188));
            seen.insert(number);
            next = Some(number + 1);
            newest = Instant::now();
        }
        if seen.len() == 1 {
            playing.fetch_add(1, Ordering::Relaxed);
        }
        assert!(newest.elapsed() < Duration::from_secs(5), "an old list stops the player");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn twenty_players_behind_a_cache_cost_little_more_than_one() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let source = decoded(&Clip::BFrames.path().to_string_lossy(), "v");
    // Lists that are the same for all may be kept, too; where players are counted by their lists, only segments are.
    for (hls, counted) in [("hls_ctx off;", false), ("hls_ctx on; hls_ts_ctx off;", true)] {
        let server = site(&format!(
            "hls {{ enabled on; hls_fragment 1; hls_window 10; hls_storage memory; hls_path TOP/html; {hls} }}"
        ));
        let encoder = endless(&Clip::BFrames.path(), &server.url("live/a"));
        drop(wait_listed(&server, "live/a", 2.9));
        let Some(cache) = Cache::before(&server) else { return };
        let file = server.directory().join("played.ts");
        let mut command = Command::new("ffmpeg");
        command.args(QUIET).args(["-i", &format!("{}/live/a.m3u8", cache.base), "-t", "4", "-c", "copy"]);
        let player = Running::start(command.arg(&file).env("no_proxy", "*"));
        let playing = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..PLAYERS {
                scope.spawn(|| play(&cache.base, 7, &playing));
            }
            if counted {
                wait_until("all of them counted", || {
                    server.clients().iter().filter(|client| client.kind == "hls-play").count() > PLAYERS
                });
            }
        });
        drop(player.finish(SOON).expect_success());
        let mut pictures = decoded(&file.to_string_lossy(), "v");
        pictures.truncate(pictures.len().saturating_sub(4));
        assert_part_of_endless("ffmpeg", &pictures, &source);
        assert!(pictures.len() >= 80, "{} pictures", pictures.len());
        let (asked, got) = cache.requests(".ts");
        assert!(
            asked >= PLAYERS * 7 && got * 3 < asked,
            "{got} of {asked} requests for segments reach the server"
        );
        let (asked, got) = cache.requests(".m3u8");
        // A slow machine finds more segments in each.
        assert!(asked >= PLAYERS * 3, "{asked} requests for lists");
        assert!(counted || got * 3 < asked, "{got} of {asked} requests for lists reach the server");
        drop(encoder);
    }
}

/// Lists say how long they may be kept: as long as nothing has changed in them, at most.
#[test]
fn what_may_be_kept_is_said() {
    for (hls, wanted) in [
        ("hls_fragment 1; hls_ctx off;", "max-age=1"),
        ("hls_fragment 4; hls_ctx off;", "max-age=2"),
        ("hls_fragment 1;", "no-cache"),
    ] {
        let server = site(&format!("hls {{ enabled on; hls_storage memory; hls_path TOP/html; {hls} }}"));
        let mut publisher = srs_tests::capture::publisher(&server.url("live/a"));
        for tag in srs_tests::capture::tags(&Clip::H264Aac.path()) {
            publisher.send(tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        publisher.finish().unwrap();
        drop(wait_listed(&server, "live/a", 3.9));
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "-D-", "-o/dev/null"]);
        let head = run(command.arg(format!("{}/live/a.m3u8", server.web())), SOON).expect_success();
        assert!(head.contains(&format!("Cache-Control: {wanted}\r\n")), "{hls}: {head}");
    }
}
