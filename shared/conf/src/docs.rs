//! The reference page, made from the table of directives.

use std::fmt::Write;

use crate::directive::{self, Body, DIRECTIVES, Directive, MANY, Reload, Repeat, Status};

const HEAD: &str = "\
# Directives

This page is generated from the table in `shared/conf/src/directive.rs`; change that, not this.

A directive is a name, its arguments and a `;`, or a name, its arguments and a block in braces. Arguments are separated
by white space; one that holds white space, `;` or `{` stands in single or double quotes. `#` begins a comment. Without a
unit in its description a number has none; sizes take `k`, `m` and `g`. A directive that is given twice counts once, the
first time, and the second is warned about.

An environment variable overrides the file: `SRS_` and the path of the directive in capitals, such as `SRS_LISTEN`,
`SRS_HTTP_API_ENABLED`, `SRS_VHOST_PLAY_GOP_CACHE`. `SRS_VHOST_` means the default vhost.

*Reload* says when a changed value works after a reload: at once (`now`), for connections and streams that begin
afterwards (`new`), or not before a restart (`restart`).

*State*: `works`; `not built` is understood and kept, and warned about when it would have made a difference, or refused when
it would keep somebody out (all of it: [not-built.md](not-built.md)); `no effect` is understood and changes nothing here; `not
planned` is skipped with a warning.
";

/// The page as Markdown.
#[must_use]
pub fn directives_markdown() -> String {
    let mut page = String::from(HEAD);
    let mut paths: Vec<&str> = Vec::new();
    for path in DIRECTIVES.iter().filter_map(|row| row.within.first()) {
        if !paths.contains(path) {
            paths.push(path);
        }
    }
    for path in paths {
        section(&mut page, path);
    }
    page
}

const NOT_BUILT_HEAD: &str = "\
# What is not built yet

This page is generated from the table in `shared/conf/src/directive.rs`; change that, not this.

Files that have these directives are read, and the server says at start, in its log and at `-t` what of them has no effect.
Those that would keep somebody out are an error instead, with their place, unless `unsafe_ignore NAME;` says that it is known:
a server that is open where its operator has closed it must not look like one that works.
";

/// What the server does not do, as Markdown.
#[must_use]
pub fn not_built_markdown() -> String {
    let mut page = String::from(NOT_BUILT_HEAD);
    let is_own = |row: &Directive| {
        // What stands in a block that is not built is told by the block.
        let around = row.within.first().and_then(|path| directive::block_of(path));
        around.is_none_or(|block| block.status() == Status::Works)
    };
    type Wanted = fn(Status) -> bool;
    let parts: [(&str, &str, Wanted); 3] = [
        ("To come", "", |status| matches!(status, Status::NotBuilt(_))),
        ("Not planned", "Skipped with a warning.", |status| matches!(status, Status::Unplanned(_))),
        (
            "Nothing to do",
            "Understood; this server has nothing that they could change, so nothing is missing.",
            |status| status == Status::NoEffect,
        ),
    ];
    for (title, lead, wanted) in parts {
        let _ = write!(page, "\n## {title}\n\n");
        if !lead.is_empty() {
            let _ = write!(page, "{lead}\n\n");
        }
        page.push_str("| directive | in | what it would do | a file that has it |\n|---|---|---|---|\n");
        for row in DIRECTIVES.iter().filter(|row| wanted(row.status()) && is_own(row)) {
            let place = row.within.first().copied().unwrap_or("");
            let place = if place.is_empty() { "top level".to_owned() } else { format!("`{place}`") };
            let outcome = match row.status() {
                Status::NotBuilt(_) if crate::notice::RESTRICTING.contains(&row.name) => "is refused",
                Status::NoEffect => "is taken",
                _ => "is taken, with a warning",
            };
            let _ = writeln!(page, "| `{}` | {place} | {} | {outcome} |", row.name, row.about);
        }
    }
    page
}

fn section(page: &mut String, path: &str) {
    let title = if path.is_empty() { "Top level" } else { path };
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n");
    if let Some(row) = directive::block_of(path) {
        let _ = write!(page, "{}\n\n", row.about);
    }
    let alike: Vec<_> = DIRECTIVES
        .iter()
        .filter(|row| row.within.first() == Some(&path))
        .flat_map(|row| row.within.iter().skip(1))
        .fold(Vec::new(), |mut list, other| {
            if !list.contains(&other) {
                list.push(other);
            }
            list
        });
    if !alike.is_empty() {
        let _ =
            write!(page, "Where a name is followed by a block in parentheses it may stand there, too.\n\n");
    }
    page.push_str(
        "| directive | arguments | default | reload | state | meaning |\n|---|---|---|---|---|---|\n",
    );
    for row in DIRECTIVES.iter().filter(|row| row.within.first() == Some(&path)) {
        line(page, row);
    }
}

fn line(page: &mut String, row: &Directive) {
    let mut name = format!("`{}`", row.name);
    for alias in row.aliases {
        let _ = write!(name, ", `{alias}`");
    }
    for other in row.within.iter().skip(1) {
        let _ = write!(name, " (`{other}`)");
    }
    let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
    let reload = match row.reload {
        Reload::Live => "now",
        Reload::New => "new",
        Reload::Restart => "restart",
    };
    let state = match row.status() {
        Status::Works => "works",
        Status::NotBuilt(_) => "not built",
        Status::NoEffect => "no effect",
        Status::Unplanned(_) => "not planned",
    };
    let _ =
        writeln!(page, "| {name} | {} | {default} | {reload} | {state} | {} |", arguments(row), row.about);
}

fn arguments(row: &Directive) -> String {
    let one = row.kind.expected();
    let list = match (row.body, row.repeat) {
        (Body::Simple, _) => match row.max_args {
            1 => one,
            MANY => format!("{one}, one or more"),
            n => format!("{n} × {one}"),
        },
        (Body::Block(_), _) if row.max_args == 0 => "block".into(),
        (Body::Block(_), Repeat::ByName | Repeat::All) if row.min_args == 0 => "name or none, block".into(),
        (Body::Block(_), _) => "name, block".into(),
        (Body::Either(_), _) if row.max_args == 1 => format!("{one}, or block"),
        (Body::Either(_), _) => format!("{one}, one or more, or block"),
        (Body::Free, _) => "block of names and values".into(),
        (Body::Opaque, _) => "anything".into(),
    };
    list.replace('|', "\\|")
}
