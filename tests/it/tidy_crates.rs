//! The house rules about crates: which of others may be used, and that nothing is offered that nobody takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use srs_tests::program::{source_files, source_tree};

use crate::tidy::assert_none;

/// What may not be in the executable: no async runtime in any process, one TLS (as in deny.toml, for which cargo-deny is
/// needed).
const BANNED: [&str; 6] = ["tokio", "async-std", "smol", "hyper", "openssl-sys", "native-tls"];

/// Public items that no code of ours uses but tests, with the reason.
const FOR_OTHERS: [(&str, &str); 12] = [
    ("is_timeout", "client: a library for programs of others, too"),
    ("next_event", "client"),
    ("take_statuses", "client"),
    ("receive_audio", "client"),
    ("receive_video", "client"),
    ("directives_markdown", "docs/directives.md is made of it, by a test"),
    ("not_built_markdown", "docs/not-built.md is made of it, by a test"),
    ("connect_upstream", "what pulls streams is to come"),
    ("push_upstream", "what forwards streams is to come"),
    ("close_upstream", "both"),
    ("superseded", "the model of the ring asks for it"),
    ("used_bytes", "the model of the ring asks for it"),
];

/// Items that are a whole only together with what is used.
const COMPLETE: [(&str, &str); 1] =
    [("pack_delta", "the form that the ring writes in parts, in one piece: readers are tested with it")];

#[test]
fn no_crate_brings_a_runtime_and_none_comes_from_elsewhere() {
    let lock = fs::read_to_string(source_tree().join("Cargo.lock")).unwrap();
    let mut faults = Vec::new();
    for line in lock.lines() {
        let name = line.strip_prefix("name = \"").map(|name| name.trim_end_matches('"'));
        if name.is_some_and(|name| BANNED.contains(&name)) {
            faults.push(line.to_owned());
        }
        if line.starts_with("source = ")
            && !line.contains("\"registry+https://github.com/rust-lang/crates.io-index\"")
        {
            faults.push(line.to_owned());
        }
    }
    assert!(lock.lines().filter(|line| line.starts_with("name = ")).count() > 100, "the lock file is read");
    assert_none("crates that may not be used", &faults);
}

/// The names in the tables of dependencies of a manifest.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut is_table = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            is_table = matches!(table, "dependencies]" | "dev-dependencies]");
        } else if is_table && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            found.push(name);
        }
    }
    found.retain(|name| !name.is_empty() && !name.starts_with('#'));
    found
}

#[test]
fn every_dependency_is_used() {
    let sources = source_files(".rs");
    let mut faults = Vec::new();
    for (path, manifest) in source_files("Cargo.toml") {
        let room = path.parent().unwrap();
        // The targets of fuzzing are tried by a test of the benchmarks, too.
        let is_fuzzed = |file: &Path| room.ends_with("bench") && file.starts_with("fuzz");
        let is_of = |file: &Path| (file.starts_with(room) && room != Path::new("")) || is_fuzzed(file);
        let text: Vec<&str> =
            sources.iter().filter(|(file, _)| is_of(file)).map(|(_, text)| text.as_str()).collect();
        for name in dependencies(&manifest) {
            // As paths have it, and derives that are named by their crate.
            let path_of = format!("{}::", name.replace('-', "_"));
            let attribute = format!("\"{}\"", name.replace('-', "_"));
            if !text.iter().any(|text| text.contains(&path_of) || text.contains(&attribute)) {
                faults.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert_none("dependencies that nothing uses", &faults);
}

/// The code of a file: without comments, and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split_once("#[cfg(test)]\nmod ").map_or(text, |(code, _)| code);
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn what_is_public_is_used() {
    let is_product = |path: &Path| {
        let is_test = path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
        !is_test && !path.starts_with("fuzz") && !path.starts_with("bench")
    };
    let product: Vec<(PathBuf, String)> = source_files(".rs")
        .into_iter()
        .filter(|(path, _)| is_product(path))
        .map(|(path, text)| (path, code(&text)))
        .collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for word in product.iter().flat_map(|(_, text)| words(text)) {
        *count.entry(word).or_default() += 1;
    }
    let mut unused = BTreeSet::new();
    for (path, text) in &product {
        for line in text.lines() {
            let mut parts =
                line.trim_start().split(' ').skip_while(|part| *part == "const" || *part == "pub");
            let is_public = line.trim_start().starts_with("pub ");
            let is_item =
                parts.next().is_some_and(|kind| matches!(kind, "fn" | "struct" | "enum" | "trait" | "type"));
            let Some(name) =
                parts.next().and_then(|rest| words(rest).next()).filter(|_| is_public && is_item)
            else {
                continue;
            };
            if count.get(name) == Some(&1) {
                unused.insert((name, path.display().to_string()));
            }
        }
    }
    let is_listed = |name: &str| FOR_OTHERS.iter().chain(&COMPLETE).any(|(listed, _)| *listed == name);
    let faults = unused.iter().filter(|(name, _)| !is_listed(name));
    assert_none(
        "public items that nobody uses",
        &faults.map(|(n, p)| format!("{p}: {n}")).collect::<Vec<_>>(),
    );
    let listed = FOR_OTHERS.iter().chain(&COMPLETE).map(|(name, _)| *name);
    let is_used = |name: &&str| !unused.iter().any(|(known, _)| known == name);
    let used: Vec<String> = listed.filter(is_used).map(str::to_owned).collect();
    assert_none("listed as unused, but used: take them out of the list", &used);
}

#[test]
fn the_lexicon_names_crates_and_types_that_there_are() {
    let text = fs::read_to_string(source_tree().join("docs/lexicon.md")).unwrap();
    let (_, table) = text.split_once("## Nouns by crate").unwrap();
    let sources = source_files(".rs");
    let mut faults = Vec::new();
    let mut rows = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let mut quoted = line.split('`').skip(1).step_by(2);
        let name = quoted.next().unwrap();
        rows.insert(name.to_owned());
        let room = Path::new(name).join("src");
        let is_of =
            |path: &Path| path.starts_with(&room) || path.starts_with(Path::new("shared").join(&room));
        let texts: Vec<&String> =
            sources.iter().filter(|(path, _)| is_of(path)).map(|(_, text)| text).collect();
        let is_there = |noun: &str| {
            ["struct", "enum", "trait"].iter().any(|kind| {
                let item = format!("{kind} {noun}");
                texts.iter().any(|text| {
                    text.split(&item).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                })
            })
        };
        // Fields and boxes of formats are no types.
        let nouns = quoted.filter(|noun| noun.starts_with(|c: char| c.is_ascii_uppercase()));
        faults.extend(nouns.filter(|noun| !is_there(noun)).map(|noun| format!("{name}: {noun}")));
    }
    for (path, manifest) in source_files("Cargo.toml") {
        let room = path.parent().unwrap();
        let name = room.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = manifest.contains("[package]") && !["fuzz", "tests", "srs"].contains(&name.as_str());
        if is_ours && !rows.contains(&name) {
            faults.push(format!("{name} is in no row"));
        }
    }
    assert_none("docs/lexicon.md", &faults);
}
