//! The house rules that a program can check: what stands in which file, and who may import whom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use srs_tests::process::run;
use srs_tests::program::{source_files, source_tree};
use srs_tests::wait::SOON;

/// Lines from which on a file has to be divided.
const MAX_LINES: usize = 800;

/// Files that may be longer, with the reason.
const LONG_FILES: [(&str, &str); 2] = [("directive.rs", "a table"), ("hostile_table.rs", "a table")];

/// Names that say nothing about what a module is.
const BANNED_NAMES: [&str; 7] = ["utils", "util", "helpers", "common", "define", "types", "misc"];

/// Files that may hold unsafe code; every crate without one forbids it.
const UNSAFE_FILES: [&str; 3] =
    ["shared/mediaring/src/map.rs", "shared/ipc/src/tcp.rs", "bench/benches/io_uring.rs"];

/// Who may import which of our crates; tests and benchmarks may import all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("amf0", &["media"]),
    ("flv", &["media"]),
    ("ts", &[]),
    ("mp4", &["media"]),
    ("http1", &[]),
    ("hls", &["http1", "media"]),
    ("remux", &["amf0", "flv", "ts", "mp4", "media"]),
    ("vod", &["remux", "flv", "media"]),
    ("rtmp", &["amf0", "media"]),
    ("conf", &[]),
    ("api", &[]),
    ("mediaring", &["media"]),
    ("reactor", &[]),
    ("ipc", &["media", "conf", "api"]),
    ("fanout", &["media", "flv", "rtmp", "mediaring"]),
    ("endpoint", &["media", "fanout", "rtmp", "conf", "api", "ipc", "mediaring", "reactor"]),
    ("machine", &["api"]),
    ("child", &["ipc", "api", "machine", "mediaring", "conf", "reactor"]),
    (
        "backsource",
        &["media", "amf0", "flv", "rtmp", "conf", "api", "ipc", "mediaring", "reactor", "endpoint", "child"],
    ),
    (
        "worker",
        &[
            "media",
            "amf0",
            "fanout",
            "flv",
            "hls",
            "http1",
            "vod",
            "remux",
            "mp4",
            "rtmp",
            "conf",
            "api",
            "ipc",
            "machine",
            "mediaring",
            "reactor",
            "endpoint",
            "child",
        ],
    ),
    ("master", &["api", "child", "conf", "ipc", "media", "mediaring", "reactor"]),
    ("external", &["api", "child", "client", "conf", "flv", "ipc", "reactor", "rtmp"]),
    ("srs", &["backsource", "child", "conf", "external", "ipc", "master", "worker"]),
    ("client", &["rtmp", "flv", "media", "amf0"]),
    ("srs-cli", &["api", "amf0", "conf", "http1"]),
];

/// Fails with a list of what breaks a rule.
pub(crate) fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |(path, text): &(PathBuf, String)| {
        let said = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        (!said.is_some_and(|line| line.starts_with("//!"))).then(|| path.display().to_string())
    };
    // Unit tests in a file of their own are a part of their module.
    let files = source_files(".rs");
    let files = files.iter().filter(|(path, _)| !path.ends_with("tests.rs"));
    assert_none(
        "files without a first line that says what they are",
        &files.filter_map(silent).collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_is_too_long_and_no_name_is_empty() {
    let mut faults = Vec::new();
    for (path, text) in source_files(".rs") {
        let name = path.file_name().unwrap().to_string_lossy();
        let lines = text.lines().count();
        if lines > MAX_LINES && !LONG_FILES.iter().any(|(long, _)| *long == name) {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        for part in path.iter().map(|part| part.to_string_lossy()) {
            if BANNED_NAMES.contains(&part.trim_end_matches(".rs")) {
                faults.push(format!("{}: a name that says nothing", path.display()));
            }
        }
    }
    assert_none("files to divide or to name", &faults);
}

#[test]
fn unsafe_code_stands_in_named_files() {
    let mut faults = Vec::new();
    let is_looked_at = |path: &Path| !path.starts_with("fuzz") && !path.ends_with("tidy.rs");
    for (path, text) in source_files(".rs").iter().filter(|(path, _)| is_looked_at(path)) {
        let shown = path.display();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let has = |words: &str| text.lines().filter(is_code).any(|line| line.contains(words));
        let is_unsafe =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| has(form));
        let may = UNSAFE_FILES.iter().any(|file| path == Path::new(file));
        if is_unsafe && !may {
            faults.push(format!("{shown} has unsafe code"));
        }
        if may && !is_unsafe {
            faults.push(format!("{shown} has no unsafe code any more: take it out of the list"));
        }
        let is_root = ["lib.rs", "main.rs"].iter().any(|root| path.ends_with(Path::new("src").join(root)));
        let top = path.parent().unwrap_or(path);
        let room = UNSAFE_FILES.iter().any(|file| Path::new(file).starts_with(top));
        if is_root && !room && !text.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{shown} does not forbid unsafe code"));
        }
    }
    assert_none("unsafe code", &faults);
}

/// Our crates and which of ours each depends on (for its tests alone does not count).
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(source_tree()).args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let text = run(&mut command, SOON).expect_success();
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: Vec<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let imports = |package: &serde_json::Value| -> Vec<String> {
        let all = package["dependencies"].as_array().unwrap().iter();
        let used = all.filter(|dependency| dependency["kind"] != "dev");
        let names = used.map(|dependency| dependency["name"].as_str().unwrap());
        names.filter(|name| ours.contains(name)).map(str::to_owned).collect()
    };
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), imports(package))).collect()
}

