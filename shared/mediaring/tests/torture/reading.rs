//! A reader child: follows the ring through all its generations and checks every byte.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mediaring::{Counter, HeaderKind, Lapped, Record, RingReader, Scoreboard, Sent};

use crate::keeper::Tally;
use crate::{pattern, writing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Takes what there is, by copy and by `send` in turn.
    Fast,
    /// Rests so long that it is overtaken between messages.
    Slow,
    /// Rests between finding a record and taking its bytes.
    Overtaken,
}

struct Reading {
    habit: Habit,
    ring: RingReader,
    next: u64,
    /// Where the next record must begin, when the one before it was seen.
    position: Option<u64>,
    tally: Tally,
    turn: u64,
    bytes: Vec<u8>,
    expected: Vec<u8>,
    near: UnixStream,
    far: UnixStream,
}

pub(crate) fn run(habit: Habit) {
    let stdin = std::io::stdin();
    let board = writing::board();
    let last = crate::from_env("TORTURE_MESSAGES", 0);
    let ring = RingReader::open(stdin.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let mut reading = Reading {
        habit,
        ring,
        next: 0,
        position: None,
        tally: Tally::default(),
        turn: 0,
        bytes: Vec::new(),
        expected: Vec::new(),
        near,
        far,
    };
    while reading.next < last {
        reading.turn(&board);
    }
    let Tally { read, lapped, torn } = reading.tally;
    println!("tally {read} {lapped} {torn}");
}

impl Reading {
    fn turn(&mut self, board: &Scoreboard) {
        self.turn += 1;
        let head = self.ring.head();
        if self.next >= head {
            // Ask in this order: what was published before the end of a generation must be read first.
            if self.ring.superseded() && self.next >= self.ring.head() {
                self.enter_next_generation();
            } else {
                std::thread::yield_now();
            }
            return;
        }
        let read = if self.habit == Habit::Fast && self.turn.is_multiple_of(2) {
            self.send(head.min(self.next + 40))
        } else {
            self.copy(head.min(self.next + 40))
        };
        if read.is_err() {
            self.tally.lapped += 1;
            self.position = None;
            self.next = self.ring.key().unwrap_or(self.next).max(self.ring.tail());
        }
        match self.habit {
            Habit::Fast => {
                let before = board.get(writing::FAST_SLOT, Counter::BytesIn);
                let step = i64::try_from(self.next).unwrap() - i64::try_from(before).unwrap();
                board.add(writing::FAST_SLOT, Counter::BytesIn, step);
            }
            Habit::Slow => std::thread::sleep(Duration::from_micros(pattern::mix(self.turn) % 500)),
            Habit::Overtaken => {}
        }
        if self.turn.is_multiple_of(64) {
            self.look_at_header();
        }
    }

    fn record(&mut self, seq: u64) -> Result<Record, Lapped> {
        let record = self.ring.record(seq)?;
        assert_eq!(record.seq, seq);
        pattern::check(&record);
        if let Some(position) = self.position {
            assert_eq!(record.position, position, "message {seq} does not follow the one before it");
        }
        self.position = Some(record.end());
        Ok(record)
    }

    fn copy(&mut self, to: u64) -> Result<(), Lapped> {
        while self.next < to {
            let record = self.record(self.next)?;
            if self.habit == Habit::Overtaken && self.turn.is_multiple_of(8) {
                std::thread::sleep(Duration::from_micros(pattern::mix(self.next) % 3000));
            }
            self.bytes.clear();
            let copied = self.ring.copy(record.position, record.wire_len, &mut self.bytes);
            self.tally.torn += u64::from(copied.is_err());
            copied?;
            pattern::bytes(record.position, record.wire_len, &mut self.expected);
            assert!(self.bytes == self.expected, "message {} has wrong bytes", self.next);
            self.next += 1;
            self.tally.read += 1;
        }
        Ok(())
    }

    /// Lets the kernel take the messages up to `to` out of the ring, and looks at what arrived.
    fn send(&mut self, to: u64) -> Result<(), Lapped> {
        let first = self.record(self.next)?;
        let mut end = first.end();
        for seq in self.next + 1..to {
            end = self.record(seq)?.end();
        }
        let prefix = self.next.to_le_bytes();
        let sent = self.ring.send_after(self.near.as_raw_fd(), &prefix, first.position, end).unwrap();
        self.bytes.clear();
        let mut buffer = [0; 16384];
        while let Ok(count @ 1..) = self.far.read(&mut buffer) {
            self.bytes.extend_from_slice(&buffer[..count]);
        }
        match sent {
            Sent::Gone | Sent::Lapped => {
                self.tally.torn += 1;
                return Err(Lapped);
            }
            Sent::WouldBlock => panic!("an empty socket takes something"),
            Sent::Bytes(count) => assert_eq!(count, self.bytes.len()),
        }
        // A stream socket may take a part: whole messages of it count.
        let (before, media) = self.bytes.split_at(8);
        assert_eq!(before, prefix);
        pattern::bytes(first.position, u32::try_from(media.len()).unwrap(), &mut self.expected);
        assert!(media == self.expected, "messages from {} on went out wrong", self.next);
        let sent_to = first.position + media.len() as u64;
        let mut position = first.position;
        while self.next < to && position + u64::from(pattern::length(self.next)) <= sent_to {
            position += u64::from(pattern::length(self.next));
            self.next += 1;
            self.tally.read += 1;
        }
        self.position = Some(position);
        Ok(())
    }

    fn look_at_header(&self) {
        if let Some(header) = self.ring.header(HeaderKind::Video, self.next) {
            assert!(header.seq.is_multiple_of(701));
            assert_eq!(header.bytes, writing::header(header.seq), "a kept header is torn");
        }
        if let Ok(record) = self.ring.record(self.next) {
            match self.ring.find(record.end() - 1) {
                Ok(found) => assert_eq!(found, record),
                Err(Lapped) => assert!(self.ring.tail() > record.seq, "a record was not found"),
            }
        }
    }

    fn enter_next_generation(&mut self) {
        let roster = std::fs::read_to_string(std::env::var("TORTURE_ROSTER").unwrap()).unwrap_or_default();
        let newest = roster
            .split_once(' ')
            .and_then(|(number, path)| Some((number.parse::<u32>().ok()?, path)))
            .filter(|(number, _)| *number > self.ring.generation());
        if let Some((_, path)) = newest {
            self.ring = RingReader::open(OwnedFd::from(File::open(path).unwrap())).unwrap();
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
