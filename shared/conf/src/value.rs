//! One argument: from its text to a checked value, by the kind that the table of directives names.
//!
//! Numbers are read strictly: digits, and a fraction where the kind has one. No unit, sign or junk is skipped over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::Listen;
use crate::diagnostic::quoted;
use crate::vhost::Endpoint;

/// No upper bound worth naming: ten years in milliseconds.
pub(crate) const UNBOUNDED: u64 = 315_360_000_000;

/// What an argument has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `on` or `off`.
    Flag,
    /// A number; `min` and `max` are in `1/scale` of the unit, and so is the value kept.
    Number {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// 1 for whole numbers, 1000 for numbers with a fraction.
        scale: u32,
        /// What is counted, for messages.
        unit: &'static str,
    },
    /// A number with any fraction, above 0.
    Ratio,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words or a whole number in the range.
    ChoiceOr(&'static [&'static str], u64, u64),
    /// Bytes, with an optional `k`, `m` or `g`.
    Size {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// `port`, `address:port` or `[address]:port` to listen on.
    Listen,
    /// `host` or `host:port` to connect to.
    Endpoint,
    /// A file or directory.
    Path,
    /// A URL.
    Url,
    /// Any text.
    Text,
}

/// A checked argument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Flag(bool),
    Number(u64),
    Ratio(f64),
    Text(String),
    Listen(Listen),
    Endpoint(Endpoint),
}

impl Kind {
    /// Reads one argument.
    ///
    /// # Errors
    /// A message that repeats the text and says what was expected.
    pub(crate) fn read(self, text: &str) -> Result<Value, String> {
        let fail = |what: &str| Err(format!("{} is not {what} (expected {})", quoted(text), self.expected()));
        match self {
            Self::Flag => match text {
                "on" => Ok(Value::Flag(true)),
                "off" => Ok(Value::Flag(false)),
                _ => Err(format!("{} is neither on nor off", quoted(text))),
            },
            Self::Number { min, max, scale, unit } => match scaled(text, scale) {
                None if unit.is_empty() => fail("a number"),
                None => fail(&format!("a number of {unit}")),
                Some(value) if value < min || value > max => self.out_of_range(text),
                Some(value) => Ok(Value::Number(value)),
            },
            Self::Ratio => match ratio(text) {
                None => fail("a number"),
                Some(value) if value > 0.0 => Ok(Value::Ratio(value)),
                Some(_) => self.out_of_range(text),
            },
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.into())),
            Self::Choice(_) => Err(format!("unknown word {} (expected {})", quoted(text), self.expected())),
            Self::ChoiceOr(words, ..) if words.contains(&text) => Ok(Value::Text(text.into())),
            Self::ChoiceOr(_, min, max) => match scaled(text, 1) {
                None => Err(format!("unknown word {} (expected {})", quoted(text), self.expected())),
                Some(value) if value < min || value > max => self.out_of_range(text),
                Some(value) => Ok(Value::Number(value)),
            },
            Self::Size { min, max } => match size(text) {
                None => fail("a size"),
                Some(value) if value < min || value > max => self.out_of_range(text),
                Some(value) => Ok(Value::Number(value)),
            },
            Self::Listen => match listen(text) {
                Some(address) => Ok(Value::Listen(Listen { address })),
                None => fail("an address to listen on"),
            },
            Self::Endpoint => match endpoint(text) {
                Some(endpoint) => Ok(Value::Endpoint(endpoint)),
                None => fail("a server"),
            },
            Self::Url if !text.contains("://") => fail("a URL"),
            Self::Path | Self::Url | Self::Text => Ok(Value::Text(text.into())),
        }
    }

    fn out_of_range(self, text: &str) -> Result<Value, String> {
        Err(format!("{} is out of range (expected {})", quoted(text), self.expected()))
    }

    /// What may stand here, as it is put into messages and the reference page.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Flag => "on or off".into(),
            Self::Number { min, max, scale, .. } => {
                let noun = if scale == 1 { "a whole number" } else { "a number" };
                match (min, max >= UNBOUNDED) {
                    (0, true) => format!("{noun} ≥ 0"),
                    (1, true) => format!("{noun} > 0"),
                    (min, true) => format!("{noun} ≥ {}", unscaled(min, scale)),
                    (min, false) => {
                        format!("{noun} from {} to {}", unscaled(min, scale), unscaled(max, scale))
                    }
                }
            }
            Self::Ratio => "a number > 0".into(),
            Self::Choice(words) => alternatives(words),
            Self::ChoiceOr(words, min, max) => {
                format!("{} or a whole number from {min} to {max}", words.join(", "))
            }
            Self::Size { min, max } => {
                format!("bytes from {} to {}, with k, m or g", unsized_bytes(min), unsized_bytes(max))
            }
            Self::Listen => "port, address:port or [IPv6 address]:port".into(),
            Self::Endpoint => "host or host:port".into(),
            Self::Path => "a path".into(),
            Self::Url => "a URL such as http://host/path".into(),
            Self::Text => "text".into(),
        }
    }
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        _ => words.concat(),
    }
}

