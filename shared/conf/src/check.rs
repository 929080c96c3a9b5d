//! The tree against the table: unknown names, misplaced blocks, wrong arguments, repetitions. What passes is a list of
//! entries whose values are already read, so that nothing after this looks at text again.

use std::collections::HashMap;

use crate::diagnostic::{Report, SourcePos, quoted};
use crate::directive::{self, Body, Directive, MANY, Repeat};
use crate::encode::Pair;
use crate::tree::Node;
use crate::value::{Kind, Value};

/// One argument, read.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) place: SourcePos,
}

/// One directive that fits the table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) row: &'static Directive,
    pub(crate) place: SourcePos,
    pub(crate) items: Vec<Item>,
    /// What its braces hold, if it has any and the table knows what may stand there.
    pub(crate) block: Option<Vec<Self>>,
    /// What a free block holds.
    pub(crate) pairs: Vec<Pair>,
    /// For a block that is not looked into: whether it says `enabled on`.
    pub(crate) opaque_on: bool,
}

impl Entry {
    /// Its first argument as text, which is its name if it is a vhost, an ingest, a transcode or an engine.
    pub(crate) fn first_text(&self) -> &str {
        match self.items.first() {
            Some(Item { value: Value::Text(text), .. }) => text,
            _ => "",
        }
    }
}

/// Blocks whose directives may as well stand in the block around them.
pub(crate) fn is_grouping(path: &str) -> bool {
    matches!(path, "vhost/play" | "vhost/cluster")
}

/// Checks the nodes of the block with this path; `block` is what messages call it.
pub(crate) fn check(nodes: &[Node], path: &'static str, block: &str, report: &mut Report) -> Vec<Entry> {
    let mut list = Checked::default();
    list.add_all(nodes, path, block, report);
    list.entries
}

/// The entries of one block so far, and where each directive was first seen.
#[derive(Debug, Default)]
struct Checked {
    entries: Vec<Entry>,
    seen: HashMap<(*const Directive, String), SourcePos>,
}

impl Checked {
    fn add_all(&mut self, nodes: &[Node], path: &'static str, block: &str, report: &mut Report) {
        for node in nodes {
            if report.is_full() {
                return;
            }
            let Some(row) = directive::find(path, &node.name.text) else {
                report.error(&node.name.place, unknown(&node.name.text, path, block));
                continue;
            };
            if let Some(at) = missing_semicolon(node, row, path) {
                let (one, next) = split(node, at);
                let message = format!(
                    "missing ';' after {}: {} begins on a new line and is a directive; read as if it were there",
                    quoted(&one.args.last().unwrap_or(&one.name).text),
                    quoted(&next.name.text)
                );
                report.warn(&one.args.last().unwrap_or(&one.name).end, message);
                self.add_all(&[one, next], path, block, report);
                continue;
            }
            if let (Some(inner), Some(nodes)) = (row.opens().filter(|path| is_grouping(path)), &node.block) {
                arity(node, row, report);
                self.add_all(nodes, inner, &format!("{} of {block}", row.name), report);
                continue;
            }
            if let Some(entry) = entry(node, row, report) {
                self.add(entry, report);
            }
        }
    }

    fn add(&mut self, entry: Entry, report: &mut Report) {
        let name = match entry.row.repeat {
            Repeat::All => String::new(),
            Repeat::First => String::new(),
            Repeat::ByName => entry.first_text().to_ascii_lowercase(),
        };
        if entry.row.repeat != Repeat::All {
            let shown = title(entry.row, &name);
            if let Some(first) = self.seen.get(&(std::ptr::from_ref(entry.row), name.clone())) {
                report
                    .warn(&entry.place, format!("{shown} is already given at {first}: this one is ignored"));
                return;
            }
            self.seen.insert((std::ptr::from_ref(entry.row), name), entry.place.clone());
        }
        self.entries.push(entry);
    }
}

/// What messages call a directive or a named block.
fn title(row: &Directive, name: &str) -> String {
    if name.is_empty() { row.name.into() } else { format!("{} {}", row.name, quoted(name)) }
}

fn entry(node: &Node, row: &'static Directive, report: &mut Report) -> Option<Entry> {
    let place = node.name.place.clone();
    let empty = |items| Entry { row, place, items, block: None, pairs: Vec::new(), opaque_on: false };
    if row.body == Body::Opaque {
        let mut entry = empty(Vec::new());
        let on = |n: &Node| n.name.text == "enabled" && n.args.first().is_some_and(|a| a.text == "on");
        entry.opaque_on = node.block.iter().flatten().any(on);
        return Some(entry);
    }
    if !braces(node, row, report) || !arity(node, row, report) {
        return None;
    }
    let mut items = Vec::with_capacity(node.args.len());
    for word in &node.args {
        match row.kind.read(&word.text) {
            Ok(value) => items.push(Item { value, place: word.place.clone() }),
            Err(message) => report.error(&word.place, message),
        }
    }
    let name = node.args.first().map_or("", |word| word.text.as_str());
    let mut entry = empty(items);
    match (&node.block, row.body, row.opens()) {
        (Some(nodes), Body::Free, _) => entry.pairs = pairs(nodes, row, report),
        (Some(nodes), _, Some(path)) => {
            let name = if row.repeat == Repeat::First { "" } else { name };
            entry.block = Some(check(nodes, path, &title(row, name), report));
        }
        _ => {}
    }
    Some(entry)
}

