//! Where a client wants to go: tcUrl, application, vhost, stream names and their parameters.
//!
//! The vhost is what the client said, in one canonical form; what a configuration makes of it is decided elsewhere,
//! once. Names that become part of paths are checked here, at the door, and nowhere decoded.
//!
//! ```
//! let target = rtmp::url::parse_tc_url("rtmp://10.0.0.1/live?key=x...vhost...Demo.Example.", "", 255)?;
//! assert_eq!((target.app.as_str(), target.vhost.as_str()), ("live", "demo.example"));
//! # Ok::<(), rtmp::url::UrlError>(())
//! ```

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use self::signs::plain_query;

mod signs;

/// The port of a URL that names none.
pub const DEFAULT_PORT: u16 = 1935;

/// The name of the vhost that serves all unknown ones; the only one whose case is kept.
const DEFAULT_VHOST: &str = "__defaultVhost__";

/// Where a client wants to go; the vhost is what it said, not yet what a configuration makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `rtmp` and the like, lower case.
    pub schema: String,
    /// Host of the tcUrl, lower case, without trailing dot, an IPv6 address without brackets.
    pub host: String,
    /// Port of the tcUrl, 1935 when absent.
    pub port: u16,
    /// The vhost asked for: by parameter, else the host; lower case, without trailing dot.
    pub vhost: String,
    /// Application, one or more components separated by `/`.
    pub app: String,
    /// The other parameters, in order, values as they stood.
    pub params: Vec<(String, String)>,
}

/// A stream name and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamName {
    /// The name, one or more components separated by `/`.
    pub name: String,
    /// Parameters behind `?`, in order, values as they stood; a `vhost` among them is the owner's to judge.
    pub params: Vec<(String, String)>,
}

/// Why a URL or a name is refused; always the peer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `schema://` in front.
    #[error("no schema")]
    NoSchema,
    /// The host is empty or has characters that no host has.
    #[error("bad host")]
    BadHost,
    /// The port is not 1..=65535.
    #[error("bad port")]
    BadPort,
    /// The vhost has characters that no host has.
    #[error("bad vhost")]
    BadVhost,
    /// Two vhost parameters that differ.
    #[error("two different vhosts")]
    AmbiguousVhost,
    /// Neither the URL nor the `app` property names an application.
    #[error("no application")]
    NoApp,
    /// A name is empty, or has an empty component.
    #[error("empty name")]
    EmptyName,
    /// A name is longer than the limit.
    #[error("name of {len} bytes")]
    NameTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A name has a character that is dangerous in paths, logs or terminals, or was not UTF-8.
    #[error("{}", not_allowed(*.code))]
    NameCharacter {
        /// The character.
        code: u32,
    },
    /// A component of a name begins with a dot.
    #[error("name has a component with a leading dot")]
    NameDot,
    /// A name has an encoded slash, backslash, dot or NUL.
    #[error("name has an encoded separator")]
    NameEncoded,
}

/// What is wrong with a character, in words that tell what to do about it.
fn not_allowed(code: u32) -> String {
    match code {
        0xFFFD => {
            "name is not UTF-8 (GBK or another encoding of the client?): send it in UTF-8 or in ASCII".into()
        }
        0x0A | 0x0D => "name has a line end in it".into(),
        0x5C => "name has a backslash in it".into(),
        code => format!("name has character U+{code:04X}, which is not allowed"),
    }
}

impl UrlError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSchema => "url_no_schema",
            Self::BadHost => "url_bad_host",
            Self::BadPort => "url_bad_port",
            Self::BadVhost => "url_bad_vhost",
            Self::AmbiguousVhost => "url_ambiguous_vhost",
            Self::NoApp => "url_no_app",
            Self::EmptyName => "name_empty",
            Self::NameTooLong { .. } => "name_too_long",
            Self::NameCharacter { .. } => "name_character",
            Self::NameDot => "name_dot",
            Self::NameEncoded => "name_encoded",
        }
    }
}

