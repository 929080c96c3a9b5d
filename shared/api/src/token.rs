//! The secret that opens what changes the server.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Shortest text that is taken for a token.
const MIN_CHARS: usize = 32;
/// Longest.
const MAX_CHARS: usize = 256;

/// A token: printable ASCII without spaces. It is never shown, and compared in constant time.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// From the text of a file; `None` when that is no token.
    ///
    /// ```
    /// assert!(api::Token::read("0123456789abcdef0123456789abcdef\n").is_some());
    /// assert!(api::Token::read("secret").is_none());
    /// ```
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_one =
            (MIN_CHARS..=MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then(|| Self(text.to_owned()))
    }

    /// From random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What opens the private API of one process, such as `stream#1`, and nothing else: an HMAC-SHA256 (RFC 2104) of its name
    /// under this token. Who learns it learns nothing of the token.
    ///
    /// ```
    /// let token = api::Token::from_random(&[7; 32]);
    /// assert_ne!(token.of_process("stream", 0).reveal(), token.of_process("stream", 1).reveal());
    /// ```
    #[must_use]
    pub fn of_process(&self, role: &str, slot: u32) -> Self {
        // A token that was never made opens nothing, nor does what is made of it.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return Self::default() };
        if self.0.is_empty() {
            return Self::default();
        }
        mac.update(format!("{role}#{slot}").as_bytes());
        Self(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The secret itself, for those who have a right to it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `said` is this token. How long it takes says nothing about where they differ. A token that was never made
    /// is nobody's.
    #[must_use]
    pub fn matches(&self, said: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(said.as_bytes()))
    }
}

/// A token that may be replaced while it is in use.
#[derive(Debug, Clone, Default)]
pub struct SharedToken(Arc<RwLock<Token>>);

impl SharedToken {
    /// With this token, for now.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// The token as it is now.
    #[must_use]
    pub fn get(&self) -> Token {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one holds from now on.
    pub fn set(&self, token: Token) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_matches_and_it_is_never_shown() {
        let token = Token::from_random(&[7; 32]);
        assert!(token.matches(&"07".repeat(32)) && Token::read(token.reveal()).is_some());
        for said in ["", "0", &"07".repeat(31), &"07".repeat(33), &"08".repeat(32)] {
            assert!(!token.matches(said), "{said}");
        }
        assert!(!Token::default().matches(""), "no token opens nothing");
        assert!(!Token::default().of_process("stream", 0).matches(""));
        let of_one = token.of_process("stream", 0);
        assert!(of_one.matches(token.of_process("stream", 0).reveal()) && !token.matches(of_one.reveal()));
        assert!(!format!("{token:?}").contains("07"));
    }
}
