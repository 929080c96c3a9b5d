//! Who wants streams that nobody publishes here: what a pull from another server would be made for.
//!
//! A reader says `Want` when it has viewers of a stream that it does not know, and `Unwant` with the last of them; a successor
//! of this process is told all again. Nothing here pulls: the demand is kept, bounded, and told to operators.

use std::collections::HashMap;

use ipc::ViewerRequest;
use media::StreamKey;

/// Most streams that one reader may want.
const MAX_OF_READER: usize = 4_096;
/// Most streams that are wanted in all.
const MAX_STREAMS: usize = 16_384;

/// Most streams that are told to operators.
const MAX_REPORTED: usize = 1_000;

/// Who has viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wanter {
    /// A connection that lives in this process.
    Here,
    /// A process that reads our rings, by its key among the readers.
    Reader(usize),
}

/// One stream that is wanted.
#[derive(Debug)]
struct Wanted {
    /// Since when without a break, monotonic ms.
    since_ms: u64,
    /// By whom, and what the first viewer of each said; the one who has wanted it longest first.
    by: Vec<(Wanter, ViewerRequest)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    by_key: HashMap<StreamKey, Wanted>,
    /// How many streams each wants.
    counts: HashMap<Wanter, usize>,
    refused: u64,
}

impl Demand {
    /// Somebody has viewers of a stream. `false` when that is beyond the bounds: counted, and not kept.
    pub(crate) fn want(&mut self, who: Wanter, key: StreamKey, request: ViewerRequest, now_ms: u64) -> bool {
        let count = self.counts.get(&who).copied().unwrap_or(0);
        let known = self.by_key.get(&key);
        if known.is_some_and(|wanted| wanted.by.iter().any(|(by, _)| *by == who)) {
            return true;
        }
        if count >= MAX_OF_READER || (known.is_none() && self.by_key.len() >= MAX_STREAMS) {
            self.refused += 1;
            return false;
        }
        self.counts.insert(who, count + 1);
        let wanted = self.by_key.entry(key).or_insert_with(|| Wanted { since_ms: now_ms, by: Vec::new() });
        wanted.by.push((who, request.bounded()));
        true
    }

    /// Its last viewer has gone.
    pub(crate) fn unwant(&mut self, who: Wanter, key: &StreamKey) {
        let Some(wanted) = self.by_key.get_mut(key) else { return };
        let before = wanted.by.len();
        wanted.by.retain(|(by, _)| *by != who);
        if wanted.by.len() < before
            && let Some(count) = self.counts.get_mut(&who)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&who);
            }
        }
        if wanted.by.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// A reader is gone, with all that it wanted.
    pub(crate) fn forget(&mut self, who: Wanter) {
        if self.counts.remove(&who).is_some() {
            self.by_key.retain(|_, wanted| {
                wanted.by.retain(|(by, _)| *by != who);
                !wanted.by.is_empty()
            });
        }
    }

    /// For operators: what is wanted longest first. `name` says which process a reader is.
    pub(crate) fn report(&self, now_ms: u64, name: impl Fn(usize) -> String) -> Vec<api::Wanted> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|(_, wanted)| wanted.since_ms);
        let by = |who: &Wanter| match who {
            Wanter::Here => "here".to_owned(),
            Wanter::Reader(reader) => name(*reader),
        };
        let one = |(key, wanted): (&StreamKey, &Wanted)| api::Wanted {
            vhost: key.vhost.clone(),
            app: key.app.clone(),
            name: key.stream.clone(),
            since_ms: now_ms.saturating_sub(wanted.since_ms),
            by: wanted.by.iter().map(|(who, _)| by(who)).collect(),
        };
        all.into_iter().take(MAX_REPORTED).map(one).collect()
    }

    /// All streams that are wanted.
    fn iter(&self) -> impl Iterator<Item = (&StreamKey, &Wanted)> {
        self.by_key.iter()
    }

    /// What was wanted beyond the bounds.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey { vhost: "v".into(), app: "live".into(), stream: stream.into() }
    }

    fn request(tc_url: &str) -> ViewerRequest {
        ViewerRequest { tc_url: tc_url.to_owned(), ..ViewerRequest::default() }
    }

    fn names(demand: &Demand) -> Vec<(String, usize)> {
        let mut names: Vec<_> =
            demand.iter().map(|(key, wanted)| (key.stream.clone(), wanted.by.len())).collect();
        names.sort();
        names
    }

    #[test]
    fn a_stream_is_wanted_from_its_first_reader_to_its_last() {
        let mut demand = Demand::default();
        assert!(demand.want(Wanter::Reader(1), key("a"), request("first"), 100));
        assert!(demand.want(Wanter::Here, key("a"), request("second"), 200));
        assert!(demand.want(Wanter::Here, key("a"), request("again"), 300), "said twice, it counts once");
        let (_, wanted) = demand.iter().next().unwrap();
        assert_eq!((wanted.since_ms, wanted.by.len(), &*wanted.by[0].1.tc_url), (100, 2, "first"));
        demand.unwant(Wanter::Reader(1), &key("a"));
        demand.unwant(Wanter::Reader(1), &key("a"));
        assert_eq!(names(&demand), [("a".to_owned(), 1)]);
        demand.unwant(Wanter::Here, &key("a"));
        assert_eq!((names(&demand), demand.counts.len()), (Vec::new(), 0));
    }

    #[test]
    fn a_reader_that_dies_wants_nothing_any_more() {
        let mut demand = Demand::default();
        for (reader, stream) in [(1, "a"), (1, "b"), (2, "b"), (2, "c")] {
            demand.want(Wanter::Reader(reader), key(stream), ViewerRequest::default(), 0);
        }
        demand.forget(Wanter::Reader(1));
        assert_eq!(names(&demand), [("b".to_owned(), 1), ("c".to_owned(), 1)]);
        demand.forget(Wanter::Reader(2));
        assert_eq!((names(&demand), demand.counts.len()), (Vec::new(), 0));
    }

    #[test]
    fn nobody_wants_without_bound() {
        let mut demand = Demand::default();
        for n in 0..MAX_OF_READER + 10 {
            demand.want(Wanter::Reader(1), key(&n.to_string()), ViewerRequest::default(), 0);
        }
        assert_eq!((demand.by_key.len(), demand.refused()), (MAX_OF_READER, 10));
        for reader in 2..10 {
            for n in 0..MAX_OF_READER {
                demand.want(
                    Wanter::Reader(reader),
                    key(&format!("{reader}/{n}")),
                    ViewerRequest::default(),
                    0,
                );
            }
        }
        assert_eq!(demand.by_key.len(), MAX_STREAMS);
        // Nor is more kept of what its viewer said.
        let long = ViewerRequest { params: vec![("key".to_owned(), "x".repeat(5_000))], ..request("url") };
        demand.unwant(Wanter::Reader(1), &key("1"));
        demand.want(Wanter::Reader(1), key("long"), long, 0);
        assert!(demand.by_key[&key("long")].by.iter().all(|(_, kept)| *kept == ViewerRequest::default()));
        // What is wanted already may be wanted by others.
        assert!(demand.want(Wanter::Reader(20), key("0"), ViewerRequest::default(), 0));
        demand.forget(Wanter::Reader(1));
        assert!(demand.want(Wanter::Reader(20), key("new"), ViewerRequest::default(), 0));
    }
}
