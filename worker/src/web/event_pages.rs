//! Pages that listen to events. They are told only that there is something new to ask the API for.

use std::collections::BTreeSet;

use bytes::Bytes;
use http1::Response;

use super::answer::finish;
use super::clients::Clients;
use super::connection::{Body, Connection, State};

/// Pages that listen at the same time.
const MAX_PAGES: usize = 64;
/// How often a page hears that it is still connected, ms.
pub(crate) const PING_MS: u64 = 10_000;

/// The pages, by the keys of their connections.
#[derive(Debug, Default)]
pub(crate) struct EventPages {
    listeners: BTreeSet<usize>,
    /// When they hear of us at the latest, monotonic ms.
    next_ping_ms: u64,
}

impl EventPages {
    /// A page listens from now on; of a request for a head alone that is all. `false` when too many do.
    pub(crate) fn begin(
        &mut self,
        key: usize,
        connection: &mut Connection,
        head: Response,
        is_head: bool,
    ) -> bool {
        if self.listeners.len() >= MAX_PAGES {
            return false;
        }
        connection.keep_alive = false;
        connection.outbox.push(finish(head, false).into_bytes());
        if !is_head {
            connection.outbox.push(Bytes::from_static(b"retry: 1000\n\n"));
            connection.state = State::Answer(Body::Events);
            self.listeners.insert(key);
        }
        true
    }

    /// It does so no longer.
    pub(crate) fn remove(&mut self, key: usize) {
        self.listeners.remove(&key);
    }

    /// Tells pages that something has happened; they have until `deadline_ms` to take it.
    pub(crate) fn announce(&mut self, event: &str, clients: &mut Clients, deadline_ms: u64) {
        self.say(&Bytes::from(format!("event: {event}\ndata: {{}}\n\n")), clients, deadline_ms);
    }

    /// Shows pages that they are still connected, and finds those that are not.
    pub(crate) fn ping(&mut self, clients: &mut Clients, now_ms: u64, deadline_ms: u64) {
        if now_ms >= self.next_ping_ms {
            self.next_ping_ms = now_ms + PING_MS;
            self.say(&Bytes::from_static(b": \n\n"), clients, deadline_ms);
        }
    }

    fn say(&self, text: &Bytes, clients: &mut Clients, deadline_ms: u64) {
        for key in &self.listeners {
            let Some(connection) = clients.get_mut(*key) else { continue };
            // One that has not taken the last event learns of this one with the next.
            if connection.outbox.is_empty() {
                connection.outbox.push(text.clone());
                connection.deadline_ms = deadline_ms;
                clients.run(*key);
            }
        }
    }
}
