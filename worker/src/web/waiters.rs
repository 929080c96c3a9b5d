//! Requests that wait: each says what for, and is looked at again when that is there, or when its time is over. Whatever else happens
//! costs it nothing, however many wait.

use std::collections::{BTreeSet, HashMap};

use media::StreamKey;

use crate::outputs::vod::Wanted as Film;

/// What a request may wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// Somebody publishes a stream.
    Stream(StreamKey),
    /// A list of segments, by vhost and path, can be had, or has something in it.
    List(String, String),
    /// Something that is made of a file is made.
    Film(Film),
    /// The thread that makes such things has time for more.
    AnyFilm,
    /// The http process of this number is there.
    Sibling(u32),
}

/// Requests that wait, by the keys of their connections.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_topic: HashMap<Topic, BTreeSet<usize>>,
    topics: HashMap<usize, (Vec<Topic>, u64)>,
    due: BTreeSet<(u64, usize)>,
    /// How often a request was to be looked at again since the process began.
    pub(crate) looks: u64,
}

impl Waiters {
    /// A request waits for one of these, until then (ms) at the latest. One that waits for none of them is only looked at then.
    pub(crate) fn add(&mut self, key: usize, topics: Vec<Topic>, until_ms: u64) {
        self.remove(key);
        for topic in &topics {
            self.by_topic.entry(topic.clone()).or_default().insert(key);
        }
        self.due.insert((until_ms, key));
        self.topics.insert(key, (topics, until_ms));
    }

    /// A request waits no longer.
    pub(crate) fn remove(&mut self, key: usize) {
        let Some((topics, until_ms)) = self.topics.remove(&key) else { return };
        self.due.remove(&(until_ms, key));
        for topic in topics {
            if let Some(waiting) = self.by_topic.get_mut(&topic) {
                waiting.remove(&key);
                if waiting.is_empty() {
                    self.by_topic.remove(&topic);
                }
            }
        }
    }

    /// Something is there: those who have waited for it, who wait no longer.
    pub(crate) fn wake(&mut self, topic: &Topic) -> Vec<usize> {
        let woken: Vec<usize> = self.by_topic.get(topic).into_iter().flatten().copied().collect();
        self.end(woken)
    }

    /// Those whose time is over.
    pub(crate) fn overdue(&mut self, now_ms: u64) -> Vec<usize> {
        let overdue = self.due.iter().take_while(|(until_ms, _)| *until_ms <= now_ms);
        let overdue = overdue.map(|(_, key)| *key).collect();
        self.end(overdue)
    }

    /// All: anything may be there.
    pub(crate) fn all(&mut self) -> Vec<usize> {
        let all = self.topics.keys().copied().collect();
        self.end(all)
    }

    fn end(&mut self, keys: Vec<usize>) -> Vec<usize> {
        keys.iter().for_each(|key| self.remove(*key));
        self.looks += keys.len() as u64;
        keys
    }

    /// When [`Self::overdue`] has somebody, ms.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due.first().map(|(until_ms, _)| *until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &str) -> Topic {
        Topic::List("v".to_owned(), path.to_owned())
    }

    #[test]
    fn who_waits_is_looked_at_when_it_is_there_and_not_before() {
        let mut waiters = Waiters::default();
        let key = StreamKey { vhost: "v".to_owned(), app: "live".to_owned(), stream: "a".to_owned() };
        for player in 0..5000 {
            let topics = vec![list("live/a.m3u8"), Topic::Stream(key.clone())];
            waiters.add(player, topics, 10_000 + player as u64);
        }
        // A minute of other streams' segments, films and turns of the loop.
        for now_ms in (0..10_000).step_by(20) {
            assert!(waiters.wake(&list("live/b.m3u8")).is_empty());
            assert!(waiters.wake(&Topic::AnyFilm).is_empty());
            assert!(waiters.overdue(now_ms).is_empty());
        }
        assert_eq!(waiters.looks, 0, "5,000 players wait for nothing");
        assert_eq!(waiters.wake(&list("live/a.m3u8")).len(), 5000);
        assert_eq!(waiters.looks, 5000, "each once");
        assert!(waiters.wake(&Topic::Stream(key)).is_empty(), "nobody is left in the other list");
        assert_eq!((waiters.deadline(), waiters.all()), (None, vec![]));
        assert!(waiters.by_topic.is_empty() && waiters.topics.is_empty() && waiters.due.is_empty());
    }

    #[test]
    fn time_is_over_for_each_when_it_is_over() {
        let mut waiters = Waiters::default();
        waiters.add(1, vec![list("a")], 100);
        waiters.add(2, vec![Topic::Sibling(0)], 50);
        waiters.add(3, Vec::new(), 100);
        assert_eq!((waiters.deadline(), waiters.overdue(99)), (Some(50), vec![2]));
        // It waits again, for longer and for something else.
        waiters.add(1, vec![list("b")], 200);
        assert!(waiters.wake(&list("a")).is_empty());
        waiters.remove(3);
        assert_eq!((waiters.overdue(100), waiters.deadline()), (vec![], Some(200)));
        assert_eq!(waiters.wake(&list("b")), [1]);
    }
}