/// Whether the directive has a block exactly when it should.
fn braces(node: &Node, row: &Directive, report: &mut Report) -> bool {
    match (row.body, &node.block) {
        (Body::Simple, Some(_)) => {
            report.error(
                &node.name.place,
                format!("{} takes no block: expected ';' instead of '{{'", row.name),
            );
            false
        }
        (Body::Block(_) | Body::Free, None) => {
            report
                .error(&node.name.place, format!("{} needs a block: expected '{{' instead of ';'", row.name));
            false
        }
        _ => true,
    }
}

/// Whether the directive has as many arguments as it should.
fn arity(node: &Node, row: &Directive, report: &mut Report) -> bool {
    let count = node.args.len();
    if let Some(extra) = node.args.get(row.max_args) {
        let takes = match row.max_args {
            0 => "no argument".into(),
            1 => "one argument".into(),
            n => format!("{n} arguments"),
        };
        report
            .error(&extra.place, format!("{} takes {takes}: {} is too many", row.name, quoted(&extra.text)));
        return false;
    }
    // An empty quoted text leaves no argument behind; it means "nothing".
    let emptied = row.body == Body::Simple && count == 0 && matches!(row.kind, Kind::Text | Kind::Path);
    let bare = matches!(row.body, Body::Either(_)) && node.block.is_none() && count == 0;
    if (count < row.min_args && !emptied) || bare {
        let wants = match (row.min_args, row.max_args) {
            (0 | 1, 1) => "an argument".into(),
            (0 | 1, MANY) => "at least one argument".into(),
            (n, _) => format!("{n} arguments"),
        };
        report
            .error(&node.name.end, format!("{} needs {wants} (expected {})", row.name, row.kind.expected()));
        return false;
    }
    true
}

fn pairs(nodes: &[Node], row: &Directive, report: &mut Report) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for node in nodes {
        if node.block.is_some() {
            report.error(&node.name.place, format!("{} holds no blocks", row.name));
            continue;
        }
        let values = node.args.iter().map(|word| word.text.clone()).collect();
        pairs.push(Pair { key: node.name.text.clone(), values });
    }
    pairs
}

/// Finds the argument before which a semicolon seems to be missing: it begins a new line and is a directive, either of
/// this block, or of any block when there are too many arguments anyway.
fn missing_semicolon(node: &Node, row: &Directive, path: &str) -> Option<usize> {
    let mut previous = &node.name;
    for (index, word) in node.args.iter().enumerate() {
        let begins_line = line(&word.place) > line(&previous.end);
        if begins_line && !word.quoted {
            let here = directive::find(path, &word.text).is_some();
            let elsewhere = || {
                index >= row.max_args
                    && directive::DIRECTIVES.iter().any(|r| r.names().any(|n| n == word.text))
            };
            if here || elsewhere() {
                return Some(index);
            }
        }
        previous = word;
    }
    None
}

/// Two directives out of one, the second from that argument on.
fn split(node: &Node, at: usize) -> (Node, Node) {
    let mut one = Node { name: node.name.clone(), args: node.args.clone(), block: None };
    let mut rest = one.args.split_off(at.min(one.args.len())).into_iter();
    let name = rest.next().unwrap_or_else(|| node.name.clone());
    let next = Node { name, args: rest.collect(), block: node.block.clone() };
    (one, next)
}

fn line(place: &SourcePos) -> u32 {
    match place {
        SourcePos::File { line, .. } => *line,
        SourcePos::Whole(_) | SourcePos::Variable(_) => 0,
    }
}

fn unknown(name: &str, path: &str, block: &str) -> String {
    let wher = if path.is_empty() { "at the top level".into() } else { format!("in {block}") };
    let mut message = format!("unknown directive {} {wher}", quoted(name));
    if let Some(near) = nearest(name, directive::in_block(path).flat_map(Directive::names)) {
        message.push_str(&format!(" (did you mean {near}?)"));
        return message;
    }
    let mut elsewhere = directive::DIRECTIVES.iter().filter(|row| row.names().any(|n| n == name));
    if let Some(row) = elsewhere.next() {
        let home = row.within.first().copied().unwrap_or("");
        let home = if home.is_empty() { "at the top level".into() } else { format!("in {home}") };
        message.push_str(&format!(" (it belongs {home})"));
    }
    message
}

/// The known name that is most like a mistyped one, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.87;
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let scored = known.map(|k| (strsim::jaro_winkler(&name, &k.to_ascii_lowercase()), k));
    let best = scored.filter(|(score, _)| *score >= LIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, k)| k)
}
