//! Tells the operator which of the things asked for this version does not do: once for each feature, at the first
//! place where it would have made a difference.
//!
//! What would keep somebody out is more than a feature that is missing: a server that goes by such a file is open where
//! its operator has closed it. That is an error, unless `unsafe_ignore` says that it is known.

use std::collections::BTreeSet;

use crate::check::{Entry, Item};
use crate::diagnostic::Report;
use crate::directive::{self, Body, Directive, Status};
use crate::feature::Feature;
use crate::value::Value;

/// Warns about unbuilt and unplanned features among the entries.
pub(crate) fn notice(entries: &[Entry], report: &mut Report) {
    let ignored = entries.iter().filter(|entry| entry.row.name == "unsafe_ignore");
    let ignored = ignored.flat_map(|entry| &entry.items).filter_map(|item| match &item.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    });
    Notices { ignored: ignored.collect(), report, told: BTreeSet::new() }.walk(entries);
}

/// Directives that keep somebody out and that this version does not enforce: what `unsafe_ignore` takes.
pub(crate) const RESTRICTING: &[&str] = &["security", "http_hooks", "token_traverse", "hls_keys"];

struct Notices<'a> {
    ignored: Vec<String>,
    report: &'a mut Report,
    told: BTreeSet<Feature>,
}

impl Notices<'_> {
    fn walk(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let (Some(name), Status::NotBuilt(_)) = (restricts(entry), entry.row.status())
                && !self.ignored.iter().any(|known| known == name)
            {
                let message = format!(
                    "{name} is not built yet, and without it nobody is kept out: take it out, or say `unsafe_ignore \
                     {name};` at the top level if that is meant"
                );
                self.report.error(&entry.place, message);
                continue;
            }
            match entry.row.status() {
                Status::NotBuilt(feature) if has_effect(entry) => {
                    self.tell(entry, feature, "is not built yet")
                }
                Status::Unplanned(feature) if has_effect(entry) => {
                    self.tell(entry, feature, "is not planned")
                }
                Status::Works if is_on(entry) => {
                    self.walk(entry.block.as_deref().unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, entry: &Entry, feature: Feature, state: &str) {
        if self.told.insert(feature) {
            let noun = if entry.row.body == Body::Simple { "directive" } else { "block" };
            let message = format!("{} {state}: this {noun} has no effect in this version", feature.name());
            self.report.warn(&entry.place, message);
        }
    }
}

/// Under which name an entry keeps somebody out, if it does. Rules without a switch beside them count: who writes them
/// means them.
fn restricts(entry: &Entry) -> Option<&'static str> {
    let name = RESTRICTING.iter().copied().find(|name| *name == entry.row.name)?;
    let inner = entry.block.as_deref().unwrap_or_default();
    let is_off = |entry: &Entry| matches!(entry.items.first(), Some(Item { value: Value::Flag(false), .. }));
    let restricting = match name {
        "security" => is_on(entry) || inner.iter().any(|rule| rule.row.name != "enabled"),
        "http_hooks" => {
            inner.iter().any(|hook| matches!(hook.row.name, "on_connect" | "on_publish" | "on_play"))
        }
        _ => !is_off(entry),
    };
    let switched_off = inner.iter().any(|entry| entry.row.name == "enabled" && is_off(entry));
    (restricting && !switched_off).then_some(name)
}

/// Whether the directive asks for something that the server would not do without it.
fn has_effect(entry: &Entry) -> bool {
    if entry.row.status() == Status::NotBuilt(Feature::Edge)
        && !matches!(entry.row.name, "mode" | "origin_cluster")
    {
        // Origins and the like mean nothing to a vhost that is no edge.
        return false;
    }
    match entry.row.body {
        Body::Opaque => entry.opaque_on,
        Body::Simple => differs_from_default(entry),
        Body::Either(_) if !entry.items.is_empty() => differs_from_default(entry),
        Body::Free => !entry.pairs.is_empty(),
        Body::Block(path) | Body::Either(path) => {
            let inner = entry.block.as_deref().unwrap_or_default();
            match directive::find(path, "enabled") {
                Some(switch) if switch.default != "on" => is_on(entry),
                Some(_) => is_on(entry) && inner.iter().any(has_effect),
                None => inner.iter().any(has_effect),
            }
        }
    }
}

/// Whether a block is switched on; a block without a switch is.
fn is_on(entry: &Entry) -> bool {
    let Some(switch) = entry.row.opens().and_then(|path| directive::find(path, "enabled")) else {
        return true;
    };
    let inner = entry.block.as_deref().unwrap_or_default();
    let given = inner.iter().find(|e| std::ptr::eq(e.row, switch)).and_then(|e| e.items.first());
    match given {
        Some(Item { value: Value::Flag(on), .. }) => *on,
        _ => switch.default == "on",
    }
}

fn differs_from_default(entry: &Entry) -> bool {
    let default = default_values(entry.row);
    !entry.items.is_empty() && entry.items.iter().map(|item| &item.value).ne(default.iter())
}

/// The default of a directive as values; none when nothing holds without it.
fn default_values(row: &Directive) -> Vec<Value> {
    row.default.split_ascii_whitespace().filter_map(|word| row.kind.read(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_in_the_table_is_a_good_value() {
        for row in directive::DIRECTIVES {
            if !row.default.is_empty() {
                assert!(!default_values(row).is_empty(), "{} has the bad default {}", row.name, row.default);
            }
        }
    }
}
