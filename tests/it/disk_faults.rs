//! Disks that hang, lie or refuse, and a time of day that jumps: who watches does not notice, and files are whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use srs_tests::capture::{Frames, Recorder, ffmpeg_publish};
use srs_tests::clip::{Clip, assert_playable};
use srs_tests::process::{descriptors, run, signal};
use srs_tests::program::{have, optional};
use srs_tests::server::Server;
use srs_tests::shim::Shim;
use srs_tests::site::{decoded, endless, length, list, segments, site_with, wait_listed};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

/// Finished recordings below a directory, by name.
fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|known| known == "flv" || known == "mp4"))
        .collect();
    found.sort();
    found
}

/// What is listed is there.
fn assert_listed_files(list: &Path) {
    let text = fs::read_to_string(list).unwrap();
    for name in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(list.with_file_name(name).exists(), "{name} is listed:\n{text}");
    }
}

/// A disk of its own that can be frozen. Dropping it lets it go.
struct Disk {
    top: TempDir,
}

impl Disk {
    /// `None`, and said so, where none can be mounted.
    fn new() -> Option<Self> {
        if !optional(&["mkfs.ext4", "fsfreeze"]) {
            return None;
        }
        let disk = Self { top: TempDir::new().unwrap() };
        let image = disk.top.path().join("image");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(disk.path()).unwrap();
        drop(run(Command::new("mkfs.ext4").arg("-q").arg(&image), SOON).expect_success());
        let mount = run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()), SOON);
        if !mount.status.success() {
            srs_tests::skipped!("a file system can't be mounted here: {}", mount.stderr);
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> PathBuf {
        self.top.path().join("disk")
    }

    fn freeze(&self) -> Frozen {
        drop(run(Command::new("fsfreeze").arg("-f").arg(self.path()), SOON).expect_success());
        Frozen(self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

/// A disk on which every write hangs, as long as this lives.
struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(Command::new("fsfreeze").arg("-u").arg(&self.0).output());
    }
}

#[test]
fn a_disk_that_hangs_stops_what_is_written_and_nobody_who_watches() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let Some(disk) = Disk::new() else { return };
    let at = disk.path().display().to_string();
    let vhost = "http_remux { enabled on; } dvr { enabled on; dvr_path AT/rec/[stream]-[timestamp].flv; } \
         hls { enabled on; hls_fragment 1; hls_window 20; hls_storage memory; hls_path AT; hls_ctx off; } }
vhost disk.test { hls { enabled on; hls_fragment 1; hls_window 60; hls_storage disk; hls_path AT/hls; hls_ctx off; }";
    let server = site_with("", &vhost.replace("AT", &at));
    let encoder = endless(&Clip::H264Aac.path(), &server.url("live/a"));
    let other = endless(&Clip::H264Aac.path(), &server.url("live/b?vhost=disk.test"));
    let on_disk = disk.path().join("hls/live/b.m3u8");
    wait_until("a list on the disk", || on_disk.exists());
    let rtmp = Recorder::start(&server.url("live/a"));
    let flv = Recorder::start(&format!("{}/live/a.flv", server.web()));
    wait_until("pictures", || rtmp.frames().video.len() > 10 && flv.frames().video.len() > 10);
    let process = server.pids("http")[0];
    let before = fs::read_to_string(&on_disk).unwrap();
    let newest = |server: &Server| {
        list(server, "live/a").map_or(0, |list| list.media_sequence + list.segments.len() as u64)
    };
    let frozen = disk.freeze();
    let (seen, seen_http, listed) = (rtmp.frames().video.len(), flv.frames().video.len(), newest(&server));
    wait_until("four seconds of the stream, wherever it is watched", || {
        rtmp.frames().video.len() > seen + 100
            && flv.frames().video.len() > seen_http + 100
            && newest(&server) >= listed + 3
    });
    assert_eq!(server.pids("http"), [process], "it is alive, and nobody takes it for dead");
    drop(frozen);
    // What waited is written, and goes on.
    wait_until("segments on the disk", || fs::read_to_string(&on_disk).is_ok_and(|now| now != before));
    assert_listed_files(&on_disk);
    for player in [rtmp, flv] {
        for step in player.frames().video.windows(2) {
            let ms = step[1].dts_ms - step[0].dts_ms;
            assert!((35..=80).contains(&ms), "{ms} ms between two pictures");
        }
    }
    signal(encoder.pid(), Signal::SIGTERM);
    drop(encoder.finish(SOON));
    drop(other);
    wait_until("the recording", || !recordings(&disk.path().join("rec")).is_empty());
    let all = recordings(&disk.path().join("rec"));
    all.iter().for_each(|path| assert_playable(path));
    // It was not ended by the pause: every picture is in the one file.
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(decoded(&all[0].to_string_lossy(), "v").len() > 100);
    drop(server);
}

const WRITES: &str = "http_server { enabled on; listen 127.0.0.1:0; dir DISK; }
vhost __defaultVhost__ { dvr { enabled on; dvr_path DISK/rec/[stream]-[timestamp].flv; } hls { enabled on; hls_fragment 1; hls_window 60; hls_storage disk; hls_path DISK; hls_ctx off; } }";

#[test]
fn interrupted_and_partial_writes_lose_nothing() {
    if !have(&["ffmpeg"]) {
        return;
    }
    for letter in ['n', 's'] {
        let Some((server, shim)) = Shim::start(WRITES) else { return };
        shim.writes(Some(letter));
        let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), false);
        drop(encoder.finish(SOON).expect_success());
        wait_until("the recording", || !recordings(&shim.disk().join("rec")).is_empty());
        let recording = &recordings(&shim.disk().join("rec"))[0];
        assert_playable(recording);
        let (recorded, source) = (Frames::of_file(recording), Frames::of_file(&Clip::H264Aac.path()));
        recorded.assert_part_of(&source, true);
        assert_eq!(recorded.video.len(), source.video.len());
        let list = wait_listed(&server, "live/a", 5.7);
        assert_listed_files(&shim.disk().join("live/a.m3u8"));
        let whole = server.directory().join("whole.ts");
        fs::write(&whole, segments(&server, "live/a", &list).concat()).unwrap();
        let wanted = decoded(&Clip::H264Aac.path().to_string_lossy(), "v");
        assert_eq!(decoded(&whole.to_string_lossy(), "v"), wanted);
        assert!(!server.log().contains("can't be written"));
    }
}

