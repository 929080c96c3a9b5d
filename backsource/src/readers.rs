//! The processes that read our rings: what they are told and what they ask.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};

use ipc::{Channel, ChannelError, ReaderToSource, Role, SourceToReader, WakeSender};
use reactor::{Reactor, Token};
use slab::Slab;

/// First token of the readers' channels.
const FIRST_READER_TOKEN: usize = 512;
/// Most readers: stream processes, http and other back-sources.
const MAX_READERS: usize = 1024;

/// Most messages of one reader that are read in one turn: nobody who sends without end holds up the others.
const TURN_MESSAGES: usize = 64;
/// So many turns are read at once of a link that is left: beyond what the kernel holds for it.
const LAST_TURNS: usize = 16;
/// Largest message of a reader, bytes. The largest honest one is a connection with its unread bytes.
const MAX_MESSAGE: usize = 4 << 20;

/// One process that reads rings.
#[derive(Debug)]
struct Reader {
    role: Role,
    number: u32,
    link: u64,
    channel: Channel,
    wake: WakeSender,
    advanced: BTreeSet<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    readers: Slab<Reader>,
    /// Those that have said more than a turn reads, or that could not be told or woken any more.
    unread: BTreeSet<usize>,
}

/// What a reader said.
#[derive(Debug)]
pub(crate) enum ReaderEvent {
    /// A message with its descriptors.
    Message(usize, ReaderToSource, Vec<OwnedFd>),
    /// The link of this number to it has ended.
    Gone(usize, u64),
}

impl Readers {
    /// A reader is there, over the link of this number; one that it had before is left. Returns its key, and what the
    /// former link still brought.
    pub(crate) fn add(
        &mut self,
        reactor: &Reactor,
        (role, number): (Role, u32),
        link: u64,
        (channel, wake): (OwnedFd, OwnedFd),
    ) -> (Option<usize>, Vec<ReaderEvent>) {
        let mut events = Vec::new();
        let former = self.readers.iter().find(|(_, known)| (known.role, known.number) == (role, number));
        if let Some(key) = former.map(|(key, _)| key) {
            for _ in 0..LAST_TURNS {
                events.extend(self.read(key));
                if !self.unread.remove(&key) {
                    break;
                }
            }
            if let Some(former) = self.readers.try_remove(key) {
                events.push(ReaderEvent::Gone(key, former.link));
            }
        }
        (self.insert(reactor, (role, number), link, (channel, wake)), events)
    }

    fn insert(
        &mut self,
        reactor: &Reactor,
        (role, number): (Role, u32),
        link: u64,
        (channel, wake): (OwnedFd, OwnedFd),
    ) -> Option<usize> {
        if self.readers.len() >= MAX_READERS {
            return None;
        }
        let reader = Reader {
            role,
            number,
            link,
            channel: Channel::with_limit(channel, MAX_MESSAGE),
            wake: WakeSender::new(wake),
            advanced: BTreeSet::new(),
        };
        let fd = reader.channel.as_raw_fd();
        let key = self.readers.insert(reader);
        if let Err(error) = reactor.register(fd, Token(FIRST_READER_TOKEN + key)) {
            tracing::error!("the channel of {} {number} can't be watched: {error}", role.name());
            self.readers.remove(key);
            return None;
        }
        Some(key)
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        (FIRST_READER_TOKEN..FIRST_READER_TOKEN + MAX_READERS).contains(&token.0)
    }

    /// Reads what is there for a token that is ours.
    pub(crate) fn ready(&mut self, token: Token) -> Vec<ReaderEvent> {
        self.read(token.0 - FIRST_READER_TOKEN)
    }

    /// Whether [`Self::tick`] has something to do at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What is left over from former turns; to be called with each turn of the loop.
    pub(crate) fn tick(&mut self) -> Vec<ReaderEvent> {
        let waits = self.readers.iter().filter(|(_, reader)| reader.channel.wants_write());
        let keys: BTreeSet<usize> =
            waits.map(|(key, _)| key).chain(std::mem::take(&mut self.unread)).collect();
        keys.into_iter().flat_map(|key| self.read(key)).collect()
    }

    /// Whether a message may come from who sent it: only stream processes have publishers, only http processes find out
    /// that a stream can't be packed.
    fn may_say(role: Role, message: &ReaderToSource) -> bool {
        match message {
            ReaderToSource::Handoff { .. } => role == Role::Stream,
            ReaderToSource::EndPublish { .. } => role == Role::Http,
            _ => true,
        }
    }

    fn read(&mut self, key: usize) -> Vec<ReaderEvent> {
        let mut events = Vec::new();
        for _ in 0..TURN_MESSAGES {
            let Some(reader) = self.readers.get_mut(key) else { return events };
            let name = reader.role.name();
            let received = reader.channel.flush().and_then(|_| reader.channel.receive::<ReaderToSource>());
            if reader.channel.take_lost() {
                tracing::warn!(
                    "no descriptor is left for what {name} {} hands over: it is closed",
                    reader.number
                );
            }
            match received {
                Ok(Some((message, fds))) if Self::may_say(reader.role, &message) => {
                    events.push(ReaderEvent::Message(key, message, fds));
                }
                Ok(None) => return events,
                Err(ChannelError::Unknown(what)) => {
                    tracing::warn!(
                        "{name} {} says {what}, which is not known here: passed over",
                        reader.number
                    );
                }
                error => {
                    match error {
                        Err(ChannelError::Closed) => {}
                        Err(error) => {
                            tracing::error!("the channel of {name} {} failed: {error}", reader.number);
                        }
                        Ok(_) => tracing::error!("{name} {} says what is not its business", reader.number),
                    }
                    events.push(ReaderEvent::Gone(key, reader.link));
                    self.readers.remove(key);
                    return events;
                }
            }
        }
        self.unread.insert(key);
        events
    }

    /// As in logs and APIs, such as `stream#0`.
    pub(crate) fn name(&self, key: usize) -> String {
        let reader = self.readers.get(key);
        reader.map_or_else(String::new, |reader| format!("{}#{}", reader.role.name(), reader.number))
    }

    pub(crate) fn tell(&mut self, key: usize, message: &SourceToReader, fds: Vec<OwnedFd>) {
        let Some(reader) = self.readers.get_mut(key) else { return };
        if let Err(error) = reader.channel.send(message, fds) {
            // Its end is worked off by the next turn.
            tracing::debug!("{} {} can't be told something: {error}", reader.role.name(), reader.number);
            self.unread.insert(key);
        }
    }

    pub(crate) fn tell_all(&mut self, message: &SourceToReader) {
        let keys: Vec<usize> = self.readers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.tell(key, message, Vec::new());
        }
    }

    /// A ring has advanced for this reader; [`Self::wake`] tells it at the end of the turn.
    pub(crate) fn advanced(&mut self, key: usize, stream_id: u32) {
        if let Some(reader) = self.readers.get_mut(key) {
            reader.advanced.insert(stream_id);
        }
    }

    /// Wakes those for whom something is new.
    pub(crate) fn wake(&mut self) {
        for (key, reader) in &mut self.readers {
            if reader.advanced.is_empty() && !reader.wake.missed() {
                continue;
            }
            let streams: Vec<u32> = reader.advanced.iter().copied().collect();
            reader.advanced.clear();
            // Without wake-ups the whole link is of no use.
            if reader.wake.wake(&streams).is_err() {
                reader.channel.shut();
                self.unread.insert(key);
            }
        }
    }
}
