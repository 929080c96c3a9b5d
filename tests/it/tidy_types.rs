//! How large types are, over all their files, and whether documents name tests that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use srs_tests::program::source_tree;

/// Most lines of `impl` of one type, in all files of its crate; and most fields.
const MAX_IMPL_LINES: usize = 600;
const MAX_FIELDS: usize = 20;

/// Types that are larger, and why. What is here shall shrink: a type that has become small leaves the list.
const LARGE: &[(&str, &str, &str)] = &[
    ("conf", "Config", "a field for each block of the configuration"),
    ("conf", "Vhost", "a field for each directive of a vhost"),
    ("conf", "Limits", "a field for each limit"),
    ("rtmp", "Limits", "a field for each limit"),
    ("conf", "Hls", "a field for each directive of HLS"),
    ("conf", "Engine", "a field for each directive of an engine"),
    ("api", "SelfProcStat", "the fields of /proc/PID/stat, as the reference names them"),
    ("api", "SystemSummary", "a field for each figure"),
    ("bench", "Outcome", "a field for each figure"),
];

/// Lines of `impl` and number of fields of a type.
#[derive(Debug, Default)]
struct Size {
    impl_lines: usize,
    fields: usize,
}

/// The sources of a crate: its `src`, without unit tests.
fn sources(krate: &Path) -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_tests = path.file_name().is_some_and(|name| name == "tests.rs" || name == "tests");
            if path.is_dir() && !is_tests {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&krate.join("src"), &mut found);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned()
    };
    found.iter().map(read).collect()
}

fn crates() -> Vec<PathBuf> {
    let top = source_tree();
    let text = fs::read_to_string(top.join("Cargo.toml")).unwrap();
    let members = text.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    members.split('"').skip(1).step_by(2).map(|member| top.join(member)).collect()
}

/// The type that a line of the top level is about: `impl X {`, `impl Trait for X<T> {`, `struct X {`.
fn subject(line: &str) -> Option<(bool, String)> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = if line.starts_with("pub(") { line.split_once(") ")?.1 } else { line };
    if let Some(rest) = line.strip_prefix("struct ") {
        let name = rest.split(|letter: char| !letter.is_alphanumeric()).next()?;
        return line.ends_with('{').then(|| (false, name.to_owned()));
    }
    let rest = line.strip_prefix("impl")?;
    let rest = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    // Parameters of the block itself.
    let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest };
    let path = rest.trim_start().split(['<', ' ', '{']).next()?;
    Some((true, path.rsplit("::").next()?.to_owned()))
}

fn measure(sources: &[String]) -> BTreeMap<String, Size> {
    let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
    for text in sources {
        let mut within: Option<(bool, String)> = None;
        for line in text.lines() {
            if within.is_none() {
                within = subject(line);
            }
            let Some((is_impl, name)) = &within else { continue };
            let size = sizes.entry(name.clone()).or_default();
            if *is_impl {
                size.impl_lines += 1;
            } else if line.starts_with("    ") && !line.starts_with("     ") {
                let field = line.trim_start();
                let is_field = !field.starts_with(['/', '#', '}', ')']) && field.contains(": ");
                size.fields += usize::from(is_field);
            }
            if line.starts_with('}') || line.ends_with("{}") && !line.starts_with(' ') {
                within = None;
            }
        }
    }
    sizes
}

#[test]
fn no_type_is_large_without_a_reason() {
    let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
    for krate in crates() {
        let name = krate.file_name().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name == "fuzz" {
            continue;
        }
        for (of, size) in measure(&sources(&krate)) {
            let is_large = size.impl_lines > MAX_IMPL_LINES || size.fields > MAX_FIELDS;
            let is_excused = LARGE.iter().any(|(room, large, _)| (*room, *large) == (&*name, &*of));
            match (is_large, is_excused) {
                (true, false) => {
                    faults.push(format!(
                        "{name}::{of}: {} impl lines, {} fields",
                        size.impl_lines, size.fields
                    ));
                }
                (true, true) => drop(seen.insert((name.clone(), of))),
                _ => {}
            }
        }
    }
    for (room, of, _) in LARGE {
        if !seen.contains(&((*room).to_owned(), (*of).to_owned())) {
            faults.push(format!("{room}::{of} is not large any more: it leaves the list"));
        }
    }
    assert!(faults.is_empty(), "large types:\n{}", faults.join("\n"));
}

#[test]
fn documents_name_tests_that_there_are() {
    let top = source_tree();
    let mut documents: Vec<PathBuf> =
        fs::read_dir(top.join("docs")).unwrap().flatten().map(|entry| entry.path()).collect();
    documents.extend(["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"].map(|name| top.join(name)));
    let module = |name: &str| {
        let file = top.join(format!("tests/it/{name}.rs"));
        let mut texts: Vec<PathBuf> = fs::read_dir(top.join(format!("tests/it/{name}")))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect();
        texts.push(file.clone());
        file.exists()
            .then(|| texts.iter().filter_map(|path| fs::read_to_string(path).ok()).collect::<String>())
    };
    let (mut faults, mut found) = (Vec::new(), 0);
    for path in documents.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(path).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some((name, test)) = quoted.split_once("::") else { continue };
            let is_word = |word: &str| {
                word.chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            };
            if !is_word(name) || !is_word(test) || !test.contains('_') {
                continue;
            }
            let Some(text) = module(name) else { continue };
            found += 1;
            if !text.contains(&format!("fn {test}(")) {
                faults.push(format!("{}: {quoted}", path.file_name().unwrap().display()));
            }
        }
    }
    assert!(found > 50, "only {found} names of tests were found");
    assert!(faults.is_empty(), "documents name tests that are not there:\n{}", faults.join("\n"));
}