/// Digits with an optional fraction, times `scale` (a power of ten); digits beyond the scale are dropped.
fn scaled(text: &str, scale: u32) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if scale > 1 && !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let mut value = whole.parse::<u64>().ok()?.checked_mul(u64::from(scale))?;
    let mut step = u64::from(scale) / 10;
    for digit in fraction.bytes() {
        value = value.checked_add(u64::from(digit - b'0') * step)?;
        step /= 10;
    }
    Some(value)
}

fn unscaled(value: u64, scale: u32) -> String {
    let scale = u64::from(scale.max(1));
    if value.is_multiple_of(scale) {
        return (value / scale).to_string();
    }
    let fraction = format!("{:03}", value % scale);
    format!("{}.{}", value / scale, fraction.trim_end_matches('0'))
}

fn ratio(text: &str) -> Option<f64> {
    let plain = text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = if plain { text.parse().ok()? } else { return None };
    value.is_finite().then_some(value)
}

fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    scaled(digits, 1)?.checked_mul(1_u64 << shift)
}

fn unsized_bytes(value: u64) -> String {
    for (shift, letter) in [(30, "g"), (20, "m"), (10, "k")] {
        if value > 0 && value.is_multiple_of(1_u64 << shift) {
            return format!("{}{letter}", value >> shift);
        }
    }
    value.to_string()
}

fn port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn listen(text: &str) -> Option<SocketAddr> {
    if let Some(port) = port(text) {
        return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let (host, port_text) = text.rsplit_once(':')?;
    let address = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some(SocketAddr::new(address, port(port_text)?))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; the port is 1935 when there is none.
fn endpoint(text: &str) -> Option<Endpoint> {
    const RTMP: u16 = 1935;
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = if after.is_empty() { RTMP } else { port(after.strip_prefix(':')?)? };
        return (port > 0).then(|| Endpoint { host: host.into(), port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port_text)) => (host, port(port_text)?),
        None => (text, RTMP),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let named = !host.is_empty() && host.len() <= 255 && host.bytes().all(plain);
    (named && port > 0).then(|| Endpoint { host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strict() {
        let cases = [
            ("0", 1, Some(0)),
            ("12", 1000, Some(12_000)),
            ("1.5", 1000, Some(1_500)),
            ("0.0009", 1000, Some(0)),
            ("9.9999", 1000, Some(9_999)),
            ("1.5", 1, None),
            ("1.", 1000, None),
            (".5", 1000, None),
            ("+1", 1, None),
            ("-1", 1, None),
            ("1e3", 1000, None),
            ("0x10", 1, None),
            ("10s", 1000, None),
            ("", 1, None),
            ("1 ", 1, None),
            ("99999999999999999999", 1, None),
            ("999999999999999999", 1000, None),
        ];
        for (text, scale, want) in cases {
            assert_eq!(scaled(text, scale), want, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("1", Some(1)),
            ("4k", Some(4096)),
            ("2G", Some(2 << 30)),
            ("k", None),
            ("", None),
            ("1kb", None),
        ] {
            assert_eq!(size(text), want, "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, want) in [
            ("1935", Some("0.0.0.0:1935")),
            ("0", Some("0.0.0.0:0")),
            ("127.0.0.1:1985", Some("127.0.0.1:1985")),
            ("[::]:1935", Some("[::]:1935")),
            ("65536", None),
            ("[1.2.3.4]:1", None),
            ("::1:1935", None),
            ("localhost:1935", None),
            ("+80", None),
        ] {
            assert_eq!(listen(text).map(|a| a.to_string()).as_deref(), want, "{text}");
        }
        for (text, want) in [
            ("a.b", Some(("a.b", 1935))),
            ("10.0.0.1:19350", Some(("10.0.0.1", 19350))),
            ("[::1]", Some(("::1", 1935))),
            ("[::1]:80", Some(("::1", 80))),
            ("a:0", None),
            ("a:b", None),
            (":1", None),
            ("a/b", None),
            ("rtmp://a", None),
        ] {
            let want = want.map(|(host, port)| Endpoint { host: host.into(), port });
            assert_eq!(endpoint(text), want, "{text}");
        }
    }
}
