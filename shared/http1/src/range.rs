//! Ranges of bytes (RFC 9110, 14.2): one, or none.

/// What a client wants of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From the first to the last (both belong to it), or to the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Range {
    /// Reads the header. Several ranges, other units and nonsense count as no range, which the specification allows.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
        // Digits only: no signs, no spaces, no second range.
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
        };
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => number(last).map(Self::Last),
            (false, true) => Some(Self::From(number(first)?, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes of a body of `len` bytes that are meant: the first, and the one behind the last. `None` when there are none.
    #[must_use]
    pub fn of(self, len: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::From(first, last) => (first, last.map_or(len, |last| last.saturating_add(1).min(len))),
            Self::Last(count) => (len.saturating_sub(count), len),
        };
        (first < end).then_some((first, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_what_is_none() {
        let of = |text: &str| Range::parse(text).and_then(|range| range.of(100));
        assert_eq!(of("bytes=0-0"), Some((0, 1)));
        assert_eq!(of("bytes=10-"), Some((10, 100)));
        assert_eq!(of("bytes=10-99999999"), Some((10, 100)));
        assert_eq!(of("bytes=-7"), Some((93, 100)));
        assert_eq!(of("bytes=-700"), Some((0, 100)));
        assert_eq!(of("bytes=100-"), None);
        assert_eq!(of("bytes=-0"), None);
        let many = format!("bytes={}", "0-1,".repeat(1000));
        for none in [
            "bytes=-1-",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=--1",
            "items=0-1",
            "bytes=-",
            "bytes=18446744073709551616-",
            many.as_str(),
        ] {
            assert_eq!(Range::parse(none), None, "{none}");
        }
    }
}
