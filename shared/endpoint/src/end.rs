//! Why a connection ended.

use std::fmt;
use std::io;

use api::Reason;
use rtmp::{CloseReason, SessionError};

/// Why a connection ended: one word for counters ([`End::reason`]), one sentence for the log.
#[derive(Debug)]
pub enum End {
    /// The peer closed in good order.
    PeerClosed,
    /// The socket failed.
    Socket(io::Error),
    /// The peer broke the protocol or a limit.
    Protocol(SessionError),
    /// The session closed it in good order (a refusal, a goodbye).
    Session(CloseReason),
    /// The peer took no byte for too long.
    Stalled,
    /// The peer takes bytes too slowly.
    TooSlow,
    /// The publisher sent nothing for too long.
    PublishTimeout,
    /// Nobody watched the publisher for too long.
    PublishIdle,
    /// The ring went round while the kernel copied: what went out is not the stream.
    Lapped,
    /// Too many connections that have not said what they want.
    Unestablished,
    /// The unfinished messages of all connections together have become too many.
    Memory,
    /// No place is free.
    Full,
    /// Another publisher takes the name over.
    TakenOver,
    /// The connection went on to another process.
    HandedOver,
    /// No back-source takes the publisher.
    NoSource,
    /// Nobody publishes what it watches.
    NoPublisher,
    /// The stream's time the viewer asked for is over.
    Finished,
    /// The server ends.
    Shutdown,
    /// An operator closed it.
    Kicked,
    /// Processes died of what came from its address.
    Poison,
    /// Its vhost was removed or switched off.
    VhostGone,
}

impl End {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PeerClosed => Reason::PeerClosed.name(),
            Self::Socket(error) if is_reset(error) => "peer_reset",
            Self::Socket(_) => Reason::SocketError.name(),
            Self::Protocol(error) => error.reason(),
            Self::Session(CloseReason::ConnectRejected) => "connect_rejected",
            Self::Session(CloseReason::PublishRejected) => "publish_rejected",
            Self::Session(CloseReason::PlayRejected) => "play_rejected",
            Self::Session(CloseReason::Goodbye) => "goodbye",
            Self::Session(CloseReason::RefusedByPeer) => "refused_by_peer",
            Self::Stalled => Reason::Stalled.name(),
            Self::TooSlow => "too_slow",
            Self::PublishTimeout => "publish_timeout",
            Self::PublishIdle => "publish_idle",
            Self::Lapped => "lapped",
            Self::Unestablished => Reason::Unestablished.name(),
            Self::Memory => "reassembly_total",
            Self::Full => Reason::ServerFull.name(),
            Self::TakenOver => "taken_over",
            Self::HandedOver => "handed_over",
            Self::NoSource => "no_source",
            Self::NoPublisher => "no_publisher",
            Self::Finished => "finished",
            Self::Shutdown => Reason::Shutdown.name(),
            Self::Kicked => Reason::Kicked.name(),
            Self::VhostGone => "vhost_gone",
            Self::Poison => "poison",
        }
    }

    /// Whether it ended otherwise than it should.
    #[must_use]
    pub fn is_error(&self) -> bool {
        !matches!(
            self,
            Self::PeerClosed
                | Self::Session(CloseReason::Goodbye)
                | Self::TakenOver
                | Self::HandedOver
                | Self::Finished
                | Self::Shutdown
                | Self::Kicked
                | Self::VhostGone
                | Self::NoPublisher
        )
    }

    /// Whether the peer is to blame.
    #[must_use]
    pub fn is_peer_error(&self) -> bool {
        matches!(
            self,
            Self::Protocol(_) | Self::Stalled | Self::TooSlow | Self::Unestablished | Self::PublishTimeout
        )
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("the peer closed"),
            Self::Socket(error) if is_reset(error) => f.write_str("the peer reset the connection"),
            Self::Socket(error) => write!(f, "the socket failed: {error}"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::Session(reason) => write!(f, "closed by us: {reason:?}"),
            Self::Stalled => f.write_str("the peer took no byte for too long"),
            Self::TooSlow => f.write_str("the peer takes its bytes too slowly"),
            Self::PublishTimeout => f.write_str("the publisher sent nothing for too long"),
            Self::PublishIdle => f.write_str("nobody watched the publisher for too long"),
            Self::Lapped => f.write_str("the ring went round while its bytes were sent"),
            Self::Unestablished => f.write_str("too many connections that have not said what they want"),
            Self::Memory => f.write_str("the unfinished messages of all connections take too much memory"),
            Self::Full => f.write_str("max_connections is reached"),
            Self::TakenOver => f.write_str("another publisher took the name over"),
            Self::HandedOver => f.write_str("handed over to the back-source"),
            Self::NoSource => f.write_str("no back-source is there to take the publisher"),
            Self::NoPublisher => f.write_str("nobody published the stream for longer than idle_timeout"),
            Self::Finished => f.write_str("the duration that was asked for is over"),
            Self::Shutdown => f.write_str("the server ends"),
            Self::Kicked => f.write_str("closed by an operator"),
            Self::Poison => f.write_str("processes died of what came from its address"),
            Self::VhostGone => f.write_str("its vhost was removed or switched off"),
        }
    }
}
