//! The reading side of the links to the back-sources: which streams exist, which rings carry them, and wake-ups.
//!
//! Links never call the hub: what they learn comes back as [`LinkEvent`]s, which the process applies.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

use ipc::{Channel, ChannelError, ReaderToSource, SourceToReader, ViewerRequest, Wake, WakeReceiver};
use media::StreamKey;
use mediaring::RingReader;
use reactor::{Reactor, Token};
use rustc_hash::FxHashMap;

use crate::audience::AudienceId;

/// First token of the links: two for each back-source.
const FIRST_LINK_TOKEN: usize = 16;
/// Most back-sources (the configuration allows no more).
const MAX_SHARDS: usize = 64;

/// What a link brought.
#[derive(Debug)]
pub enum LinkEvent {
    /// Viewers of this audience read from this ring from now on.
    Ring(AudienceId, RingReader),
    /// The ring of this audience has something new.
    Advanced(AudienceId),
    /// Its publisher has gone: send what was gathered.
    Rest(AudienceId),
    /// A stream begins, goes on with another publisher, or (`false`) rests, whether it is watched here or not.
    Stream(StreamKey, bool),
    /// The stream is gone.
    Gone(StreamKey),
    /// A back-source is there and has told all its streams.
    Up(u32),
    /// The link of this number to a back-source has ended. The rings stay readable; the next link to it, or to its
    /// successor, brings them again.
    Down(u32, u64),
}

#[derive(Debug)]
struct Link {
    number: u64,
    channel: Channel,
    wake: WakeReceiver,
    /// It has told all its streams: what it has not told does not exist.
    is_listed: bool,
}

/// A stream that has viewers here.
#[derive(Debug)]
struct Watched {
    audience: AudienceId,
    /// What the first viewer said.
    request: ViewerRequest,
    /// The back-source was told that it is wanted.
    is_wanted: bool,
}

/// The links of one process to all back-sources.
#[derive(Debug, Default)]
pub struct Links {
    shards: Vec<Option<Link>>,
    streams: HashMap<(u32, u32), StreamKey>,
    by_key: HashMap<StreamKey, (u32, u32)>,
    watched: HashMap<StreamKey, Watched>,
    /// Where the wake-ups of a stream go; what the other maps say, in one step.
    woken: FxHashMap<(u32, u32), AudienceId>,
    /// Links that have ended while something was sent.
    ended: Vec<u32>,
    /// Rings that found no descriptor, and when to ask for them again, monotonic ms.
    missing: Vec<(u32, u32)>,
    ask_again_ms: u64,
}

/// When what found no room is asked for again, ms.
const AGAIN_MS: u64 = 100;

impl Links {
    /// No links; one back-source for each of `shards` may connect.
    #[must_use]
    pub fn new(shards: u32) -> Self {
        let count = (shards as usize).min(MAX_SHARDS);
        Self { shards: (0..count).map(|_| None).collect(), ..Self::default() }
    }

    /// Whether a token is one of the links'.
    #[must_use]
    pub fn owns(&self, token: Token) -> bool {
        (FIRST_LINK_TOKEN..FIRST_LINK_TOKEN + 2 * self.shards.len()).contains(&token.0)
    }

    /// Whether the back-source of a stream is there.
    #[must_use]
    pub fn is_up(&self, key: &StreamKey) -> bool {
        let link = self.shards.get(self.shard_of(key) as usize);
        link.is_some_and(|link| link.as_ref().is_some_and(|link| !link.channel.is_going()))
    }

    /// The back-source that owns a stream.
    #[must_use]
    pub fn shard_of(&self, key: &StreamKey) -> u32 {
        shard_of(key, self.shards.len())
    }

    /// A back-source is there, at the other end of the link of this number.
    pub fn connect(
        &mut self,
        reactor: &Reactor,
        shard: u32,
        number: u64,
        channel: OwnedFd,
        wake: OwnedFd,
    ) -> Vec<LinkEvent> {
        // What the former link still brings belongs before what this one says.
        let mut events = self.read_channel(shard);
        events.extend(self.disconnect(shard));
        let token = FIRST_LINK_TOKEN + 2 * shard as usize;
        let (channel, wake) = (Channel::new(channel), WakeReceiver::new(wake));
        let link = Link { number, channel, wake, is_listed: false };
        let registered = reactor
            .register(link.channel.as_raw_fd(), Token(token))
            .and_then(|()| reactor.register_readable(link.wake.as_raw_fd(), Token(token + 1)));
        match (registered, self.shards.get_mut(shard as usize)) {
            (Ok(()), Some(place)) => *place = Some(link),
            (Err(error), _) => tracing::error!("the link to back-source {shard} can't be watched: {error}"),
            (_, None) => tracing::error!("there is no place for back-source {shard}"),
        }
        events.extend(self.read_channel(shard));
        events
    }

