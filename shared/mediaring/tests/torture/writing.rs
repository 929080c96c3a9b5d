//! The writer child: takes the ring over, goes on where its predecessor was killed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mediaring::{Counter, HeaderKind, RingWriter, Scoreboard, Shape};

use crate::pattern;

/// Where the fast reader tells how far it is.
pub(crate) const FAST_SLOT: usize = 1;

pub(crate) fn board() -> Scoreboard {
    let path = std::env::var("TORTURE_BOARD").unwrap();
    Scoreboard::open(OwnedFd::from(File::options().read(true).write(true).open(path).unwrap())).unwrap()
}

pub(crate) fn run() {
    let stdin = std::io::stdin();
    let board = board();
    let last = crate::from_env("TORTURE_MESSAGES", 0);
    let mut ring = RingWriter::adopt(stdin.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let mut bytes = Vec::new();
    let mut position = match ring.head().checked_sub(1) {
        Some(newest) => ring.record(newest).expect("a ring is never empty once it was written").end(),
        None => 0,
    };
    // Predecessors stay mapped until the end, so that the keeper finds them.
    let mut old = Vec::new();
    while ring.head() < last {
        let seq = ring.head();
        // A quarter of the time the writer runs ahead of everybody; else it lets the fast reader come along.
        if !(seq >> 15).is_multiple_of(4) {
            while seq.saturating_sub(board.get(FAST_SLOT, Counter::BytesIn)) > 512 {
                std::thread::yield_now();
            }
        }
        let len = pattern::length(seq);
        pattern::bytes(position, len, &mut bytes);
        let (one, two) = bytes.split_at(bytes.len() / 3);
        if seq.is_multiple_of(701) {
            let header = header(seq);
            assert!(ring.store_header(HeaderKind::Video, seq, 0, &header));
        }
        assert_eq!(ring.append(pattern::entry(seq), &[one, two]), Some(seq));
        position += u64::from(len);
        if pattern::mix(seq ^ 0x5555).is_multiple_of(60_000) {
            old.push(replace(&mut ring, seq));
        }
    }
    ring.close();
    // The keeper must have seen the last generation before this process is gone.
    std::thread::sleep(Duration::from_millis(200));
}

/// The header that is kept at `seq`.
pub(crate) fn header(seq: u64) -> Vec<u8> {
    let mut header = seq.to_le_bytes().to_vec();
    header.resize(16 + usize::try_from(seq % 3000).unwrap(), seq.to_le_bytes()[0]);
    header
}

fn replace(ring: &mut RingWriter, seq: u64) -> RingWriter {
    let data_bytes = [128, 256, 1024][usize::try_from(pattern::mix(seq) % 3).unwrap()] << 10;
    let next = ring.next_generation(Shape::for_bytes(data_bytes)).unwrap();
    println!("generation {} {}", next.generation(), next.fd().as_raw_fd());
    std::mem::replace(ring, next)
}
