//! Questions that clients ask, and the answers: may it connect, publish, play?

use std::fmt;

use rtmp::Pending;
use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Asked {
    /// To come in at all.
    Connect,
    /// To send a stream.
    Publish,
    /// To get a stream.
    Play,
}

impl Asked {
    /// What a session waits for.
    #[must_use]
    pub fn of(pending: &Pending) -> Self {
        match pending {
            Pending::Connect(_) => Self::Connect,
            Pending::Publish(_) => Self::Publish,
            Pending::Play(_) => Self::Play,
        }
    }

    /// As in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// One question of one connection: the same wherever the connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DecisionId {
    /// Id of the connection, as in logs and APIs.
    pub connection: u64,
    /// Which of its questions: their numbers rise.
    pub request: u64,
}

impl DecisionId {
    /// The question that a session of this connection waits for.
    #[must_use]
    pub fn new(connection: u64, pending: &Pending) -> Self {
        let request = match pending {
            Pending::Connect(request) => request.request,
            Pending::Publish(request) => request.request,
            Pending::Play(request) => request.request,
        };
        Self { connection, request }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Accept,
    /// It may not.
    Reject(Refusal),
    /// Not known yet: [`crate::Hub::decide`] says it, until this time (monotonic ms) at the latest.
    Later {
        /// Until when.
        until_ms: u64,
        /// What holds when nothing was said by then.
        otherwise: Otherwise,
    },
    /// Another process answers: the connection goes there as it is, with its question ([`crate::Host::hand_over`]).
    HandOver,
}

impl Verdict {
    /// Refused for a reason, with a sentence for the client and the log.
    #[must_use]
    pub fn reject(reason: Reason, why: impl Into<String>) -> Self {
        Self::Reject(Refusal::new(reason, why))
    }

    /// To be said until then (monotonic ms), or it is refused.
    #[must_use]
    pub fn later(until_ms: u64) -> Self {
        Self::Later { until_ms, otherwise: Otherwise::Reject(Reason::Timeout) }
    }
}

/// What holds when nobody has answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It may.
    Accept,
    /// It may not.
    Reject(Reason),
}

impl From<Otherwise> for Verdict {
    fn from(otherwise: Otherwise) -> Self {
        match otherwise {
            Otherwise::Accept => Self::Accept,
            Otherwise::Reject(reason) => Self::reject(reason, reason.sentence()),
        }
    }
}

/// A refusal: what is counted, and what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for counters.
    pub reason: Reason,
    /// A sentence for the client and the log.
    pub why: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, why: why.into() }
    }

    /// A stream is asked for by somebody who has not connected.
    pub(crate) fn no_connect() -> Self {
        Self::new(Reason::Parameters, "There was no connect")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// `max_connections` is reached.
    ServerFull,
    /// The page that the player is in may not (`refer`).
    Referer,
    /// There is no such vhost.
    NoVhost,
    /// The vhost is switched off.
    VhostDisabled,
    /// The vhost was removed meanwhile.
    VhostGone,
    /// The parameters of the stream's name can't be understood, or there was no connect.
    Parameters,
    /// Somebody publishes the stream.
    InUse,
    /// The connection lives in another back-source than the stream.
    OtherBackSource,
    /// No descriptors are left.
    NoDescriptors,
    /// No memory is left.
    NoMemory,
    /// No back-source is there.
    NoSource,
    /// Nobody has answered in time.
    Timeout,
    /// Whoever was asked says no.
    Denied,
}

impl Reason {
    /// A short stable name for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerFull => "server_full",
            Self::Referer => "referer",
            Self::NoVhost => "no_vhost",
            Self::VhostDisabled => "vhost_disabled",
            Self::VhostGone => "vhost_gone",
            Self::Parameters => "parameters",
            Self::InUse => "in_use",
            Self::OtherBackSource => "other_back_source",
            Self::NoDescriptors => "no_descriptors",
            Self::NoMemory => "no_memory",
            Self::NoSource => "no_source",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
        }
    }

    /// The sentence where nobody has a better one.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Timeout => "Nobody has decided in time",
            Self::NoSource => "No back-source is there to take the publisher",
            Self::VhostGone => "The vhost is gone",
            Self::Denied => "Not allowed",
            other => other.name(),
        }
    }

    /// The status by which a publisher is told: encoders show `BadName` as a matter of the stream, `Denied` as one of rights.
    pub(crate) fn publish_status(self) -> rtmp::RejectReason {
        match self {
            Self::InUse
            | Self::OtherBackSource
            | Self::NoDescriptors
            | Self::NoMemory
            | Self::NoSource
            | Self::VhostGone => rtmp::RejectReason::BadName,
            _ => rtmp::RejectReason::Denied,
        }
    }
}