    fn disconnect(&mut self, shard: u32) -> Vec<LinkEvent> {
        let was = self.shards.get_mut(shard as usize).and_then(Option::take);
        self.streams.retain(|(at, _), _| *at != shard);
        self.by_key.retain(|_, (at, _)| *at != shard);
        self.woken.retain(|(at, _), _| *at != shard);
        self.missing.retain(|(at, _)| *at != shard);
        let shards = self.shards.len();
        for (key, watched) in &mut self.watched {
            watched.is_wanted &= shard_of(key, shards) != shard;
        }
        was.map(|link| LinkEvent::Down(shard, link.number)).into_iter().collect()
    }

    /// What is to be done though no token is ready; to be called with each turn of the loop.
    pub fn tick(&mut self, now_ms: u64) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        for shard in std::mem::take(&mut self.ended) {
            events.extend(self.read_channel(shard));
        }
        let waits = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.channel.wants_write());
        if self.shards.iter().any(waits) {
            for shard in 0..u32::try_from(self.shards.len()).unwrap_or(0) {
                events.extend(self.read_channel(shard));
            }
        }
        if !self.missing.is_empty() && now_ms >= self.ask_again_ms {
            for (shard, stream_id) in std::mem::take(&mut self.missing) {
                self.send(shard, &ReaderToSource::Unsubscribe { stream_id }, Vec::new());
                self.send(shard, &ReaderToSource::Subscribe { stream_id }, Vec::new());
            }
        }
        events
    }

    /// When [`Self::tick`] is due, monotonic ms.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        (!self.missing.is_empty()).then_some(self.ask_again_ms)
    }

    /// Reads what is there for a token that [`Self::owns`] says is ours.
    pub fn ready(&mut self, token: Token) -> Vec<LinkEvent> {
        let place = token.0 - FIRST_LINK_TOKEN;
        let Ok(shard) = u32::try_from(place / 2) else { return Vec::new() };
        if place.is_multiple_of(2) { self.read_channel(shard) } else { self.read_wakes(shard) }
    }

    fn read_wakes(&mut self, shard: u32) -> Vec<LinkEvent> {
        let Some(Some(link)) = self.shards.get_mut(shard as usize) else { return Vec::new() };
        let mut events = Vec::new();
        loop {
            match link.wake.receive() {
                Ok(Some(Wake::Streams(ids))) => {
                    let audiences = ids.iter().filter_map(|id| self.woken.get(&(shard, *id)));
                    events.extend(audiences.map(|audience| LinkEvent::Advanced(*audience)));
                }
                Ok(Some(Wake::All)) => {
                    events.extend(self.watched.values().map(|it| LinkEvent::Advanced(it.audience)))
                }
                Ok(None) => return events,
                // Without wake-ups the whole link is of no use.
                Err(_) => {
                    events.extend(self.read_channel(shard));
                    events.extend(self.disconnect(shard));
                    return events;
                }
            }
        }
    }

    fn read_channel(&mut self, shard: u32) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        while let Some(Some(link)) = self.shards.get_mut(shard as usize) {
            let received = link.channel.flush().and_then(|_| link.channel.receive::<SourceToReader>());
            match received {
                Ok(Some((message, fds))) => {
                    let lost = link.channel.take_lost();
                    self.message(shard, message, fds, lost, &mut events);
                }
                Ok(None) => {
                    if link.channel.take_lost() {
                        // A message that nobody can read any more: all is told again over another link.
                        events.extend(self.disconnect(shard));
                    }
                    break;
                }
                Err(ChannelError::Unknown(what)) => {
                    tracing::warn!("back-source {shard} says {what}, which is not known here: passed over");
                }
                Err(error) => {
                    if !matches!(error, ChannelError::Closed) {
                        tracing::error!("the link to back-source {shard} failed: {error}");
                    }
                    events.extend(self.disconnect(shard));
                }
            }
        }
        events
    }

    fn message(
        &mut self,
        shard: u32,
        message: SourceToReader,
        fds: Vec<OwnedFd>,
        lost: bool,
        events: &mut Vec<LinkEvent>,
    ) {
        match message {
            SourceToReader::Stream(stream) => {
                let place = (shard, stream.stream_id);
                let is_new = self.streams.insert(place, stream.key.clone()).is_none();
                self.by_key.insert(stream.key.clone(), place);
                events.push(LinkEvent::Stream(stream.key.clone(), stream.live));
                if let Some(audience) = self.watched.get(&stream.key).map(|it| it.audience) {
                    self.woken.insert(place, audience);
                    if is_new {
                        self.send(
                            shard,
                            &ReaderToSource::Subscribe { stream_id: stream.stream_id },
                            Vec::new(),
                        );
                    }
                    if !stream.live {
                        events.push(LinkEvent::Rest(audience));
                    }
                }
            }
            SourceToReader::Gone { stream_id } => {
                if let Some(key) = self.streams.remove(&(shard, stream_id)) {
                    self.by_key.remove(&key);
                    self.woken.remove(&(shard, stream_id));
                    self.want(&key);
                    events.push(LinkEvent::Gone(key));
                }
            }
            SourceToReader::Ring { stream_id, .. } => {
                let key = self.streams.get(&(shard, stream_id));
                let audience = key.and_then(|key| self.watched.get(key)).map(|it| it.audience);
                match (audience, fds.into_iter().next().map(RingReader::open)) {
                    (Some(audience), Some(Ok(ring))) => events.push(LinkEvent::Ring(audience, ring)),
                    (_, Some(Err(error))) => {
                        tracing::error!("the ring of stream {stream_id} can't be opened: {error}");
                    }
                    (Some(_), None) if lost => {
                        if self.missing.is_empty() {
                            self.ask_again_ms = reactor::now_ms() + AGAIN_MS;
                            tracing::warn!("no descriptor is left for the ring of stream {stream_id}");
                        }
                        self.missing.push((shard, stream_id));
                    }
                    _ => {}
                }
            }
            SourceToReader::Listed => {
                if let Some(Some(link)) = self.shards.get_mut(shard as usize) {
                    link.is_listed = true;
                }
                let is_its = |key: &&StreamKey| self.shard_of(key) == shard;
                let watched: Vec<StreamKey> = self.watched.keys().filter(is_its).cloned().collect();
                watched.iter().for_each(|key| self.want(key));
                events.push(LinkEvent::Up(shard));
            }
        }
    }

    fn send(&mut self, shard: u32, message: &ReaderToSource, fds: Vec<OwnedFd>) -> bool {
        let Some(Some(link)) = self.shards.get_mut(shard as usize) else { return false };
        match link.channel.send(message, fds) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!("back-source {shard} can't be told something: {error}");
                // Its end is worked off by the next turn.
                self.ended.push(shard);
                false
            }
        }
    }

    /// Viewers of a stream are here: ask for its ring, now or when the stream appears.
    pub fn watch(&mut self, audience: AudienceId, key: &StreamKey) {
        self.watch_for(audience, key, ViewerRequest::default());
    }

    /// The same, with what the first viewer said: a stream that does not exist is wanted by it.
    pub fn watch_for(&mut self, audience: AudienceId, key: &StreamKey, request: ViewerRequest) {
        self.watched.insert(key.clone(), Watched { audience, request, is_wanted: false });
        if let Some((shard, stream_id)) = self.by_key.get(key).copied() {
            self.woken.insert((shard, stream_id), audience);
            self.send(shard, &ReaderToSource::Subscribe { stream_id }, Vec::new());
        } else {
            self.want(key);
        }
    }

    /// Tells the back-source that a stream which it does not have is wanted, once it has told which it has.
    fn want(&mut self, key: &StreamKey) {
        let shard = self.shard_of(key);
        let is_listed = matches!(self.shards.get(shard as usize), Some(Some(link)) if link.is_listed);
        let is_there = self.by_key.contains_key(key);
        let Some(watched) = self.watched.get_mut(key) else { return };
        if is_listed && !is_there && !watched.is_wanted {
            watched.is_wanted = true;
            let request = watched.request.clone();
            self.send(shard, &ReaderToSource::Want { key: key.clone(), request }, Vec::new());
        }
    }

    /// The viewers of a stream have left.
    pub fn unwatch(&mut self, key: &StreamKey) {
        if self.watched.remove(key).is_some_and(|watched| watched.is_wanted) {
            self.send(self.shard_of(key), &ReaderToSource::Unwant { key: key.clone() }, Vec::new());
        }
        if let Some((shard, stream_id)) = self.by_key.get(key).copied() {
            self.woken.remove(&(shard, stream_id));
            self.send(shard, &ReaderToSource::Unsubscribe { stream_id }, Vec::new());
        }
    }

    /// A viewer lags: ask for a ring that holds more.
    pub fn hold(&mut self, key: &StreamKey, want_ms: u64) {
        if let Some((shard, stream_id)) = self.by_key.get(key).copied() {
            self.send(shard, &ReaderToSource::Hold { stream_id, want_ms }, Vec::new());
        }
    }

    /// Asks for the end of whoever publishes a stream.
    pub fn end_publish(&mut self, key: &StreamKey) {
        if let Some((shard, stream_id)) = self.by_key.get(key).copied() {
            self.send(shard, &ReaderToSource::EndPublish { stream_id }, Vec::new());
        }
    }

    /// Says how often the viewers of a stream want to be woken.
    pub fn pace(&mut self, key: &StreamKey, ms: u32) {
        if let Some((shard, stream_id)) = self.by_key.get(key).copied() {
            self.send(shard, &ReaderToSource::Pace { stream_id, ms }, Vec::new());
        }
    }

    /// Gives a connection that wants to publish to the stream's back-source. `false` when that is not there (the socket is
    /// closed then: ask [`Self::is_up`] first).
    pub fn hand_over(&mut self, key: &StreamKey, socket: OwnedFd, connection: Vec<u8>) -> bool {
        self.send(self.shard_of(key), &ReaderToSource::Handoff { connection }, vec![socket])
    }
}

