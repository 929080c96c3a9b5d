//! A server whose web server has streams and files, and what a player of HLS asks of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use m3u8_rs::{MediaPlaylist, Playlist};
use tempfile::TempDir;

use crate::clip::QUIET;
use crate::process::{Running, run};
use crate::server::{Server, configuration};
use crate::wait::{SOON, wait_for};

/// A server with files, files on demand, and a vhost that has this in it. `TOP` is the server's directory; the files are
/// in `html` there.
#[must_use]
pub fn site(vhost: &str) -> Server {
    site_with("", vhost)
}

/// As [`site`], with more in the block of the web server.
///
/// # Panics
/// When it does not come up.
#[must_use]
pub fn site_with(web: &str, vhost: &str) -> Server {
    let directory = TempDir::new().expect("a temporary directory");
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; vod on; dir TOP/html; {web} }}\n\
         vhost __defaultVhost__ {{ {vhost} }}"
    );
    let own = own.replace("TOP", &directory.path().display().to_string());
    let text = configuration(directory.path(), &own);
    std::fs::create_dir_all(directory.path().join("html")).expect("a directory");
    Server::start_in(directory, &text)
}

/// What the web server says; `None` unless it is 200.
#[must_use]
pub fn get(base: &str, path: &str) -> Option<Vec<u8>> {
    let config = ureq::Agent::config_builder().timeout_global(Some(SOON)).proxy(None);
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(format!("{base}{path}")).call().ok()?;
    response.body_mut().with_config().limit(256 << 20).read_to_vec().ok()
}

/// The list of a live stream, as an independent parser reads it; the one that a list of lists names, as players do.
///
/// # Panics
/// When it is none, or one that a player may refuse.
#[must_use]
pub fn list(server: &Server, path: &str) -> Option<MediaPlaylist> {
    let mut text = get(&server.web(), &format!("/{path}.m3u8"))?;
    if let Ok(Playlist::MasterPlaylist(master)) = m3u8_rs::parse_playlist_res(&text) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        text = get(&server.web(), &format!("/{directory}/{}", master.variants.first()?.uri))?;
    }
    match m3u8_rs::parse_playlist_res(&text) {
        Ok(Playlist::MediaPlaylist(list)) => {
            for segment in &list.segments {
                let target = f32::from(u16::try_from(list.target_duration).expect("a short target"));
                assert!(segment.duration.round() <= target, "{} s of {target} s", segment.duration);
            }
            Some(list)
        }
        other => panic!("{other:?}"),
    }
}

/// Waits until so many seconds are listed.
///
/// # Panics
/// When they are not.
#[must_use]
pub fn wait_listed(server: &Server, path: &str, seconds: f32) -> MediaPlaylist {
    wait_for(&format!("{seconds} s in the list"), SOON, || {
        list(server, path).filter(|list| length(list) >= seconds)
    })
}

/// How long a list is, in seconds.
#[must_use]
pub fn length(list: &MediaPlaylist) -> f32 {
    list.segments.iter().map(|segment| segment.duration).sum()
}

/// The segments of a list, in order.
///
/// # Panics
/// When one is listed and not there.
#[must_use]
pub fn segments(server: &Server, path: &str, list: &MediaPlaylist) -> Vec<Vec<u8>> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let fetch = |uri: &String| {
        get(&server.web(), &format!("/{directory}/{uri}")).unwrap_or_else(|| panic!("{uri} is listed"))
    };
    list.segments.iter().map(|segment| fetch(&segment.uri)).collect()
}

/// One hash for each decoded picture (`v`) or sound (`a`) of a file or URL.
///
/// # Panics
/// When ffmpeg can't decode it.
#[must_use]
pub fn decoded(input: &str, kind: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-i", input, "-map", &format!("0:{kind}"), "-f", "framemd5", "-"]);
    let text = run(&mut command, Duration::from_secs(60)).expect_success();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next().map(|hash| hash.trim().to_owned())).collect()
}

/// An encoder that publishes a clip again and again, at its own pace.
#[must_use]
pub fn endless(clip: &Path, url: &str) -> Running {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).args(["-re", "-stream_loop", "-1", "-i"]).arg(clip);
    Running::start(command.args(["-c", "copy", "-f", "flv"]).arg(url))
}

/// Asserts that pictures are a part of a source that is repeated without end, and that none is missing between them.
///
/// # Panics
/// When they are not.
pub fn assert_part_of_endless(name: &str, pictures: &[String], source: &[String]) {
    let first = pictures.first().unwrap_or_else(|| panic!("{name}: no picture"));
    let at = source.iter().position(|picture| picture == first);
    let at = at.unwrap_or_else(|| panic!("{name}: the first picture is none of the source"));
    for (n, picture) in pictures.iter().enumerate() {
        let wanted = (at + n) % source.len();
        let got = source.iter().position(|known| known == picture);
        assert_eq!(got, Some(wanted), "{name}: picture {n} of {}, which began with {at}", pictures.len());
    }
}
