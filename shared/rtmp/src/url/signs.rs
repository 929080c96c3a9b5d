//! Where parameters begin when `?` is not what they stand behind: `&`, `;`, `#`, or any of these escaped, once or more often.

use std::borrow::Cow;

/// A character with a meaning for parameters, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sign {
    letter: char,
    /// Bytes.
    len: usize,
    /// How many times it is escaped.
    depth: usize,
}

/// The sign that a text begins with.
fn sign(text: &str) -> Option<Sign> {
    let mut rest = match text.chars().next()? {
        '%' => text.get(1..)?,
        letter @ ('?' | '&' | ';' | '#' | '=') => return Some(Sign { letter, len: 1, depth: 0 }),
        _ => return None,
    };
    let mut depth = 1;
    while let Some(behind) = rest.strip_prefix("25") {
        (rest, depth) = (behind, depth + 1);
    }
    let letter = match rest.get(..2)?.to_ascii_uppercase().as_str() {
        "3F" => '?',
        "26" => '&',
        "3B" => ';',
        "23" => '#',
        "3D" => '=',
        _ => return None,
    };
    Some(Sign { letter, len: 1 + 2 * depth, depth })
}

/// What stands between a name and its first parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the name ends.
    at: usize,
    /// Where the parameter begins.
    behind: usize,
    /// How many times its signs are escaped.
    depth: usize,
    /// It is a plain `?`, and nothing else.
    is_usual: bool,
}

impl Found {
    /// The name, and the parameters with `&` between them.
    pub(super) fn split(self, text: &str) -> (&str, String) {
        let query = text.get(self.behind..).unwrap_or_default();
        (text.get(..self.at).unwrap_or(text), plain(query, self.depth))
    }
}

/// Where the parameters of a text begin: at `?`, or at any other sign that has a key and an equals sign behind it.
pub(super) fn parameters(text: &str) -> Option<Found> {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = sign(rest).filter(|sign| sign.letter != '=') else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let (mut behind, mut depth) = (at + first.len, first.depth);
        let mut is_query = first.depth == 0 && first.letter == '?';
        while let Some(next) =
            text.get(behind..).and_then(sign).filter(|sign| sign.letter != '=' && !is_query)
        {
            is_query = next.depth == 0 && next.letter == '?';
            (behind, depth) = (behind + next.len, depth.max(next.depth));
        }
        let equals = text.get(behind..).and_then(equals_behind_key);
        if is_query || equals.is_some() {
            let depth = equals.map_or(depth, |equals| depth.max(equals.depth));
            return Some(Found { at, behind, depth, is_usual: is_query && behind == at + 1 });
        }
        at = behind;
    }
    None
}

/// The equals sign of a text that begins with a key.
fn equals_behind_key(text: &str) -> Option<Sign> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        match sign(rest) {
            Some(sign) => return (sign.letter == '=' && at > 0).then_some(sign),
            None => at += rest.chars().next().filter(|c| *c != '/' && !c.is_whitespace())?.len_utf8(),
        }
    }
}

/// Parameters with `&` between them, and without the escapes that their signs have.
fn plain(query: &str, depth: usize) -> String {
    let mut out = String::with_capacity(query.len());
    let mut at = 0;
    while let Some(rest) = query.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(sign) = sign(rest).filter(|sign| sign.depth <= depth) else {
            let len = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(rest.get(..len).unwrap_or_default());
            at += len;
            continue;
        };
        at += sign.len;
        let is_between =
            sign.letter != '=' && query.get(at..).is_some_and(|rest| equals_behind_key(rest).is_some());
        out.push(if is_between { '&' } else { sign.letter });
    }
    out
}

/// With `?` where the parameters begin and `&` between them; a text in which they stand behind a plain `?` stays as it is.
pub(super) fn plain_query(text: &str) -> Cow<'_, str> {
    match parameters(text) {
        Some(found) if !found.is_usual => {
            let (name, query) = found.split(text);
            Cow::Owned(format!("{name}?{query}"))
        }
        _ => Cow::Borrowed(text),
    }
}
