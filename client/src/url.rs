//! Splits a stream's URL into where to connect, what to claim as tcUrl and app, and the stream's name.
//!
//! ```text
//! rtmp://host[:port]/app[?vhost=V | ...vhost...V]/stream[?token=x]
//! ```

use std::fmt;

/// A stream's URL in parts.
///
/// ```
/// let url: client::Url = "rtmp://10.0.0.1/live?vhost=demo.example/cam?token=x".parse()?;
/// assert_eq!((url.host.as_str(), url.port), ("10.0.0.1", 1935));
/// assert_eq!(url.tc_url, "rtmp://10.0.0.1/live?vhost=demo.example");
/// assert_eq!((url.app.as_str(), url.stream.as_str()), ("live?vhost=demo.example", "cam?token=x"));
/// # Ok::<(), client::ClientError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Name or address to connect to, an IPv6 address without brackets.
    pub host: String,
    /// Port, 1935 when the URL names none.
    pub port: u16,
    /// What `connect` says as `tcUrl`: all but the stream.
    pub tc_url: String,
    /// What `connect` says as `app`, with the parameters of the application.
    pub app: String,
    /// Stream name with its parameters.
    pub stream: String,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUrl {
    /// Not `rtmp://`.
    Schema,
    /// No host, or a bracket without its other half.
    Host,
    /// A port that is no number from 1 to 65535.
    Port,
    /// Nothing behind the host, or no stream behind the application.
    Path,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schema => "it does not begin with rtmp://",
            Self::Host => "the host is missing or malformed",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Path => "it needs an application and a stream, as in rtmp://HOST/live/NAME",
        })
    }
}

impl std::str::FromStr for Url {
    type Err = crate::ClientError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        split(url).map_err(|cause| crate::ClientError::Url { url: rtmp::url::mask_query(url), cause })
    }
}

fn split(url: &str) -> Result<Url, BadUrl> {
    let rest = url.strip_prefix("rtmp://").ok_or(BadUrl::Schema)?;
    let (authority, path) = rest.split_once('/').ok_or(BadUrl::Path)?;
    let (host, port) = split_authority(authority)?;
    let (app, stream) = split_path(path).ok_or(BadUrl::Path)?;
    let tc_url = format!("rtmp://{authority}/{app}");
    Ok(Url { host: host.to_owned(), port, tc_url, app: app.to_owned(), stream: stream.to_owned() })
}

fn split_authority(authority: &str) -> Result<(&str, u16), BadUrl> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or(BadUrl::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(BadUrl::Host),
            }
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(BadUrl::Host);
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BadUrl::Port)?,
        None => rtmp::url::DEFAULT_PORT,
    };
    Ok((host, port))
}

/// Application and stream. A query may belong to either: to the application when the stream still follows.
fn split_path(path: &str) -> Option<(&str, &str)> {
    let query_at = path.find('?').unwrap_or(path.len());
    let (before, query) = path.split_at_checked(query_at)?;
    let of_app = match before.trim_end_matches('/').rsplit_once('/') {
        None => true,
        Some(_) => query.starts_with("?vhost=") && query.contains('/'),
    };
    let cut = if of_app && query.contains('/') {
        // The stream may have a query of its own, which may hold slashes.
        let end = query.get(1..)?.find('?').map_or(path.len(), |at| query_at + 1 + at);
        path.get(..end)?.rfind('/')?
    } else {
        before.rfind('/')?
    };
    let (app, stream) = path.split_at_checked(cut)?;
    let stream = stream.strip_prefix('/')?;
    (!app.is_empty() && !stream.is_empty() && !stream.starts_with('?')).then_some((app, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        let cases = [
            ("rtmp://h/live/cam", "h", 1935, "live", "cam"),
            ("rtmp://h:19350/live/cam?token=a/b", "h", 19350, "live", "cam?token=a/b"),
            ("rtmp://h/live?vhost=v.example/cam", "h", 1935, "live?vhost=v.example", "cam"),
            ("rtmp://h/live?vhost=v.example/cam?t=a/b", "h", 1935, "live?vhost=v.example", "cam?t=a/b"),
            ("rtmp://h/live...vhost...v.example/cam", "h", 1935, "live...vhost...v.example", "cam"),
            ("rtmp://h/a/b/cam?vhost=v", "h", 1935, "a/b", "cam?vhost=v"),
            ("rtmp://h/a/b?vhost=v/cam", "h", 1935, "a/b?vhost=v", "cam"),
            ("rtmp://[::1]:1936/live/cam", "::1", 1936, "live", "cam"),
            ("rtmp://[::1]/live/cam", "::1", 1935, "live", "cam"),
        ];
        for (text, host, port, app, stream) in cases {
            let url = split(text).unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.app.as_str(), url.stream.as_str()),
                (host, port, app, stream),
                "{text}"
            );
            assert_eq!(format!("{}/{}", url.tc_url, url.stream), text);
        }
    }

    #[test]
    fn what_is_no_stream_url_is_refused() {
        let cases = [
            ("http://h/live/cam", BadUrl::Schema),
            ("rtmp://h", BadUrl::Path),
            ("rtmp://h/live", BadUrl::Path),
            ("rtmp://h/live/", BadUrl::Path),
            ("rtmp://h/live?vhost=v", BadUrl::Path),
            ("rtmp:///live/cam", BadUrl::Host),
            ("rtmp://[::1/live/cam", BadUrl::Host),
            ("rtmp://h:0/live/cam", BadUrl::Port),
            ("rtmp://h:port/live/cam", BadUrl::Port),
        ];
        for (text, wanted) in cases {
            assert_eq!(split(text), Err(wanted), "{text}");
        }
    }
}
