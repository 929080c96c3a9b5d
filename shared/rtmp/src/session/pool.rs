//! What many sessions have alike, kept once: viewers of one page say the same in their `connect`.

use super::event::ConnectRequest;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

/// Connects of sessions that live, each once.
#[derive(Debug, Default)]
pub struct Pool {
    known: HashMap<u64, Weak<ConnectRequest>>,
    hasher: RandomState,
    /// Entries at which those without a session are forgotten.
    full: usize,
}

impl Pool {
    /// Puts the copy that is known already in the place of an equal one.
    pub(super) fn share(&mut self, request: &mut Arc<ConnectRequest>) {
        if Arc::strong_count(request) > 1 {
            return;
        }
        // The rest is alike where these are; where it is not, nothing is shared.
        let key =
            self.hasher.hash_one((&request.tc_url, &request.app, &request.page_url, &request.flash_ver));
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade) {
            if known == *request {
                *request = known;
            }
            return;
        }
        if self.known.len() >= self.full {
            self.known.retain(|_, known| known.strong_count() > 0);
            self.full = (self.known.len() * 2).max(64);
        }
        self.known.insert(key, Arc::downgrade(request));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::connect;
    use amf0::Value;

    fn request(page: &str) -> Arc<ConnectRequest> {
        let object = Value::object([
            ("tcUrl", "rtmp://example.com/live".into()),
            ("app", "live".into()),
            ("pageUrl", page.into()),
        ]);
        let bytes = crate::command::Command::encode("connect", 1.0, &[object]);
        let limits = crate::limits::Limits::default();
        let command = crate::command::Command::decode(&bytes, &limits.amf()).unwrap();
        Arc::new(connect::parse(&command, 1, &limits).unwrap())
    }

    #[test]
    fn equal_connects_are_kept_once_and_forgotten_with_their_last_session() {
        let mut pool = Pool::default();
        let (mut first, mut second, mut other) = (request("a"), request("a"), request("b"));
        for request in [&mut first, &mut second, &mut other] {
            pool.share(request);
        }
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, second, other));
        for number in 0..200 {
            pool.share(&mut request(&number.to_string()));
        }
        assert!(pool.known.len() <= 65, "{}", pool.known.len());
    }
}