/// Parses a tcUrl together with the connect object's `app` property (empty when absent).
///
/// The URL decides the vhost and, when the property is empty or a URL itself, the application; the property decides the
/// application otherwise. Parameters may be written `?k=v&k=v`, `...k...v`, or mixed, and behind `&`, `;`, `#` and what is
/// escaped, too; the vhost may stand behind a comma (`app,vhost=V`, `app,vhost,V`). `vhost` goes before `domain`, which means the same when it can be a host. The
/// instance name `_definst_` that some clients append to the application is left out.
///
/// # Errors
/// When a part is missing or not allowed.
pub fn parse_tc_url(tc_url: &str, app: &str, max_name_bytes: usize) -> Result<Target, UrlError> {
    let (tc_url, app) = (plain_separators(tc_url.trim()), plain_separators(app.trim()));
    let app = if app.contains("://") { "" } else { &*app };
    let (schema, rest) = tc_url.split_once("://").ok_or(UrlError::NoSchema)?;
    if schema.is_empty() || !schema.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(UrlError::NoSchema);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (host, port) = parse_authority(authority)?;
    let (path_app, mut params) = split_params(path.strip_prefix('/').unwrap_or(path));
    let (property_app, property_params) = split_params(app);
    for param in property_params {
        if !params.iter().any(|(key, _)| *key == param.0) {
            params.push(param);
        }
    }
    let vhost = vhost_of(&params)?;
    params.retain(|(key, value)| {
        !(is_vhost(key) || is_domain(key) && Some(value.as_str()) == vhost.as_deref())
    });
    let app = [property_app, path_app]
        .into_iter()
        .map(|app| trim_name(trim_name(app).trim_end_matches("/_definst_")))
        .find(|app| !app.is_empty())
        .ok_or(UrlError::NoApp)?;
    check_name(app, max_name_bytes)?;
    Ok(Target {
        schema: schema.to_ascii_lowercase(),
        vhost: vhost.unwrap_or_else(|| host.clone()),
        host,
        port,
        app: app.to_owned(),
        params,
    })
}

/// Parses the stream name of a publish or play in an application: `name`, `name?k=v&k=v`, `name...k...v`, parameters behind
/// `&`, `;` or `#` in place of `?`, each of these plain or escaped, or a whole URL, as IP cameras send it: what stands
/// behind the application then, else its last component. Line ends and blanks at
/// either end, which pasted keys have, don't count.
///
/// # Errors
/// When the name is not allowed.
pub fn parse_stream_name(stream: &str, app: &str, max_name_bytes: usize) -> Result<StreamName, UrlError> {
    let stream = plain_separators(stream.trim());
    let (name, params) = match stream_params_at(&stream) {
        Some(at) => stream.split_at_checked(at).unwrap_or((&stream, "")),
        None => (&*stream, ""),
    };
    let name = match name.split_once("://") {
        Some((schema, rest)) if schema.to_ascii_lowercase().starts_with("rtmp") => {
            let path = trim_name(rest.split_once('/').map_or("", |(_, path)| path));
            let behind_app = path.strip_prefix(app).and_then(|rest| rest.strip_prefix('/'));
            behind_app.or_else(|| path.rsplit('/').next()).unwrap_or_default()
        }
        _ => name,
    };
    let name = trim_name(name);
    check_name(name, max_name_bytes)?;
    Ok(StreamName { name: name.to_owned(), params: split_params(params).1 })
}

/// A stream name without its parameters, and these as a query has them; `None` where it has none.
///
/// ```
/// let split = rtmp::url::split_name("cam;token=x&a=b");
/// assert_eq!(split, Some(("cam".to_owned(), "token=x&a=b".to_owned())));
/// assert_eq!(rtmp::url::split_name("cam;1"), None);
/// ```
#[must_use]
pub fn split_name(stream: &str) -> Option<(String, String)> {
    let stream = plain_separators(stream);
    let (name, params) = stream.split_at_checked(stream_params_at(&stream)?)?;
    let pairs = split_params(params).1.into_iter().map(|(key, value)| format!("{key}={value}"));
    Some((name.to_owned(), pairs.collect::<Vec<String>>().join("&")))
}

/// The vhost that parameters ask for, in its canonical form: `vhost` in any case, else a `domain` that can be a host.
///
/// # Errors
/// When a `vhost` is none, or two of them differ.
pub fn vhost_of(params: &[(String, String)]) -> Result<Option<String>, UrlError> {
    let trimmed =
        |value: &str| value.trim_matches(|letter: char| letter == '/' || letter.is_whitespace()).to_owned();
    let mut vhost: Option<String> = None;
    for (_, value) in params.iter().filter(|(key, _)| is_vhost(key)) {
        let value = trimmed(value);
        if value.is_empty() {
            continue;
        }
        let canonical = canonical_host(&value).ok_or(UrlError::BadVhost)?;
        if vhost.as_ref().is_some_and(|earlier| *earlier != canonical) {
            return Err(UrlError::AmbiguousVhost);
        }
        vhost = Some(canonical);
    }
    let domain = || {
        let mut domains = params.iter().filter(|(key, _)| is_domain(key));
        domains.find_map(|(_, value)| canonical_host(&trimmed(value)))
    };
    Ok(vhost.or_else(domain))
}

