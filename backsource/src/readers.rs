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

/// One process that reads rings.
#[derive(Debug)]
struct Reader {
    role: Role,
    slot: u32,
    channel: Channel,
    wake: WakeSender,
    advanced: BTreeSet<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    readers: Slab<Reader>,
}

/// What a reader said.
#[derive(Debug)]
pub(crate) enum ReaderEvent {
    /// A message with its descriptors.
    Message(usize, ReaderToSource, Vec<OwnedFd>),
    /// It has gone.
    Gone(usize),
}

impl Readers {
    /// A reader is there. Returns its key.
    pub(crate) fn add(
        &mut self,
        reactor: &Reactor,
        role: Role,
        slot: u32,
        channel: OwnedFd,
        wake: OwnedFd,
    ) -> Option<usize> {
        if self.readers.len() >= MAX_READERS {
            return None;
        }
        let reader = Reader {
            role,
            slot,
            channel: Channel::new(channel),
            wake: WakeSender::new(wake),
            advanced: BTreeSet::new(),
        };
        let fd = reader.channel.as_raw_fd();
        let key = self.readers.insert(reader);
        if let Err(error) = reactor.register(fd, Token(FIRST_READER_TOKEN + key)) {
            tracing::error!("the channel of {} {slot} can't be watched: {error}", role.name());
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
        let key = token.0 - FIRST_READER_TOKEN;
        let mut events = Vec::new();
        while let Some(reader) = self.readers.get_mut(key) {
            match reader.channel.flush().and_then(|_| reader.channel.receive::<ReaderToSource>()) {
                Ok(Some((message, fds))) => events.push(ReaderEvent::Message(key, message, fds)),
                Ok(None) => break,
                Err(error) => {
                    if !matches!(error, ChannelError::Closed) {
                        tracing::error!(
                            "the channel of {} {} failed: {error}",
                            reader.role.name(),
                            reader.slot
                        );
                    }
                    self.readers.remove(key);
                    events.push(ReaderEvent::Gone(key));
                }
            }
        }
        events
    }

    pub(crate) fn tell(&mut self, key: usize, message: &SourceToReader, fds: Vec<OwnedFd>) {
        let Some(reader) = self.readers.get_mut(key) else { return };
        if let Err(error) = reader.channel.send(message, fds) {
            // Its end comes with the next event of the channel.
            tracing::debug!("{} {} can't be told something: {error}", reader.role.name(), reader.slot);
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
        for (_, reader) in &mut self.readers {
            if reader.advanced.is_empty() && !reader.wake.missed() {
                continue;
            }
            let streams: Vec<u32> = reader.advanced.iter().copied().collect();
            reader.advanced.clear();
            // A reader that has gone is noticed on its channel.
            let _ = reader.wake.wake(&streams);
        }
    }
}
