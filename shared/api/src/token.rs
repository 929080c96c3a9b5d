//! The secret that opens what changes the server.

use std::fmt;

use serde::{Deserialize, Serialize};
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
        assert!(!format!("{token:?}").contains("07"));
    }
}