/// Refuses a name that is empty, too long, or dangerous in a path, a log line or a terminal.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(name: &str, max_bytes: usize) -> Result<(), UrlError> {
    if name.len() > max_bytes {
        return Err(UrlError::NameTooLong { len: name.len() });
    }
    if let Some(bad) = name.chars().find(|letter| is_dangerous(*letter)) {
        return Err(UrlError::NameCharacter { code: u32::from(bad) });
    }
    for component in name.split('/') {
        if component.trim().is_empty() {
            return Err(UrlError::EmptyName);
        }
        if component.starts_with('.') {
            return Err(UrlError::NameDot);
        }
    }
    let lower = name.to_ascii_lowercase();
    if ["%2f", "%5c", "%2e", "%00"].iter().any(|encoded| lower.contains(encoded)) {
        return Err(UrlError::NameEncoded);
    }
    Ok(())
}

/// The URL or stream name with user, password, fragment and the values of its parameters replaced by `***` (a vhost
/// stays), for logs and lists. A parameter without a value may be the secret itself.
#[must_use]
pub fn mask_query(url: &str) -> String {
    let (head, user, tail) = split_user(url);
    let fragment_at = tail.find('#').unwrap_or(tail.len());
    let (tail, fragment) = tail.split_at_checked(fragment_at).unwrap_or((tail, ""));
    let (user, tail) = if user.is_empty() { ("", tail) } else { ("***@", tail) };
    let masked = mask_path(tail);
    let fragment = if fragment.is_empty() { "" } else { "#***" };
    format!("{head}{user}{masked}{fragment}")
}

/// The same for a path or a stream name, where `#` begins no fragment.
#[must_use]
pub fn mask_path(path: &str) -> String {
    let path = plain_query(path);
    let (name, params) = split_params(&path);
    let mut masked = name.to_owned();
    for (index, (key, value)) in params.iter().enumerate() {
        masked.push(if index == 0 { '?' } else { '&' });
        let shown = is_vhost(key) || is_domain(key);
        let given = value;
        let value = if shown && canonical_host(given).is_some() { given } else { "***" };
        // What dots divide, behind a question mark, may be a secret that has dots in it.
        let is_dotted = ['?', '&'].iter().any(|sign| path.contains(&format!("{sign}{key}...")));
        if value == "***" && (is_padding(given) || !is_plain(key) || is_dotted) {
            masked.push_str("***");
        } else {
            masked.push_str(&format!("{key}={value}"));
        }
    }
    masked
}

/// Schema with `://`, user and password with their `@`, and the rest; what is not there is empty.
fn split_user(url: &str) -> (&str, &str, &str) {
    let is_schema = |at: &usize| url.get(..*at).is_some_and(|head| signs::parameters(head).is_none());
    let Some((head, tail)) =
        url.find("://").filter(is_schema).and_then(|at| url.split_at_checked(at + "://".len()))
    else {
        return ("", "", url);
    };
    let (user, tail) = user_end(tail).and_then(|at| tail.split_at_checked(at + 1)).unwrap_or(("", tail));
    (head, user, tail)
}

/// Where user and password of an authority end, at their `@`. A password may hold any character, also those that end a
/// host: then no port stands where it would have to.
fn user_end(tail: &str) -> Option<usize> {
    let authority = tail.find(['/', '?']).and_then(|end| tail.get(..end)).unwrap_or(tail);
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = port.bytes().all(|digit| digit.is_ascii_digit()) || authority.starts_with('[');
    if is_port { authority.rfind('@') } else { tail.rfind('@') }
}

/// Whether what stands behind `=` is no value: then the key may be a secret in base64, and this its padding.
fn is_padding(value: &str) -> bool {
    value.is_empty() || value.starts_with('=')
}

/// Whether a key is a word, as names of parameters are, and no secret that stands there instead.
fn is_plain(key: &str) -> bool {
    key.len() <= 24 && key.starts_with(|letter: char| letter.is_ascii_alphabetic()) && {
        key.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
    }
}

