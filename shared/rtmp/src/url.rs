//! tcUrl, vhost, application and stream names.

use serde::{Deserialize, Serialize};

/// Where a client wants to go; the vhost is what it said, not yet what a configuration makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `rtmp` and the like, lower case.
    pub schema: String,
    /// Host of the tcUrl, lower case, without trailing dot, an IPv6 address without brackets.
    pub host: String,
    /// Port of the tcUrl, 1935 when absent.
    pub port: u16,
    /// The vhost asked for: by parameter, else the host.
    pub vhost: String,
    /// Application, one or more components separated by `/`.
    pub app: String,
    /// Other parameters, in order.
    pub params: Vec<(String, String)>,
}

/// A stream name and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamName {
    /// The name, one or more components separated by `/`.
    pub name: String,
    /// Parameters behind `?`, in order.
    pub params: Vec<(String, String)>,
}

/// Why a URL or a name is refused; always the peer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `schema://` in front.
    #[error("no schema")]
    NoSchema,
}

/// Parses a tcUrl, with the connect object's `app` property as a fallback.
///
/// # Errors
/// When a part is missing or not allowed.
pub fn parse_tc_url(tc_url: &str, app: &str, max_name_bytes: usize) -> Result<Target, UrlError> {
    let _ = (tc_url, app, max_name_bytes);
    Err(UrlError::NoSchema)
}

/// Parses the stream name of a publish or play.
///
/// # Errors
/// When the name is not allowed.
pub fn parse_stream_name(stream: &str, max_name_bytes: usize) -> Result<StreamName, UrlError> {
    let _ = (stream, max_name_bytes);
    Err(UrlError::NoSchema)
}

/// The URL with the values of its query replaced, for logs.
#[must_use]
pub fn mask_query(url: &str) -> String {
    url.to_owned()
}
