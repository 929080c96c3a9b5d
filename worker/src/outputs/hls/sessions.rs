//! Who watches HLS: a player is known by a parameter that its playlist gives it, and has left when it does not ask again.

use std::collections::HashMap;
use std::net::IpAddr;

use media::StreamKey;

/// Most players that are known at once.
const MAX_SESSIONS: usize = 100_000;
/// Characters of an identity.
const ID_CHARS: usize = 16;

/// A player.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) key: StreamKey,
    pub(crate) ip: IpAddr,
    pub(crate) since_ms: u64,
    pub(crate) seen_ms: u64,
    pub(crate) bytes: u64,
    pub(crate) page_url: Option<String>,
}

/// All players.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_name: HashMap<String, Session>,
    /// Players that an operator ended, and until when they are refused, ms.
    refused: HashMap<String, u64>,
}

/// Whether a text may be an identity.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A new identity.
pub(crate) fn new_name() -> String {
    let mut bytes = [0; ID_CHARS / 2];
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sessions {
    /// Whether a player was ended by an operator.
    pub(crate) fn is_refused(&self, name: &str) -> bool {
        self.refused.contains_key(name)
    }

    /// Whether a player is known.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A player asks for something. Returns whether it is known, or has become so.
    pub(crate) fn seen(&mut self, name: &str, now_ms: u64, new: impl FnOnce() -> Session) -> bool {
        if let Some(session) = self.by_name.get_mut(name) {
            session.seen_ms = now_ms;
            return true;
        }
        if self.by_name.len() >= MAX_SESSIONS || !is_name(name) {
            return false;
        }
        self.by_name.insert(name.to_owned(), new());
        true
    }

    /// It gets so many bytes.
    pub(crate) fn sent(&mut self, name: &str, bytes: u64) {
        if let Some(session) = self.by_name.get_mut(name) {
            session.bytes += bytes;
        }
    }

    /// Those who did not ask for `patience_ms` have left.
    pub(crate) fn expire(&mut self, now_ms: u64, patience_ms: impl Fn(&StreamKey) -> u64) {
        self.by_name.retain(|_, session| now_ms.saturating_sub(session.seen_ms) < patience_ms(&session.key));
        self.refused.retain(|_, until_ms| *until_ms > now_ms);
    }

    /// An operator ends a player by its number: it is refused for a while. `false` when there is none.
    pub(crate) fn kick(&mut self, id: u64, until_ms: u64) -> bool {
        let found = self.by_name.iter().find(|(_, session)| session.id == id);
        let Some(name) = found.map(|(name, _)| name.clone()) else { return false };
        self.by_name.remove(&name);
        if self.refused.len() < MAX_SESSIONS {
            self.refused.insert(name, until_ms);
        }
        true
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Session> {
        self.by_name.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_come_and_go() {
        let mut sessions = Sessions::default();
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "a".into() };
        let new = |now_ms| {
            let key = key.clone();
            move || Session {
                id: 1,
                key,
                ip: [127, 0, 0, 1].into(),
                since_ms: now_ms,
                seen_ms: now_ms,
                bytes: 0,
                page_url: None,
            }
        };
        let name = new_name();
        assert!(is_name(&name) && !is_name("x") && !is_name(&"g".repeat(16)));
        assert!(sessions.seen(&name, 0, new(0)));
        assert!(!sessions.seen("../../etc/passwd", 0, new(0)));
        assert!(sessions.seen(&name, 9_000, new(9_000)));
        sessions.sent(&name, 5);
        sessions.expire(12_000, |_| 10_000);
        assert_eq!(
            sessions.all().map(|session| (session.since_ms, session.bytes)).collect::<Vec<_>>(),
            [(0, 5)]
        );
        assert!(sessions.kick(1, 20_000) && !sessions.kick(1, 20_000) && sessions.is_refused(&name));
        sessions.expire(20_001, |_| 10_000);
        assert!(!sessions.is_refused(&name));
        sessions.expire(19_001, |_| 10_000);
        assert_eq!(sessions.all().count(), 0);
    }
}
