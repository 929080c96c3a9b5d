//! Questions whose answers are awaited, with their deadlines; and what was refused, by reason.
//!
//! A connection has one open question at most: its session parses nothing while it waits. An answer that comes twice, too
//! late, or for a connection that has left, finds nothing here; it is counted and does nothing.

use std::collections::{BTreeMap, HashMap};

use reactor::Deadlines;

use crate::verdict::{Asked, DecisionId, Otherwise, Reason};

/// A question that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Key of the connection in its hub.
    pub(crate) key: usize,
    pub(crate) asked: Asked,
    /// When it is answered at the latest, monotonic ms.
    pub(crate) until_ms: u64,
    /// What holds then.
    pub(crate) otherwise: Otherwise,
}

/// The open questions of one process, and how questions were answered.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// By connection id: the number of the question, and what it is.
    open: HashMap<u64, (u64, Open)>,
    deadlines: Deadlines<DecisionId>,
    refused: BTreeMap<(Asked, Reason), u64>,
    unclaimed: u64,
}

impl Decisions {
    /// A question is out.
    pub(crate) fn put(&mut self, id: DecisionId, open: Open) {
        self.open.insert(id.connection, (id.request, open));
        self.deadlines.add(open.until_ms, id);
    }

    /// An answer has come: the question it is for. Others are counted.
    pub(crate) fn answer(&mut self, id: DecisionId) -> Option<Open> {
        let open = self.take(id);
        self.unclaimed += u64::from(open.is_none());
        open
    }

    fn take(&mut self, id: DecisionId) -> Option<Open> {
        self.open.get(&id.connection).filter(|(request, _)| *request == id.request)?;
        self.open.remove(&id.connection).map(|(_, open)| open)
    }

    /// The connection has left, or goes to another process. Returns its open question.
    pub(crate) fn forget(&mut self, connection: u64) -> Option<Open> {
        self.open.remove(&connection).map(|(_, open)| open)
    }

    /// A question whose time is over by now.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<Open> {
        while let Some(id) = self.deadlines.pop(now_ms) {
            let is_due = |(request, open): &(u64, Open)| *request == id.request && open.until_ms <= now_ms;
            if self.open.get(&id.connection).is_some_and(is_due) {
                return self.take(id);
            }
        }
        None
    }

    /// When the next question's time is over, monotonic ms.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Something was refused.
    pub(crate) fn count_refused(&mut self, asked: Asked, reason: Reason) {
        *self.refused.entry((asked, reason)).or_default() += 1;
    }

    /// Refusals by what was asked and why, such as `publish in_use`.
    pub(crate) fn refused(&self) -> Vec<(String, u64)> {
        let text = |(asked, reason): &(Asked, Reason)| format!("{} {}", asked.name(), reason.name());
        self.refused.iter().map(|(what, count)| (text(what), *count)).collect()
    }

    /// Answers that were for nobody.
    pub(crate) fn unclaimed(&self) -> u64 {
        self.unclaimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(connection: u64, request: u64) -> DecisionId {
        DecisionId { connection, request }
    }

    fn open(key: usize, until_ms: u64) -> Open {
        Open { key, asked: Asked::Play, until_ms, otherwise: Otherwise::Reject(Reason::Timeout) }
    }

    #[test]
    fn an_answer_counts_once_and_only_for_its_question() {
        let mut decisions = Decisions::default();
        decisions.put(id(7, 1), open(0, 100));
        assert_eq!(decisions.answer(id(7, 2)), None, "another question of that connection");
        assert_eq!(decisions.answer(id(7, 1)).map(|open| open.key), Some(0));
        assert_eq!(decisions.answer(id(7, 1)), None, "twice");
        assert_eq!((decisions.len(), decisions.unclaimed()), (0, 2));
    }

    #[test]
    fn what_is_over_comes_once_and_nothing_of_those_who_left() {
        let mut decisions = Decisions::default();
        decisions.put(id(1, 1), open(1, 100));
        decisions.put(id(2, 1), open(2, 100));
        decisions.put(id(3, 1), open(3, 100));
        assert_eq!(decisions.forget(2).map(|open| open.key), Some(2));
        decisions.answer(id(3, 1));
        // The next question of the same connection has a time of its own.
        decisions.put(id(3, 2), open(3, 200));
        assert_eq!((decisions.due(99), decisions.next_deadline()), (None, Some(100)));
        assert_eq!(decisions.due(100).map(|open| open.key), Some(1));
        assert_eq!((decisions.due(150), decisions.len()), (None, 1));
        assert_eq!(decisions.due(200).map(|open| open.key), Some(3));
        assert_eq!(decisions.answer(id(3, 2)), None, "late");
    }

    #[test]
    fn refusals_are_counted_by_what_and_why() {
        let mut decisions = Decisions::default();
        decisions.count_refused(Asked::Publish, Reason::InUse);
        decisions.count_refused(Asked::Publish, Reason::InUse);
        decisions.count_refused(Asked::Connect, Reason::NoVhost);
        let expected = [("connect no_vhost".to_owned(), 1), ("publish in_use".to_owned(), 2)];
        assert_eq!(decisions.refused(), expected);
    }
}
