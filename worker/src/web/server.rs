//! The web server: what it consists of, and what a turn of its loop does.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use conf::Config;
use mediaring::Counter;
use reactor::Reactor;

use super::clients::Clients;
use super::connection::Connection;
use super::counters::Counters;
use super::event_pages::EventPages;
use super::gone::Gone;
use super::handoff::Siblings;
use super::listening::Listening;
use super::site::Site;
use super::to_master::ToMaster;
use super::waiters::Topic;
use crate::outputs::moment::unix_ms;
use crate::outputs::output::Now;
use crate::reading::{FIRST_FREE_TOKEN, LinkEvent};

mod answering;
mod serving;

pub(crate) use serving::NO_DESCRIPTORS;

/// Tokens of connections begin here.
pub(crate) const FIRST_TOKEN: usize = FIRST_FREE_TOKEN;
/// How often connections are looked after, ms.
pub(crate) const SWEEP_MS: u64 = 250;
/// From accept, or the first byte of another head, to the end of the head, ms.
pub(crate) const HEAD_MS: u64 = 5_000;
/// How long a connection may rest between two requests, ms.
const IDLE_MS: u64 = 60_000;
/// How long a client may take to read our last words, ms.
const LINGER_MS: u64 = 1_000;
/// How long a player of HLS that an operator ended is refused, ms.
const REFUSE_MS: u64 = 60_000;
/// How long viewers stay when nobody publishes any more, at least, ms.
const LEAST_GRACE_MS: u64 = 5_000;

/// The web server.
#[derive(Debug)]
pub(crate) struct Web {
    /// What there is to be had.
    pub(crate) site: Site,
    pub(crate) counters: Counters,
    pub(crate) clients: Clients,
    pub(crate) listening: Listening,
    pub(crate) siblings: Siblings,
    pub(crate) to_master: ToMaster,
    event_pages: EventPages,
    pub(crate) now_ms: u64,
    pub(super) swept_ms: u64,
    /// When it may be told again that somebody speaks another protocol, ms.
    next_contact_ms: u64,
}

impl Web {
    /// A web server that listens nowhere yet.
    pub(crate) fn new(site: Site, counters: Counters, clients: Clients) -> Self {
        let mut web = Self {
            listening: Listening::new(site.config.limits.turn_accepts),
            site,
            counters,
            clients,
            siblings: Siblings::default(),
            to_master: ToMaster::default(),
            event_pages: EventPages::default(),
            now_ms: reactor::now_ms(),
            swept_ms: 0,
            next_contact_ms: 0,
        };
        web.site.media.review(web.now());
        web
    }

    pub(crate) fn now(&self) -> Now {
        Now { ms: self.now_ms, unix_ms: unix_ms() }
    }