/// Where the parameters of a stream name begin: at `?`, or at `...` when a key and a value follow. (A name may have
/// dots.)
fn stream_params_at(stream: &str) -> Option<usize> {
    let dots = stream.match_indices("...").map(|(at, _)| at).find(|at| {
        let rest = stream.get(at + 3..).unwrap_or_default();
        let key_end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (key, value) = rest.split_at_checked(key_end).unwrap_or((rest, ""));
        let value = value.strip_prefix("...").or_else(|| value.strip_prefix('='));
        !key.is_empty() && value.is_some()
    });
    [stream.find('?'), dots].into_iter().flatten().min()
}

/// With `?` where a comma introduces the vhost, as early versions of the reference read it, and where it is escaped.
fn plain_separators(text: &str) -> Cow<'_, str> {
    let (head, user, tail) = split_user(text);
    match plain_query(tail) {
        Cow::Borrowed(_) => plain_commas(text),
        Cow::Owned(tail) => Cow::Owned(plain_commas(&format!("{head}{user}{tail}")).into_owned()),
    }
}

fn plain_commas(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let comma = [",vhost", ",domain"].iter().find_map(|key| Some((lower.find(key)?, key.len())));
    let Some((at, len)) = comma else { return Cow::Borrowed(text) };
    let (Some(before), Some(key), Some(rest)) =
        (text.get(..at), text.get(at + 1..at + len), text.get(at + len..))
    else {
        return Cow::Borrowed(text);
    };
    let Some(value) = rest.strip_prefix([',', '=', '?']) else { return Cow::Borrowed(text) };
    let glue = if before.contains('?') { '&' } else { '?' };
    Cow::Owned(format!("{before}{glue}{key}={}", value.replacen(',', "&", 1)))
}

/// The part before the first parameter separator, and the parameters.
fn split_params(text: &str) -> (&str, Vec<(String, String)>) {
    let end = [text.find('?'), text.find("...")].into_iter().flatten().min().unwrap_or(text.len());
    let (name, query) = text.split_at_checked(end).unwrap_or((text, ""));
    let mut params = Vec::new();
    for group in query.split('&') {
        let mut pieces = group
            .split("...")
            .flat_map(|piece| piece.split('?'))
            .filter(|piece| !piece.is_empty())
            .peekable();
        while let Some(piece) = pieces.next() {
            let (key, value) = match piece.split_once('=') {
                Some(pair) => pair,
                None => (piece, pieces.next_if(|next| !next.contains('=')).unwrap_or_default()),
            };
            // What is behind a host is no part of it.
            let rest = signs::parameters(value).filter(|_| is_vhost(key) || is_domain(key));
            let (value, rest) = rest.map_or((value, String::new()), |found| found.split(value));
            params.push((key.to_owned(), value.to_owned()));
            let rest = rest.split('&').filter_map(|pair| pair.split_once('='));
            params.extend(rest.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
    }
    (name, params)
}

fn parse_authority(authority: &str) -> Result<(String, u16), UrlError> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(UrlError::BadHost)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::BadHost)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(UrlError::BadHost),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).ok_or(UrlError::BadPort)?
        }
        Some(_) => return Err(UrlError::BadPort),
    };
    Ok((canonical_host(host).ok_or(UrlError::BadHost)?, port))
}

/// Lower case, without the trailing dot; `None` when it cannot be a host.
fn canonical_host(host: &str) -> Option<String> {
    if host == DEFAULT_VHOST {
        return Some(host.to_owned());
    }
    let host = host.trim_matches(['[', ']']);
    let host = host.strip_suffix('.').unwrap_or(host);
    let allowed = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':' | '%');
    let whole = !host.is_empty() && host.len() <= 255 && !host.starts_with('.') && !host.contains("..");
    let whole = whole && signs::parameters(host).is_none();
    (whole && host.chars().all(allowed)).then(|| host.to_lowercase())
}

fn is_vhost(key: &str) -> bool {
    key.eq_ignore_ascii_case("vhost")
}

fn is_domain(key: &str) -> bool {
    key.eq_ignore_ascii_case("domain")
}

/// Without the slashes, blanks and line ends that clients leave at the ends.
fn trim_name(name: &str) -> &str {
    name.trim_matches(|letter: char| letter == '/' || letter.is_whitespace())
}

/// Control characters, the backslash, characters that turn the direction of text, and the replacement character, which
/// says that the name was not UTF-8.
fn is_dangerous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\\' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFFD}')
}

#[cfg(test)]
mod tests;
