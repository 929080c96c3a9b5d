//! Answers in the form that was asked for: JSON, AMF0, or (where the configuration allows it) a script that calls back.

use std::io::Cursor;

use serde::Serialize;
use tiny_http::{Header, Request, Response};

use super::access::header;

pub(crate) type Reply = Response<Cursor<Vec<u8>>>;

/// Media type of AMF0.
const AMF: &str = "application/x-amf";
/// Longest name of a function that is called back.
const MOST_CALLBACK: usize = 64;

/// How an answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Amf0,
    /// Calls this function.
    Script(String),
}

/// The form that a request asks for; `None` when it asks for one that must not be.
pub(crate) fn form(request: &Request, jsonp: bool) -> Option<Form> {
    if header(request, "Accept").is_some_and(prefers_amf) {
        return Some(Form::Amf0);
    }
    let callback = query(request.url(), "callback").filter(|_| jsonp);
    match callback {
        Some(name) if is_function_name(&name) => Some(Form::Script(name)),
        Some(_) => None,
        None => Some(Form::Json),
    }
}

fn prefers_amf(accept: &str) -> bool {
    accept
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(AMF)))
}

/// A name such as `jQuery.callback_1`; anything else could be a program.
fn is_function_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, '_' | '$'))
        && name.len() <= MOST_CALLBACK
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | '.'))
}

/// The value of a name in the query, its escapes undone.
pub(crate) fn query(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let pairs = query.split('#').next().unwrap_or("").split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(unescape(value))
}

/// `%41` and `+` as what they stand for; what is no text becomes question marks.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
                _ => bytes.push(b'?'),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer of this status.
pub(crate) fn answer<T: Serialize>(form: &Form, status: u16, body: &T) -> Reply {
    let (kind, bytes) = match form {
        Form::Json => ("application/json;charset=utf-8", serde_json::to_vec(body).unwrap_or_default()),
        Form::Amf0 => match amf0::to_bytes(body) {
            Ok(bytes) => (AMF, bytes),
            Err(error) => {
                tracing::error!("an answer can't be written as AMF0: {error}");
                return text(500, "text/plain;charset=utf-8", "the answer can't be written as AMF0\n");
            }
        },
        Form::Script(name) => {
            let json = serde_json::to_string(body).unwrap_or_default();
            // Line separators of Unicode end a line in old scripts, but not in JSON.
            let json =
                json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").replace('<', "\\u003c");
            ("application/javascript;charset=utf-8", format!("/**/{name}({json});").into_bytes())
        }
    };
    finish(Response::from_data(bytes).with_status_code(status), kind)
}

/// A text of another kind.
pub(crate) fn text(status: u16, kind: &'static str, text: &str) -> Reply {
    finish(Response::from_data(text.as_bytes()).with_status_code(status), kind)
}

fn finish(mut reply: Reply, kind: &'static str) -> Reply {
    add(&mut reply, "Content-Type", kind);
    add(&mut reply, "Server", "SRS");
    add(&mut reply, "X-Content-Type-Options", "nosniff");
    add(&mut reply, "Cache-Control", "no-store");
    // The gate takes what comes as it is.
    reply.with_chunked_threshold(usize::MAX)
}

/// One header more.
pub(crate) fn add(reply: &mut Reply, name: &str, value: &str) {
    if let Ok(header) = Header::from_bytes(name, value) {
        reply.add_header(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_functions_are_called_back() {
        let long = "a".repeat(65);
        for (name, good) in [
            ("callback", true),
            ("jQuery.cb_1", true),
            ("$", true),
            ("alert(1)//", false),
            ("", false),
            ("1a", false),
            ("a-b", false),
            ("a\u{2028}", false),
            (&long, false),
        ] {
            assert_eq!(is_function_name(name), good, "{name}");
        }
    }

    #[test]
    fn queries_and_kinds_are_read() {
        assert_eq!(query("/a?x=1&callback=a%2Eb+c#z", "callback").as_deref(), Some("a.b c"));
        assert_eq!(query("/a?x=%zz%f", "x").as_deref(), Some("??"));
        assert_eq!(query("/a", "x"), None);
        assert!(prefers_amf("text/html, application/x-amf;q=0.9") && !prefers_amf("application/json"));
    }
}