/// Which of so many back-sources owns a stream.
fn shard_of(key: &StreamKey, shards: usize) -> u32 {
    key.shard(u32::try_from(shards).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc::StreamInfo;

    fn key(stream: &str) -> StreamKey {
        StreamKey { vhost: "v".into(), app: "live".into(), stream: stream.into() }
    }

    /// A back-source as the links see it.
    struct Source {
        channel: Channel,
        _wake: OwnedFd,
    }

    impl Source {
        fn connect(links: &mut Links, reactor: &Reactor, number: u64) -> Self {
            let (ours, theirs) = Channel::pair().unwrap();
            let (wake, waker) = Channel::pair().unwrap();
            links.connect(reactor, 0, number, theirs, wake);
            Self { channel: Channel::new(ours), _wake: waker }
        }

        fn say(&mut self, links: &mut Links, message: &SourceToReader) {
            self.channel.send(message, Vec::new()).unwrap();
            links.ready(Token(FIRST_LINK_TOKEN));
        }

        fn stream(&mut self, links: &mut Links, stream: &str) {
            let info = StreamInfo { stream_id: 7, key: key(stream), live: true };
            self.say(links, &SourceToReader::Stream(info));
        }

        /// What it was told, in short.
        fn heard(&mut self) -> Vec<String> {
            let mut heard = Vec::new();
            while let Ok(Some((message, _))) = self.channel.receive::<ReaderToSource>() {
                heard.push(match message {
                    ReaderToSource::Want { key, request } => {
                        format!("want {} {}", key.stream, request.tc_url)
                    }
                    ReaderToSource::Unwant { key } => format!("unwant {}", key.stream),
                    ReaderToSource::Subscribe { stream_id } => format!("subscribe {stream_id}"),
                    ReaderToSource::Unsubscribe { stream_id } => format!("unsubscribe {stream_id}"),
                    other => format!("{other:?}"),
                });
            }
            heard
        }
    }

    fn watch(links: &mut Links, stream: &str) {
        let request = ViewerRequest { tc_url: "url".to_owned(), ..ViewerRequest::default() };
        links.watch_for(AudienceId(1), &key(stream), request);
    }

    #[test]
    fn what_does_not_exist_is_wanted_until_its_last_viewer_goes() {
        let (mut links, reactor) = (Links::new(1), Reactor::new().unwrap());
        let mut source = Source::connect(&mut links, &reactor, 1);
        source.stream(&mut links, "there");
        watch(&mut links, "early");
        watch(&mut links, "there");
        assert_eq!(source.heard(), ["subscribe 7"], "what it has not told yet may exist");
        source.say(&mut links, &SourceToReader::Listed);
        assert_eq!(source.heard(), ["want early url"]);
        watch(&mut links, "late");
        links.unwatch(&key("early"));
        links.unwatch(&key("there"));
        assert_eq!(source.heard(), ["want late url", "unwant early", "unsubscribe 7"]);
    }

    #[test]
    fn a_stream_that_goes_is_wanted_and_a_successor_is_told_all() {
        let (mut links, reactor) = (Links::new(1), Reactor::new().unwrap());
        let mut source = Source::connect(&mut links, &reactor, 1);
        source.stream(&mut links, "one");
        source.say(&mut links, &SourceToReader::Listed);
        watch(&mut links, "one");
        watch(&mut links, "two");
        source.say(&mut links, &SourceToReader::Gone { stream_id: 7 });
        assert_eq!(source.heard(), ["subscribe 7", "want two url", "want one url"]);
        let mut source = Source::connect(&mut links, &reactor, 2);
        assert_eq!(source.heard(), [""; 0]);
        source.say(&mut links, &SourceToReader::Listed);
        let mut heard = source.heard();
        heard.sort();
        assert_eq!(heard, ["want one url", "want two url"]);
        // It appears: who has viewers subscribes, and has wanted it all the same.
        source.stream(&mut links, "two");
        links.unwatch(&key("two"));
        assert_eq!(source.heard(), ["subscribe 7", "unwant two", "unsubscribe 7"]);
    }
}
