//! A turn of the http process: which sockets are ready, and what is due, in this order.

use mediaring::Counter;
use reactor::Ready;

use super::HttpProcess;
use super::handoff::Siblings;
use super::proxy;
use super::server::{FIRST_TOKEN, NO_DESCRIPTORS, SWEEP_MS};

impl HttpProcess {
    /// A token that is none of the process's own is ready.
    pub(super) fn ready(&mut self, ready: Ready) {
        let (web, reactor) = (&mut self.web, &self.reactor);
        if let Some(key) = ready.token.0.checked_sub(proxy::FIRST_TOKEN) {
            web.serve(key, false);
        } else if let Some(key) = ready.token.0.checked_sub(FIRST_TOKEN) {
            if ready.writable
                && let Some(connection) = web.clients.get_mut(key)
            {
                connection.blocked = false;
            }
            web.serve(key, ready.readable);
        } else if Siblings::owns(ready.token) {
            let taken = web.siblings.receive(ready.token, &mut web.to_master, web.now_ms);
            taken.into_iter().for_each(|connection| web.begin(reactor, connection));
        } else if let Some(events) = web.site.media.ready(ready.token) {
            web.apply(events);
        } else {
            web.listening.listeners.ready(ready.token);
        }
    }

    /// When [`Self::work`] is due, ms.
    pub(super) fn deadline(&self) -> u64 {
        let web = &self.web;
        if web.clients.is_busy() || web.siblings.is_busy() {
            return 0;
        }
        let accept = web.listening.listeners.again_ms();
        let (streams, waiters) = (web.site.media.streams.deadline(), web.clients.waiters.deadline());
        [Some(web.swept_ms + SWEEP_MS), accept, streams, waiters].into_iter().flatten().min().unwrap_or(0)
    }

    /// Does what is due: accepts, reads streams, serves who watches them.
    pub(super) fn work(&mut self) {
        let (web, reactor) = (&mut self.web, &self.reactor);
        web.now_ms = reactor::now_ms();
        for (at, socket, peer) in web.listening.listeners.accept_at() {
            web.adopt(reactor, at, socket, peer);
        }
        for (at, socket) in web.listening.listeners.take_turned_away() {
            web.counters.add(Counter::Accepted, 1);
            web.counters.refused();
            web.listening.turn_away(at, &socket, NO_DESCRIPTORS);
        }
        let events = web.site.media.streams.tick(web.now_ms);
        web.apply(events);
        for feed in web.site.media.work(web.now()) {
            for viewer in web.clients.free_viewers(feed) {
                web.serve(viewer, false);
            }
        }
        web.hear_news();
        let overdue = web.clients.waiters.overdue(web.now_ms);
        overdue.into_iter().for_each(|key| web.ask_again(key));
        web.to_master.remember(web.site.media.outputs.dvr.new_notes());
        for key in web.clients.take_runnable() {
            web.serve(key, false);
        }
        web.siblings.send_leaving(reactor, &mut web.clients, &web.counters);
        web.watch_tunnels(reactor);
        if web.now_ms >= web.swept_ms + SWEEP_MS {
            web.swept_ms = web.now_ms;
            web.site.media.sweep(reactor.busy(), web.now());
            web.sweep();
        }
    }
}
