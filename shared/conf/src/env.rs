//! Overrides from the environment: `SRS_` and the path of a directive in capitals, joined by underscores.
//!
//! `SRS_LISTEN`, `SRS_HTTP_API_ENABLED`; `SRS_VHOST_...` means the default vhost. The words of a value are separated by
//! white space. A name that begins with the name of its block may be given without it (`SRS_VHOST_HLS_PATH`,
//! `SRS_LOG_TANK`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::{Entry, Item, is_grouping, nearest};
use crate::config::DEFAULT_VHOST;
use crate::diagnostic::{Report, SourcePos, quoted};
use crate::directive::{self, Body, Directive, Repeat};
use crate::value::Value;

const PREFIX: &str = "SRS_";
/// Variables of our other programs and of the tests, which name no directive: `srs-cli`'s, and families that begin so.
const OF_OTHERS: [&str; 3] = ["SRS_SOCKET", "SRS_API", "SRS_TOKEN_FILE"];
const FAMILIES_OF_OTHERS: [&str; 3] = ["SRS_TEST_", "SRS_TESTS_", "SRS_SOAK_"];
/// Longest value that is read, bytes.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// The variables that may override the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(pub BTreeMap<String, String>);

impl Environment {
    /// No overrides.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The `SRS_` variables of this process; those that are not UTF-8 are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    /// Puts the overrides among the entries of the top level.
    pub(crate) fn apply(&self, entries: &mut Vec<Entry>, report: &mut Report) {
        for (variable, value) in &self.0 {
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            let place = SourcePos::Variable(variable.as_str().into());
            match resolve("", rest) {
                None if OF_OTHERS.contains(&variable.as_str())
                    || FAMILIES_OF_OTHERS.iter().any(|family| variable.starts_with(family)) => {}
                None => report.warn(&place, unknown(variable)),
                Some(_) if value.len() > MAX_VALUE_BYTES => {
                    report.error(&place, format!("the value has more than {MAX_VALUE_BYTES} bytes"));
                }
                Some(chain) => {
                    if let Some(entry) = read(&chain, value, &place, report) {
                        put(entries, &chain, entry);
                    }
                }
            }
        }
    }
}

/// The directives on the way from the block at `path` to the one that `rest` names.
fn resolve(path: &str, rest: &str) -> Option<Vec<&'static Directive>> {
    for row in directive::in_block(path) {
        // Ingest, transcode and exec have no single place that a variable could mean.
        if (row.repeat == Repeat::ByName && row.name != "vhost") || row.name == "include" {
            continue;
        }
        for name in row.names().flat_map(|name| spellings(path, name)) {
            let Some(after) = rest.strip_prefix(name.as_str()) else { continue };
            if after.is_empty() && matches!(row.body, Body::Simple | Body::Either(_)) {
                return Some(vec![row]);
            }
            if let (Some(inner), Some(after)) = (row.opens(), after.strip_prefix('_'))
                && let Some(mut chain) = resolve(inner, after)
            {
                chain.insert(0, row);
                return Some(chain);
            }
        }
    }
    None
}

/// A directive's name in capitals, and the shorter form that leaves out what its block says already.
fn spellings(path: &str, name: &str) -> Vec<String> {
    let block = if path.is_empty() { "srs" } else { path.rsplit('/').next().unwrap_or(path) };
    let short = name.strip_prefix(block).and_then(|n| n.strip_prefix('_'));
    std::iter::once(name).chain(short).map(str::to_ascii_uppercase).collect()
}

fn read(chain: &[&'static Directive], value: &str, place: &SourcePos, report: &mut Report) -> Option<Entry> {
    let row = *chain.last()?;
    let words: Vec<&str> =
        if row.max_args == 1 { vec![value.trim()] } else { value.split_ascii_whitespace().collect() };
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if words.len() < row.min_args.max(1) || words.len() > row.max_args {
        report.error(
            place,
            format!("{} is not what {} takes (expected {})", quoted(value), row.name, row.kind.expected()),
        );
        return None;
    }
    let mut items = Vec::new();
    for word in words {
        if word.chars().any(char::is_control) {
            report.error(place, format!("{} has a control character in it", quoted(word)));
            return None;
        }
        match row.kind.read(word) {
            Ok(value) => items.push(Item { value, place: place.clone() }),
            Err(message) => {
                report.error(place, message);
                return None;
            }
        }
    }
    Some(Entry { row, place: place.clone(), items, block: None, pairs: Vec::new(), opaque_on: false })
}

/// Replaces what the file says by the entry, making the blocks on the way if they are missing.
fn put(entries: &mut Vec<Entry>, chain: &[&'static Directive], entry: Entry) {
    let mut list = entries;
    let blocks = chain.len().saturating_sub(1);
    for row in chain.iter().take(blocks) {
        if row.opens().is_some_and(is_grouping) {
            continue;
        }
        let same = |e: &Entry| {
            std::ptr::eq(e.row, *row)
                && (row.name != "vhost" || e.first_text().eq_ignore_ascii_case(DEFAULT_VHOST))
        };
        let index = list.iter().position(same).unwrap_or(list.len());
        if index == list.len() {
            list.push(block_entry(row, &entry.place));
        }
        let Some(found) = list.get_mut(index) else { return };
        list = found.block.get_or_insert_with(Vec::new);
    }
    list.retain(|e| !std::ptr::eq(e.row, entry.row));
    list.push(entry);
}

fn block_entry(row: &'static Directive, place: &SourcePos) -> Entry {
    let name = Item { value: Value::Text(DEFAULT_VHOST.into()), place: place.clone() };
    let items = if row.name == "vhost" { vec![name] } else { Vec::new() };
    Entry { row, place: place.clone(), items, block: Some(Vec::new()), pairs: Vec::new(), opaque_on: false }
}

/// The default vhost of a configuration that comes from the environment alone.
pub(crate) fn default_vhost() -> Option<Entry> {
    let row = directive::find("", "vhost")?;
    Some(block_entry(row, &SourcePos::Whole("environment".into())))
}

/// Names of all variables, for hints.
fn variables(path: &str, prefix: &str, names: &mut Vec<String>) {
    for row in directive::in_block(path) {
        let name = format!("{prefix}{}", row.name.to_ascii_uppercase());
        if let Some(inner) = row.opens()
            && (row.repeat != Repeat::ByName || row.name == "vhost")
        {
            variables(inner, &format!("{name}_"), names);
        }
        names.push(name);
    }
}

fn unknown(variable: &str) -> String {
    let mut names = Vec::new();
    variables("", PREFIX, &mut names);
    match nearest(variable, names.iter().map(String::as_str)) {
        Some(near) => format!("names no directive (did you mean {near}?)"),
        None => "names no directive".into(),
    }
}
