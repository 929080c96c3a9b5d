//! What changed from one configuration to another, in a form to show to an operator.
//!
//! Names follow the typed structs; a unit at the end of a name moves to the value. Vhosts and ingests are matched by
//! their names, so moving a block within the file changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::directive::DIRECTIVES;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What changed, such as `vhost demo.example: hls: fragment`.
    pub path: String,
    /// Its value before; `None` when it was not there.
    pub old: Option<String>,
    /// Its value now; `None` when it has gone.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} is now {new}", self.path),
            (None, Some(new)) if new.is_empty() => write!(f, "{} is new", self.path),
            (None, Some(new)) => write!(f, "{}: {new} is new", self.path),
            (Some(old), None) if old.is_empty() => write!(f, "{} has gone", self.path),
            (Some(old), None) => write!(f, "{}: {old} has gone", self.path),
            (None, None) => write!(f, "{}", self.path),
        }
    }
}

/// Every difference, sorted by name within each block.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    // Plain structs of numbers, texts and lists always have a JSON form.
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else { return changes };
    compare(&mut changes, "", "", &old, &new);
    changes
}

fn compare(changes: &mut Vec<Change>, path: &str, field: &str, old: &Value, new: &Value) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) && !is_variant(a) => {
            for (key, old) in a {
                let new = b.get(key).unwrap_or(&Value::Null);
                compare(changes, &join(path, &directive_of(path, key)), key, old, new);
            }
        }
        (Value::Array(a), Value::Array(b)) if matches!(field, "vhosts" | "ingests") => {
            named(changes, path, field, a, b);
        }
        _ => changes.push(Change {
            path: path.into(),
            old: Some(shown(field, old)),
            new: Some(shown(field, new)),
        }),
    }
}

/// An enum's variant with a value is one thing.
fn is_variant(map: &serde_json::Map<String, Value>) -> bool {
    map.len() == 1 && map.keys().all(|key| key.starts_with(char::is_uppercase))
}

/// Lists whose members have names of their own.
fn named(changes: &mut Vec<Change>, path: &str, field: &str, old: &[Value], new: &[Value]) {
    let noun = field.trim_end_matches('s');
    let around = path.rsplit_once(": ").map_or("", |(around, _)| around);
    let title = |name: &str| join(around, format!("{noun} {name}").trim_end());
    let find = |list: &[Value], name: &str| list.iter().find(|value| name_of(value) == name).cloned();
    for before in old {
        let name = name_of(before);
        match find(new, name) {
            Some(after) => compare(changes, &title(name), "", before, &after),
            None => changes.push(Change { path: title(name), old: Some(String::new()), new: None }),
        }
    }
    for after in new.iter().filter(|after| find(old, name_of(after)).is_none()) {
        changes.push(Change { path: title(name_of(after)), old: None, new: Some(String::new()) });
    }
}

fn name_of(value: &Value) -> &str {
    value.get("name").or_else(|| value.get("id")).and_then(Value::as_str).unwrap_or("")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}: {name}") }
}

/// What a file calls a field of the block at the end of `path`.
fn directive_of(path: &str, field: &str) -> String {
    let (name, _) = unit(field);
    let block = path.rsplit(": ").next().unwrap_or("");
    let own = match (block, name) {
        ("log", "utc") => Some("utc_time".to_owned()),
        ("log", name) => Some(format!("srs_log_{name}")),
        ("hls" | "dvr" | "dash" | "hds", name) => Some(format!("{block}_{name}")),
        _ => None,
    };
    own.filter(|own| DIRECTIVES.iter().any(|row| row.name == *own)).unwrap_or_else(|| name.to_owned())
}

/// Fields that are one of some words: the structs have them with a capital.
const WORDS: [&str; 13] = [
    "mw_latency",
    "level",
    "tank",
    "process_mode",
    "mode",
    "protocol",
    "plan",
    "storage",
    "on_error",
    "time_jitter",
    "reads",
    "publish_takeover",
    "workers",
];

/// A time as a person says it.
fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        ms if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        ms => format!("{}.{} s", ms / 1_000, format!("{:03}", ms % 1_000).trim_end_matches('0')),
    }
}

/// A field's name without its unit, and the unit.
fn unit(field: &str) -> (&str, &'static str) {
    for (ending, unit) in [("_ms", " ms"), ("_us", " µs"), ("_bytes", " bytes")] {
        if let Some(name) = field.strip_suffix(ending) {
            return (name, unit);
        }
    }
    (field, "")
}

fn shown(field: &str, value: &Value) -> String {
    match value {
        // Both sides of a change of secrets read the same, and that is all a log should say.
        _ if matches!(field, "password" | "auth" | "key_url") => "***".into(),
        Value::Null => "none".into(),
        Value::Bool(true) => "on".into(),
        Value::Bool(false) => "off".into(),
        Value::Number(number) if field.ends_with("_ms") => {
            number.as_u64().map_or_else(|| number.to_string(), time)
        }
        Value::Number(number) => format!("{number}{}", unit(field).1),
        Value::String(text) if WORDS.contains(&field) => text.to_lowercase(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::Array(list) => list.iter().map(|item| shown("", item)).collect::<Vec<_>>().join(" "),
        // How long messages gather is the only time that is a variant of its own.
        Value::Object(map) if field == "mw_latency" => {
            map.values().map(|value| shown("_ms", value)).collect()
        }
        Value::Object(map) if map.len() == 1 => map.values().map(|value| shown("", value)).collect(),
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| format!("{} {}", unit(key).0, shown(key, value));
            map.iter().map(field).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, parse_text};

    fn changes(old: &str, new: &str) -> Vec<String> {
        let config = |text: &str| parse_text("x", text.as_bytes(), &Environment::empty()).unwrap().config;
        diff(&config(old), &config(new)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_in_words() {
        assert_eq!(changes("listen 1;", "listen 1;"), Vec::<String>::new());
        assert_eq!(
            changes(
                "listen 1; vhost a { queue_length 10; } vhost b { }",
                "listen 1 2; vhost c { } vhost a { queue_length 5; gop_cache off; hls { hls_fragment 2; } }"
            ),
            [
                "listen: 0.0.0.0:1 is now 0.0.0.0:1 0.0.0.0:2",
                "vhost a: gop_cache: on is now off",
                "vhost a: hls: hls_fragment: 10 s is now 2 s",
                "vhost a: queue_length: 10 s is now 5 s",
                "vhost b has gone",
                "vhost c is new",
            ]
        );
        assert_eq!(
            changes(
                "listen 1; http_api { auth { enabled on; password a; } }",
                "listen 1; http_api { auth { enabled on; password b; } }"
            ),
            ["http_api: auth: password: *** is now ***"]
        );
        assert_eq!(
            changes(
                "listen 1; vhost a { publish { normal_timeout 1500; } }",
                "listen 1; srs_log_level warn; srs_log_tank console; vhost a { mw_latency 350; dvr { dvr_plan segment; } }"
            ),
            [
                "log: srs_log_level: trace is now warn",
                "log: srs_log_tank: file is now console",
                "vhost a: dvr: dvr_plan: session is now segment",
                "vhost a: mw_latency: auto is now 350 ms",
                "vhost a: publish: normal_timeout: 1.5 s is now 30 s",
            ]
        );
    }
}