#[test]
fn imports_go_downwards_only() {
    let mut faults = Vec::new();
    for (name, imports) in dependencies() {
        if matches!(name.as_str(), "srs-tests" | "srs-bench") {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("{name} is not in the table of who may import whom"));
            continue;
        };
        for import in imports.iter().filter(|import| !allowed.contains(&import.as_str())) {
            faults.push(format!("{name} may not import {import}"));
        }
        // What nobody needs is not allowed beforehand.
        for unused in allowed.iter().filter(|allowed| !imports.contains(&(**allowed).to_owned())) {
            faults.push(format!("{name} does not import {unused}: take it out of the table"));
        }
    }
    assert_none("imports", &faults);
}

#[test]
fn only_the_executable_knows_all_roles() {
    let mut faults = Vec::new();
    for (path, text) in source_files(".rs") {
        let in_main = path.starts_with("srs") || path.starts_with("tests");
        if !in_main && text.contains("backsource::") && text.contains("worker::") {
            faults.push(path.display().to_string());
        }
    }
    assert_none("files that name both roles", &faults);
}

#[test]
fn every_configuration_in_the_tree_is_sound() {
    let mut seen = 0;
    for entry in fs::read_dir(source_tree().join("conf")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            seen += 1;
            let mut command = Command::new(srs_tests::program::srs());
            let ended = run(command.current_dir(source_tree()).arg("-t").arg("-c").arg(&path), SOON);
            assert!(ended.status.success(), "{}: {}", path.display(), ended.stderr);
        }
    }
    assert!(seen >= 10, "{seen} configurations");
}

#[test]
fn the_demo_clip_is_small() {
    let clip = source_tree().join("conf/demo.flv");
    assert!(fs::metadata(clip).unwrap().len() < 1_000_000);
}

/// Directives that work without a field that others read: what they do is done where files are read.
const READ_ELSEWHERE: [&str; 2] = ["include", "unsafe_ignore"];

/// Fields of directives whose statement does not name them.
const FIELDS: [(&str, &str); 7] = [
    ("pithy_print_ms", "play_ms"),
    ("firstpkt_timeout", "firstpkt_timeout_ms"),
    ("publish_1stpkt_timeout", "firstpkt_timeout_ms"),
    ("normal_timeout", "normal_timeout_ms"),
    ("publish_normal_timeout", "normal_timeout_ms"),
    ("dvr_apply", "apply"),
    ("type", "source"),
];

/// Fields whose names many structs have: reading one of them says nothing.
const COMMON_FIELDS: [&str; 6] = ["enabled", "listen", "path", "name", "url", "vhost"];

/// What stands between a directive's name, in quotes, and its field in the sources of `conf`: the field of the same
/// statement. A directive without one is read by its own name.
fn field_of(sources: &str, name: &str) -> Vec<String> {
    let quoted = format!("\"{name}\"");
    let mut fields = Vec::new();
    for (at, _) in sources.match_indices(&quoted) {
        let start = sources[..at].rfind([';', '{', '}']).map_or(0, |start| start + 1);
        let end = sources[at..].find([';', '}']).map_or(sources.len(), |end| at + end);
        let statement = &sources[start..end];
        let ident = |text: &str| -> String {
            text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
        };
        // `set(&mut place.field, ...)`, `place.field = ...`, `field: ...`, `(&mut place.field, "name")`.
        for (dot, _) in statement.match_indices("&mut ") {
            let path = &statement[dot + 5..];
            let path = path.split([',', ')']).next().unwrap_or_default();
            if let Some(field) = path.trim().rsplit('.').next() {
                fields.push(ident(field));
            }
        }
        if let Some((left, _)) = statement.split_once(" = ") {
            fields.extend(left.trim().rsplit('.').next().map(ident));
        }
        let line = sources[..at].rfind('\n').map_or(0, |line| line + 1);
        if let Some((left, _)) = sources[line..at].split_once(": ") {
            fields.push(ident(left.trim()));
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

#[test]
fn every_directive_that_works_is_read_by_somebody() {
    let files = source_files(".rs");
    let of_conf = |path: &Path| path.starts_with("shared/conf");
    let mut sources = String::new();
    for (path, text) in
        files.iter().filter(|(path, _)| of_conf(path) && path.to_string_lossy().contains("src/typed"))
    {
        // Comments are no code.
        let _ = path;
        sources.extend(
            text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]),
        );
    }
    let others: String = files
        .iter()
        .filter(|(path, _)| !of_conf(path) || path.ends_with("ffmpeg.rs"))
        .filter(|(path, _)| {
            !path.starts_with("tests") && !path.starts_with("bench") && !path.starts_with("fuzz")
        })
        .map(|(_, text)| text.as_str())
        .collect();
    let is_read = |field: &str| {
        let dotted = format!(".{field}");
        others.match_indices(&dotted).any(|(at, _)| {
            !others[at + dotted.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
        })
    };
    let mut unread = Vec::new();
    for row in conf::directive::DIRECTIVES.iter().filter(|row| row.status() == conf::directive::Status::Works)
    {
        let elsewhere = READ_ELSEWHERE.contains(&row.name);
        if row.opens().is_some() || elsewhere || COMMON_FIELDS.contains(&row.name) {
            continue;
        }
        let mut fields: Vec<String> = row.names().flat_map(|name| field_of(&sources, name)).collect();
        fields.extend(
            FIELDS.iter().filter(|(name, _)| *name == row.name).map(|(_, field)| (*field).to_owned()),
        );
        fields.push(row.name.to_owned());
        if !fields.iter().any(|field| is_read(field)) {
            unread.push(format!("{} in {:?} (fields {fields:?})", row.name, row.within));
        }
    }
    assert_none("a directive that is said to work, and that nobody outside conf reads", &unread);
}
