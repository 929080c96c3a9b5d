//! A view of the entries of one block: asks by name, answers with typed values.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::check::{Entry, Item};
use crate::diagnostic::Report;
use crate::directive::DIRECTIVES;
use crate::encode::Pair;
use crate::value::Value;
use crate::vhost::Endpoint;

/// The entries of one block; an absent block is an empty one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a>(pub(super) &'a [Entry]);

/// Puts a value in its place if there is one.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

impl<'a> Block<'a> {
    /// All entries of that name, in file order.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        debug_assert!(DIRECTIVES.iter().any(|row| row.name == name), "{name} is not in the table");
        self.0.iter().filter(move |entry| entry.row.name == name)
    }

    /// The first entry of that name.
    pub(super) fn get(&self, name: &'static str) -> Option<&'a Entry> {
        self.all(name).next()
    }

    fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.get(name)?.items.first().map(|item| &item.value)
    }

    pub(super) fn block(&self, name: &'static str) -> Self {
        Block(self.get(name).and_then(|entry| entry.block.as_deref()).unwrap_or_default())
    }

    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        if let Value::Flag(on) = self.value(name)? { Some(*on) } else { None }
    }

    /// A number in the unit that the table keeps.
    pub(super) fn number(&self, name: &'static str) -> Option<u64> {
        if let Value::Number(number) = self.value(name)? { Some(*number) } else { None }
    }

    /// A number whose range in the table fits.
    pub(super) fn int(&self, name: &'static str) -> Option<u32> {
        self.number(name).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) fn ratio(&self, name: &'static str) -> Option<f64> {
        if let Value::Ratio(ratio) = self.value(name)? { Some(*ratio) } else { None }
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        if let Value::Text(text) = self.value(name)? { Some(text) } else { None }
    }

    pub(super) fn string(&self, name: &'static str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(super) fn address(&self, name: &'static str) -> Option<SocketAddr> {
        if let Value::Listen(listen) = self.value(name)? { Some(listen.address) } else { None }
    }

    /// Every argument of the first entry of that name.
    pub(super) fn strings(&self, name: &'static str) -> Vec<String> {
        self.get(name).map(texts).unwrap_or_default()
    }

    pub(super) fn endpoints(&self, name: &'static str) -> Vec<Endpoint> {
        let endpoint = |item: &Item| match &item.value {
            Value::Endpoint(endpoint) => Some(endpoint.clone()),
            _ => None,
        };
        self.get(name).map(|entry| entry.items.iter().filter_map(endpoint).collect()).unwrap_or_default()
    }

    pub(super) fn pairs(&self, name: &'static str) -> Vec<Pair> {
        self.get(name).map(|entry| entry.pairs.clone()).unwrap_or_default()
    }

    /// Complains when the smaller of two values is above the larger one.
    pub(super) fn ordered(
        &self,
        small: &'static str,
        least: u64,
        large: &'static str,
        most: u64,
        report: &mut Report,
    ) {
        if least > most
            && let Some(entry) = self.get(small).or_else(|| self.get(large))
        {
            report.error(&entry.place, format!("{small} ({least}) is above {large} ({most})"));
        }
    }
}

/// Every argument of an entry that is text.
pub(super) fn texts(entry: &Entry) -> Vec<String> {
    let text = |item: &Item| match &item.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    entry.items.iter().filter_map(text).collect()
}