#[test]
fn a_disk_that_refuses_costs_what_it_refuses_and_nothing_else() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let cases = [('q', "quota"), ('i', "Input/output error"), ('r', "Read-only")];
    let threads: Vec<_> =
        cases.into_iter().map(|(letter, said)| std::thread::spawn(move || refuses(letter, said))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn refuses(letter: char, said: &str) {
    let Some((server, shim)) = Shim::start(WRITES) else { return };
    let encoder = endless(&Clip::H264Aac.path(), &server.url("live/a"));
    let rtmp = Recorder::start(&server.url("live/a"));
    let rec = shim.disk().join("rec");
    let has_begun = || fs::read_dir(&rec).into_iter().flatten().flatten().count() > 0;
    wait_until("segments, and a recording", || {
        list(&server, "live/a").is_some_and(|list| list.segments.len() >= 3) && has_begun()
    });
    shim.writes(Some(letter));
    wait_until("what is refused in the log", || {
        let log = server.log();
        let of = |what: &str| log.lines().any(|line| line.contains(what) && line.contains(said));
        of("hls of") && of("dvr of")
    });
    // What was written is whole, and listed is what is there.
    // (The shim lets nothing be written where room was made for it, either.)
    if letter != 'q' {
        assert_listed_files(&shim.disk().join("live/a.m3u8"));
    }
    wait_until("the recording so far", || !recordings(&rec).is_empty());
    recordings(&rec).iter().for_each(|path| assert_playable(path));
    shim.writes(None);
    let listed = list(&server, "live/a").map_or(0, |list| list.media_sequence + list.segments.len() as u64);
    wait_until("segments again, behind a break", || {
        list(&server, "live/a").is_some_and(|list| {
            let is_break = list.segments.iter().any(|segment| segment.discontinuity);
            is_break && list.media_sequence + list.segments.len() as u64 > listed + 1
        })
    });
    let unfinished = || {
        let entries = fs::read_dir(&rec).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "tmp")).count()
    };
    wait_until("another recording", || unfinished() > 0);
    for step in rtmp.frames().video.windows(2) {
        let ms = step[1].dts_ms - step[0].dts_ms;
        assert!((35..=80).contains(&ms), "{ms} ms between two pictures");
    }
    signal(encoder.pid(), Signal::SIGTERM);
    drop(encoder.finish(SOON));
    wait_until("both recordings", || recordings(&rec).len() >= 2 && unfinished() == 0);
    recordings(&rec).iter().for_each(|path| assert_playable(path));
}

