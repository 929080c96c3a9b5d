//! Reading files, and `include`: the directives of another file stand where the `include` stood.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Report, SourcePos, quoted};
use crate::tree::{self, MAX_FILE_BYTES, Node};

/// Longest chain of files that include each other.
pub const MAX_DEPTH: usize = 8;
/// Most files of one configuration.
pub const MAX_FILES: usize = 256;
/// Most bytes of one configuration, all files together.
pub const MAX_TOTAL_BYTES: usize = 16 << 20;

/// Reads a configuration and the files it includes.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Every file read so far, in reading order.
    pub(crate) files: Vec<PathBuf>,
    bytes: usize,
}

impl Reader {
    /// Reads a file and everything it includes; complaints go to the report.
    pub(crate) fn file(&mut self, path: &Path, report: &mut Report) -> Vec<Node> {
        let name: Arc<str> = path.to_string_lossy().into();
        match read(path) {
            Ok(text) => {
                self.files.push(path.to_owned());
                self.text(name, &text, path.parent().unwrap_or_else(|| Path::new("")), 0, report)
            }
            Err(error) => {
                report.error(&SourcePos::Whole(name), format!("cannot be read: {error}"));
                Vec::new()
            }
        }
    }

    /// Parses a text; files that it includes are looked for in `beside` first.
    pub(crate) fn text(
        &mut self,
        name: Arc<str>,
        text: &[u8],
        beside: &Path,
        depth: usize,
        report: &mut Report,
    ) -> Vec<Node> {
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_TOTAL_BYTES {
            let message = format!("the configuration has more than {MAX_TOTAL_BYTES} bytes in all its files");
            report.error(&SourcePos::Whole(name), message);
            return Vec::new();
        }
        match tree::parse(&name, text) {
            Ok(nodes) => self.expand(nodes, beside, depth, report),
            Err(error) => {
                report.error(&error.place, error.message);
                Vec::new()
            }
        }
    }

    fn expand(&mut self, nodes: Vec<Node>, beside: &Path, depth: usize, report: &mut Report) -> Vec<Node> {
        let mut expanded = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            if report.is_full() {
                break;
            }
            if let Some(block) = node.block.take() {
                node.block = Some(self.expand(block, beside, depth, report));
            } else if node.name.text == "include" {
                expanded.extend(self.include(&node, beside, depth, report));
                continue;
            }
            expanded.push(node);
        }
        expanded
    }

    fn include(&mut self, node: &Node, beside: &Path, depth: usize, report: &mut Report) -> Vec<Node> {
        let mut nodes = Vec::new();
        if node.args.is_empty() {
            report.error(&node.name.end, "include needs at least one argument (expected a path)".into());
        }
        for word in &node.args {
            if depth + 1 >= MAX_DEPTH {
                report.error(&word.place, format!("files include each other deeper than {MAX_DEPTH}"));
                return nodes;
            }
            if self.files.len() >= MAX_FILES {
                report.error(&word.place, format!("more than {MAX_FILES} files are included"));
                return nodes;
            }
            let near = beside.join(&word.text);
            let path = if near.exists() { near } else { PathBuf::from(&word.text) };
            match read(&path) {
                Ok(text) => {
                    let name = path.to_string_lossy().into();
                    self.files.push(path.clone());
                    let inner = path.parent().unwrap_or_else(|| Path::new(""));
                    nodes.extend(self.text(name, &text, inner, depth + 1, report));
                }
                Err(error) => {
                    report.error(&word.place, format!("cannot include {}: {error}", quoted(&word.text)))
                }
            }
        }
        nodes
    }
}

/// Reads a file up to one byte more than is allowed, so that the size check sees it.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}
