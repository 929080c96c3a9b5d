//! What a reload did, or would do, in words.

use std::fmt::Write as _;

use api::{Effect, Reload, Touched};

/// Names that are told.
const SHOWN: usize = 10;

/// Whom it would touch.
fn who(touched: &Touched) -> String {
    let clients = match touched.clients {
        1 => "1 client".to_owned(),
        count => format!("{count} clients"),
    };
    let becomes = match touched.effect {
        Effect::Changes => "would go on with it",
        Effect::Closes => "would be closed",
        Effect::Drains => "would stay, and nobody else would be taken there",
    };
    let mut text = format!("{}: {clients} {becomes}", touched.what);
    let list = |names: Vec<String>, all: usize| {
        let mut shown: Vec<String> = names.into_iter().take(SHOWN).collect();
        if all > shown.len() {
            shown.push(format!("and {} more", all - shown.len()));
        }
        shown.join(", ")
    };
    if !touched.streams.is_empty() {
        let _ = write!(text, "; streams {}", list(touched.streams.clone(), touched.streams.len()));
    }
    if !touched.ids.is_empty() {
        let ids = touched.ids.iter().map(ToString::to_string).collect();
        let _ = write!(text, "; ids {}", list(ids, usize::try_from(touched.clients).unwrap_or(usize::MAX)));
    }
    text
}

/// For people.
pub(crate) fn told(reload: &Reload, dry_run: bool) -> String {
    let mut text = String::new();
    if let Some(error) = &reload.error {
        return format!("nothing changes, generation {} stays in force:\n{error}", reload.generation);
    }
    let what = match (reload.changes.is_empty(), dry_run) {
        (true, _) => "nothing changes".to_owned(),
        (false, true) => "would change".to_owned(),
        (false, false) => format!("applied by {} of {}", reload.applied, reload.processes),
    };
    let _ = write!(text, "generation {}: {what}", reload.generation);
    for change in &reload.changes {
        let _ = write!(text, "\n  {change}");
    }
    for touched in &reload.touched {
        let _ = write!(text, "\n  {}", who(touched));
    }
    for change in &reload.after_restart {
        let _ = write!(text, "\n  {change} (only after a restart of the server)");
    }
    text
}
