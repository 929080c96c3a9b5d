//! What is counted: on the scoreboard for all processes, by reason for operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use mediaring::{Counter, Scoreboard, Tally};

use crate::end::End;

/// The counters of one process.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) board: Arc<Scoreboard>,
    slot: usize,
    ended: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(crate) fn new(board: Arc<Scoreboard>, slot: usize) -> Self {
        Self { board, slot, ended: BTreeMap::new() }
    }

    pub(crate) fn add(&self, counter: Counter, count: i64) {
        self.board.add(self.slot, counter, count);
    }

    pub(crate) fn set(&self, counter: Counter, count: u64) {
        self.board.set(self.slot, counter, count);
    }

    /// Bytes came in.
    pub(crate) fn received(&self, bytes: usize) {
        self.add(Counter::BytesIn, i64::try_from(bytes).unwrap_or(0));
    }

    /// Bytes were sent, to viewers of a stream perhaps.
    pub(crate) fn sent(&self, tally: Option<Tally>, bytes: u64) {
        if bytes > 0 {
            self.add(Counter::BytesOut, i64::try_from(bytes).unwrap_or(0));
            if let Some(tally) = tally {
                self.board.tally_sent(tally, bytes);
            }
        }
    }

    /// A connection was not even looked at.
    pub(crate) fn refused_at_once(&mut self, end: &End) {
        for counter in [Counter::Refused, Counter::Ended, Counter::Errors] {
            self.add(counter, 1);
        }
        self.note(end);
    }

    /// A connection has ended.
    pub(crate) fn ended(&mut self, end: &End) {
        self.add(Counter::Connections, -1);
        self.add(Counter::Ended, 1);
        if end.is_error() {
            self.add(Counter::Errors, 1);
        }
        self.note(end);
    }

    /// A connection goes on in another process.
    pub(crate) fn handed_over(&mut self) {
        self.add(Counter::Connections, -1);
        self.note(&End::HandedOver);
    }

    fn note(&mut self, end: &End) {
        *self.ended.entry(end.reason()).or_default() += 1;
    }

    /// How many ended, by reason.
    pub(crate) fn by_reason(&self) -> Vec<(String, u64)> {
        self.ended.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }
}
