//! Why connections of HTTP end.

use api::Reason;

/// Why a connection ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gone {
    /// The client has left, or its answer was the last.
    Left,
    /// The socket failed.
    Failed,
    /// It did not say what it wants, or did not take what it gets, for too long.
    Slow,
    /// What it sent is no HTTP that is served here.
    Refused,
    /// There was no place for it.
    Full,
    /// It asked for nothing, and others needed its place.
    Unestablished,
    /// The server ends.
    Ending,
    /// An operator closed it.
    Kicked,
}

impl Gone {
    /// What it has in common with connections of other protocols; nothing, where it is a matter of HTTP.
    const fn shared(self) -> Option<Reason> {
        Some(match self {
            Self::Left => Reason::PeerClosed,
            Self::Failed => Reason::SocketError,
            Self::Slow => Reason::Stalled,
            Self::Full => Reason::ServerFull,
            Self::Unestablished => Reason::Unestablished,
            Self::Ending => Reason::Shutdown,
            Self::Kicked => Reason::Kicked,
            Self::Refused => return None,
        })
    }

    /// The words for it in counters: that of all protocols, and the one that HTTP had before, which is counted as well.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let shared = self.shared();
        let name = shared.map_or("http_refused", Reason::name);
        [name].into_iter().chain(shared.and_then(Reason::former_name))
    }

    /// Whether it ended otherwise than it should.
    pub(crate) const fn is_error(self) -> bool {
        matches!(self, Self::Failed | Self::Slow | Self::Refused | Self::Full | Self::Unestablished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_of_all_protocols_where_they_can_be() {
        let all = |gone: Gone| gone.names().collect::<Vec<_>>();
        assert_eq!(all(Gone::Slow), ["stalled", "http_slow"]);
        assert_eq!(all(Gone::Kicked), ["kicked"]);
        assert_eq!(all(Gone::Refused), ["http_refused"]);
    }
}
