//! The keeper: starts the children, kills the writer, and holds every generation that it heard of.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use mediaring::{RingWriter, Scoreboard, Shape};

use crate::pattern::mix;

/// What a reader did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Messages read and found right.
    pub(crate) read: u64,
    /// How often it had to begin again.
    pub(crate) lapped: u64,
    /// How many of these happened between finding a record and having its bytes.
    pub(crate) torn: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) kills: u32,
    pub(crate) generations: u32,
    /// Generations whose writer died before the keeper had them.
    pub(crate) lost: u32,
    pub(crate) fast: Tally,
    pub(crate) slow: Tally,
    pub(crate) overtaken: Tally,
}

/// A directory of its own, gone at the end.
struct Place(std::path::PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn child(role: &str, ring: OwnedFd, board: &Scoreboard, roster: &Path, messages: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("TORTURE_ROLE", role)
        .env("TORTURE_BOARD", path_of(board.fd().as_raw_fd()))
        .env("TORTURE_ROSTER", roster)
        .env("TORTURE_MESSAGES", messages.to_string())
        .stdin(ring)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How another process opens a descriptor of ours.
fn path_of(number: i32) -> String {
    format!("/proc/{}/fd/{number}", std::process::id())
}

/// Announces a generation to the readers, whole or not at all.
fn enrol(roster: &Path, generation: u32, ring: &OwnedFd) {
    let next = roster.with_extension("next");
    std::fs::write(&next, format!("{generation} {}", path_of(ring.as_raw_fd()))).unwrap();
    std::fs::rename(&next, roster).unwrap();
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn tally(child: Child) -> Tally {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "a reader failed:\n{text}");
    let line = text.lines().find_map(|line| line.split_once("tally ")).unwrap_or_else(|| panic!("{text}")).1;
    let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    Tally { read: next(), lapped: next(), torn: next() }
}

/// The whole test; panics when a child finds something wrong.
pub(crate) fn run(seed: u64, messages: u64) -> Outcome {
    let place = Place(std::env::temp_dir().join(format!("ring-torture-{}-{seed}", std::process::id())));
    std::fs::create_dir_all(&place.0).unwrap();
    let roster = place.0.join("roster");
    let board = Scoreboard::create().unwrap();
    let first = RingWriter::create(Shape { data_bytes: 256 << 10, records: 2048 }, 7, 0, 128).unwrap();
    // Every generation stays open until the end: a reader that was told of one may come late.
    let mut kept = vec![first.fd().try_clone_to_owned().unwrap()];
    let readers: Vec<Child> = ["fast", "slow", "overtaken"]
        .map(|role| child(role, first.reader_fd().unwrap(), &board, &roster, messages))
        .into();
    drop(first);

    let mut outcome = Outcome::default();
    let mut random = seed;
    loop {
        let ring = kept.last().unwrap().as_fd().try_clone_to_owned().unwrap();
        let mut writer = child("writer", ring, &board, &roster, messages);
        let lines = lines(writer.stdout.take().unwrap());
        let pid = writer.id();
        let mut killed = false;
        loop {
            random = mix(random);
            let patience = if outcome.kills < 100 {
                Duration::from_micros(8_000 + random % 60_000)
            } else {
                Duration::from_secs(60)
            };
            match lines.recv_timeout(patience) {
                Ok(line) => {
                    let Some((_, words)) = line.split_once("generation ") else { continue };
                    let (number, fd) = words.split_once(' ').unwrap();
                    let open = File::options().read(true).write(true).open(format!("/proc/{pid}/fd/{fd}"));
                    let Ok(file) = open else {
                        outcome.lost += 1;
                        continue;
                    };
                    outcome.generations += 1;
                    kept.push(OwnedFd::from(file));
                    enrol(&roster, number.parse().unwrap(), kept.last().unwrap());
                    // Some writers die right here, where the old generation has ended and the new one is young.
                    if random.is_multiple_of(3) && !killed {
                        writer.kill().unwrap();
                        killed = true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    writer.kill().unwrap();
                    killed = true;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = writer.wait().unwrap();
        if status.success() {
            break;
        }
        assert!(killed, "the writer failed by itself: {status}");
        outcome.kills += 1;
    }
    let tallies: Vec<Tally> = readers.into_iter().map(tally).collect();
    (outcome.fast, outcome.slow, outcome.overtaken) = (tallies[0], tallies[1], tallies[2]);
    outcome
}