    /// Accepts on these no more.
    pub(crate) fn stop_listening(&mut self, reactor: &Reactor, addresses: &[SocketAddr]) {
        for (at, socket, peer) in self.listening.remove(reactor, addresses) {
            self.adopt(reactor, at, socket, peer);
        }
        self.listening.forget(addresses);
    }

    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: Arc<Config>) {
        self.listening.look_at_certificate(&config, true);
        // Who watches a stream of a vhost that is no more has nothing to watch.
        let homeless = self.clients.viewers(|feed| !self.site.media.is_shown(feed, &config));
        self.site.configure(config, self.now());
        for key in homeless {
            self.end_live(key);
            self.serve(key, false);
        }
        self.hear_news();
    }

    /// A back-source is there, at the other end of the link of this number.
    pub(crate) fn connect(&mut self, reactor: &Reactor, shard: u32, link: u64, ends: (OwnedFd, OwnedFd)) {
        let events = self.site.media.connect(reactor, shard, link, ends);
        self.apply(events);
    }

    /// Another http process is there, at the other end of the link of this number.
    pub(crate) fn meet_sibling(&mut self, reactor: &Reactor, number: u32, link: u64, channel: OwnedFd) {
        let taken = self.siblings.meet(reactor, (number, link), channel, &mut self.to_master, self.now_ms);
        taken.into_iter().for_each(|connection| self.begin(reactor, connection));
        self.wake(&Topic::Sibling(number));
    }

    /// Takes what links have brought. Who waits for it gets it at once: a short publish may be over with the next event.
    pub(super) fn apply(&mut self, events: Vec<LinkEvent>) {
        let now = self.now();
        for event in events {
            self.site.media.apply(event, now);
            self.hear_news();
        }
        for (link, reads) in self.site.media.take_link_notes() {
            self.to_master.link(link, reads);
        }
    }

    /// Requests that wait for what is there now are looked at.
    pub(super) fn hear_news(&mut self) {
        let news = self.site.media.take_news();
        if news.everything {
            let all = self.clients.waiters.all();
            all.into_iter().for_each(|key| self.ask_again(key));
        }
        for stream in news.streams {
            self.wake(&Topic::Stream(stream));
        }
        for (vhost, path) in news.lists {
            self.wake(&Topic::List(vhost, path));
        }
    }

    /// Something is there.
    fn wake(&mut self, topic: &Topic) {
        let woken = self.clients.waiters.wake(topic);
        woken.into_iter().for_each(|key| self.ask_again(key));
    }

    /// Takes what was made of files.
    pub(crate) fn take_films(&mut self) {
        for film in self.site.vod.drain() {
            self.wake(&Topic::Film(film));
            self.wake(&Topic::AnyFilm);
        }
    }

    /// Looks after all: deadlines, streams that rest, viewers who lag.
    pub(super) fn sweep(&mut self) {
        let stalled_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
        self.event_pages.ping(&mut self.clients, self.now_ms, stalled_ms);
        // Whatever others may have written there.
        self.counters.set(Counter::Connections, self.clients.connections.len());
        let idle = self.clients.connections.iter().filter(|(_, connection)| connection.asks_nothing());
        self.counters.set(Counter::Unestablished, idle.count());
        let grace_ms = self.site.config.http_server.stream_wait_ms.max(LEAST_GRACE_MS);
        let media = &self.site.media;
        let swept = self.clients.sweep(self.now_ms, grace_ms, |feed| media.feed(feed)?.rests_since_ms);
        for key in swept.late {
            let is_over = self.clients.get(key).is_some_and(Connection::is_over);
            self.end(key, if is_over { Gone::Left } else { Gone::Slow });
        }
        for key in swept.over {
            self.end_live(key);
            self.serve(key, false);
        }
        self.site.media.trim(&self.clients.furthest_behind());
        self.site.files.sweep(self.now_ms);
        self.listening.look_at_certificate(&self.site.config, false);
    }

    /// All connections end, and all files.
    pub(crate) fn end_all(&mut self) {
        self.site.media.end_all(self.now());
        for key in self.clients.keys() {
            self.end(key, Gone::Ending);
        }
    }

    /// Tells pages that something has happened.
    pub(crate) fn announce(&mut self, event: &str) {
        let deadline_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
        self.event_pages.announce(event, &mut self.clients, deadline_ms);
    }

    /// Another master keeps nothing and knows nothing yet.
    pub(crate) fn keep_again(&mut self) {
        self.to_master.keep_downloads_again(&self.clients);
        self.to_master.remember(self.site.media.outputs.dvr.notes());
    }

    /// Goes on with a download that a predecessor had begun.
    pub(crate) fn resume_download(&mut self, reactor: &Reactor, id: u64, state: &[u8], fds: Vec<OwnedFd>) {
        if self.clients.find(id).is_some() {
            return;
        }
        let deadline_ms = self.now_ms + self.site.config.limits.stalled_timeout_ms;
        if let Some(connection) = self.to_master.resume_download(id, state, fds, deadline_ms) {
            self.begin(reactor, connection);
        }
    }
}