#[test]
fn without_descriptors_files_are_not_written_and_come_again() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let top = TempDir::new().unwrap();
    let server = Server::start(&WRITES.replace("DISK", &top.path().display().to_string()));
    let encoder = endless(&Clip::H264Aac.path(), &server.url("live/a"));
    let rtmp = Recorder::start(&server.url("live/a"));
    wait_until("segments", || list(&server, "live/a").is_some_and(|list| list.segments.len() >= 2));
    let process = server.pids("http")[0];
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let maximum = files.split_whitespace().nth(1).unwrap().parse().ok();
    let none = Rlimit { current: Some(descriptors(process) as u64), maximum };
    let before = prlimit(Some(pid), Resource::Nofile, none).unwrap();
    wait_until("the complaint", || server.log().contains("Too many open files"));
    let _ = prlimit(Some(pid), Resource::Nofile, before).unwrap();
    let next = || list(&server, "live/a").map_or(0, |list| list.media_sequence + list.segments.len() as u64);
    let listed = next();
    wait_until("segments again", || next() > listed + 1);
    assert_listed_files(&top.path().join("live/a.m3u8"));
    assert_eq!(server.pids("http"), [process]);
    let frames = rtmp.finish(100);
    assert!(frames.video.windows(2).all(|step| step[1].dts_ms - step[0].dts_ms <= 80));
    drop(encoder);
}

#[test]
fn a_time_of_day_that_jumps_changes_no_length_and_takes_no_name() {
    if !have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let own = WRITES.replace("dvr { enabled on;", "dvr { enabled on; dvr_plan segment; dvr_duration 1;");
    // Whole seconds in the names: most of them would be the same.
    let own = own.replace("[stream]-[timestamp]", "[stream]-[15][04]");
    let Some((server, shim)) = Shim::start(&own) else { return };
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    let rtmp = Recorder::start(&server.url("live/a"));
    let rec = shim.disk().join("rec");
    for (count, jump) in [(1, 3_600), (2, -3_600), (3, -86_400), (4, 1)] {
        wait_until(&format!("{count} recordings"), || recordings(&rec).len() >= count);
        shim.clock(jump);
    }
    drop(encoder.finish(SOON).expect_success());
    wait_until("all of them", || recordings(&rec).len() >= 6);
    let all = recordings(&rec);
    assert_eq!(all.len(), 6, "{all:?}");
    let mut pictures = 0;
    for path in &all {
        assert_playable(path);
        pictures += Frames::of_file(path).video.len();
    }
    assert_eq!(pictures, 150, "none has taken the place of another");
    let hours: std::collections::BTreeSet<String> =
        all.iter().map(|path| path.to_string_lossy().rsplit_once("a-").unwrap().1[..2].to_owned()).collect();
    assert!(hours.len() > 1, "the time of day is that of the shim: {all:?}");
    wait_until("the list", || list(&server, "live/a").is_some_and(|list| length(&list) > 5.7));
    let list = list(&server, "live/a").unwrap();
    assert!(list.segments.iter().all(|segment| (0.9..1.2).contains(&segment.duration)), "{list:?}");
    assert!(list.segments.iter().skip(1).all(|segment| !segment.discontinuity), "{list:?}");
    drop(rtmp.finish(100));
    for process in server.processes() {
        assert!(process.uptime_ms < 600_000, "{process:?}");
    }
    assert!(!server.log().contains("no sign of life"), "nobody is taken for dead");
}
