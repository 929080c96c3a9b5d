//! Why a connection failed, in sentences that say what, where and why. Secrets in URLs are masked before they get here.

use std::io;

use rtmp::SessionError;

use crate::url::BadUrl;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL can't be used.
    #[error("{url} is no RTMP URL: {cause}")]
    Url {
        /// The URL as given, secrets masked.
        url: String,
        /// What is wrong with it.
        cause: BadUrl,
    },
    /// The host's name has no address.
    #[error("can't find the address of {host}: {cause}")]
    Resolve {
        /// Host and port.
        host: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No TCP connection.
    #[error("can't connect to {address}: {cause}")]
    Connect {
        /// The last address that was tried.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The server refused connect, publish or play.
    #[error("{url} was refused: {code} {description}")]
    Rejected {
        /// The URL, secrets masked.
        url: String,
        /// For example `NetStream.Publish.BadName`.
        code: String,
        /// The server's words.
        description: String,
    },
    /// The server broke the protocol, or was too slow to answer.
    #[error("{url}: {cause}")]
    Protocol {
        /// The URL, secrets masked.
        url: String,
        /// What went wrong.
        cause: SessionError,
    },
    /// The connection ended while something was still to be done.
    #[error("{url}: the server closed the connection{}", status_clause(.status))]
    Closed {
        /// The URL, secrets masked.
        url: String,
        /// Code of the server's last status, if it was an error.
        status: Option<String>,
    },
    /// A read or write failed.
    #[error("{url}: {cause}")]
    Io {
        /// The URL, secrets masked.
        url: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Nothing arrived in time; the connection still stands.
    #[error("{url}: nothing arrived within {waited_ms} ms")]
    Timeout {
        /// The URL, secrets masked.
        url: String,
        /// How long was waited.
        waited_ms: u128,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {cause}")]
    Random {
        /// What the system said.
        cause: getrandom::Error,
    },
}

impl ClientError {
    /// Whether nothing worse happened than silence, so that the call may be repeated.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// The server's status code, when it refused us or threw us out.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected { code, .. } => Some(code),
            Self::Closed { status, .. } => status.as_deref(),
            _ => None,
        }
    }
}

fn status_clause(status: &Option<String>) -> String {
    status.as_ref().map_or_else(String::new, |code| format!(" after saying {code}"))
}
