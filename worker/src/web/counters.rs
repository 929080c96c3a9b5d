//! What this process counts: for all processes on the scoreboard, and why connections ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use mediaring::{Counter, Scoreboard, Tally, WorkRecord};

use super::gone::Gone;

/// The counters of this process.
#[derive(Debug)]
pub(crate) struct Counters {
    board: Arc<Scoreboard>,
    slot: usize,
    /// Should this process die of a request, it is known whose it was.
    pub(crate) work_record: Arc<WorkRecord>,
    ended: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Those of the process in this row of the board.
    pub(crate) fn new(board: Arc<Scoreboard>, slot: usize, work_record: Arc<WorkRecord>) -> Self {
        Self { board, slot, work_record, ended: BTreeMap::new() }
    }

    pub(crate) fn add(&self, counter: Counter, count: i64) {
        self.board.add(self.slot, counter, count);
    }

    pub(crate) fn set(&self, counter: Counter, count: usize) {
        self.board.set(self.slot, counter, count as u64);
    }

    /// Bytes have gone out; `tally` is that of the stream that they are of.
    pub(crate) fn sent(&self, bytes: u64, tally: Option<Tally>) {
        if bytes > 0 {
            self.add(Counter::BytesOut, i64::try_from(bytes).unwrap_or(0));
            if let Some(tally) = tally {
                self.board.tally_sent(tally, bytes);
            }
        }
    }

    /// Connections of all processes that have said what they want.
    pub(crate) fn established(&self) -> u64 {
        self.board.established()
    }

    /// Somebody was not let in.
    pub(crate) fn refused(&mut self) {
        for counter in [Counter::Refused, Counter::Ended, Counter::Errors] {
            self.add(counter, 1);
        }
        self.note(Gone::Full);
    }

    /// A connection has ended.
    pub(crate) fn ended(&mut self, gone: Gone) {
        self.add(Counter::Connections, -1);
        self.add(Counter::Ended, 1);
        if gone.is_error() {
            self.add(Counter::Errors, 1);
        }
        self.note(gone);
    }

    /// Counts a reason, of what is no end of a connection as well.
    pub(crate) fn note(&mut self, gone: Gone) {
        for name in gone.names() {
            *self.ended.entry(name).or_default() += 1;
        }
    }

    /// Reasons and how often there were.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (String, u64)> {
        self.ended.iter().map(|(reason, count)| ((*reason).to_owned(), *count))
    }
}
