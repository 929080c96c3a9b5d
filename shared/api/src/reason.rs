//! Why connections end, in words that are the same whatever protocol was spoken, so that they can be added up.

/// Why a connection ended, as far as that is the same for RTMP and HTTP. Each protocol has reasons of its own beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The peer left, or had got all that it asked for.
    PeerClosed,
    /// The socket failed.
    SocketError,
    /// The peer did not say what it wants, or took no byte, for too long.
    Stalled,
    /// There was no place for it.
    ServerFull,
    /// It asked for nothing, and others needed its place.
    Unestablished,
    /// The server ends.
    Shutdown,
    /// An operator closed it.
    Kicked,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PeerClosed,
        Self::SocketError,
        Self::Stalled,
        Self::ServerFull,
        Self::Unestablished,
        Self::Shutdown,
        Self::Kicked,
    ];

    /// The word for it, in counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::SocketError => "socket_error",
            Self::Stalled => "stalled",
            Self::ServerFull => "server_full",
            Self::Unestablished => "unestablished",
            Self::Shutdown => "shutdown",
            Self::Kicked => "kicked",
        }
    }

    /// The word that HTTP had for it before, where that was another. It is still counted, beside [`Self::name`], for scripts that
    /// know no other.
    #[must_use]
    pub const fn former_name(self) -> Option<&'static str> {
        match self {
            Self::PeerClosed => Some("http_left"),
            Self::SocketError => Some("http_failed"),
            Self::Stalled => Some("http_slow"),
            Self::ServerFull => Some("full"),
            Self::Shutdown => Some("server_end"),
            Self::Unestablished | Self::Kicked => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_word_means_two_things() {
        let former = Reason::ALL.iter().filter_map(|reason| reason.former_name());
        let all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).chain(former).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    }
}
