//! Why a session died. Every variant is the peer's doing unless it says otherwise.

/// Why a session died.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// Our caller answered a decision that is not pending; the session is unchanged.
    #[error("no such decision is pending (our caller's fault)")]
    NothingPending,
}

impl SessionError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NothingPending => "nothing_pending",
        }
    }
}
