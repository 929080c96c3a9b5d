//! OBS Studio, on a screen that nobody sees: it publishes, everybody plays, and it comes again when its back-source dies.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use srs_tests::capture::{assert_continuous, player, receive_frames};
use srs_tests::process::{Running, run, signal, wait_gone};
use srs_tests::program::{have, optional};
use srs_tests::site::site;
use srs_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

/// OBS takes its time to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A profile that publishes to `server` under `key`.
fn profile(home: &Path, server: &str, key: &str) {
    let top = home.join(".config/obs-studio");
    let profile = top.join("basic/profiles/Untitled");
    fs::create_dir_all(&profile).unwrap();
    fs::create_dir_all(top.join("basic/scenes")).unwrap();
    let global = "[General]\nFirstRun=true\nEnableAutoUpdates=false\n\
        [Basic]\nProfile=Untitled\nProfileDir=Untitled\nSceneCollection=Untitled\nSceneCollectionFile=Untitled\n";
    let basic = "[General]\nName=Untitled\n[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSCommon=30\n\
        [Output]\nMode=Simple\nReconnect=true\nRetryDelay=2\nMaxRetries=20\n\
        [SimpleOutput]\nVBitrate=600\nABitrate=128\nStreamEncoder=x264\nPreset=ultrafast\n";
    let service = format!(
        "{{\"type\":\"rtmp_custom\",\"settings\":{{\"server\":\"{server}\",\"key\":\"{key}\",\"use_auth\":false}}}}"
    );
    // Without a scene it would not begin to stream.
    let scenes = r#"{"name":"Untitled","current_scene":"Scene","current_program_scene":"Scene","scene_order":[{"name":"Scene"}],
        "sources":[{"id":"scene","name":"Scene","settings":{"items":[]}}]}"#;
    fs::write(top.join("basic/scenes/Untitled.json"), scenes).unwrap();
    fs::write(top.join("global.ini"), global).unwrap();
    fs::write(profile.join("basic.ini"), basic).unwrap();
    fs::write(profile.join("service.json"), service).unwrap();
}

/// A screen in memory, and its name.
fn screen() -> (Running, String) {
    let xvfb = Running::start(Command::new("Xvfb").args([
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1280x800x24",
        "-nolisten",
        "tcp",
    ]));
    let number = wait_for("the screen", PATIENCE, || {
        let said = xvfb.stdout();
        said.ends_with('\n').then(|| said.trim().to_owned())
    });
    (xvfb, format!(":{number}"))
}

fn obs(home: &Path, screen: &str) -> Running {
    let mut command = Command::new("obs");
    command.args(["--startstreaming", "--multi", "--profile", "Untitled"]);
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join(".config")).env("XDG_RUNTIME_DIR", home);
    command
        .env("DISPLAY", screen)
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .env("LIBGL_ALWAYS_SOFTWARE", "1");
    Running::start(&mut command)
}

/// How often OBS has begun to stream.
fn successes(obs: &Running) -> usize {
    format!("{}{}", obs.stdout(), obs.stderr()).matches("/live successful").count()
}

#[test]
fn obs_publishes_and_comes_again_when_its_back_source_dies() {
    if !have(&["ffmpeg", "ffprobe"]) || !optional(&["obs", "Xvfb"]) {
        return;
    }
    let server = site(
        "http_remux { enabled on; } hls { enabled on; hls_fragment 2; hls_window 30; hls_storage memory; hls_path TOP/html; }",
    );
    let home = TempDir::new().unwrap();
    profile(home.path(), &server.url("live"), "obs");
    let (_xvfb, screen) = screen();
    let obs = obs(home.path(), &screen);
    wait_for("OBS streams", PATIENCE, || (successes(&obs) == 1).then_some(()));
    server.wait_published("live/obs");
    let mut viewer = player(&server.url("live/obs"));
    assert_continuous(&receive_frames(&mut viewer, 60));
    let list = format!("{}/live/obs.m3u8", server.web());
    wait_for("a list", PATIENCE, || srs_tests::site::get(&server.web(), "/live/obs.m3u8"));
    let live = |form: &str| format!("{}/live/obs.{form}", server.web());
    for url in [server.url("live/obs"), live("flv"), live("ts"), live("mp4"), list] {
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", &url]);
        let mut codecs: Vec<String> = run(&mut probe, PATIENCE)
            .expect_success()
            .lines()
            .map(|line| line.trim_matches(',').to_owned())
            .collect();
        codecs.retain(|codec| ["h264", "aac"].contains(&codec.as_str()));
        codecs.sort();
        codecs.dedup();
        assert_eq!(codecs, ["aac", "h264"], "{url}");
        let mut decode = Command::new("ffmpeg");
        decode.args(["-nostdin", "-v", "error", "-xerror", "-i", &url, "-t", "1", "-f", "framemd5", "-"]);
        let frames = run(&mut decode, PATIENCE).expect_success();
        assert!(frames.lines().filter(|line| !line.starts_with('#')).count() > 30, "{url}: {frames}");
    }
    // Its publisher's process dies: OBS comes again by itself, and whoever watches goes on.
    let source = server.pids("backsource")[0];
    signal(source, Signal::SIGKILL);
    wait_gone("backsource", source, PATIENCE);
    wait_for("OBS streams again", PATIENCE, || (successes(&obs) == 2).then_some(()));
    assert_continuous(&receive_frames(&mut viewer, 60));
    // When it ends, so does the stream.
    obs.signal(Signal::SIGTERM);
    wait_until("the end of the stream", || server.log().matches("unpublish").count() >= 1);
}
