//! Who publishes a stream: where it comes from.

use endpoint::ConnectionId;
use media::WireClock;

/// Number of a connection to another server, from which a stream is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamId(pub(crate) u64);

/// Number of a program of this server that makes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProgramId(pub(crate) u64);

/// Where a stream comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(test), expect(dead_code, reason = "what pulls streams, or makes them here, is to come"))]
pub(crate) enum Publisher {
    /// An encoder: a connection, and the message stream of it.
    Encoder(ConnectionId, u32),
    /// Another server, from which it is pulled.
    Pulled(UpstreamId),
    /// A program of this server.
    Program(ProgramId),
}

impl Publisher {
    /// As the API says it.
    pub(crate) fn kind(self) -> api::PublisherKind {
        match self {
            Self::Encoder(..) => api::PublisherKind::Encoder,
            Self::Pulled(_) => api::PublisherKind::Pull,
            Self::Program(_) => api::PublisherKind::Program,
        }
    }

    /// The connection of an encoder.
    pub(crate) fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Encoder(connection, _) => Some(connection),
            Self::Pulled(_) | Self::Program(_) => None,
        }
    }
}

/// What a publisher sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Number of the stream.
    pub(crate) stream_id: u32,
    /// Its clock, where that has 32 bits.
    pub(crate) clock: WireClock,
}

/// One publish of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) publisher: Publisher,
    /// Id in logs and APIs: that of the connection, for an encoder.
    pub(crate) cid: u64,
    pub(crate) since_ms: u64,
    /// Stands for the parameters of the stream name, a key among them perhaps.
    pub(crate) params: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encoders_have_a_connection_of_ours() {
        let (pulled, program) = (Publisher::Pulled(UpstreamId(3)), Publisher::Program(ProgramId(4)));
        assert_eq!((pulled.connection(), program.connection()), (None, None));
        let kinds = (pulled.kind(), program.kind());
        assert_eq!(kinds, (api::PublisherKind::Pull, api::PublisherKind::Program));
    }
}
