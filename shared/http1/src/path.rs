//! Paths of URLs: decoded once, and only such that can't leave the directory they are looked up in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is not written as it is: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest path in bytes, as it is written.
const MAX_BYTES: usize = 2048;
/// Longest component in bytes, decoded: what file systems and stream names allow.
const MAX_COMPONENT_BYTES: usize = 255;

/// Why a path is not looked up at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is too long, or a component is.
    #[error("the path is too long")]
    TooLong,
    /// It does not begin with a slash.
    #[error("the path does not begin with /")]
    Relative,
    /// `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("the path can't be decoded")]
    Encoding,
    /// A component that begins with a dot, holds a control character, a slash or a backslash.
    #[error("the path holds what no path here holds")]
    Component,
}

/// A path, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    components: Vec<String>,
    /// It ended with a slash.
    pub is_directory: bool,
}

impl Path {
    /// Decodes the path of a request target (without its query).
    ///
    /// # Errors
    /// [`BadPath`].
    ///
    /// ```
    /// let path = http1::Path::parse("/live//a%20b.flv").unwrap();
    /// assert_eq!(path.components(), ["live", "a b.flv"]);
    /// assert!(http1::Path::parse("/live/..%2fsecret").is_err());
    /// ```
    pub fn parse(written: &str) -> Result<Self, BadPath> {
        if written.len() > MAX_BYTES {
            return Err(BadPath::TooLong);
        }
        let inner = written.strip_prefix('/').ok_or(BadPath::Relative)?;
        let parts = inner.split('/').filter(|part| !part.is_empty());
        let components = parts.map(component).collect::<Result<Vec<String>, BadPath>>()?;
        Ok(Self { components, is_directory: written.ends_with('/') })
    }

    /// Its components from left to right, none of them empty.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The same path with another last component; `None` where there is none, or the other can't be one.
    #[must_use]
    pub fn with_last(&self, name: &str) -> Option<Self> {
        let (_, above) = self.components.split_last()?;
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return None;
        }
        let mut components = above.to_vec();
        components.push(name.to_owned());
        Some(Self { components, is_directory: false })
    }

    /// With slashes, beginning with one.
    #[must_use]
    pub fn text(&self) -> String {
        format!("/{}", self.components.join("/"))
    }
}

/// A component of a path, or a value of a query, as URLs have it: everything but unreserved characters (RFC 3986, 2.3) is `%`
/// and two digits for each byte.
///
/// ```
/// assert_eq!(http1::encode("a b/ü~"), "a%20b%2F%C3%BC~");
/// ```
#[must_use]
pub fn encode(component: &str) -> String {
    utf8_percent_encode(component, RESERVED).to_string()
}

fn component(written: &str) -> Result<String, BadPath> {
    let decoded = decode(written)?;
    if decoded.len() > MAX_COMPONENT_BYTES {
        return Err(BadPath::TooLong);
    }
    let is_bad = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if decoded.starts_with('.') || decoded.contains(is_bad) { Err(BadPath::Component) } else { Ok(decoded) }
}

/// Takes percent signs out.
///
/// # Errors
/// [`BadPath::Encoding`].
pub(crate) fn decode(written: &str) -> Result<String, BadPath> {
    let mut out = Vec::with_capacity(written.len());
    let mut bytes = written.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BadPath::Encoding) };
        out.push(u8::try_from(high << 4 | low).map_err(|_| BadPath::Encoding)?);
    }
    String::from_utf8(out).map_err(|_| BadPath::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_a_directory_is_refused() {
        for bad in [
            "/../etc/passwd",
            "/live/../../x",
            "/live/..%2f..%2fetc",
            "/live/%2e%2e/x",
            "/live/..\\x",
            "/live/%5c..",
            "/.git/config",
            "/live/%00.ts",
            "/live/a%0d%0ab",
            "/live/a%1b[2J",
            "/live/%zz",
            "/live/%f",
            "/live/%ff",
            "/live/\u{202e}txt",
            "live",
            "",
            "*",
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Path::parse(&format!("/{}", "a".repeat(256))), Err(BadPath::TooLong));
        assert_eq!(Path::parse(&format!("/{}", "a/".repeat(2000))), Err(BadPath::TooLong));
        // Decoded once: what is encoded twice stays a harmless name.
        assert_eq!(Path::parse("/%252e%252e").unwrap().components(), ["%2e%2e"]);
    }

    #[test]
    fn ordinary_paths_are_taken() {
        let path = Path::parse("/a//b%2Bc/%C3%A4.mp4/").unwrap();
        assert_eq!((path.text().as_str(), path.is_directory), ("/a/b+c/ä.mp4", true));
        assert!(Path::parse("/").unwrap().components().is_empty());
    }
}
